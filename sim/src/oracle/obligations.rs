//! What one recovered state is judged by: the admissible values of every guest sector.
//!
//! Checks D-DUR, D-OLDNEW, D-LEAK after a power cut, D-STABLE after a recovery that was already
//! read, and D-RYW without any power cut. A finding names the strongest rule that is broken:
//! content of another address is D-LEAK; a value that this sector once had and should no longer
//! show is D-DUR; a value that it never had is D-OLDNEW if it was never flushed over, else D-DUR.
//! What was written before the session counts as flushed. Whatever is wrong in a snapshot is Q-SNAP.

use std::ops::Range;

use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::disk::Image;
use crate::oracle::allowed::Allowed;
use crate::oracle::model::{ReadInFlight, SectorModel, Value};
use crate::oracle::stamp::{self, Origin, SECTOR_LEN, Sector};
use crate::oracle::view::View;
use crate::verdict::Invariant;

/// A broken promise about one guest sector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The invariant.
    pub invariant: Invariant,
    /// The story in one line: what was read, what was allowed.
    pub message: String,
}

/// When the judged content was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// After a power cut and recovery.
    PowerCut,
    /// After a second recovery of a state that was already read once.
    Reopened,
    /// While the device was running.
    Live,
}

/// All sectors that a guest may have.
pub const EVERY_SECTOR: Range<u64> = 0..u64::MAX;

/// The admissible values of guest sectors at one moment.
///
/// What must hold after a power cut is shared with the model and with other moments. What a read
/// may see is gathered from the model, sector by sector, and therefore only where it is asked for.
#[derive(Debug, Clone)]
pub struct Obligations {
    stage: Stage,
    /// The sectors that can be judged.
    sectors: Range<u64>,
    /// The guest content from before the first write of the session.
    initial: Image,
    allowed: Allowed,
    key: u128,
}

impl Obligations {
    /// What must hold after a power cut now.
    #[must_use]
    pub fn after_power_cut(model: &SectorModel, initial: &Image) -> Self {
        let allowed = model.after_power_cut().clone();
        Self::new(Stage::PowerCut, EVERY_SECTOR, initial, allowed)
    }

    /// What `read` may see in `sectors` when it ends now.
    #[must_use]
    pub fn readable(
        model: &SectorModel,
        initial: &Image,
        read: &ReadInFlight,
        sectors: Range<u64>,
    ) -> Self {
        let values = |sector| model.readable(sector, read);
        let allowed = gather(model, sectors.clone(), values);
        Self::new(Stage::Live, sectors, initial, allowed)
    }

    /// What a reader must see in `sectors` while nothing is in flight.
    #[must_use]
    pub fn quiescent(model: &SectorModel, initial: &Image, sectors: Range<u64>) -> Self {
        let values = |sector| model.readable_now(sector);
        let allowed = gather(model, sectors.clone(), values);
        Self::new(Stage::Live, sectors, initial, allowed)
    }

    /// Exactly this content: recovery showed it once, so it is final.
    #[must_use]
    pub fn exactly(content: &Image) -> Self {
        Self::new(Stage::Reopened, EVERY_SECTOR, content, Allowed::default())
    }

    fn new(stage: Stage, sectors: Range<u64>, initial: &Image, allowed: Allowed) -> Self {
        let bounds = [sectors.start.to_le_bytes(), sectors.end.to_le_bytes()];
        let place = xxh3_128_with_seed(bounds.as_flattened(), stage as u64);
        let key = place.wrapping_add(allowed.key()).wrapping_add(initial.key());
        Self { stage, sectors, initial: initial.clone(), allowed, key }
    }

    /// The guest content from before the first write of the session.
    #[must_use]
    pub fn initial(&self) -> &Image {
        &self.initial
    }

    /// Identifies the obligations: equal keys, equal judgements (up to a hash collision).
    #[must_use]
    pub fn key(&self) -> u128 {
        self.key
    }

    /// Judges `bytes`, read from guest sector `first` on; the first broken promise, if any.
    ///
    /// # Panics
    /// If `bytes` is not a whole number of sectors, or has a sector that is not covered.
    #[must_use]
    pub fn judge(&self, first: u64, bytes: &[u8]) -> Option<Finding> {
        let (sectors, rest) = bytes.as_chunks::<SECTOR_LEN>();
        assert!(rest.is_empty(), "whole sectors are judged");
        let end = first + sectors.len() as u64;
        let covered = &self.sectors;
        assert!(covered.start <= first, "sector {first} is before {covered:?}");
        assert!(end <= covered.end, "sector {end} is past {covered:?}");
        // Stretches without writes in one comparison, sectors with writes one by one.
        let mut next = 0;
        for (sector, values) in self.allowed.written(first..end) {
            let at = usize::try_from(sector - first).expect("within the bytes");
            let finding = self.judge_unwritten(first + next as u64, &sectors[next..at]);
            if finding.is_some() {
                return finding;
            }
            if !self.admits(values, sector, &sectors[at]) {
                return Some(self.finding(sector, &sectors[at]));
            }
            next = at + 1;
        }
        self.judge_unwritten(first + next as u64, &sectors[next..])
    }

