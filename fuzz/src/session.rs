//! An image on disks that answer at once.

use std::future::Future;
use std::sync::Arc;

use plugpull_engine::Access;
use plugpull_engine::fvd::create::create;
use plugpull_engine::fvd::planted::PlantedBugs;
use plugpull_engine::fvd::{Fvd, OpenOptions};
use plugpull_engine::resolver::{BoxFuture, Resolver, Role};
use plugpull_engine::{Disk, Error};
use plugpull_sim::crash::{DirectWorld, LazyDisks, Watch};
use plugpull_sim::disk::{DiskSpec, Image};

use crate::config::Config;

/// The disks of one image, and the world they are in.
pub struct Session {
    /// The world.
    pub world: DirectWorld,
    config: Config,
}

impl Session {
    /// The disks of an image of this kind, with these contents. With `cuts` the world can say what a
    /// power cut would leave.
    #[must_use]
    pub fn new(config: Config, contents: Vec<Image>, cuts: bool) -> Self {
        let names = [("image", true), ("data", config.data_file), ("base", config.base.is_some())];
        let names = names.into_iter().filter(|&(_, there)| there).map(|(name, _)| name);
        let disks = names.map(DiskSpec::new).zip(contents);
        let watch = if cuts { Watch::Every } else { Watch::Off };
        Self { world: DirectWorld::new(LazyDisks::new(disks, watch)), config }
    }

    /// A fresh image whose base holds `base` in every byte.
    #[must_use]
    pub fn create(config: Config, base: u8, cuts: bool) -> Self {
        let mut contents = vec![Image::zeroed(0)];
        if config.data_file {
            contents.push(Image::zeroed(if config.chunk.is_some() { 0 } else { config.len() }));
        }
        if let Some((sectors, _)) = config.base {
            let len = usize::try_from(sectors * 512).expect("a small image");
            contents.push(Image::from_bytes(&vec![base; len]));
        }
        let session = Self::new(config, contents, cuts);
        let disks = session.world.disks();
        let base = config.base.map(|_| Arc::clone(&disks[disks.len() - 1]));
        let options = config.options();
        let made = session.run(async { create(&*disks[0], &options, base.as_deref()).await });
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
    pub fn open(&self, access: Access) -> Result<Fvd, Error> {
        let disks = self.world.disks();
        let data = self.config.data_file.then(|| Arc::clone(&disks[1]));
        let base = self.config.base.map(|_| Arc::clone(&disks[disks.len() - 1]));
        let options = OpenOptions {
            access,
            background: false,
            resolver: Arc::new(Files { data, base }),
            runtime: self.world.runtime(),
            planted: PlantedBugs::NONE,
        };
        self.run(Fvd::open(Arc::clone(&disks[0]), options))
    }
}

/// The other disks, whatever the image calls them.
struct Files {
    data: Option<Arc<dyn Disk>>,
    base: Option<Arc<dyn Disk>>,
}

impl Resolver for Files {
    fn open<'a>(
        &'a self,
        role: Role,
        name: &'a str,
        _format: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Arc<dyn Disk>, Error>> {
        let disk = match role {
            Role::Base => self.base.clone(),
            Role::Data => self.data.clone(),
        };
        let disk = disk.ok_or_else(|| Error::Unsupported(format!("no file {name:?} here")));
        Box::pin(std::future::ready(disk))
    }
}
