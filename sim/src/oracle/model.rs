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

use std::collections::BTreeMap;

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
}

/// The sector model of one virtual disk.
#[derive(Debug, Clone, Default)]
pub struct SectorModel {
    now: Moment,
    /// Submission of the last flush that succeeded.
    flushed: Moment,
    sectors: BTreeMap<u64, Vec<SectorWrite>>,
}

impl SectorModel {
    /// A model in which nothing was written yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A request is submitted; its submission is the moment returned.
    pub fn submit(&mut self) -> Moment {
        self.now += 1;
        self.now
    }

    /// A write to `sectors` is submitted.
    pub fn submit_write(&mut self, sectors: std::ops::Range<u64>, serial: u64) -> Moment {
        let submitted = self.submit();
        for sector in sectors {
            let writes = self.sectors.entry(sector).or_default();
            writes.push(SectorWrite { serial, submitted, ended: None });
        }
        submitted
    }

    /// The write `serial` to `sectors` ends.
    ///
    /// # Panics
    /// If it was not submitted, or ended before.
    pub fn end_write(&mut self, sectors: std::ops::Range<u64>, serial: u64, end: End) {
        self.now += 1;
        for sector in sectors {
            let writes = self.sectors.get_mut(&sector).expect("the write was submitted");
            let write = writes.iter_mut().find(|write| write.serial == serial);
            let write = write.expect("the write was submitted");
            assert!(write.ended.is_none(), "write {serial:#x} ended twice");
            write.ended = Some((self.now, end));
        }
    }

    /// A flush that was submitted at `submitted` succeeds.
    pub fn flush_succeeded(&mut self, submitted: Moment) {
        self.now += 1;
        self.flushed = self.flushed.max(submitted);
    }

    /// The present moment. As long as it is the same, so is everything that the model says.
    #[must_use]
    pub fn now(&self) -> Moment {
        self.now
    }

    /// The sectors that were ever written, in order.
    pub fn touched(&self) -> impl Iterator<Item = u64> + '_ {
        self.sectors.keys().copied()
    }

    /// The values that `sector` may hold after a power cut now, initial first, then by submission.
    #[must_use]
    pub fn after_power_cut(&self, sector: u64) -> Vec<Value> {
        self.not_superseded(sector, self.flushed)
    }

    /// The values that a read of `sector` may return that was submitted at `submitted` and ends
    /// now.
    #[must_use]
    pub fn readable(&self, sector: u64, submitted: Moment) -> Vec<Value> {
        self.not_superseded(sector, submitted)
    }

    /// Whether `serial` was ever written to `sector`.
    #[must_use]
    pub fn was_written(&self, sector: u64, serial: u64) -> bool {
        let writes = self.sectors.get(&sector);
        writes.is_some_and(|writes| writes.iter().any(|write| write.serial == serial))
    }

    fn not_superseded(&self, sector: u64, before: Moment) -> Vec<Value> {
        let Some(writes) = self.sectors.get(&sector) else { return vec![Value::Initial] };
        // Of the writes that completed in time, the one submitted last supersedes everything that
        // ended before its submission.
        let superseding = writes
            .iter()
            .filter(|write| write.succeeded_before(before))
            .map(|write| write.submitted)
            .max()
            .unwrap_or(0);
        let initial = (superseding == 0).then_some(Value::Initial);
        let remaining = writes
            .iter()
            .filter(|write| write.ended.is_none_or(|(ended, _)| ended > superseding))
            .map(|write| Value::Write(write.serial));
        initial.into_iter().chain(remaining).collect()
    }
}

#[cfg(test)]
mod tests;
