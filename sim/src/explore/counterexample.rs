//! From what was found to the way that replays it, and to the story that a person reads.

use crate::disk::CrashSpace;
use crate::explore::found::{Cut, Found};
use crate::oracle::Finding;
use crate::scenario::{DiskLeft, Left, PowerCut, Replay};
use crate::system::System;
use crate::verdict::Violation;

/// Guest sectors are not meant here: offsets of disk sectors come from the crash space.
pub(super) fn violation(system: &dyn System, found: Found) -> Violation {
    let story = story(system, &found);
    let Found { finding, trace, ready, cuts, .. } = found;
    let replay = Replay {
        invariant: finding.invariant,
        message: finding.message.clone(),
        trace,
        crashes: cuts.iter().map(|cut| power_cut(system, cut)).collect(),
    };
    let Finding { invariant, message } = finding;
    Violation { invariant, message, story, replay, ready }
}

fn power_cut(system: &dyn System, cut: &Cut) -> PowerCut {
    let disks = cut.spaces.iter().zip(&cut.assignment.options).zip(system.disks()).enumerate();
    let disks = disks.map(|(index, ((space, options), spec))| DiskLeft {
        disk: spec.name.clone(),
        left: options
            .iter()
            .enumerate()
            .map(|(variable, &option)| Left {
                variable: variable_name(system, index, space, variable),
                option,
                of: space.options(variable),
                label: space.describe(variable, option),
            })
            .collect(),
        unreadable: cut.unreadable.get(index).into_iter().flatten().copied().collect(),
    });
    let session = u32::try_from(cut.session).expect("a handful of sessions");
    PowerCut { session, at: cut.at, disks: disks.collect() }
}

/// `sector 17 (journal sector 1)`; what is in brackets only the system knows.
fn variable_name(system: &dyn System, disk: usize, space: &CrashSpace, variable: usize) -> String {
    let label = space.label(variable);
    let sector_len = system.disks()[disk].sector_len as u64;
    let place = space.sector(variable).and_then(|at| system.describe(disk, at * sector_len));
    match place {
        Some(place) => format!("{label} ({place})"),
        None => label,
    }
}

fn story(system: &dyn System, found: &Found) -> Vec<String> {
    let mut lines: Vec<String> =
        found.guest_log.iter().map(|line| format!("guest: {line}")).collect();
    for cut in &found.cuts {
        lines.push(format!("power cut in session {}, at {}", cut.session, cut.at));
        for (index, spec) in system.disks().iter().enumerate() {
            let (space, options) = (&cut.spaces[index], &cut.assignment.options[index]);
            lines.extend(options.iter().enumerate().map(|(variable, &option)| {
                let name = variable_name(system, index, space, variable);
                format!("  {} {name}: {}", spec.name, space.describe(variable, option))
            }));
            lines.extend(cut.unreadable.get(index).into_iter().flatten().map(|&sector| {
                let place = system.describe(index, sector * spec.sector_len as u64);
                let place = place.map_or(String::new(), |place| format!(" ({place})"));
                format!("  {} sector {sector}{place}: unreadable", spec.name)
            }));
        }
        lines.push("recovery".to_owned());
    }
    lines.push(format!("{}: {}", found.finding.invariant, found.finding.message));
    lines
}
