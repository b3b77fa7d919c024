//! Small qcow2 images on disks that answer at once.

use std::future::Future;
use std::sync::Arc;

use arbitrary::{Arbitrary, Result as Taken, Unstructured};
use plugpull_engine::Access;
use plugpull_engine::qcow2::create::{
    BackingOptions, BitmapOptions, CreateOptions, DataFileOptions, create,
};
use plugpull_engine::qcow2::header::Compression;
use plugpull_engine::qcow2::{OpenOptions, Qcow2};
use plugpull_engine::resolver::{BoxFuture, Resolver, Role};
use plugpull_engine::{Disk, Error};
use plugpull_sim::crash::{DirectWorld, LazyDisks, Watch};
use plugpull_sim::disk::{DiskSpec, Image};

/// A small image: few enough bytes that any offset is interesting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Config {
    /// Bytes that the guest sees, in sectors of 512.
    pub sectors: u64,
    /// 2 or 3.
    pub version: u32,
    /// Bytes per cluster.
    pub cluster_len: u64,
    /// Bits per refcount.
    pub refcount_bits: u64,
    /// Whether refcounts may be left behind.
    pub lazy: bool,
    /// Whether L2 entries have subclusters.
    pub extended: bool,
    /// Length of the backing file in sectors, if there is one.
    pub base: Option<u64>,
    /// Whether the data is in a file of its own.
    pub data_file: bool,
    /// Whether there is a persistent bitmap.
    pub bitmap: bool,
    /// Slices of metadata in memory.
    pub slices_max: usize,
}

impl<'a> Arbitrary<'a> for Config {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> Taken<Self> {
        let version = if bytes.ratio(1, 4)? { 2 } else { 3 };
        let is_new = version == 3;
        let extended = is_new && bytes.ratio(1, 5)?;
        let sectors = *bytes.choose(&[16, 63, 130, 200])?;
        let cluster_len = if extended { 16384 } else { *bytes.choose(&[512, 512, 1024, 4096])? };
        let bits = *bytes.choose(&[1, 2, 8, 16, 16, 64])?;
        Ok(Self {
            sectors,
            version,
            cluster_len,
            refcount_bits: if is_new { bits } else { 16 },
            lazy: is_new && bytes.arbitrary()?,
            extended,
            base: if bytes.arbitrary()? { Some(bytes.int_in_range(1..=sectors)?) } else { None },
            data_file: is_new && bytes.ratio(1, 5)?,
            bitmap: is_new && bytes.ratio(1, 4)?,
            slices_max: *bytes.choose(&[1, 3, 4096])?,
        })
    }
}

impl Config {
    fn options(&self) -> CreateOptions {
        let bitmap = BitmapOptions { name: "b".into(), granularity: 512 };
        let backing = BackingOptions { name: "base".into(), format: Some("raw".into()) };
        CreateOptions {
            virtual_size: self.sectors * 512,
            version: self.version,
            cluster_len: self.cluster_len,
            refcount_bits: self.refcount_bits,
            backing: self.base.map(|_| backing),
            lazy_refcounts: self.lazy,
            compression: Compression::Deflate,
            extended_l2: self.extended,
            data_file: self.data_file.then(|| DataFileOptions { name: "data".into(), raw: false }),
            bitmaps: self.bitmap.then_some(bitmap).into_iter().collect(),
        }
    }
}

/// The disks of one image, and the world they are in.
pub struct Session {
    /// The world.
    pub world: DirectWorld,
    config: Config,
}

impl Session {
    /// The disks of an image of this kind, with these contents.
    #[must_use]
    pub fn new(config: Config, contents: Vec<Image>) -> Self {
        let disks = ["image", "data", "base"].map(DiskSpec::new).into_iter().zip(contents);
        Self { world: DirectWorld::new(LazyDisks::new(disks, Watch::Off)), config }
    }

    /// A fresh image whose backing file holds `base` in every byte.
    #[must_use]
    pub fn create(config: Config, base: u8) -> Self {
        let len = usize::try_from(config.base.unwrap_or(0) * 512).expect("a small image");
        let base = Image::from_bytes(&vec![base; len]);
        let session = Self::new(config, vec![Image::zeroed(0), Image::zeroed(0), base]);
        let disks = session.world.disks();
        let made = session.run(async { create(&*disks[0], &config.options()).await });
        made.unwrap_or_else(|error| panic!("{config:?} cannot be created: {error}"));
        session
    }

    /// What reads of each disk see.
    #[must_use]
    pub fn contents(&self) -> Vec<Image> {
        self.world.visible()
    }

    /// Runs `future` to its end, which it must have.
    pub fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.world.run(future).unwrap_or_else(|stuck| panic!("{}", stuck.reason))
    }

    /// Opens the image.
    ///
    /// # Errors
    /// The engine's.
    pub fn open(&self, access: Access) -> Result<Qcow2, Error> {
        let disks = self.world.disks();
        let files = Files { data: Arc::clone(&disks[1]), base: Arc::clone(&disks[2]) };
        let slices_max = self.config.slices_max;
        let options = OpenOptions::new(access, Arc::new(files), self.world.runtime());
        let options = OpenOptions { slice_len: 512, slices_max, ..options };
        self.run(Qcow2::open(Arc::clone(&disks[0]), options))
    }
}

/// The other disks, whatever the image calls them.
struct Files {
    data: Arc<dyn Disk>,
    base: Arc<dyn Disk>,
}

impl Resolver for Files {
    fn open<'a>(
        &'a self,
        role: Role,
        _name: &'a str,
        _format: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Arc<dyn Disk>, Error>> {
        let disk = match role {
            Role::Base => Arc::clone(&self.base),
            Role::Data => Arc::clone(&self.data),
        };
        Box::pin(std::future::ready(Ok(disk)))
    }
}
