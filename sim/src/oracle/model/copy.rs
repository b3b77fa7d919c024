//! Changes of many sectors at once that are durable when they complete: snapshots, going back to one,
//! deleting one, and new sizes.
//!
//! A copy is a read of its source and a write to its target: until it ends, each sector of the target
//! may be what it was or anything that the read may see. What the sectors of a copy have in common
//! (that there are all or none) is not judged.

use std::ops::Range;

use super::{End, Moment, Puts, ReadInFlight, SectorModel, Value};

/// A copy that was submitted and has not ended.
#[derive(Debug)]
#[must_use = "the model keeps what a copy in flight may see until it ends"]
pub struct CopyInFlight {
    read: ReadInFlight,
}

/// Where a copy in flight comes from and goes to.
#[derive(Debug, Clone)]
pub(super) struct Copied {
    from: Range<u64>,
    to: u64,
    serial: u64,
}

impl Copied {
    fn target(&self, sector: u64) -> u64 {
        self.to + (sector - self.from.start)
    }

    fn targets(&self) -> Range<u64> {
        self.to..self.target(self.from.end)
    }
}

impl SectorModel {
    /// There is nothing in `sectors` from the beginning.
    pub fn start_without(&mut self, sectors: Range<u64>) {
        self.step();
        for sector in sectors {
            self.change(sector, 0, Puts::OneOf(vec![Value::Nothing]), true);
            self.end_change(sector, 0, End::Success);
        }
    }

    /// A copy of the sectors `from` to those from `to` on is submitted.
    pub fn submit_copy(&mut self, serial: u64, from: Range<u64>, to: u64) -> CopyInFlight {
        let read = self.submit_read(serial, from.clone());
        self.step();
        for sector in from.clone() {
            let puts = Puts::OneOf(self.seen_by(sector, &read));
            self.change(to + (sector - from.start), serial, puts, true);
        }
        self.copies.insert(read.submitted, Copied { from, to, serial });
        CopyInFlight { read }
    }

    /// A copy ends. If it has succeeded there was something to copy.
    ///
    /// # Panics
    /// If it is a copy of another model.
    pub fn end_copy(&mut self, copy: CopyInFlight, end: End) {
        let CopyInFlight { read } = copy;
        let copied = self.copies.remove(&read.submitted).expect("a copy in flight of this model");
        self.step();
        for target in copied.targets() {
            if end == End::Success
                && let Puts::OneOf(values) = &mut self.write_mut(target, copied.serial).puts
                && values.iter().any(|value| *value != Value::Nothing)
            {
                values.retain(|value| *value != Value::Nothing);
            }
            self.end_change(target, copied.serial, end);
        }
        self.lasting(copied.targets(), end);
        self.end_read(read);
    }

    /// Sectors go away: what is seen of them until `serial` ends is what they were, or nothing.
    pub fn submit_removal(&mut self, sectors: Range<u64>, serial: u64) {
        self.step();
        let nothing = Puts::OneOf(vec![Value::Nothing]);
        sectors.for_each(|sector| self.change(sector, serial, nothing.clone(), true));
    }

    /// The removal `serial` of `sectors` ends.
    pub fn end_removal(&mut self, sectors: Range<u64>, serial: u64, end: End) {
        self.step();
        sectors.clone().for_each(|sector| self.end_change(sector, serial, end));
        self.lasting(sectors, end);
    }

    /// Of `sectors`, those before `len` are to stay or to become zeros, the others to go. Until it
    /// ends these may be zeros, too.
    pub fn submit_resize(&mut self, sectors: Range<u64>, len: u64, serial: u64) {
        self.step();
        for sector in sectors {
            let now = self.readable_now(sector);
            let is_nothing = |value: &Value| *value == Value::Nothing;
            let puts = if sector < len && now.iter().any(is_nothing) {
                now.into_iter().map(zeros_for_nothing).collect()
            } else if sector >= len && !now.iter().all(is_nothing) {
                vec![Value::Zeros, Value::Nothing]
            } else {
                continue;
            };
            self.change(sector, serial, Puts::OneOf(puts), true);
        }
    }

    /// The resize `serial` ends.
    pub fn end_resize(&mut self, sectors: Range<u64>, len: u64, serial: u64, end: End) {
        self.step();
        for sector in sectors {
            if !self.writes(sector).iter().any(|write| write.serial == serial) {
                continue;
            }
            if end == End::Success && sector >= len {
                self.write_mut(sector, serial).puts = Puts::OneOf(vec![Value::Nothing]);
            }
            self.end_change(sector, serial, end);
            self.lasting(sector..sector + 1, end);
        }
    }

    fn lasting(&mut self, sectors: Range<u64>, end: End) {
        if end == End::Success {
            // A later flush lets what is superseded be forgotten.
            self.uncovered.push_back((self.now, sectors));
        }
    }

    /// What a copy may have seen in a sector of its source.
    fn seen_by(&self, sector: u64, read: &ReadInFlight) -> Vec<Value> {
        let of = |value| if value == Value::Initial { Value::InitialOf(sector) } else { value };
        self.readable(sector, read).into_iter().map(of).collect()
    }

    /// What `sector` holds has changed: so may what copies in flight see.
    pub(super) fn copy_again(&mut self, sector: u64) {
        let copies = self.copies.iter().filter(|(_, copied)| copied.from.contains(&sector));
        let copies: Vec<(Moment, Copied)> =
            copies.map(|(&submitted, copied)| (submitted, copied.clone())).collect();
        for (submitted, copied) in copies {
            let seen = self.seen_by(sector, &ReadInFlight { submitted });
            let target = copied.target(sector);
            self.write_mut(target, copied.serial).puts = Puts::OneOf(seen);
            self.update_key(target);
            self.leave(target);
        }
    }
}

