//! From a scenario's description to disks that are ready to explore: what images of every kind have
//! in common.
//!
//! The set-up runs without planted bugs and without faults, on disks that answer at once. What the
//! guest must read afterwards is computed from the operations, not asked of the engine.

mod content;
mod touched;

use std::sync::Arc;

use plugpull_engine::{Access, ByteRange, Disk, Error, Runtime, SECTOR};

use crate::crash::direct::Stuck;
use crate::crash::{DirectWorld, LazyDisks, Watch};
use crate::disk::{DiskSpec, Image};
use crate::oracle::stamp;
use crate::system::{BoxFuture, Device};
use crate::workload::{GuestOp, SetupOp};

pub(super) use content::{GuestContent, pattern_content, stamped};
pub use touched::Touched;

/// Why a scenario cannot be set up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetupFailed {
    /// The engine refused.
    #[error("set-up, {step}: {error}")]
    Refused {
        /// Which step.
        step: String,
        /// Why.
        error: Error,
    },
    /// The engine never answered.
    #[error("set-up, {step}: {reason}")]
    Stuck {
        /// Which step.
        step: String,
        /// Why.
        reason: String,
    },
    /// The disks of an open image are not to be touched.
    #[error("set-up, {step}: the image is still open; close or kill it first")]
    StillOpen {
        /// Which step.
        step: String,
    },
    /// The guest reads something else than what the set-up wrote.
    #[error("after the set-up, {0}")]
    WrongContent(String),
}

pub(super) fn refused(step: &str, error: Error) -> SetupFailed {
    SetupFailed::Refused { step: step.to_owned(), error }
}

/// How the set-up opens an image.
pub(super) type Open<'a> = dyn Fn(Vec<Arc<dyn Disk>>, Arc<dyn Runtime>, Access) -> BoxFuture<Result<Arc<dyn Device>, Error>>
    + 'a;

/// A set-up under way.
pub(super) struct Setup<'a> {
    specs: &'a [DiskSpec],
    open: &'a Open<'a>,
    world: DirectWorld,
    device: Option<Arc<dyn Device>>,
}

impl<'a> Setup<'a> {
    /// On disks that hold `images`.
    pub(super) fn new(specs: &'a [DiskSpec], images: Vec<Image>, open: &'a Open<'a>) -> Self {
        Self { specs, open, world: world(specs, images), device: None }
    }

    /// What the disks hold.
    pub(super) fn visible(&self) -> Vec<Image> {
        self.world.visible()
    }

    /// Handles to the disks.
    pub(super) fn disks(&self) -> Vec<Arc<dyn Disk>> {
        self.world.disks()
    }

    /// Opens the image.
    pub(super) fn open(&mut self, step: &str, access: Access) -> Result<(), SetupFailed> {
        let (disks, runtime) = (self.world.disks(), self.world.runtime());
        self.device = Some(self.step(step, (self.open)(disks, runtime, access))?);
        Ok(())
    }

    /// Closes the image if it is open.
    pub(super) fn close(&mut self, step: &str) -> Result<(), SetupFailed> {
        match self.device.take() {
            Some(device) => self.step(step, device.close()),
            None => Ok(()),
        }
    }

    /// Carries out one operation, on the disks and on what the guest has to read. That a closed image
    /// grows is left to its kind.
    pub(super) fn op(
        &mut self,
        step: &str,
        index: u64,
        op: &SetupOp,
        content: &mut GuestContent,
    ) -> Result<(), SetupFailed> {
        match op {
            SetupOp::Kill => {
                self.device = None;
                let images = self.world.visible();
                self.world = world(self.specs, images);
            }
            SetupOp::Reopen => self.reopen(step, Access::ReadWrite)?,
            SetupOp::ReopenReadonly => self.reopen(step, Access::ReadOnly)?,
            SetupOp::Guest(op) => self.guest(step, index, *op, content)?,
            SetupOp::Grow(_) | SetupOp::Poke { .. } if self.device.is_some() => {
                return Err(SetupFailed::StillOpen { step: step.to_owned() });
            }
            SetupOp::Grow(_) => {}
            SetupOp::Poke { disk, offset, bytes } => self.poke(disk, *offset, bytes),
        }
        Ok(())
    }

    fn guest(
        &mut self,
        step: &str,
        index: u64,
        op: GuestOp,
        content: &mut GuestContent,
    ) -> Result<(), SetupFailed> {
        let Some(device) = self.device.clone() else {
            return Err(refused(step, Error::Closed));
        };
        let serial = stamp::serial(0, 0, index);
        let data = |offset, len| stamp::write_content(offset / SECTOR, len / SECTOR, serial);
        content.follow(op, serial);
        match op {
            GuestOp::Write { offset, len } => {
                self.step(step, device.write(offset, data(offset, len)))
            }
            GuestOp::Read { offset, len } => {
                let bytes = self.step(step, device.read(ByteRange::new(offset, len)))?;
                if content.holds(offset, &bytes) {
                    return Ok(());
                }
                Err(SetupFailed::WrongContent(format!("{step} returns other data")))
            }
            GuestOp::Flush => self.step(step, device.flush()),
            GuestOp::Close => {
                self.device = None;
                self.step(step, device.close())
            }
            GuestOp::WaitForJobs => Ok(()),
            GuestOp::Sleep(time) => {
                let runtime = self.world.runtime();
                self.step(step, async move {
                    runtime.sleep(time).await;
                    Ok(())
                })
            }
            GuestOp::Discard { offset, len } => {
                self.step(step, device.discard(ByteRange::new(offset, len)))
            }
            GuestOp::WriteZeroes { offset, len, unmap } => {
                self.step(step, device.write_zeroes(ByteRange::new(offset, len), unmap))
            }
            GuestOp::WriteCompressed { offset, len } => {
                let data = stamp::packed_content(offset / SECTOR, len / SECTOR, serial);
                self.step(step, device.write_compressed(offset, data))
            }
            GuestOp::Snapshot(name) => self.step(step, device.snapshot(name)),
            GuestOp::Apply(name) => self.step(step, device.apply(name)),
            GuestOp::DeleteSnapshot(name) => self.step(step, device.delete_snapshot(name)),
            GuestOp::Resize(len) => self.step(step, device.resize(len)),
        }
    }

    fn poke(&mut self, disk: &str, offset: u64, bytes: &[u8]) {
        let mut images = self.world.visible();
        let place = self.specs.iter().position(|spec| spec.name == disk);
        let image = &mut images[place.expect("the reader of scenarios knows the disks")];
        image.set_len(image.len().max(offset + bytes.len() as u64));
        image.write(offset, bytes);
        self.world = world(self.specs, images);
    }

    fn reopen(&mut self, step: &str, access: Access) -> Result<(), SetupFailed> {
        self.close(step)?;
        self.open(step, access)
    }

    /// Waits for something that an engine does.
    pub(super) fn step<T>(
        &self,
        step: &str,
        future: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, SetupFailed> {
        match self.world.run(future) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(refused(step, error)),
            Err(Stuck { reason }) => Err(SetupFailed::Stuck { step: step.to_owned(), reason }),
        }
    }
}

fn world(disks: &[DiskSpec], images: Vec<Image>) -> DirectWorld {
    DirectWorld::new(LazyDisks::new(disks.iter().cloned().zip(images), Watch::Off))
}
