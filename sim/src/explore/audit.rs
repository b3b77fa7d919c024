//! Whether steps that are said to be independent are: pairs of them, run both ways.
//!
//! Everything that leaves orders out rests on footprints: two steps whose footprints do not conflict
//! lead to the same state in either order. Here that is looked at. Of the steps of an execution some
//! pairs of neighbours that are independent are taken; the execution is run again up to there, once
//! with the two in their order and once the other way round. Both times both must be possible, touch
//! the same, and lead to a state with the same fingerprint and the same events to come.

use std::collections::{BTreeMap, BTreeSet};

use crate::exec::{Footprint, Label, MadeStep, Noted, ReadyOrder, Step, WorldOptions, mix};
use crate::explore::execution::Execution;
use crate::explore::plan::Plan;
use crate::orders::Footprint as _;
use crate::schedule::{Guided, GuidedStep, Strategy};

/// Which pairs are looked at, and how many were.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Audit {
    /// One pair in so many, all if one.
    pub(crate) one_in: u64,
    /// Pairs run both ways.
    pub(crate) pairs: u64,
}

/// A step of an execution with what it has touched.
#[derive(Debug, Clone)]
pub(crate) struct Audited {
    pub(crate) step: GuidedStep,
    pub(crate) made: MadeStep,
}

/// What is the same after two independent steps, whichever comes first.
#[derive(Debug, PartialEq, Eq)]
struct After {
    state: u128,
    parts: BTreeMap<String, u128>,
    possible: Vec<u64>,
    first: Footprint,
    second: Footprint,
}

/// Of so many executions one is looked at, if not all pairs are.
const EXECUTIONS: u64 = 16;

impl Audit {
    /// Whether pairs of this execution are looked at.
    pub(crate) fn takes(&self, execution: u64) -> bool {
        self.one_in == 1 || execution % EXECUTIONS == 1
    }

    /// Looks at pairs of an execution; the first that is not what it is said to be.
    ///
    /// # Errors
    /// What it is not.
    pub(crate) fn execution(&mut self, plan: &Plan, steps: &[Audited]) -> Result<(), String> {
        for at in 1..steps.len() {
            let (one, other) = (&steps[at - 1].made, &steps[at].made);
            if are_independent(one, other) && self.is_taken(one, other) {
                self.pairs += 1;
                pair(plan, &steps[..=at])?;
            }
        }
        Ok(())
    }

    fn is_taken(&self, one: &MadeStep, other: &MadeStep) -> bool {
        let key = mix(mix(one.past, one.event.key()), other.event.key());
        let one_in = if self.one_in == 1 { 1 } else { self.one_in.div_ceil(EXECUTIONS) };
        (u128::from(key) * u128::from(one_in)) >> 64 == 0
    }
}

/// Whether two neighbours may change places.
fn are_independent(one: &MadeStep, other: &MadeStep) -> bool {
    let possible_before = other.enabled_by.first.is_none_or(|step| step < one.step);
    let moved = one.clock_moved || other.clock_moved;
    possible_before
        && !moved
        && one.event.process() != other.event.process()
        && !one.footprint.conflicts(&other.footprint)
}

/// Runs the last two steps both ways.
fn pair(plan: &Plan, steps: &[Audited]) -> Result<(), String> {
    let (before, last) = steps.split_at(steps.len() - 2);
    let [one, other] = last else { unreachable!("a pair") };
    let order = |pair: [&Audited; 2]| {
        before.iter().chain(pair).map(|audited| audited.step.clone()).collect::<Vec<_>>()
    };
    let differ = |how: &str| {
        let (one, other) = (&one.made.event, &other.made.event);
        Err(format!("two steps that are said to be independent are not: {one}, and {other}: {how}"))
    };
    let Some(straight) = run(plan, order([one, other])) else {
        return differ("the execution cannot be repeated");
    };
    let Some(turned) = run(plan, order([other, one])) else {
        return differ("the second cannot come first");
    };
    let turned = After { first: turned.second, second: turned.first, ..turned };
    if straight.state != turned.state {
        let parts = straight.parts.iter().chain(&turned.parts);
        let differing = parts.filter(|(name, key)| {
            [&straight, &turned].iter().any(|after| after.parts.get(*name) != Some(*key))
        });
        let names: BTreeSet<&str> = differing.map(|(name, _)| name.as_str()).collect();
        let names: Vec<&str> = names.into_iter().collect();
        return differ(&format!("they lead to different states of {}", names.join("; ")));
    }
    if straight.possible != turned.possible {
        return differ("other things can happen after them");
    }
    if straight != turned {
        return differ("they touch something else in the other order");
    }
    Ok(())
}

/// Runs these steps; none if one of them is not possible.
fn run(plan: &Plan, steps: Vec<GuidedStep>) -> Option<After> {
    let world = WorldOptions { ready: ReadyOrder::Any, noted: Noted::States, ..plan.world };
    let plan = Plan { world, ..plan.clone() };
    let mut execution = Execution::new(&plan);
    execution.world.keep_made();
    let wanted: Vec<Label> = steps.iter().map(|step| step.event).collect();
    let mut guided: Box<dyn Strategy> = Box::new(Guided::new(steps, 0));
    let mut footprints = Vec::new();
    for event in wanted {
        let Step::Ran(label) = execution.world.step(&mut guided) else { return None };
        if label != event {
            return None;
        }
        footprints.push(execution.world.made()?.footprint);
        // What a client finds is looked at where it is explored.
        let _finding = execution.observe(&plan, &label);
        execution.look_for_device(&plan).ok()?;
    }
    let mut possible: Vec<u64> = execution.world.possible().iter().map(Label::key).collect();
    possible.sort_unstable();
    let second = footprints.pop()?;
    let (state, parts) = (execution.world.fingerprint(), execution.world.fingerprint_parts());
    Some(After { state, parts, possible, first: footprints.pop()?, second })
}