    /// Judges sectors from `first` on that hold their initial content, or should.
    fn judge_unwritten(&self, first: u64, sectors: &[Sector]) -> Option<Finding> {
        if self.initial.holds(first * SECTOR_LEN as u64, sectors.as_flattened()) {
            return None;
        }
        let mut each = (first..).zip(sectors);
        let (sector, content) =
            each.find(|(sector, content)| !self.is_initial(*sector, content))?;
        Some(self.finding(sector, content))
    }

    fn admits(&self, values: &[Value], sector: u64, content: &Sector) -> bool {
        // What is copied keeps its stamp.
        let (_, place) = View::of_sector(sector);
        values.iter().any(|value| match *value {
            Value::Initial => self.is_initial(sector, content),
            Value::InitialOf(other) => self.is_initial(other, content),
            Value::Write(serial) => Origin::Write { sector: place, serial }.is(content),
            Value::Zeros => *content == [0; SECTOR_LEN],
            Value::Nothing => Origin::Nothing { sector: place }.is(content),
        })
    }

    fn is_initial(&self, sector: u64, content: &Sector) -> bool {
        self.initial.holds(sector * SECTOR_LEN as u64, content)
    }

    fn finding(&self, sector: u64, content: &Sector) -> Finding {
        let invariant = self.broken(sector, content);
        let place = match View::of_sector(sector) {
            (View::Active, place) => format!("guest sector {place}"),
            (snapshot, place) => format!("sector {place} of {snapshot}"),
        };
        let message = format!(
            "{place} reads as {}; allowed: {}",
            stamp::describe(content),
            self.allowed(sector)
        );
        Finding { invariant, message }
    }

    fn broken(&self, sector: u64, content: &Sector) -> Invariant {
        if View::of_sector(sector).0 != View::Active {
            return Invariant::QSnap;
        }
        let foreign = match Origin::of(content) {
            Some(Origin::Write { sector: at, .. } | Origin::Base { sector: at }) => at != sector,
            Some(Origin::Old { .. } | Origin::Nothing { .. }) | None => false,
        };
        if foreign {
            return Invariant::DLeak;
        }
        match self.stage {
            Stage::Reopened => Invariant::DStable,
            Stage::Live => Invariant::DRyw,
            Stage::PowerCut => self.broken_after_power_cut(sector, content),
        }
    }

    fn broken_after_power_cut(&self, sector: u64, content: &Sector) -> Invariant {
        let written = |content: &Sector| matches!(Origin::of(content), Some(Origin::Write { .. }));
        let unflushed = match self.allowed.written_to(sector) {
            Some(values) => values.contains(&Value::Initial),
            None => !written(&self.initial_sector(sector)),
        };
        if unflushed && !written(content) { Invariant::DOldnew } else { Invariant::DDur }
    }

    fn initial_sector(&self, sector: u64) -> Sector {
        let mut content = [0; SECTOR_LEN];
        self.initial.read(sector * SECTOR_LEN as u64, &mut content);
        content
    }

    fn allowed(&self, sector: u64) -> String {
        let initial = |sector| stamp::describe(&self.initial_sector(sector));
        let (_, place) = View::of_sector(sector);
        let values = self.allowed.of(sector).iter();
        let names: Vec<String> = values
            .map(|value| match *value {
                Value::Initial => format!("its earlier content ({})", initial(sector)),
                Value::InitialOf(other) => {
                    let (view, _) = View::of_sector(other);
                    format!("the earlier content of {view} ({})", initial(other))
                }
                Value::Write(serial) => Origin::Write { sector: place, serial }.to_string(),
                Value::Zeros => "zeros".to_owned(),
                Value::Nothing => Origin::Nothing { sector: place }.to_string(),
            })
            .collect();
        names.join(", or ")
    }
}

