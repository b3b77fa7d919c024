//! From the shapes of a file to a [`Scenario`]: names, granularities, and what fits together.
//!
//! Every refusal points at the smallest place that is wrong and says what was expected there.

mod disks;
mod explore;
mod replay;
mod system;
mod value;
mod workload;

use toml::Spanned;

use super::error::{FileError, Problem};
use super::file::{self, File};
use super::{Expect, Expected, Scenario};
use crate::verdict::Invariant;
use value::{named, parsed};

pub(super) use explore::{DRAWS, ERRORS, KINDS, READY, REDUCTIONS};

/// The version of the format.
pub(super) const VERSION: u64 = 1;

type Result<T> = std::result::Result<T, Problem>;

impl Scenario {
    /// Reads a scenario file. `file` is its name, for messages only.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place.
    pub fn parse(file: &str, text: &str) -> std::result::Result<Self, FileError> {
        toml::from_str(text)
            .map_err(|error| Problem::of_toml(&error))
            .and_then(scenario)
            .map_err(|problem| problem.into_file_error(file, text))
    }
}

fn scenario(file: File) -> Result<Scenario> {
    if *file.version.get_ref() != VERSION {
        let problem = format!("version {} of the scenario format", file.version.get_ref());
        return Err(Problem::at(&file.version, problem, format!("expected {VERSION}")));
    }
    if file.claim.get_ref().trim().is_empty() {
        return Err(Problem::at(&file.claim, "an empty claim", "expected a sentence"));
    }
    let system = system::system(&file.system)?;
    let disks = disks::disks(&file.disks, &system)?;
    let names: Vec<&str> = disks.iter().map(|disk| disk.name.as_str()).collect();
    let (clients, after) = workload::workload(&file, &system)?;
    let explore = explore::explore(&file.explore, &disks)?;
    let expect = expect(&file.expect)?;
    let replay = file.replay.as_ref().map(|replay| replay::replay(replay, &names)).transpose()?;
    Ok(Scenario {
        claim: file.claim.into_inner(),
        system,
        disks,
        clients,
        after,
        explore,
        expect,
        replay,
    })
}

fn expect(expect: &Spanned<file::Expect>) -> Result<Expect> {
    let shape = expect.get_ref();
    let names = [("holds", false), ("violated", true), ("incomplete", false)];
    let violated = named(&shape.verdict, "verdict", &names)?;
    let verdict = match (&shape.invariant, violated) {
        (Some(name), true) => {
            let invariant = parsed::<Invariant>(name, "not an invariant's name")?;
            if !invariant.is_explored() {
                let expected = "expected one that explorations report, such as \"D-DUR\"";
                return Err(Problem::at(
                    name,
                    "an invariant that no exploration decides",
                    expected,
                ));
            }
            Expected::Violated(invariant)
        }
        (None, true) => {
            let expected = "expected `invariant` beside it, such as \"D-DUR\"";
            return Err(Problem::at(&shape.verdict, "which invariant is violated?", expected));
        }
        (Some(name), false) => {
            let expected = "expected only with verdict = \"violated\"";
            return Err(Problem::at(name, "an invariant that is not violated", expected));
        }
        (None, false) if shape.verdict.get_ref() == "holds" => Expected::Holds,
        (None, false) => Expected::Incomplete,
    };
    let mut reach: Vec<String> = Vec::new();
    for goal in &shape.reach {
        let name = goal.get_ref();
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || !name.chars().all(plain) {
            let expected = "expected an event such as \"journal-recycled\"";
            return Err(Problem::at(goal, "not the name of an event", expected));
        }
        if reach.contains(name) {
            return Err(Problem::at(goal, "a goal named twice", "expected each goal once"));
        }
        reach.push(name.clone());
    }
    Ok(Expect { verdict, reach })
}

#[cfg(test)]
mod tests;
