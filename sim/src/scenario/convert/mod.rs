//! From the shapes of a file to a [`Scenario`]: names, granularities, and what fits together.
//!
//! Every refusal points at the smallest place that is wrong and says what was expected there.

mod disks;
mod explore;
mod replay;
mod system;
mod value;

use plugpull_engine::ByteRange;
use toml::Spanned;

use super::error::{FileError, Problem};
use super::file::{self, File, Text};
use super::size::LongLen;
use super::{Access, Client, Expect, Expected, Scenario, SystemSpec};
use crate::verdict::Invariant;
use crate::workload::{GuestOp, SetupOp};
use value::{at_most, named, parsed, positive_u32, unknown};

pub(super) use explore::{DRAWS, ERRORS, KINDS, READY, REDUCTIONS};

/// The version of the format.
pub(super) const VERSION: u64 = 1;

/// Most requests that one client can make: every execution holds all of them.
const REQUESTS_MAX: u64 = 100_000;

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
    let fvd = system::fvd(&file.system)?;
    let disks = disks::disks(&file.disks, &fvd)?;
    let names: Vec<&str> = disks.iter().map(|disk| disk.name.as_str()).collect();
    let workload = Workload { size: fvd.size, access: fvd.access };
    let clients =
        file.client.iter().map(|client| workload.client(client)).collect::<Result<_>>()?;
    let after = file.after.iter().map(|after| workload.ops(&after.ops)).collect::<Result<_>>()?;
    let explore = explore::explore(&file.explore, &disks)?;
    let expect = expect(&file.expect)?;
    let replay = file.replay.as_ref().map(|replay| replay::replay(replay, &names)).transpose()?;
    Ok(Scenario {
        claim: file.claim.into_inner(),
        system: SystemSpec::Fvd(fvd),
        disks,
        clients,
        after,
        explore,
        expect,
        replay,
    })
}

struct Workload {
    size: u64,
    access: Access,
}

impl Workload {
    fn client(&self, client: &file::Client) -> Result<Client> {
        if client.ops.get_ref().is_empty() {
            let expected = "expected at least one operation";
            return Err(Problem::at(&client.ops, "a client that does nothing", expected));
        }
        let repeat = client.repeat.as_ref().map_or(Ok(1), positive_u32)?;
        let ops = self.ops(client.ops.get_ref())?;
        if let Some(number) = &client.repeat
            && ops.len() as u64 * u64::from(repeat) > REQUESTS_MAX
        {
            let problem = format!("{repeat} times {} requests", ops.len());
            let expected = format!("expected at most {REQUESTS_MAX} requests of one client");
            return Err(Problem::at(number, problem, expected));
        }
        Ok(Client { ops, repeat })
    }

    fn ops(&self, ops: &[Text]) -> Result<Vec<GuestOp>> {
        ops.iter()
            .map(|text| {
                let op: GuestOp = parsed(text, "not an operation")?;
                inside(text, op.range(), self.size)?;
                at_most(text, op.range().len)?;
                if self.access == Access::ReadOnly && matches!(op, GuestOp::Write { .. }) {
                    let expected = "expected no writes with access = \"read-only\"";
                    return Err(Problem::at(text, "a write to a read-only image", expected));
                }
                Ok(op)
            })
            .collect()
    }
}

/// Refuses an operation that leaves the virtual disk.
fn inside(place: &Text, range: ByteRange, size: u64) -> Result<()> {
    if range.end() > size {
        let problem = format!("the range ends at {}, outside the virtual disk", range.end());
        let expected = format!("expected an end of at most {size} ({})", LongLen(size));
        return Err(Problem::at(place, problem, expected));
    }
    Ok(())
}

/// The set-up, inside a virtual disk of `size` on `disks`.
fn setup(ops: &[Text], size: u64, disks: &[&str]) -> Result<Vec<SetupOp>> {
    ops.iter()
        .map(|text| {
            let op: SetupOp = parsed(text, "not an operation")?;
            match &op {
                SetupOp::Guest(op) => {
                    inside(text, op.range(), size)?;
                    at_most(text, op.range().len)?;
                }
                SetupOp::Poke { disk, .. } if !disks.contains(&disk.as_str()) => {
                    return Err(unknown(text, "disk", disks.iter().copied()));
                }
                SetupOp::Poke { offset, bytes, .. } => {
                    at_most(text, offset.saturating_add(bytes.len() as u64))?;
                }
                SetupOp::Grow(size) => at_most(text, *size)?,
                _ => {}
            }
            Ok(op)
        })
        .collect()
}

fn expect(expect: &Spanned<file::Expect>) -> Result<Expect> {
    let shape = expect.get_ref();
    let names = [("holds", false), ("violated", true), ("incomplete", false)];
    let violated = named(&shape.verdict, "verdict", &names)?;
    let verdict = match (&shape.invariant, violated) {
        (Some(name), true) => {
            let invariant = parsed::<Invariant>(name, "not an invariant's name")?;
            if !invariant.is_explored() {
                let expected = "expected one of the D-, L-, E- and F- families";
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