/// What a sector reads as once it is there for certain.
fn zeros_for_nothing(value: Value) -> Value {
    if value == Value::Nothing { Value::Zeros } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the snapshot of sectors 0 and 1 is.
    const VIEW: u64 = 100;

    fn with_view() -> SectorModel {
        let mut model = SectorModel::new();
        model.start_without(VIEW..VIEW + 2);
        model
    }

    fn write(model: &mut SectorModel, sectors: Range<u64>, serial: u64) {
        model.submit_write(sectors.clone(), serial);
        model.end_write(sectors, serial, End::Success);
    }

    fn left(model: &SectorModel, sector: u64) -> Vec<Value> {
        model.after_power_cut().of(sector).to_vec()
    }

    #[test]
    fn a_copy_shows_what_a_read_could_have_seen() {
        let mut model = with_view();
        write(&mut model, 0..1, 1);
        assert_eq!(left(&model, VIEW), [Value::Nothing]);
        let copy = model.submit_copy(9, 0..2, VIEW);
        assert_eq!(left(&model, VIEW), [Value::Nothing, Value::Write(1)]);
        assert_eq!(left(&model, VIEW + 1), [Value::Nothing, Value::InitialOf(1)]);
        model.submit_write(0..1, 2);
        let both = [Value::Write(1), Value::Write(2)];
        assert_eq!(left(&model, VIEW), [Value::Nothing, both[0], both[1]]);
        model.end_copy(copy, End::Success);
        assert_eq!(left(&model, VIEW), both);
        assert_eq!(model.readable_now(VIEW), both);
        // What comes later is not in it, and the source is as unflushed as it was.
        model.end_write(0..1, 2, End::Success);
        write(&mut model, 0..2, 3);
        assert_eq!(left(&model, VIEW), both);
        let source = [Value::Initial, Value::Write(1), Value::Write(2), Value::Write(3)];
        assert_eq!(left(&model, 0), source);
    }

    #[test]
    fn a_copy_that_fails_may_be_there_or_not() {
        let mut model = with_view();
        let copy = model.submit_copy(9, 0..2, VIEW);
        model.end_copy(copy, End::Failure);
        let either = [Value::Nothing, Value::InitialOf(0)];
        assert_eq!((left(&model, VIEW), model.readable_now(VIEW)), (either.into(), either.into()));
        // Going back to it shows that it is.
        let copy = model.submit_copy(10, VIEW..VIEW + 2, 0);
        model.end_copy(copy, End::Success);
        assert_eq!(left(&model, 0), [Value::InitialOf(0)]);
    }

    #[test]
    fn going_back_lasts_without_a_flush() {
        let mut model = with_view();
        write(&mut model, 0..2, 1);
        let copy = model.submit_copy(9, 0..2, VIEW);
        model.end_copy(copy, End::Success);
        write(&mut model, 0..1, 2);
        let copy = model.submit_copy(10, VIEW..VIEW + 2, 0);
        let any = [Value::Initial, Value::Write(1), Value::Write(2)];
        assert_eq!(left(&model, 0), any);
        model.end_copy(copy, End::Success);
        assert_eq!(left(&model, 0), [Value::Write(1)]);
        write(&mut model, 0..1, 3);
        assert_eq!(left(&model, 0), [Value::Write(1), Value::Write(3)]);
        let flush = model.submit_flush(11);
        model.flush_succeeded(flush);
        assert_eq!(left(&model, 0), [Value::Write(3)]);
    }

    #[test]
    fn a_removal_leaves_it_or_nothing_and_then_nothing() {
        let mut model = SectorModel::new();
        model.submit_removal(0..1, 1);
        assert_eq!(left(&model, 0), [Value::Initial, Value::Nothing]);
        model.end_removal(0..1, 1, End::Success);
        assert_eq!(left(&model, 0), [Value::Nothing]);
    }

    #[test]
    fn what_a_smaller_disk_has_lost_comes_back_as_zeros() {
        let mut model = SectorModel::new();
        write(&mut model, 0..4, 1);
        model.submit_resize(0..4, 2, 2);
        let free = [Value::Initial, Value::Write(1), Value::Zeros, Value::Nothing];
        assert_eq!(left(&model, 2), free);
        assert_eq!(left(&model, 1), [Value::Initial, Value::Write(1)]);
        model.end_resize(0..4, 2, 2, End::Success);
        assert_eq!(left(&model, 2), [Value::Nothing]);
        model.submit_resize(0..4, 3, 3);
        assert_eq!(left(&model, 2), [Value::Nothing, Value::Zeros]);
        model.end_resize(0..4, 3, 3, End::Success);
        assert_eq!((left(&model, 2), left(&model, 3)), (vec![Value::Zeros], vec![Value::Nothing]));
    }

    #[test]
    fn what_lasts_tells_models_apart() {
        let lasting = |end| {
            let mut model = with_view();
            let copy = model.submit_copy(9, 0..2, VIEW);
            model.end_copy(copy, end);
            (model.fingerprint(), model.after_power_cut().key())
        };
        assert_ne!(lasting(End::Success), lasting(End::Failure));
        assert_eq!(lasting(End::Success), lasting(End::Success));
    }
}
