//! The thing under test: what an engine must offer to be explored.
//!
//! A [`System`] says which disks there are, what they hold when the exploration starts, how to open
//! the device on them (also after a power cut), what to read back and what a disk sector means. An
//! opened [`Device`] takes guest requests. Both are ordinary `async` code: they run on the
//! simulated disks of one execution and know of no power cut.
//!
//! [`fvd`] and [`qcow2`] are the systems that scenario files describe. Any other is explored by
//! [`explore::run_system`](crate::explore::run_system), where there is an example.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use plugpull_engine::{ByteRange, Disk, Error, Runtime};

use crate::crash::LazyDisks;
use crate::disk::{DiskSpec, Image, Op};
use crate::oracle::{Finding, View};
use crate::verdict::Invariant;
use crate::workload::SnapshotName;

pub mod fvd;
pub mod qcow2;
mod resolver;
mod setup;

pub use setup::{SetupFailed, Touched};

/// A boxed future that may move between threads.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send + 'static>>;

/// The disks as a power cut left them.
pub trait ReadDisks {
    /// The bytes of a range of a disk; past its end there are zeros.
    fn read(&mut self, disk: usize, range: ByteRange) -> Vec<u8>;

    /// The length of a disk.
    fn len(&mut self, disk: usize) -> u64;
}

impl ReadDisks for LazyDisks {
    fn read(&mut self, disk: usize, range: ByteRange) -> Vec<u8> {
        let len = usize::try_from(range.len).expect("a range that fits in memory");
        let reply = self.request(disk, Op::Read { offset: range.offset, len });
        reply.expect("nothing fails on these disks")
    }

    fn len(&mut self, disk: usize) -> u64 {
        self.len_of(disk)
    }
}

/// What the device is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To run the workload, with background jobs if the scenario has any.
    Workload,
    /// To recover after a power cut: no background job, so that what is read is what was there.
    Recovery,
}

/// An event that must not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forbidden {
    /// Its name.
    pub event: &'static str,
    /// The invariant that it breaks.
    pub invariant: Invariant,
    /// What it means.
    pub message: &'static str,
}

/// Something to explore.
///
/// What clients write carries stamps and has to be stored as it is; what `initial` says is what the
/// start images have to read as.
///
/// All of it must be a function of what the disks hold: recovery is run many times, and what a
/// system keeps from one opening to the next makes the verdict
/// [`HarnessBroken`](crate::verdict::Verdict::HarnessBroken).
pub trait System: Send + Sync {
    /// The disks: names and models, in the order in which images and handles are passed.
    fn disks(&self) -> &[DiskSpec];

    /// What the disks hold when the exploration starts. All of it is durable.
    fn start(&self) -> &[Image];

    /// What the guest reads when the exploration starts, from first to last byte, in every
    /// [`View`]. It counts as flushed.
    fn initial(&self) -> &Image;

    /// The largest size that a view may have.
    fn extent(&self, view: View) -> u64 {
        if view == View::Active { self.initial().len() } else { 0 }
    }

    /// The ranges of views that there are not when the exploration starts, though there may be later.
    fn missing(&self) -> &[ByteRange] {
        &[]
    }

    /// Whether the device is opened for reading only, so that no disk may change.
    fn is_read_only(&self) -> bool {
        false
    }

    /// Whether tasks share nothing that they do not tell
    /// [`Runtime::tracker`] of, apart from disks, clock and what else the runtime gives them. All of
    /// [`plugpull_engine::sync`] tells. If not, all that tasks do counts as depending on all else that
    /// tasks do: that is right for any system, and explores more.
    fn is_tracked(&self) -> bool {
        false
    }

    /// Whether the start images need recovery, so that opening them writes.
    fn recovers_at_start(&self) -> bool {
        false
    }

    /// Whether the start images are damaged on purpose: refusing to open them is right then, as long
    /// as nothing is written.
    fn may_refuse(&self) -> bool {
        false
    }

    /// How many questions there are about the bytes that a power cut left, before any recovery.
    fn image_questions(&self) -> usize {
        0
    }

    /// One structural invariant of the bytes that a power cut left, or one part of one, before any
    /// recovery; how it is broken, if it is. What may be undecided should be read in small pieces,
    /// and by as few questions as possible: every question is asked for itself, in every way that
    /// the sectors it reads allow.
    fn check_image(&self, question: usize, disks: &mut dyn ReadDisks) -> Option<Finding> {
        let _ = (question, disks);
        None
    }

    /// Opens the device on `disks`, recovering first if need be.
    fn open(
        &self,
        disks: Vec<Arc<dyn Disk>>,
        runtime: Arc<dyn Runtime>,
        purpose: Purpose,
    ) -> BoxFuture<Result<Arc<dyn Device>, Error>>;

    /// The guest ranges to read back after recovery, in order and disjoint, each inside one
    /// [`View`].
    fn queries(&self) -> &[ByteRange];

