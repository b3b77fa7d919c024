//! The power cuts of executions that one execution stands for.
//!
//! An execution stands for all that differ from it in the order of independent events. A power cut
//! can hit these after any *consistent cut* of it: a set of its events that has, with each event, all
//! that it depends on. What comes before what is known, so the cuts can be listed; the events of each
//! are run again in their order, and the power is cut after the last.
//!
//! Not all cuts are needed. Within the events that settle nothing, what a power cut may leave and what
//! the guest is owed only grow (see `search`). So only the cuts count to which nothing can be added
//! but events that settle something; to a cut that is left out, such events can be added until it is
//! one of these, and what fails at it fails there. Where the search is at every step, so are these.
//!
//! The number of cuts is exponential in that of the requests that are in flight together. Of executions
//! drawn at random only so many are taken; if there are more, the execution is run once more with its
//! requests ending as late as they can (see `latest`), which shows what the cuts would if the engine
//! were one object.

use std::ops::{ControlFlow, Range};

use crate::disk::{DiskSpec, Model, OpKind};
use crate::exec::{Label, OutcomeLabel, RequestLabel, Step};
use crate::explore::execution::Execution;
use crate::explore::search::{Interval, Search};
use crate::orders::{Change, Clocks, Cuts};
use crate::schedule::{Guided, GuidedStep, Strategy};

/// What comes before what in an execution.
pub struct Causes<'a> {
    /// Of the events.
    pub(crate) clocks: &'a Clocks,
    /// The steps of each event.
    pub(crate) steps: Vec<Range<usize>>,
    /// What identifies each event with everything that comes before it.
    pub(crate) keys: Vec<u128>,
}

impl Causes<'_> {
    /// The steps of these events, in order.
    fn steps_of(&self, events: &[usize]) -> Vec<usize> {
        events.iter().flat_map(|&event| self.steps[event].clone()).collect()
    }
}

impl Search<'_> {
    /// Cuts the power after every cut of an execution that was not seen before.
    pub(super) fn frontiers(
        &mut self,
        execution: &Execution,
        causes: &Causes<'_>,
    ) -> ControlFlow<()> {
        if !self.plan.crashes {
            return ControlFlow::Continue(());
        }
        let steps: Vec<GuidedStep> = execution.steps().iter().map(|it| it.step.clone()).collect();
        let settling = self.settling(&steps);
        let settles = |event: usize| settling[causes.steps[event].clone()].contains(&true);
        let every = self.is_at_steps();
        let mut cuts = Cuts::settling(causes.clocks, |event| every || settles(event));
        if self.plan.cuts_max.is_some_and(|max| has_more_than(max, cuts.clone())) {
            self.outcome.wide += 1;
            return self.latest(execution);
        }
        let mut key: u128 = 0;
        while let Some(change) = cuts.next() {
            match change {
                Change::Enters(event) => key = key.wrapping_add(causes.keys[event]),
                Change::Leaves(event) => key = key.wrapping_sub(causes.keys[event]),
                Change::Cut if !self.frontiers.insert(key) => {}
                Change::Cut => {
                    let inside: Vec<usize> =
                        (0..causes.steps.len()).filter(|&event| cuts.has(event)).collect();
                    self.frontier(&steps, &settling, &causes.steps_of(&inside))?;
                    if every {
                        self.inside_last_events(&steps, &settling, causes, &inside)?;
                    }
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// Cuts the power inside those events of a cut that may be its last, where an event has several
    /// steps. They settle nothing after the first, so this shows nothing new but the names of what is
    /// wrong.
    fn inside_last_events(
        &mut self,
        steps: &[GuidedStep],
        settling: &[bool],
        causes: &Causes<'_>,
        cut: &[usize],
    ) -> ControlFlow<()> {
        for &last in cut {
            let is_followed = cut.iter().any(|&event| causes.clocks.is_before(last, event));
            if is_followed {
                continue;
            }
            let others: Vec<usize> = cut.iter().copied().filter(|&event| event != last).collect();
            let mut chosen = causes.steps_of(&others);
            let range = causes.steps[last].clone();
            for step in range.start..range.end - 1 {
                chosen.push(step);
                self.frontier(steps, settling, &chosen)?;
            }
        }
        ControlFlow::Continue(())
    }

    /// Runs the chosen steps of an execution in their order, and cuts the power.
    fn frontier(
        &mut self,
        steps: &[GuidedStep],
        settling: &[bool],
        chosen: &[usize],
    ) -> ControlFlow<()> {
        let wanted: Vec<GuidedStep> = chosen.iter().map(|&step| steps[step].clone()).collect();
        let mut execution = Execution::new(self.plan);
        let mut guided: Box<dyn Strategy> = Box::new(Guided::new(wanted.clone(), 0));
        for (at, wanted) in wanted.iter().enumerate() {
            let step = execution.world.step(&mut guided);
            if step != Step::Ran(wanted.event) {
                let event = wanted.event;
                let why =
                    format!("a cut that is consistent cannot be reached: {event} at {at}: {step}");
                self.outcome.broken.get_or_insert(why);
                return ControlFlow::Break(());
            }
            // What a client finds was found in the execution that this one is like.
            let _known = execution.observe(self.plan, &wanted.event);
            let _known = execution.look_for_device(self.plan);
        }
        let settled = chosen.iter().rposition(|&step| settling[step]);
        let start = settled.map_or(0, |at| at + 1);
        self.crash_point(&mut execution, &Interval { start, unexplored: true }, None)
    }

    /// Which steps may make something impossible for a power cut, or take from it what it may leave.
    fn settling(&self, steps: &[GuidedStep]) -> Vec<bool> {
        let disks = self.plan.system.disks();
        let changes: Vec<&RequestLabel> = steps.iter().filter_map(|it| change(&it.event)).collect();
        steps.iter().map(|step| settles(&step.event, disks, &changes)).collect()
    }
}

fn has_more_than(max: usize, mut cuts: Cuts<'_>) -> bool {
    let changes = std::iter::from_fn(|| cuts.next());
    changes.filter(|change| *change == Change::Cut).nth(max).is_some()
}

/// The request that ends, if it changes a disk.
fn change(event: &Label) -> Option<&RequestLabel> {
    match event {
        Label::Complete { request, .. }
            if !matches!(request.kind, OpKind::Read | OpKind::Flush) =>
        {
            Some(request)
        }
        _ => None,
    }
}

/// Whether an event may settle something, among these changes of the disks. Plain writes to sectors
/// that nothing else writes do not.
fn settles(event: &Label, disks: &[DiskSpec], changes: &[&RequestLabel]) -> bool {
    let Label::Complete { request, outcome } = event else { return false };
    if request.kind == OpKind::Read {
        return false;
    }
    let disk = &disks[request.disk as usize];
    let overlaps = |other: &&RequestLabel| {
        let unit = disk.sector_len as u64;
        let (one, other) = (request.range().units(unit), other.range().units(unit));
        one.start < other.end && other.start < one.end
    };
    let others = changes.iter().filter(|other| {
        other.disk == request.disk && (other.task, other.number) != (request.task, request.number)
    });
    *outcome != OutcomeLabel::Done
        || request.kind != OpKind::Write
        || request.flags.preflush
        || request.flags.fua
        || !matches!(disk.model, Model::Writeback | Model::LyingFlush)
        || others.clone().any(|other| other.kind != OpKind::Write)
        || others.clone().any(overlaps)
}
