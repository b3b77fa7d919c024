//! Of all runs in which the engine does the same, the one in which every request ends as late as it
//! can.
//!
//! A power cut can hit a run at more moments than its prefixes: at every *consistent cut*, a set of
//! its steps that can have happened without the others. Until the footprints of tasks are known the
//! engine counts as one object, so what comes before what is this:
//!
//! * What the engine does (task runs, with their coins) keeps the order that it had.
//! * A completion comes after the submission of its request.
//! * A task run comes after the completions that it *relied on*: those whose replies it fetched, the
//!   one that made its task ready, and the last one that changed the length of a disk, if it asked for
//!   the length or submitted a change to it. Wakers are taken to do nothing but wake; what a
//!   combinator wants to know it fetches.
//! * Two completions at one disk keep their order if one decides what the other reads: if their
//!   sectors overlap and one of them changes the disk, or one of them changes its length. At an
//!   `ordered` disk all changes keep their order.
//! * A barrier keeps its place among all steps: a timer, a cancellation, an end other than the one
//!   asked for, a completion that takes time.
//!
//! Any order of a run's steps that respects this is a run too, in which the engine does the same. So
//! every cut is a prefix of some run, and each is covered by one of them: a completion never adds to
//! what a power cut may leave (all of it may be left from the submission on, except at an `ordered`
//! disk), and the later it is the fewer flushes cover it, while what is owed changes with the
//! engine's steps alone. Therefore what fails at a cut fails, after the same steps of the engine, in
//! the run in which nothing completes before it is relied on. That one is put together here. It is
//! then run like any other, and what is found in it replays like anything else.
//!
//! At an `ordered` disk a completion shows more, and covers more: neither run shows it all. There
//! the two runs are explored, and not every cut.
//!
//! Macro-step runs need none of this, if every order of completions has a run. A cut holds the steps
//! up to some completion and further completions without the task runs that each of them would be
//! followed by; the macro-step run that goes on with these completions, one after the other, shows
//! more.

use std::ops::Range;
use std::time::Duration;

use plugpull_engine::ByteRange;

use crate::disk::{DiskSpec, Model, OpKind};
use crate::exec::{Label, OutcomeLabel, RequestLabel, World};
use crate::schedule::GuidedStep;

/// The steps of a run, with what each of them relied on.
#[derive(Debug)]
pub(crate) struct Recording {
    disks: Vec<DiskSpec>,
    steps: Vec<Recorded>,
}

#[derive(Debug)]
struct Recorded {
    step: GuidedStep,
    /// The steps that it relied on. Only completions count among them.
    relied_on: Vec<usize>,
}

/// What a step is, as far as its place in the run is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// Something that keeps its place among all steps.
    Barrier,
    /// The engine does something.
    Engine,
    /// A request ends, here or later.
    Completion,
}

impl Recording {
    /// A run on these disks that has not begun.
    pub(crate) fn new(disks: &[DiskSpec]) -> Self {
        Self { disks: disks.to_vec(), steps: Vec::new() }
    }

    /// Takes over the last step: what happened in it, and how many choices were made before it.
    pub(crate) fn add(&mut self, world: &World, event: Label, choices: usize) {
        let step = GuidedStep { event, coins: world.coins_after(choices) };
        self.steps.push(Recorded { step, relied_on: world.relied_on() });
    }

    /// The steps as they were.
    pub(crate) fn steps(&self) -> impl Iterator<Item = &GuidedStep> {
        self.steps.iter().map(|recorded| &recorded.step)
    }

    /// The steps with every completion as late as it can be.
    pub(crate) fn latest(&self) -> Vec<GuidedStep> {
        self.latest_order().into_iter().map(|step| self.steps[step].step.clone()).collect()
    }

    fn latest_order(&self) -> Vec<usize> {
        let mut order = Vec::with_capacity(self.steps.len());
        // In the order of the run.
        let mut waiting: Vec<usize> = Vec::new();
        for step in 0..self.steps.len() {
            match self.place(step) {
                Place::Completion => waiting.push(step),
                Place::Barrier => {
                    order.append(&mut waiting);
                    order.push(step);
                }
                Place::Engine => {
                    let needed = self.needed(&waiting, &self.steps[step].relied_on);
                    waiting.retain(|completion| !needed.contains(completion));
                    order.extend(needed);
                    order.push(step);
                }
            }
        }
        order.append(&mut waiting);
        order
    }

    /// Those of the waiting completions that some steps are, or that come before one of these.
    fn needed(&self, waiting: &[usize], steps: &[usize]) -> Vec<usize> {
        let mut needed: Vec<usize> = Vec::new();
        // Only an earlier one can come before another.
        for completion in waiting.iter().rev() {
            let comes_first = |later: &usize| self.are_tied(*completion, *later);
            if steps.contains(completion) || needed.iter().any(comes_first) {
                needed.push(*completion);
            }
        }
        needed.reverse();
        needed
    }

    fn place(&self, step: usize) -> Place {
        match self.steps[step].step.event {
            Label::Poll(_) => Place::Engine,
            Label::Complete { request, outcome: OutcomeLabel::Done }
                if self.disks[request.disk as usize].latency == Duration::ZERO =>
            {
                Place::Completion
            }
            Label::Complete { .. }
            | Label::Timer { .. }
            | Label::Coin { .. }
            | Label::Cancel { .. } => Place::Barrier,
        }
    }

    /// Whether two completions keep their order.
    fn are_tied(&self, one: usize, other: usize) -> bool {
        let [one, other] = [one, other].map(|step| self.request(step));
        let kinds = [one.kind, other.kind];
        if one.disk != other.disk || kinds.contains(&OpKind::Flush) || kinds == [OpKind::Read; 2] {
            return false;
        }
        let disk = &self.disks[one.disk as usize];
        kinds.contains(&OpKind::Resize)
            || (disk.model == Model::Ordered && !kinds.contains(&OpKind::Read))
            || overlap(sectors(disk, one), sectors(disk, other))
    }

    fn request(&self, step: usize) -> &RequestLabel {
        match &self.steps[step].step.event {
            Label::Complete { request, .. } => request,
            other => unreachable!("not a completion: {other}"),
        }
    }
}

fn sectors(disk: &DiskSpec, request: &RequestLabel) -> Range<u64> {
    ByteRange::new(request.offset, request.len).units(disk.sector_len as u64)
}

fn overlap(one: Range<u64>, other: Range<u64>) -> bool {
    one.start < other.end && other.start < one.end
}

#[cfg(test)]
mod tests;
