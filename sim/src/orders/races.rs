//! Which earlier events a new one races with, and who has to go first to see the other order.

use super::clocks::{self, has};
use super::events::Events;
use super::path::Step;
use super::sleep::Node;
use super::{Difference, Footprint, NotRepeated, Process, Ran};

/// Memory for the sets of steps of one analysis.
#[derive(Debug, Clone, Default)]
pub(super) struct Scratch {
    /// What comes before the new event.
    row: Vec<u64>,
    /// What would still happen if the earlier event of a race were put off.
    rest: Vec<u64>,
}

/// Orders the event of the last step after those it depends on. For each that it races with, a
/// process that starts the other order is wanted at the moment before that one.
///
/// # Errors
/// If no process that starts the other order was enabled, or the event was not enabled when it is
/// said to have been: then the footprints, the identities of processes, or what enabled events, are
/// not as they have to be.
///
/// # Source
/// Abdulla, Aronis, Jonsson, Sagonas, "Source Sets", algorithm 1.
pub(super) fn order<P: Process, F: Footprint>(
    events: &mut Events<P, F>,
    nodes: &mut [Node<P, F>],
    path: &[Step<P>],
    ran: Ran<F>,
    scratch: &mut Scratch,
) -> Result<(), NotRepeated> {
    let new = &path[events.list().len()];
    let process = new.process();
    let era = if ran.waited_for_all { events.list().len() } else { events.era() };
    check_enabled(events, path, era, ran.enabled_by)?;
    if let Some(step) = ran.enabled_by
        && path[step].process() != process
    {
        replaced(&mut nodes[step], &path[step].enabled, process);
    }
    let Scratch { row, rest } = scratch;
    events.order(process, new.choices.made(), ran, row, |events, step, row| {
        let before = Before { enabled: &path[step].enabled, row };
        reverse(events, step, process, &mut nodes[step], before, rest)
    })
}

/// What is known when a race is found.
struct Before<'a, P> {
    /// Who could go instead of the earlier event.
    enabled: &'a [P],
    /// What comes before the new event.
    row: &'a [u64],
}

/// Whether the process of the last step was enabled right after what is said to have enabled it, or
/// as soon as its era began.
fn check_enabled<P: Process, F>(
    events: &Events<P, F>,
    path: &[Step<P>],
    era: usize,
    enabled_by: Option<usize>,
) -> Result<(), NotRepeated> {
    let new = events.list().len();
    let process = path[new].process();
    let last = events.list().iter().rposition(|event| event.process == process);
    let since = enabled_by.max(last).map_or(0, |step| step + 1).max(era);
    let enabled = path.get(since).is_some_and(|step| step.enabled.contains(&process));
    if enabled { Ok(()) } else { Err(Difference::EnabledBy.at(new)) }
}

/// Takes note of an event of `process` without ordering it: nothing follows it.
pub(super) fn ignore<P: Process, F>(
    events: &mut Events<P, F>,
    process: P,
    footprint: F,
    scratch: &mut Scratch,
) {
    events.row_for_next(&mut scratch.row);
    let era = events.era();
    events.push(process, footprint, era, &[], &scratch.row);
}

/// The event of `step` races with the new one, of `process`: at `node`, some process wants to go
/// that leads to their other order.
///
/// Such are the processes whose event may be the first of those that do not come after `step`, the
/// new one included.
fn reverse<P: Process, F: Footprint>(
    events: &Events<P, F>,
    step: usize,
    process: P,
    node: &mut Node<P, F>,
    before: Before<'_, P>,
    rest: &mut Vec<u64>,
) -> Result<(), NotRepeated> {
    if node.is_all_settled() {
        return Ok(());
    }
    let (list, clocks) = (events.list(), events.clocks());
    let place_of = |process| before.enabled.iter().position(|&other| other == process);
    rest.clear();
    rest.resize(before.row.len(), 0);
    let mut chosen = None;
    for (other, event) in list.iter().enumerate().skip(step + 1) {
        let row = clocks.row(other);
        if has(row, step) {
            continue;
        }
        if clocks::apart(row, rest)
            && let Some(place) = place_of(event.process)
        {
            if node.is_settled(place) {
                return Ok(());
            }
            chosen = chosen.or(Some(place));
        }
        clocks::add(rest, other);
    }
    if clocks::apart(before.row, rest)
        && let Some(place) = place_of(process)
    {
        chosen = Some(place);
    }
    // If the new event may go first itself, that is the shortest way to the other order.
    let chosen = chosen.ok_or_else(|| Difference::Dependence.at(list.len()))?;
    node.want(chosen);
    Ok(())
}

/// The event at `node` has enabled one of `process`. If that process was enabled already, then for
/// another event, which was disabled at the same time and wants to go before.
fn replaced<P: Process, F: Footprint>(node: &mut Node<P, F>, enabled: &[P], process: P) {
    if let Some(place) = enabled.iter().position(|&other| other == process) {
        node.want_before_disabled(place);
    }
}

/// The processes that the last event has disabled want to go before it: an event that does not
/// happen shows no footprint, so no race would ask for it.
///
/// One that sleeps need not go right now, but it may have to after something that wakes it up, and
/// nothing tells what that is. So all others want to go then.
pub(super) fn disabled<P: Process, F: Footprint>(
    node: &mut Node<P, F>,
    before: &Step<P>,
    enabled: &[P],
) {
    if node.is_all_settled() {
        return;
    }
    // Mostly the enabled ones stay the same, and in the same order.
    let mut next = 0;
    for (place, process) in before.enabled.iter().enumerate() {
        if enabled.get(next) == Some(process) {
            next += 1;
        } else if place != before.place && !enabled.contains(process) {
            node.want_before_disabled(place);
        }
    }
}
