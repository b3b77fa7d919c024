//! The sector model: what a reader of each guest sector may see, now and after a power cut.
//!
//! For every sector the model keeps the writes that were made to it, with the moments of their
//! submission and their end. All rules follow from one relation. A write `w` is **superseded
//! before** a moment `t` when some other write `w'` to the sector completed successfully before
//! `t` and was submitted after `w` had ended. Then
//!
//! * after a power cut a sector may hold any write that is not superseded before the submission of
//!   the last flush that succeeded (D-DUR, D-OLDNEW);
//! * a read may return any write that is not superseded before the submission of the read (D-RYW).
//!
//! The initial content counts as a write that ended before everything. A failed write never
//! supersedes, and may be seen until it is superseded itself. A cancelled write ends when it is
//! cancelled: the engine promises that it takes effect, if at all, before any later overlapping
//! write.
//!
//! The model forgets writes that nobody can ask for any more. Let the **horizon** of a sector be the
//! submission of the last flush that succeeded or of the earliest read of it in flight, whichever is earlier. What is
//! superseded before the horizon stays so at every later moment, for a power cut as for a read: the
//! horizon never goes back, and neither flushes nor reads are submitted in the past. Of the writes
//! that supersede it the one submitted last is not superseded itself, so that the rules give the same
//! without it. A sector is looked at when a flush covers a write to it, and then costs what may still
//! be seen of it; and again when a read ends that had held the horizon back.

mod fingerprint;

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;

use crate::oracle::allowed::Allowed;

/// A moment: the number of guest events that happened before it.
pub type Moment = u64;

/// What a guest sector may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    /// What was there before the first write.
    Initial,
    /// The data of the write with this serial number.
    Write(u64),
}

/// How a guest request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It reported success.
    Success,
    /// It reported an error, or was cancelled.
    Failure,
}

#[derive(Debug, Clone)]
struct SectorWrite {
    serial: u64,
    submitted: Moment,
    ended: Option<(Moment, End)>,
}

impl SectorWrite {
    fn succeeded_before(&self, moment: Moment) -> bool {
        matches!(self.ended, Some((ended, End::Success)) if ended < moment)
    }

    fn ended_before(&self, moment: Moment) -> bool {
        self.ended.is_some_and(|(ended, _)| ended < moment)
    }
}

/// A flush that was submitted and has not ended.
#[derive(Debug)]
#[must_use = "the model keeps what a flush in flight covers until it ends"]
pub struct FlushInFlight {
    submitted: Moment,
}

/// A read that was submitted and has not ended.
#[derive(Debug)]
#[must_use = "the model keeps what a read in flight may see until it ends"]
pub struct ReadInFlight {
    submitted: Moment,
}

/// The sector model of one virtual disk.
#[derive(Debug, Clone, Default)]
pub struct SectorModel {
    now: Moment,
    /// Submission of the last flush that succeeded.
    flushed: Moment,
    /// By submission.
    reads: BTreeMap<Moment, InFlight>,
    /// By submission.
    flushes: BTreeMap<Moment, InFlight>,
    /// By submission, the writes that are not forgotten.
    sectors: BTreeMap<u64, SectorWrites>,
    /// The sum of the keys of all sectors.
    sectors_key: u128,
    /// The sectors in which a read in flight may see what a flush has put out of sight otherwise.
    held: BTreeSet<u64>,
    /// Ends and sectors of the successful writes that no successful flush covers, by end.
    uncovered: VecDeque<(Moment, Range<u64>)>,
    after_power_cut: Allowed,
    /// See [`SectorModel::fingerprint`].
    fingerprint: OnceCell<u128>,
}

/// A read or flush in flight.
#[derive(Debug, Clone)]
struct InFlight {
    id: u64,
    /// What it asks for; every sector for a flush.
    sectors: Range<u64>,
    /// What it adds to the fingerprint, if that is known.
    key: OnceCell<u128>,
}

impl InFlight {
    fn new(id: u64, sectors: Range<u64>) -> Self {
        Self { id, sectors, key: OnceCell::new() }
    }
}

/// The writes to one sector.
#[derive(Debug, Clone, Default)]
struct SectorWrites {
    /// By submission.
    list: Vec<SectorWrite>,
    /// What they add to the fingerprint, but for requests in flight.
    key: u128,
}

impl SectorModel {
    /// A model in which nothing was written yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A flush is submitted. `id` is the same for it, and for no other flush, in every schedule.
    pub fn submit_flush(&mut self, id: u64) -> FlushInFlight {
        let submitted = self.submit();
        self.flushes.insert(submitted, InFlight::new(id, 0..u64::MAX));
        FlushInFlight { submitted }
    }

    /// A read of `sectors` is submitted. `id` is the same for it, and for no other read, in every
    /// schedule.
    pub fn submit_read(&mut self, id: u64, sectors: Range<u64>) -> ReadInFlight {
        let submitted = self.submit();
        self.reads.insert(submitted, InFlight::new(id, sectors));
        ReadInFlight { submitted }
    }

    /// A write to `sectors` is submitted.
    pub fn submit_write(&mut self, sectors: Range<u64>, serial: u64) -> Moment {
        let submitted = self.submit();
        for sector in sectors {
            let writes = self.sectors.entry(sector).or_default();
            writes.list.push(SectorWrite { serial, submitted, ended: None });
            self.update_key(sector);
            let values = [self.after_power_cut.of(sector), &[Value::Write(serial)]].concat();
            self.after_power_cut.set(sector, values);
        }
        submitted
    }

