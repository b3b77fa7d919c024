//! The consistent cuts of an execution: what may have happened when the power goes.
//!
//! A cut is a set of steps that has, with each step, all that comes before it. The states at which a
//! power cut may hit any execution of a class are those after the cuts of one execution of it, each
//! taken in any order that keeps the order of dependence. Its prefixes are only some of them.

use super::clocks::{self, Clocks, has};

/// How one cut is made from the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// This step happens, after all that it depends on.
    Enters(usize),
    /// This step is taken back, before all that it depends on.
    Leaves(usize),
    /// What has happened now is a cut not seen before: see [`Cuts::steps`].
    Cut,
}

/// All cuts of an execution, each once, and each from the one before by few changes.
///
/// The first one is the smallest. A cut is found by adding its steps in their order in the
/// execution; so those that have a step `n` or a later one are those reached while such a step is
/// in.
#[derive(Debug, Clone)]
pub struct Cuts<'a> {
    clocks: &'a Clocks,
    /// The steps that are decided on; all others enter as soon as they can.
    decided: Vec<u64>,
    set: Vec<u64>,
    /// The steps of the set as they entered.
    entered: Vec<usize>,
    /// The steps of the set that were decided on, and how many had entered before each.
    chosen: Vec<(usize, usize)>,
    /// Where to look for the next step to decide on.
    next: usize,
    phase: Phase,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    /// The steps from this one on, of those that entered, are to be told.
    Entering(usize),
    /// All steps but so many leave.
    Leaving(usize),
    Deciding,
}

impl<'a> Cuts<'a> {
    /// All of them.
    #[must_use]
    pub fn all(clocks: &'a Clocks) -> Self {
        Self::settling(clocks, |_| true)
    }

    /// For each way to choose among the steps that settle something, the largest cut without any
    /// other step of these.
    ///
    /// What the other steps do must only add to what a power cut may leave behind.
    #[must_use]
    pub fn settling(clocks: &'a Clocks, settles: impl Fn(usize) -> bool) -> Self {
        let words = clocks.len().div_ceil(64).max(1);
        let mut decided = vec![0; words];
        let steps = (0..clocks.len()).filter(|&step| settles(step));
        steps.for_each(|step| clocks::add(&mut decided, step));
        let mut cuts = Self {
            clocks,
            decided,
            set: vec![0; words],
            entered: Vec::new(),
            chosen: Vec::new(),
            next: 0,
            phase: Phase::Entering(0),
        };
        cuts.let_in(0);
        cuts
    }

    /// The steps of the cut: bit n of word w stands for step 64 w + n.
    #[must_use]
    pub fn steps(&self) -> &[u64] {
        &self.set
    }

    /// Whether the cut has this step.
    #[must_use]
    pub fn has(&self, step: usize) -> bool {
        has(&self.set, step)
    }

    /// Decides on one more step, if any may be added.
    fn decide(&mut self) -> bool {
        let mut steps = self.next..self.clocks.len();
        let Some(step) = steps.find(|&step| has(&self.decided, step) && self.may_enter(step))
        else {
            return false;
        };
        self.chosen.push((step, self.entered.len()));
        self.phase = Phase::Entering(self.entered.len());
        self.enter(step);
        self.let_in(step + 1);
        self.next = step + 1;
        true
    }

    /// Whether all decided steps before it are in.
    fn may_enter(&self, step: usize) -> bool {
        let before = self.clocks.row(step).iter().zip(&self.decided).zip(&self.set);
        before.into_iter().all(|((before, decided), set)| before & decided & !set == 0)
    }

    /// Lets in what is not decided on, from this step on.
    fn let_in(&mut self, from: usize) {
        for step in from..self.clocks.len() {
            if !has(&self.decided, step) && !has(&self.set, step) && self.may_enter(step) {
                self.enter(step);
            }
        }
    }

