//! Sectors that a power cut has made unreadable, under a budget.
//!
//! A sector that the medium was about to write when power failed may be unreadable afterwards, until
//! it is written again as a whole. Any of the sectors that the cut left undecided may be, but no
//! more than a budget of them: so they are not independent, and what is left of the budget is part
//! of the way. A sector is asked about when it is read first; then it is readable, or one of the
//! budget is used up.
//!
//! With n sectors that may be unreadable and a budget of b there are C(n, 0) + ... + C(n, b) ways to
//! choose them, beside what the sectors hold: a way that has not asked about u of them and has r of
//! the budget left stands for C(u, 0) + ... + C(u, r) of these.
//!
//! The budget belongs to the first power cut. A cut that hits recovery makes no further sector
//! unreadable, and what recovery has written again stays readable even if that cut loses the write.

use std::collections::BTreeSet;

use num_bigint::BigUint;
use xxhash_rust::xxh3::xxh3_128;

use crate::disk::CrashSpace;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// What is left of the budget.
    left: u32,
    /// For each disk the sectors that nobody has asked about, nor overwritten.
    unasked: Vec<BTreeSet<u64>>,
    /// How many sectors nobody has asked about, overwritten ones included.
    open: usize,
    /// For each disk those that are unreadable.
    found: Vec<BTreeSet<u64>>,
}

impl Unreadable {
    /// Up to `budget` of the sectors that a power cut has left undecided.
    #[must_use]
    pub fn new(budget: u32, spaces: &[CrashSpace]) -> Self {
        let unasked: Vec<BTreeSet<u64>> = spaces
            .iter()
            .map(|space| space.undecided_sectors().iter().copied().collect())
            .collect();
        let open = unasked.iter().map(BTreeSet::len).sum();
        Self { left: budget, found: vec![BTreeSet::new(); unasked.len()], unasked, open }
    }

    /// Exactly these sectors of each disk.
    #[must_use]
    pub fn exactly(sectors: Vec<BTreeSet<u64>>) -> Self {
        let unasked = vec![BTreeSet::new(); sectors.len()];
        Self { left: 0, unasked, open: 0, found: sectors }
    }

    /// In how many ways the sectors can still be chosen.
    #[must_use]
    pub fn ways(&self) -> BigUint {
        let mut sum = BigUint::ZERO;
        let mut term = BigUint::from(1_u32);
        for chosen in 0..=(self.left as usize).min(self.open) {
            sum += &term;
            term = term * (self.open - chosen) / (chosen + 1);
        }
        sum
    }

    /// Identifies what is known.
    #[must_use]
    pub(crate) fn key(&self) -> u128 {
        let mut parts = vec![];
        parts.extend_from_slice(&self.left.to_le_bytes());
        parts.extend_from_slice(&self.open.to_le_bytes());
        for set in self.unasked.iter().chain(&self.found) {
            set.iter().for_each(|sector| parts.extend_from_slice(&sector.to_le_bytes()));
            parts.extend_from_slice(b"disk");
        }
        xxh3_128(&parts)
    }

    /// The unreadable sectors of each disk.
    #[must_use]
    pub fn found(&self) -> &[BTreeSet<u64>] {
        &self.found
    }

    /// The next sector of a range that has to be asked about, if the answer is not clear.
    pub(super) fn unasked(&self, disk: usize, sectors: std::ops::Range<u64>) -> Option<u64> {
        if self.left == 0 {
            return None;
        }
        self.unasked[disk].range(sectors).next().copied()
    }

    /// Whether a sector of a range is unreadable.
    pub(super) fn hits(&self, disk: usize, sectors: std::ops::Range<u64>) -> bool {
        self.found[disk].range(sectors).next().is_some()
    }

    /// A sector turned out to be readable, or not.
    pub(super) fn decide(&mut self, disk: usize, sector: u64, readable: bool) {
        assert!(self.unasked[disk].remove(&sector), "sector {sector} was asked about before");
        self.open -= 1;
        if !readable {
            self.left -= 1;
            self.found[disk].insert(sector);
        }
    }

