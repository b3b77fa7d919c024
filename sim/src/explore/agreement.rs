//! Whether what leaves orders out reaches everything that plain search reaches.
//!
//! Small searches are made three times: plainly, with one execution for every class of equivalent
//! ones, and with every state once; the power is cut at every step, and at every consistent cut. All
//! three have to come to the same crash points, to the same states in which nothing more can happen,
//! and to the same named events.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use crate::exec::{Noted, WorldOptions};
use crate::explore::cuts::Cuts;
use crate::explore::plan::Plan;
use crate::explore::search::Search;
use crate::explore::strategy::{Assigned, strategy};
use crate::scenario::{Explore, Reduction, Schedules};

/// Most executions of a search that is small enough for plain search.
const EXECUTIONS_MAX: u64 = 30_000;

/// Everything that a search has come to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Reached {
    /// What a power cut may leave and what is owed then: the keys.
    pub(crate) points: BTreeSet<u128>,
    /// The states in which nothing more can happen.
    pub(crate) ends: BTreeSet<u128>,
    /// The named events.
    pub(crate) events: BTreeSet<&'static str>,
}

/// Makes the search in all ways; why they do not agree, if they do not. None as well if there are too
/// many executions for plain search.
pub(super) fn disagreement(
    explore: &Explore,
    plan: &Plan,
    fresh: &dyn Fn() -> Cuts,
) -> Option<String> {
    let reach = |reduction| {
        let explore = Explore { schedules: Schedules::Exhaustive(reduction), ..explore.clone() };
        let world = WorldOptions { noted: Noted::States, ..plan.world };
        let plan = Plan { world, wanted: None, ..plan.clone() };
        let mut cuts = fresh();
        let search = Search::new(&plan, &mut cuts).at_every_step().collecting(EXECUTIONS_MAX);
        let outcome = search.run(&mut strategy(&explore, 1, &Assigned::default()), &mut |_, _| {
            ControlFlow::Continue(())
        });
        match outcome.broken {
            Some(why) => Err(format!("{} search: {why}", name(reduction))),
            None => Ok(outcome.finished.then_some(outcome.reached).flatten()),
        }
    };
    let compare = || {
        let Some(plain) = reach(Reduction::Plain)? else { return Ok(()) };
        for reduction in [Reduction::Dpor, Reduction::Stateful] {
            let reduced = reach(reduction)?.unwrap_or_default();
            if let Some(what) = plain.differs(&reduced) {
                return Err(format!("{} search does not reach the same {what}", name(reduction)));
            }
        }
        Ok(())
    };
    compare().err()
}

impl Reached {
    fn differs(&self, other: &Self) -> Option<String> {
        let points = count("crash points", &self.points, &other.points);
        let ends = count("last states", &self.ends, &other.ends);
        points.or(ends).or_else(|| (self.events != other.events).then(|| "events".to_owned()))
    }
}

fn count(what: &str, plain: &BTreeSet<u128>, other: &BTreeSet<u128>) -> Option<String> {
    let missing = plain.difference(other).count();
    let extra = other.difference(plain).count();
    let all = plain.len();
    (missing + extra > 0)
        .then(|| format!("{what} as plain search: {missing} of {all} missing, {extra} more"))
}

fn name(reduction: Reduction) -> &'static str {
    match reduction {
        Reduction::Plain => "plain",
        Reduction::Dpor => "dpor",
        Reduction::Stateful | Reduction::Chosen => "stateful",
    }
}