    /// The write `serial` to `sectors` ends.
    ///
    /// # Panics
    /// If it was not submitted, or ended before.
    pub fn end_write(&mut self, sectors: Range<u64>, serial: u64, end: End) {
        self.step();
        for sector in sectors.clone() {
            let writes = self.sectors.get_mut(&sector).expect("the write was submitted");
            let write = writes.list.iter_mut().rfind(|write| write.serial == serial);
            let write = write.expect("the write was submitted");
            assert!(write.ended.is_none(), "write {serial:#x} ended twice");
            write.ended = Some((self.now, end));
            self.update_key(sector);
        }
        if end == End::Success {
            self.uncovered.push_back((self.now, sectors));
        }
    }

    /// A read ends, however it ends.
    ///
    /// # Panics
    /// If it is a read of another model.
    pub fn end_read(&mut self, read: ReadInFlight) {
        let ReadInFlight { submitted } = read;
        let ended = self.reads.remove(&submitted);
        assert!(ended.is_some(), "no read of moment {submitted} is in flight");
        self.fingerprint.take();
        for sector in std::mem::take(&mut self.held) {
            self.forget(sector);
        }
        self.forget_keys();
    }

    /// A flush ends that promises nothing: it failed or was cancelled.
    ///
    /// # Panics
    /// If it is a flush of another model.
    pub fn end_flush(&mut self, flush: FlushInFlight) {
        let FlushInFlight { submitted } = flush;
        let ended = self.flushes.remove(&submitted);
        assert!(ended.is_some(), "no flush of moment {submitted} is in flight");
        self.fingerprint.take();
    }

    /// A flush succeeds.
    ///
    /// # Panics
    /// If it is a flush of another model.
    pub fn flush_succeeded(&mut self, flush: FlushInFlight) {
        let FlushInFlight { submitted } = flush;
        self.end_flush(flush);
        self.step();
        self.flushed = self.flushed.max(submitted);
        while let Some((_, sectors)) = self.uncovered.pop_front_if(|(end, _)| *end < self.flushed) {
            sectors.for_each(|sector| self.cover(sector));
        }
        self.forget_keys();
    }

    /// The present moment. As long as it is the same, so is everything that the model says.
    #[must_use]
    pub fn now(&self) -> Moment {
        self.now
    }

    /// Those of `sectors` that were ever written, in order.
    pub fn written(&self, sectors: Range<u64>) -> impl Iterator<Item = u64> + '_ {
        self.sectors.range(sectors).map(|(&sector, _)| sector)
    }

    /// The values that each sector may hold after a power cut now, initial first, then by
    /// submission.
    #[must_use]
    pub fn after_power_cut(&self) -> &Allowed {
        &self.after_power_cut
    }

    /// The values of `sector` that `read` may return if it ends now, in the same order.
    ///
    /// # Panics
    /// If it is a read of another model, or of other sectors.
    #[must_use]
    pub fn readable(&self, sector: u64, read: &ReadInFlight) -> Vec<Value> {
        let ReadInFlight { submitted } = *read;
        let read = self.reads.get(&submitted).expect("a read in flight of this model");
        assert!(read.sectors.contains(&sector), "sector {sector} is not read");
        not_superseded(self.writes(sector), submitted)
    }

    /// The values of `sector` that a read may return that is submitted and ends now.
    #[must_use]
    pub fn readable_now(&self, sector: u64) -> Vec<Value> {
        not_superseded(self.writes(sector), Moment::MAX)
    }

    fn step(&mut self) {
        self.now += 1;
        self.fingerprint.take();
    }

    fn submit(&mut self) -> Moment {
        self.step();
        self.now
    }

    fn writes(&self, sector: u64) -> &[SectorWrite] {
        self.sectors.get(&sector).map_or(&[], |writes| &writes.list)
    }

    /// No question about `sector` will be about what is superseded before this moment.
    fn horizon(&self, sector: u64) -> Moment {
        let mut reads = self.reads.iter().filter(|(_, read)| read.sectors.contains(&sector));
        reads.next().map_or(self.flushed, |(&submitted, _)| submitted.min(self.flushed))
    }

    /// A flush covers a write to `sector`: some may be seen no more, some be forgotten.
    fn cover(&mut self, sector: u64) {
        self.forget(sector);
        let left = not_superseded(self.writes(sector), self.flushed);
        self.after_power_cut.set(sector, left);
    }

    /// Forgets what nobody can ask for any more of `sector`.
    fn forget(&mut self, sector: u64) {
        let horizon = self.horizon(sector);
        let writes = self.sectors.get_mut(&sector).expect("a write to it was covered");
        let superseding = superseding(&writes.list, horizon);
        writes.list.retain(|write| !write.ended_before(superseding));
        if horizon < self.flushed {
            self.held.insert(sector);
        }
        self.update_key(sector);
    }
}

/// The submission of the write that supersedes the most before the moment `before`; 0 if none does.
///
/// Of the writes that completed in time, the one submitted last supersedes everything that ended
/// before its submission.
fn superseding(writes: &[SectorWrite], before: Moment) -> Moment {
    let in_time = writes.iter().filter(|write| write.succeeded_before(before));
    in_time.map(|write| write.submitted).max().unwrap_or(0)
}

fn not_superseded(writes: &[SectorWrite], before: Moment) -> Vec<Value> {
    let superseding = superseding(writes, before);
    let initial = (superseding == 0).then_some(Value::Initial);
    let remaining = writes
        .iter()
        .filter(|write| !write.ended_before(superseding))
        .map(|write| Value::Write(write.serial));
    initial.into_iter().chain(remaining).collect()
}

#[cfg(test)]
mod tests;
