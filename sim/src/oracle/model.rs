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
//! What a write puts there need not be one value: zeros for a discard, and of a copy, such as a
//! snapshot, whatever a read of the source could see between its submission and its end. A write that
//! is **durable** when it completes supersedes for power cuts as if a flush had covered it.
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

mod copy;
mod fingerprint;

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;

use crate::oracle::allowed::Allowed;

use copy::Copied;
pub use copy::CopyInFlight;

/// A moment: the number of guest events that happened before it.
pub type Moment = u64;

/// What a guest sector may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    /// What was there before the first write.
    Initial,
    /// The data of the write with this serial number.
    Write(u64),
    /// Zeros.
    Zeros,
    /// That there is no such sector.
    Nothing,
    /// What was in this other sector before the first write to it.
    InitialOf(u64),
}

impl Value {
    /// Numbers that tell it from all others: no serial number is that large.
    pub(crate) fn words(self) -> Vec<u64> {
        match self {
            Self::Initial => vec![u64::MAX],
            Self::Write(serial) => vec![serial],
            Self::Zeros => vec![u64::MAX - 1],
            Self::Nothing => vec![u64::MAX - 2],
            Self::InitialOf(sector) => vec![u64::MAX - 3, sector],
        }
    }
}

/// What a write leaves in one sector.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Puts {
    /// Its own data.
    Data,
    /// One of these.
    OneOf(Vec<Value>),
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
    puts: Puts,
    /// Whether it survives power cuts once it has succeeded, without a flush.
    durable: bool,
}

impl SectorWrite {
    fn values(&self) -> Vec<Value> {
        match &self.puts {
            Puts::Data => vec![Value::Write(self.serial)],
            Puts::OneOf(values) => values.clone(),
        }
    }

    fn succeeded_and_lasts(&self) -> bool {
        self.durable && matches!(self.ended, Some((_, End::Success)))
    }

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
    /// By submission.
    copies: BTreeMap<Moment, Copied>,
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
        sectors.for_each(|sector| self.change(sector, serial, Puts::Data, false));
        submitted
    }

    /// Zeros are written to `sectors`, or they are discarded.
    pub fn submit_zeros(&mut self, sectors: Range<u64>, serial: u64) {
        self.submit();
        let puts = Puts::OneOf(vec![Value::Zeros]);
        sectors.for_each(|sector| self.change(sector, serial, puts.clone(), false));
    }

    /// The write `serial` to `sectors` ends.
    ///
    /// # Panics
    /// If it was not submitted, or ended before.
    pub fn end_write(&mut self, sectors: Range<u64>, serial: u64, end: End) {
        self.step();
        sectors.clone().for_each(|sector| self.end_change(sector, serial, end));
        if end == End::Success {
            self.uncovered.push_back((self.now, sectors));
        }
    }

    /// A write to one sector, submitted now.
    fn change(&mut self, sector: u64, serial: u64, puts: Puts, durable: bool) {
        let submitted = self.now;
        let write = SectorWrite { serial, submitted, ended: None, puts, durable };
        let mut values = self.after_power_cut.of(sector).to_vec();
        values.extend(write.values());
        self.sectors.entry(sector).or_default().list.push(write);
        self.update_key(sector);
        self.after_power_cut.set(sector, without_repeats(values));
        self.copy_again(sector);
    }

    /// The write to one sector ends now.
    fn end_change(&mut self, sector: u64, serial: u64, end: End) {
        let now = self.now;
        let write = self.write_mut(sector, serial);
        assert!(write.ended.is_none(), "write {serial:#x} ended twice");
        write.ended = Some((now, end));
        let lasts = write.succeeded_and_lasts();
        self.update_key(sector);
        if lasts {
            self.leave(sector);
        }
    }

    fn write_mut(&mut self, sector: u64, serial: u64) -> &mut SectorWrite {
        let writes = self.sectors.get_mut(&sector).expect("the write was submitted");
        let write = writes.list.iter_mut().rfind(|write| write.serial == serial);
        write.expect("the write was submitted")
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
        self.leave(sector);
    }

    /// Works out what a power cut may leave of `sector`.
    fn leave(&mut self, sector: u64) {
        let writes = self.writes(sector);
        let left = values_since(writes, superseding_for_good(writes, self.flushed));
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

/// The same for power cuts, where a flush was submitted at `flushed` and what is durable counts
/// without one.
fn superseding_for_good(writes: &[SectorWrite], flushed: Moment) -> Moment {
    let lasting = writes.iter().filter(|write| write.succeeded_and_lasts());
    let lasting = lasting.map(|write| write.submitted).max().unwrap_or(0);
    superseding(writes, flushed).max(lasting)
}

fn not_superseded(writes: &[SectorWrite], before: Moment) -> Vec<Value> {
    values_since(writes, superseding(writes, before))
}

/// The values that the write submitted at `superseding` does not supersede.
fn values_since(writes: &[SectorWrite], superseding: Moment) -> Vec<Value> {
    let initial = (superseding == 0).then_some(Value::Initial);
    let remaining = writes.iter().filter(|write| !write.ended_before(superseding));
    let remaining = remaining.flat_map(SectorWrite::values);
    without_repeats(initial.into_iter().chain(remaining).collect())
}

/// The same values, each once, in the same order.
fn without_repeats(mut values: Vec<Value>) -> Vec<Value> {
    let mut seen = BTreeSet::new();
    values.retain(|value| seen.insert(*value));
    values
}

#[cfg(test)]
mod tests;