    /// The invariant that is broken when the device refuses to open after a power cut: everything
    /// that was flushed is out of reach.
    fn refusal(&self, error: &Error) -> Invariant {
        let _ = error;
        Invariant::DDur
    }

    /// Structural invariants of the disks after a close that has reported success, in an execution
    /// in which nothing has failed.
    fn check_closed(&self, images: &[Image]) -> Option<Finding> {
        let _ = images;
        None
    }

    /// Whether what the disks hold is compared with the device at the end, after a flush
    /// ([`Device::check_flushed`]).
    fn compares_flushed(&self) -> bool {
        false
    }

    /// Whether an opening that writes has repaired, so that [`Self::check_repaired`] holds after it and
    /// another opening has nothing to write.
    fn repairs(&self) -> bool {
        false
    }

    /// What a repair has left to be done, if anything. It reads what the repair has read: nothing of
    /// that is undecided.
    fn check_repaired(&self, disks: &mut dyn ReadDisks) -> Option<Finding> {
        let _ = disks;
        None
    }

    /// Events that must not happen while the workload runs.
    fn forbidden(&self) -> &[Forbidden] {
        &[]
    }

    /// Which structure the bytes at `offset` of a disk belong to, for people.
    fn describe(&self, disk: usize, offset: u64) -> Option<String> {
        let _ = (disk, offset);
        None
    }
}

/// An opened device.
pub trait Device: Send + Sync {
    /// Reads a guest range.
    fn read(&self, range: ByteRange) -> BoxFuture<Result<Vec<u8>, Error>>;

    /// Reads a range of any [`View`]. Sectors that there are not read as
    /// [`Origin::Nothing`](crate::oracle::stamp::Origin::Nothing). Nothing is in flight, and nothing of
    /// what it reads may be remembered: what is read next may be asked of other disks.
    fn read_back(&self, range: ByteRange) -> BoxFuture<Result<Vec<u8>, Error>> {
        self.read(range)
    }

    /// Writes guest data.
    fn write(&self, offset: u64, data: Vec<u8>) -> BoxFuture<Result<(), Error>>;

    /// Makes durable what completed before.
    fn flush(&self) -> BoxFuture<Result<(), Error>>;

    /// Closes the device; later requests fail.
    fn close(&self) -> BoxFuture<Result<(), Error>>;

    /// Makes whole clusters read as zeros, and gives them up.
    fn discard(&self, range: ByteRange) -> BoxFuture<Result<(), Error>> {
        unsupported(format!("discard of {range}"))
    }

    /// Makes a range read as zeros; with `unmap`, gives up storage as well.
    fn write_zeroes(&self, range: ByteRange, unmap: bool) -> BoxFuture<Result<(), Error>> {
        let _ = unmap;
        unsupported(format!("zeros to {range}"))
    }

    /// Writes whole clusters, compressed.
    fn write_compressed(&self, offset: u64, data: Vec<u8>) -> BoxFuture<Result<(), Error>> {
        let _ = data;
        unsupported(format!("compressed data at {offset}"))
    }

    /// Creates a snapshot; durable when it completes.
    fn snapshot(&self, name: SnapshotName) -> BoxFuture<Result<(), Error>> {
        unsupported(format!("snapshot {name}"))
    }

    /// Sets the guest's disk back to a snapshot; durable when it completes.
    fn apply(&self, name: SnapshotName) -> BoxFuture<Result<(), Error>> {
        unsupported(format!("snapshot {name}"))
    }

    /// Deletes a snapshot; durable when it completes.
    fn delete_snapshot(&self, name: SnapshotName) -> BoxFuture<Result<(), Error>> {
        unsupported(format!("snapshot {name}"))
    }

    /// Changes the size of the virtual disk; durable when it completes.
    fn resize(&self, len: u64) -> BoxFuture<Result<(), Error>> {
        unsupported(format!("resize to {len}"))
    }

    /// Completes when every background job is over.
    fn wait_for_jobs(&self) -> BoxFuture<()> {
        Box::pin(std::future::ready(()))
    }

    /// Whether a background job has not come to its end.
    fn job_is_running(&self) -> bool {
        false
    }

    /// What the disks hold after a flush with nothing in flight, and the device knows better: the
    /// first difference, if there is one. `queries` are those of [`System::queries`].
    fn check_flushed(&self, queries: Vec<ByteRange>) -> BoxFuture<Option<Finding>> {
        let _ = queries;
        Box::pin(std::future::ready(None))
    }

    /// Structural invariants of the opened state; the first that is broken, if any.
    fn check(&self) -> Option<Finding> {
        None
    }
}

fn unsupported(what: String) -> BoxFuture<Result<(), Error>> {
    Box::pin(std::future::ready(Err(Error::Unsupported(what))))
}
