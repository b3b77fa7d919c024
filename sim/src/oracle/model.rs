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
mod tests {
    use super::*;

    /// One step of a history on sector 0: submit or end write `n`, submit or end a flush.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        W(u64),
        Ok(u64),
        Fail(u64),
        Flush,
        Flushed,
    }
    use Step::{Fail, Flush, Flushed, Ok, W};

    fn run(steps: &[Step]) -> SectorModel {
        let mut model = SectorModel::new();
        let mut flush = 0;
        for &step in steps {
            match step {
                W(serial) => _ = model.submit_write(0..1, serial),
                Ok(serial) => model.end_write(0..1, serial, End::Success),
                Fail(serial) => model.end_write(0..1, serial, End::Failure),
                Flush => flush = model.submit(),
                Flushed => model.flush_succeeded(flush),
            }
        }
        model
    }

    #[test]
    fn after_a_power_cut_only_superseded_values_are_gone() {
        let check = |steps: &[Step], expected: &[u64]| {
            let values: Vec<u64> = run(steps)
                .after_power_cut(0)
                .into_iter()
                .map(|value| match value {
                    Value::Initial => 0,
                    Value::Write(serial) => serial,
                })
                .collect();
            assert_eq!(values, expected, "{steps:?}");
        };
        check(&[], &[0]);
        check(&[W(1)], &[0, 1]);
        check(&[W(1), Ok(1)], &[0, 1]);
        check(&[W(1), Ok(1), Flush], &[0, 1]);
        check(&[W(1), Ok(1), Flush, Flushed], &[1]);
        // A write that completes after the flush was submitted is not covered.
        check(&[W(1), Flush, Ok(1), Flushed], &[0, 1]);
        // Unflushed overwrites may be lost in any number.
        check(&[W(1), Ok(1), Flush, Flushed, W(2), Ok(2), W(3)], &[1, 2, 3]);
        check(&[W(1), Ok(1), W(2), Ok(2), Flush, Flushed], &[2]);
        // Writes in flight together are unordered, flushed or not.
        check(&[W(1), W(2), Ok(2), Ok(1), Flush, Flushed], &[1, 2]);
        // Write 2 is still in flight at the flush, so only write 1 is certain to be over.
        check(&[W(1), W(2), Ok(1), Flush, Flushed, Ok(2)], &[1, 2]);
        // A failed write promises nothing and supersedes nothing.
        check(&[W(1), Fail(1), Flush, Flushed], &[0, 1]);
        check(&[W(1), Fail(1), W(2), Ok(2), Flush, Flushed], &[2]);
    }

    #[test]
    fn a_read_sees_the_last_write_or_a_concurrent_one() {
        let read_now = |steps: &[Step]| {
            let mut model = run(steps);
            let submitted = model.submit();
            model.readable(0, submitted)
        };
        assert_eq!(read_now(&[W(1), Ok(1)]), [Value::Write(1)]);
        assert_eq!(read_now(&[W(1)]), [Value::Initial, Value::Write(1)]);
        assert_eq!(read_now(&[W(1), Fail(1)]), [Value::Initial, Value::Write(1)]);
        assert_eq!(read_now(&[W(1), Ok(1), W(2), W(3), Ok(3)]), [Value::Write(2), Value::Write(3)]);
    }

    /// The rule of INVARIANTS D-DUR, word by word, as the reference.
    fn reference(steps: &[Step]) -> Vec<Value> {
        let at = |wanted: fn(&Step, u64) -> bool, serial| {
            steps.iter().position(|step| wanted(step, serial))
        };
        let submitted = |n| at(|s, n| matches!(s, W(m) if *m == n), n);
        let ended = |n| at(|s, n| matches!(s, Ok(m) | Fail(m) if *m == n), n);
        let succeeded = |n| at(|s, n| matches!(s, Ok(m) if *m == n), n);
        let flush = match steps.iter().rposition(|s| matches!(s, Flushed)) {
            Some(end) => steps[..end].iter().rposition(|s| matches!(s, Flush)),
            None => None,
        };
        let writes: Vec<u64> = (1..=3).filter(|&n| submitted(n).is_some()).collect();
        let before_flush = |n: u64| succeeded(n).zip(flush).is_some_and(|(s, f)| s < f);
        let excluded = |n: u64| {
            writes.iter().any(|&other| {
                before_flush(other) && ended(n).is_some_and(|end| submitted(other).unwrap() > end)
            })
        };
        let initial = (!writes.iter().any(|&n| before_flush(n))).then_some(Value::Initial);
        let mut rest: Vec<u64> = writes.iter().copied().filter(|&n| !excluded(n)).collect();
        rest.sort_by_key(|&n| submitted(n));
        initial.into_iter().chain(rest.into_iter().map(Value::Write)).collect()
    }

    #[test]
    fn every_history_of_three_writes_and_two_flushes_agrees_with_the_rule() {
        let mut count = 0;
        extend(&mut Vec::new(), &mut |steps| {
            count += 1;
            assert_eq!(run(steps).after_power_cut(0), reference(steps), "{steps:?}");
        });
        assert!(count > 10_000, "only {count} histories");
    }

    /// Calls `visit` for every well-formed history of at most seven steps.
    fn extend(steps: &mut Vec<Step>, visit: &mut impl FnMut(&[Step])) {
        visit(steps);
        if steps.len() == 7 {
            return;
        }
        let flushing = steps.iter().filter(|s| matches!(s, Flush)).count()
            > steps.iter().filter(|s| matches!(s, Flushed)).count();
        let mut next = vec![if flushing { Flushed } else { Flush }];
        for n in 1..=3 {
            let submitted = steps.iter().any(|s| matches!(s, W(m) if *m == n));
            let over = steps.iter().any(|s| matches!(s, Ok(m) | Fail(m) if *m == n));
            if !submitted {
                next.push(W(n));
            } else if !over {
                next.extend([Ok(n), Fail(n)]);
            }
        }
        for step in next {
            steps.push(step);
            extend(steps, visit);
            steps.pop();
        }
    }
}
