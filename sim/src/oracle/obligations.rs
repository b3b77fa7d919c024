//! What one recovered state is judged by: the admissible values of every guest sector.
//!
//! Checks D-DUR, D-OLDNEW, D-LEAK after a power cut, D-STABLE after a recovery that was already
//! read, and D-RYW without any power cut. A finding names the strongest rule that is broken:
//! content of another address is D-LEAK; a value that this sector once had and should no longer
//! show is D-DUR; a value that it never had is D-OLDNEW if it was never flushed over, else D-DUR.
//! What was written before the session counts as flushed.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::Xxh3;

use crate::disk::Image;
use crate::oracle::model::{Moment, SectorModel, Value};
use crate::oracle::stamp::{self, Origin, SECTOR_LEN, Sector};
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

/// The admissible values of every guest sector at one moment.
#[derive(Debug, Clone)]
pub struct Obligations {
    stage: Stage,
    /// The guest content from before the first write of the session.
    initial: Image,
    /// Sectors that may hold anything else than their initial content.
    written: BTreeMap<u64, Vec<Value>>,
    key: u128,
}

impl Obligations {
    /// What must hold after a power cut now.
    #[must_use]
    pub fn after_power_cut(model: &SectorModel, initial: &Image) -> Self {
        let values = |sector| model.after_power_cut(sector);
        Self::new(Stage::PowerCut, initial, model, values)
    }

    /// What a read that was submitted at `submitted` may see when it ends now.
    #[must_use]
    pub fn readable(model: &SectorModel, initial: &Image, submitted: Moment) -> Self {
        let values = |sector| model.readable(sector, submitted);
        Self::new(Stage::Live, initial, model, values)
    }

    /// What a reader must see while nothing is in flight.
    #[must_use]
    pub fn quiescent(model: &SectorModel, initial: &Image) -> Self {
        Self::readable(model, initial, Moment::MAX)
    }

    /// Exactly this content: recovery showed it once, so it is final.
    #[must_use]
    pub fn exactly(content: &Image) -> Self {
        Self::new(Stage::Reopened, content, &SectorModel::new(), |_| Vec::new())
    }

    fn new(
        stage: Stage,
        initial: &Image,
        model: &SectorModel,
        values: impl Fn(u64) -> Vec<Value>,
    ) -> Self {
        let written: BTreeMap<u64, Vec<Value>> = model
            .touched()
            .map(|sector| (sector, values(sector)))
            .filter(|(_, values)| *values != [Value::Initial])
            .collect();
        let mut hash = Xxh3::with_seed(stage as u64);
        for (sector, values) in &written {
            hash.update(&sector.to_le_bytes());
            hash.update(&values.len().to_le_bytes());
            for value in values {
                let serial = match value {
                    Value::Initial => u64::MAX,
                    Value::Write(serial) => *serial,
                };
                hash.update(&serial.to_le_bytes());
            }
        }
        let key = hash.digest128().wrapping_add(initial.key());
        Self { stage, initial: initial.clone(), written, key }
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
    /// If `bytes` is not a whole number of sectors.
    #[must_use]
    pub fn judge(&self, first: u64, bytes: &[u8]) -> Option<Finding> {
        let (sectors, rest) = bytes.as_chunks::<SECTOR_LEN>();
        assert!(rest.is_empty(), "whole sectors are judged");
        // Stretches without writes in one comparison, sectors with writes one by one.
        let mut next = 0;
        for (&sector, values) in self.written.range(first..first + sectors.len() as u64) {
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
        values.iter().any(|value| match *value {
            Value::Initial => self.is_initial(sector, content),
            Value::Write(serial) => Origin::Write { sector, serial }.is(content),
        })
    }

    fn is_initial(&self, sector: u64, content: &Sector) -> bool {
        self.initial.holds(sector * SECTOR_LEN as u64, content)
    }

    fn finding(&self, sector: u64, content: &Sector) -> Finding {
        let invariant = self.broken(sector, content);
        let message = format!(
            "guest sector {sector} reads as {}; allowed: {}",
            stamp::describe(content),
            self.allowed(sector)
        );
        Finding { invariant, message }
    }

    fn broken(&self, sector: u64, content: &Sector) -> Invariant {
        let foreign = match Origin::of(content) {
            Some(Origin::Write { sector: at, .. } | Origin::Base { sector: at }) => at != sector,
            Some(Origin::Old { .. }) | None => false,
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
        let unflushed = match self.written.get(&sector) {
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
        let initial =
            || format!("its earlier content ({})", stamp::describe(&self.initial_sector(sector)));
        let values = self.written.get(&sector).map_or(&[Value::Initial][..], Vec::as_slice);
        let names: Vec<String> = values
            .iter()
            .map(|value| match *value {
                Value::Initial => initial(),
                Value::Write(serial) => Origin::Write { sector, serial }.to_string(),
            })
            .collect();
        names.join(", or ")
    }
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
        let flush = model.submit();
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
