//! An image of the original on simulated disks.

use std::path::Path;
use std::sync::Arc;

use plugpull_engine::Access;
use plugpull_engine::fvd::planted::PlantedBugs;
use plugpull_engine::fvd::{Fvd, OpenOptions};
use plugpull_engine::resolver::{BoxFuture, Resolver, Role};
use plugpull_engine::{ByteRange, Disk, Error};
use plugpull_sim::crash::{DirectWorld, LazyDisks, Watch};
use plugpull_sim::disk::{DiskSpec, Image};

use super::manifest::Expected;

/// One image on simulated disks.
pub(super) struct Subject {
    pub(super) expected: Expected,
    pub(super) specs: Vec<DiskSpec>,
    pub(super) start: Vec<Image>,
    pub(super) planted: PlantedBugs,
}

/// The disks' names, in their order, and the files that they start with.
const FILES: [(&str, &str); 3] =
    [("image", "test.fvd"), ("data", "data.dat"), ("base", "base.raw")];

impl Subject {
    /// The files of an image as the durable start of default disks.
    pub(super) fn load(folder: &Path, expected: Expected) -> Self {
        let mut subject =
            Self { expected, specs: Vec::new(), start: Vec::new(), planted: PlantedBugs::NONE };
        for (name, file) in FILES {
            if let Ok(bytes) = std::fs::read(folder.join(file)) {
                subject.specs.push(DiskSpec::new(name));
                subject.start.push(Image::from_bytes(&bytes));
            }
        }
        subject
    }

    /// Disks that hold `images`.
    pub(super) fn world(&self, images: Vec<Image>, watching: bool) -> DirectWorld {
        let watch = if watching { Watch::Every } else { Watch::Off };
        DirectWorld::new(LazyDisks::new(self.specs.iter().cloned().zip(images), watch))
    }

    /// What the guest of `images` reads, seen by a session that changes nothing for any other.
    pub(super) fn read_apart(&self, images: Vec<Image>) -> Result<Vec<u8>, String> {
        let world = self.world(images, false);
        read_all(&world, &self.open(&world, false)?)
    }

    /// Opens the image for writing; `background` is what virtual machines have, copy-on-read.
    pub(super) fn open(&self, world: &DirectWorld, background: bool) -> Result<Fvd, String> {
        let disks = world.disks();
        let named = |name: &str| self.specs.iter().position(|spec| spec.name == name);
        let disk = |name: &str| named(name).map(|index| Arc::clone(&disks[index]));
        let options = OpenOptions {
            access: Access::ReadWrite,
            background,
            resolver: Arc::new(Disks { data: disk("data"), base: disk("base") }),
            runtime: world.runtime(),
            planted: self.planted,
        };
        await_on(world, "open", Fvd::open(Arc::clone(&disks[0]), options))
    }
}

/// Runs an operation that nothing disturbs.
pub(super) fn await_on<T>(
    world: &DirectWorld,
    what: &str,
    operation: impl Future<Output = Result<T, Error>>,
) -> Result<T, String> {
    let ended = world.run(operation).map_err(|stuck| stuck.reason)?;
    ended.map_err(|error| format!("{what} fails: {error}"))
}

/// Everything that the guest can read.
pub(super) fn read_all(world: &DirectWorld, fvd: &Fvd) -> Result<Vec<u8>, String> {
    await_on(world, "reading", fvd.read(ByteRange::new(0, fvd.virtual_size())))
}

/// Simulated disks by role.
struct Disks {
    data: Option<Arc<dyn Disk>>,
    base: Option<Arc<dyn Disk>>,
}

impl Resolver for Disks {
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
        let answer = disk.ok_or_else(|| Error::Unsupported(format!("no file {name}")));
        Box::pin(std::future::ready(answer))
    }
}
