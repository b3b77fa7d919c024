//! FVD images as a thing under test.
//!
//! Disks, in this order: `image` (header, maps, journal, and the data unless it has a file of its
//! own), then `data` and `base` where the scenario has them.

mod describe;
mod device;
mod setup;
mod structure;

use std::sync::Arc;

use plugpull_engine::Access;
use plugpull_engine::fvd::events;
use plugpull_engine::fvd::planted::PlantedBugs;
use plugpull_engine::fvd::{Fvd, OpenOptions};
use plugpull_engine::{ByteRange, Disk, Error, Runtime};

use crate::disk::{DiskSpec, Image};
use crate::oracle::Finding;
use crate::system::resolver::SimResolver;
use crate::system::{BoxFuture, Device, Forbidden, Purpose, ReadDisks, System};
use crate::verdict::Invariant;

use describe::Layout;
use device::FvdDevice;

/// Under a steady load a request that is overtaken once can be overtaken forever.
const FORBIDDEN: [Forbidden; 1] = [Forbidden {
    event: events::JOURNAL_WAITER_OVERTAKEN,
    invariant: Invariant::LProg,
    message: "a request that waits for journal space was overtaken by a later one",
}];

/// An FVD image on simulated disks.
pub struct FvdSystem {
    disks: Vec<DiskSpec>,
    start: Vec<Image>,
    starts_unclean: bool,
    damaged: bool,
    /// Whether a clean image must have complete maps: not so if the scenario starts from one that
    /// has not, with stale records in its journal.
    clean_is_complete: bool,
    initial: Image,
    layout: Layout,
    opening: Opening,
    queries: Vec<ByteRange>,
}

/// How the image is opened, in the workload and after a power cut.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Opening {
    access: Access,
    background: bool,
    planted: PlantedBugs,
    has_data: bool,
    has_base: bool,
}

impl Opening {
    async fn open(
        self,
        disks: Vec<Arc<dyn Disk>>,
        runtime: Arc<dyn Runtime>,
    ) -> Result<Fvd, Error> {
        let mut rest = disks.into_iter();
        let metadata = rest.next().expect("there is an image disk");
        let data = self.has_data.then(|| rest.next().expect("there is a data disk"));
        let below = self.has_base.then(|| rest.next().expect("there is a base disk"));
        let options = OpenOptions {
            access: self.access,
            background: self.background,
            resolver: Arc::new(SimResolver { data, below, runtime: Arc::clone(&runtime) }),
            runtime,
            planted: self.planted,
        };
        Fvd::open(metadata, options).await
    }

    async fn device(
        self,
        disks: Vec<Arc<dyn Disk>>,
        runtime: Arc<dyn Runtime>,
    ) -> Result<Arc<dyn Device>, Error> {
        let fvd = self.open(disks, Arc::clone(&runtime)).await?;
        Ok(Arc::new(FvdDevice::new(fvd, runtime)))
    }
}

impl System for FvdSystem {
    fn disks(&self) -> &[DiskSpec] {
        &self.disks
    }

    fn start(&self) -> &[Image] {
        &self.start
    }

    fn is_tracked(&self) -> bool {
        true
    }

    fn is_read_only(&self) -> bool {
        self.opening.access == Access::ReadOnly
    }

    fn recovers_at_start(&self) -> bool {
        self.starts_unclean
    }

    fn may_refuse(&self) -> bool {
        self.damaged
    }

    fn open(
        &self,
        disks: Vec<Arc<dyn Disk>>,
        runtime: Arc<dyn Runtime>,
        purpose: Purpose,
    ) -> BoxFuture<Result<Arc<dyn Device>, Error>> {
        let mut opening = self.opening;
        opening.background &= purpose == Purpose::Workload;
        Box::pin(opening.device(disks, runtime))
    }

    /// Known from the set-up, not from the engine.
    fn initial(&self) -> &Image {
        &self.initial
    }

    fn queries(&self) -> &[ByteRange] {
        &self.queries
    }

    /// One for each sector of the journal.
    fn image_questions(&self) -> usize {
        if self.clean_is_complete { self.layout.journal_sectors() } else { 0 }
    }

    fn check_image(&self, question: usize, disks: &mut dyn ReadDisks) -> Option<Finding> {
        structure::clean_maps_are_complete(disks, self.opening.has_data, question)
    }

    /// A refused open loses everything that was flushed, unless it refuses because two virtual
    /// chunks share a physical one: then that is the damage.
    fn refusal(&self, error: &Error) -> Invariant {
        match error {
            Error::Corrupt { rule, .. } if rule.starts_with("no two") => Invariant::FInj,
            _ => Invariant::DDur,
        }
    }

    fn forbidden(&self) -> &[Forbidden] {
        &FORBIDDEN
    }

    fn describe(&self, disk: usize, offset: u64) -> Option<String> {
        Some(self.layout.describe(&self.disks[disk].name, offset))
    }
}