fn gather(model: &SectorModel, sectors: Range<u64>, values: impl Fn(u64) -> Vec<Value>) -> Allowed {
    let mut allowed = Allowed::default();
    model.written(sectors).for_each(|sector| allowed.set(sector, values(sector)));
    allowed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::model::End;

    fn base(sectors: u64) -> Image {
        let bytes: Vec<u8> =
            (0..sectors).flat_map(|sector| Origin::Base { sector }.content()).collect();
        Image::from_bytes(&bytes)
    }

    #[test]
    fn a_finding_names_the_rule_that_is_broken() {
        let initial = base(4);
        let mut model = SectorModel::new();
        // Sector 1: written and flushed. Sector 2: written, not flushed.
        model.submit_write(1..2, 7);
        model.end_write(1..2, 7, End::Success);
        let flush = model.submit_flush(0);
        model.flush_succeeded(flush);
        model.submit_write(2..3, 8);
        let now = Obligations::after_power_cut(&model, &initial);
        let write = |sector, serial| Origin::Write { sector, serial }.content();
        let check = |sector, content: Sector, expected: Option<Invariant>| {
            let found = now.judge(sector, &content).map(|finding| finding.invariant);
            assert_eq!(found, expected, "sector {sector}");
        };
        let old = |sector| Origin::Base { sector }.content();
        check(0, old(0), None);
        check(0, [0; SECTOR_LEN], Some(Invariant::DOldnew));
        check(1, write(1, 7), None);
        check(1, old(1), Some(Invariant::DDur));
        check(2, write(2, 8), None);
        check(2, old(2), None);
        check(2, [0; SECTOR_LEN], Some(Invariant::DOldnew));
        check(2, write(1, 7), Some(Invariant::DLeak));
        check(3, old(0), Some(Invariant::DLeak));
        let final_content = Obligations::exactly(&initial);
        let found = final_content.judge(1, &[0; SECTOR_LEN]).map(|finding| finding.invariant);
        assert_eq!(found, Some(Invariant::DStable));
    }

    #[test]
    fn whatever_is_wrong_in_a_snapshot_is_its_own_invariant() {
        let view = View::Snapshot(crate::workload::SnapshotName::new(1).unwrap());
        let mut initial = base(4);
        initial.set_len(view.address(4 * SECTOR_LEN as u64));
        let mut model = SectorModel::new();
        model.start_without(view.sector(0)..view.sector(4));
        let copy = model.submit_copy(9, 0..4, view.sector(0));
        model.end_copy(copy, End::Success);
        let now = Obligations::after_power_cut(&model, &initial);
        let sector = view.sector(2);
        let check = |content: Sector, expected: Option<&str>| {
            let found = now.judge(sector, &content);
            assert!(found.iter().all(|finding| finding.invariant == Invariant::QSnap));
            assert_eq!(found.map(|finding| finding.message).as_deref(), expected);
        };
        check(Origin::Base { sector: 2 }.content(), None);
        let allowed = "allowed: the earlier content of the guest's disk (base image sector 2)";
        let zeros = format!("sector 2 of snapshot s1 reads as zeros; {allowed}");
        check([0; SECTOR_LEN], Some(&zeros));
        let gone = format!("sector 2 of snapshot s1 reads as nothing; {allowed}");
        check(Origin::Nothing { sector: 2 }.content(), Some(&gone));
    }

    #[test]
    fn obligations_stay_those_of_their_moment() {
        let initial = base(4);
        let mut model = SectorModel::new();
        model.submit_write(1..3, 7);
        let unflushed = Obligations::after_power_cut(&model, &initial);
        model.end_write(1..3, 7, End::Success);
        let flush = model.submit_flush(0);
        model.flush_succeeded(flush);
        let flushed = Obligations::after_power_cut(&model, &initial);
        let old = Origin::Base { sector: 1 }.content();
        assert_eq!(unflushed.judge(1, &old), None);
        let found = flushed.judge(1, &old).map(|finding| finding.message);
        let expected = "guest sector 1 reads as base image sector 1; allowed: setup write 7 at \
                        sector 1";
        assert_eq!(found.as_deref(), Some(expected));
    }

    #[test]
    #[should_panic(expected = "sector 3 is past 1..2")]
    fn only_what_was_gathered_is_judged() {
        let initial = base(4);
        let here = Obligations::quiescent(&SectorModel::new(), &initial, 1..2);
        _ = here.judge(1, &[0; 2 * SECTOR_LEN]);
    }

    #[test]
    fn the_key_tells_obligations_apart() {
        let initial = base(4);
        let mut model = SectorModel::new();
        let before = Obligations::after_power_cut(&model, &initial);
        model.submit_write(1..2, 7);
        let after = Obligations::after_power_cut(&model, &initial);
        assert_ne!(before.key(), after.key());
        assert_eq!(after.key(), Obligations::after_power_cut(&model, &initial).key());
    }
}
