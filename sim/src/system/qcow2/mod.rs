//! qcow2 images as a thing under test.
//!
//! Disks, in this order: `image` (metadata, and the data unless it has a file of its own), then
//! `data` and `backing` where the scenario has them.
//!
//! What the guest can read are its disk and the snapshots, each a [`View`].

mod describe;
mod device;
mod setup;
mod structure;
mod views;

use std::sync::Arc;

use plugpull_engine::qcow2::planted::PlantedBugs;
use plugpull_engine::qcow2::{OpenOptions, Qcow2};
use plugpull_engine::{Access, ByteRange, Disk, Error, Runtime};

use crate::disk::{DiskSpec, Image};
use crate::oracle::{Finding, View};
use crate::system::resolver::SimResolver;
use crate::system::{BoxFuture, Device, Purpose, ReadDisks, System};

use describe::Places;
use device::Qcow2Device;
use structure::{Known, Question};
use views::Views;

/// A qcow2 image on simulated disks.
pub struct Qcow2System {
    disks: Vec<DiskSpec>,
    start: Vec<Image>,
    starts_dirty: bool,
    damaged: bool,
    initial: Image,
    views: Views,
    missing: Vec<ByteRange>,
    opening: Opening,
    queries: Vec<ByteRange>,
    questions: Vec<Question>,
    known: Known,
    /// Whether refcounts are exact at the start, so that they have to be after a close.
    exact: bool,
    places: Places,
}

/// How the image is opened, in the workload and after a power cut.
#[derive(Debug, Clone, Copy)]
struct Opening {
    access: Access,
    planted: PlantedBugs,
    has_data: bool,
    has_backing: bool,
    discards: bool,
    slice_len: u64,
    slices_max: usize,
}

impl Opening {
    /// Opens the image in `disks`, and keeps what is needed to open it once more.
    async fn device(
        self,
        disks: Vec<Arc<dyn Disk>>,
        runtime: Arc<dyn Runtime>,
    ) -> Result<Arc<dyn Device>, Error> {
        let image = self.image(disks.clone(), Arc::clone(&runtime)).await?;
        let again = Opening { access: Access::ReadOnly, ..self };
        Ok(Arc::new(Qcow2Device::new(image, again, disks, runtime)))
    }

    async fn image(
        self,
        disks: Vec<Arc<dyn Disk>>,
        runtime: Arc<dyn Runtime>,
    ) -> Result<Qcow2, Error> {
        let mut rest = disks.into_iter();
        let file = rest.next().expect("there is an image disk");
        let data = self.has_data.then(|| rest.next().expect("there is a data disk"));
        let below = self.has_backing.then(|| rest.next().expect("there is a backing disk"));
        let options = OpenOptions {
            access: self.access,
            resolver: Arc::new(SimResolver { data, below, runtime: Arc::clone(&runtime) }),
            runtime,
            planted: self.planted,
            discards: self.discards,
            slice_len: self.slice_len,
            slices_max: self.slices_max,
        };
        Qcow2::open(file, options).await
    }
}

/// Disks that hold images, with nothing undecided.
struct Held<'a>(&'a [Image]);

impl ReadDisks for Held<'_> {
    fn read(&mut self, disk: usize, range: ByteRange) -> Vec<u8> {
        let len = usize::try_from(range.len).expect("a range that fits in memory");
        self.0[disk].bytes(range.offset, len)
    }

    fn len(&mut self, disk: usize) -> u64 {
        self.0[disk].len()
    }
}

impl System for Qcow2System {
    fn disks(&self) -> &[DiskSpec] {
        &self.disks
    }

    fn start(&self) -> &[Image] {
        &self.start
    }

    /// Known from the set-up, not from the engine.
    fn initial(&self) -> &Image {
        &self.initial
    }

    fn extent(&self, view: View) -> u64 {
        self.views.extent(view)
    }

    fn missing(&self) -> &[ByteRange] {
        &self.missing
    }

    fn is_tracked(&self) -> bool {
        true
    }

    fn is_read_only(&self) -> bool {
        self.opening.access == Access::ReadOnly
    }

    fn recovers_at_start(&self) -> bool {
        self.starts_dirty
    }

    fn may_refuse(&self) -> bool {
        self.damaged
    }

    fn open(
        &self,
        disks: Vec<Arc<dyn Disk>>,
        runtime: Arc<dyn Runtime>,
        _: Purpose,
    ) -> BoxFuture<Result<Arc<dyn Device>, Error>> {
        Box::pin(self.opening.device(disks, runtime))
    }

    fn queries(&self) -> &[ByteRange] {
        &self.queries
    }

    fn image_questions(&self) -> usize {
        self.questions.len()
    }

    fn check_image(&self, question: usize, disks: &mut dyn ReadDisks) -> Option<Finding> {
        structure::ask(disks, self.questions[question], &self.known)
    }

    fn check_closed(&self, images: &[Image]) -> Option<Finding> {
        let exact = if self.exact { structure::exact(&mut Held(images)) } else { None };
        let finding = exact.or_else(|| {
            let noted = self.questions.iter().filter(|it| matches!(it, Question::Noted(_)));
            noted.copied().find_map(|it| structure::ask(&mut Held(images), it, &self.known))
        })?;
        let message = format!("after a clean close {}", finding.message);
        Some(Finding { message, ..finding })
    }

    fn compares_flushed(&self) -> bool {
        !self.damaged && !self.is_read_only()
    }

    fn repairs(&self) -> bool {
        !self.damaged && !self.is_read_only()
    }

    fn check_repaired(&self, disks: &mut dyn ReadDisks) -> Option<Finding> {
        structure::repaired(disks)
    }

    fn describe(&self, disk: usize, offset: u64) -> Option<String> {
        Some(self.places.describe(&self.disks[disk].name, offset))
    }
}