    fn enter(&mut self, step: usize) {
        clocks::add(&mut self.set, step);
        self.entered.push(step);
    }
}

impl Iterator for Cuts<'_> {
    type Item = Change;

    fn next(&mut self) -> Option<Change> {
        loop {
            match self.phase {
                Phase::Entering(at) => {
                    let Some(&step) = self.entered.get(at) else {
                        self.phase = Phase::Deciding;
                        return Some(Change::Cut);
                    };
                    self.phase = Phase::Entering(at + 1);
                    return Some(Change::Enters(step));
                }
                Phase::Leaving(kept) if self.entered.len() > kept => {
                    let step = self.entered.pop()?;
                    clocks::remove(&mut self.set, step);
                    return Some(Change::Leaves(step));
                }
                Phase::Leaving(_) => self.phase = Phase::Deciding,
                Phase::Deciding => {
                    if !self.decide() {
                        let (step, before) = self.chosen.pop()?;
                        self.next = step + 1;
                        self.phase = Phase::Leaving(before);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// An execution of `len` steps where `is_before` says what depends on what, directly.
    fn clocks(len: usize, is_before: impl Fn(usize, usize) -> bool) -> Clocks {
        let mut clocks = Clocks::default();
        let mut row = Vec::new();
        for step in 0..len {
            clocks.row_for_next(&mut row);
            for earlier in (0..step).filter(|&earlier| is_before(earlier, step)) {
                clocks::join(&mut row, clocks.row(earlier));
                clocks::add(&mut row, earlier);
            }
            clocks.push(&row);
        }
        clocks
    }

    /// The sets for which the changes are told, each checked against the changes.
    fn sets(mut cuts: Cuts<'_>) -> Vec<u64> {
        let mut now = BTreeSet::new();
        let mut found = Vec::new();
        while let Some(change) = cuts.next() {
            match change {
                Change::Enters(step) => {
                    assert!(now.insert(step));
                    let before = clocks::steps(cuts.clocks.row(step));
                    assert!(before.into_iter().all(|earlier| now.contains(&earlier)));
                }
                Change::Leaves(step) => assert!(now.remove(&step)),
                Change::Cut => {
                    assert_eq!(now, clocks::steps(cuts.steps()).collect());
                    found.push(cuts.steps()[0]);
                }
            }
        }
        found
    }

    /// Every order of five steps: `relation` has a bit for each pair.
    fn check(relation: u32) {
        let pair = |earlier: usize, later: usize| later * (later - 1) / 2 + earlier;
        let clocks = clocks(5, |earlier, later| relation >> pair(earlier, later) & 1 == 1);
        let is_cut = |set: u64| clocks::steps(&[set]).all(|step| clocks.row(step)[0] & !set == 0);
        let all: Vec<u64> = (0..1 << 5).filter(|&set| is_cut(set)).collect();
        let mut found = sets(Cuts::all(&clocks));
        found.sort_unstable();
        assert_eq!(found, all, "relation {relation:#b}");
        for settling in 0..1 << 5 {
            let largest = |set: u64| {
                let with = all.iter().filter(|&&other| other & settling == set & settling);
                with.fold(0, |largest, other| largest | other)
            };
            let expected: BTreeSet<u64> = all.iter().map(|&set| largest(set)).collect();
            let found = sets(Cuts::settling(&clocks, |step| has(&[settling], step)));
            assert_eq!(found.len(), expected.len());
            assert_eq!(BTreeSet::from_iter(found), expected, "of {settling:#b} in {relation:#b}");
        }
    }

    #[test]
    fn every_cut_of_every_order_of_five_steps() {
        (0..1 << 10).for_each(check);
    }

    #[test]
    fn long_chains() {
        let clocks = clocks(200, |earlier, later| earlier + 1 == later);
        let cuts = Cuts::all(&clocks).filter(|&change| change == Change::Cut);
        assert_eq!(cuts.count(), 201);
    }
}