    /// Sectors were written again as a whole.
    pub(super) fn rewritten(&mut self, disk: usize, sectors: std::ops::Range<u64>) {
        for set in [&mut self.unasked[disk], &mut self.found[disk]] {
            set.retain(|sector| !sectors.contains(sector));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::ops::ControlFlow;

    use plugpull_engine::WriteFlags;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{Rng, SeedableRng};

    use super::*;
    use crate::crash::{AfterCut, BruteForce, CrashExplorer, LazyDisks, Watch};
    use crate::disk::{DiskSpec, DiskState, Image, Model, Op, Outcome, RequestId};

    const SECTORS: u64 = 4;

    fn disk(model: Model, writes: &[(u64, u8)]) -> (DiskSpec, CrashSpace) {
        let spec = DiskSpec { model, ..DiskSpec::new("disk") };
        let mut disk = DiskState::new(spec.clone(), Image::zeroed(SECTORS * 512));
        for (number, &(sector, fill)) in (0..).zip(writes) {
            let id = RequestId::new(0, number);
            disk.submit(id, write(sector, fill));
            disk.complete(id, Outcome::Done).expect("a write");
        }
        (spec, disk.crash_space())
    }

    fn write(sector: u64, fill: u8) -> Op {
        Op::Write { offset: sector * 512, data: vec![fill; 512].into(), flags: WriteFlags::NONE }
    }

    /// Reads of one or two sectors and overwrites; an error shows as `FE`.
    fn program(disks: &mut LazyDisks, steps: &[u64]) -> Vec<u8> {
        let mut seen = Vec::new();
        for &step in steps {
            let sector = (step >> 8) % SECTORS;
            if step % 4 == 0 && seen.last() != Some(&1) {
                disks.request(0, write(sector, 7)).expect("a write");
                continue;
            }
            let len = if step % 4 == 1 { 1024 } else { 512 };
            let read = disks.request(0, Op::Read { offset: sector * 512, len });
            seen.extend(read.map_or(vec![0xFE], |bytes| vec![bytes[0], bytes[len - 1]]));
        }
        seen
    }

    /// All subsets of at most `budget` of some sectors.
    fn subsets(of: &[u64], budget: usize) -> Vec<BTreeSet<u64>> {
        let all = (0..1_u32 << of.len()).map(|bits| {
            let chosen = of.iter().enumerate().filter(|(bit, _)| bits >> bit & 1 == 1);
            chosen.map(|(_, &sector)| sector).collect::<BTreeSet<u64>>()
        });
        all.filter(|set| set.len() <= budget).collect()
    }

    #[test]
    fn random_programs_see_what_they_see_with_every_choice_of_sectors() {
        let mut errors = 0;
        for case in 0..1500 {
            let mut rng = ChaCha8Rng::seed_from_u64(11);
            rng.set_stream(case);
            let mut draw = |below: u64| rng.next_u64() % below;
            let model = Model::ALL[usize::try_from(draw(5)).unwrap()];
            let writes: Vec<(u64, u8)> =
                (0..draw(6)).map(|_| (draw(SECTORS), 1 + u8::try_from(draw(3)).unwrap())).collect();
            let (spec, space) = disk(model, &writes);
            let budget = u32::try_from(draw(3)).unwrap();
            let steps: Vec<u64> = (0..5).map(|_| draw(1 << 16)).collect();

            let mut exact: BTreeMap<Vec<u8>, BigUint> = BTreeMap::new();
            let left = AfterCut::new(std::slice::from_ref(&spec), std::slice::from_ref(&space));
            let left = left.with_unreadable(budget);
            let recovery = |disks: &mut LazyDisks| program(disks, &steps);
            let certificate = left.every_way(Watch::Off, recovery, |disks, seen| {
                errors += usize::from(seen.contains(&0xFE));
                *exact.entry(seen).or_default() += disks.states();
                Ok(())
            });
            certificate.unwrap_or_else(|broken| panic!("case {case}: {broken}"));

            let mut brute: BTreeMap<Vec<u8>, BigUint> = BTreeMap::new();
            let sectors = space.undecided_sectors();
            let all = BruteForce::new(1 << 16, 0);
            let _ = all.explore(&[space], &mut |state| {
                for chosen in subsets(&sectors, budget as usize) {
                    let on = std::iter::once(spec.clone()).zip(state.images.iter().cloned());
                    let disks = LazyDisks::new(on, Watch::Off);
                    let mut disks = disks.with_unreadable(Unreadable::exactly(vec![chosen]));
                    *brute.entry(program(&mut disks, &steps)).or_default() += 1_u32;
                }
                ControlFlow::Continue(())
            });
            assert_eq!(exact, brute, "case {case}: {model} {writes:?} {budget} {steps:?}");
        }
        assert!(errors > 500, "{errors} ways with an error");
    }
}
