//! What an exploration says: invariants by name, violations, and how far the search reached.

use std::fmt;
use std::str::FromStr;

use num_bigint::BigUint;
use serde::{Deserialize, Serialize};

use crate::disk::DiskSpec;
use crate::exec::ReadyOrder;
use crate::orders::{Classes, Roots};
use crate::scenario::{Expect, Explore, Replay, Scenario};

macro_rules! invariants {
    ($($variant:ident = $name:literal, $sentence:literal;)+) => {
        /// A property that every reachable state must have. The name is a contract: scenarios,
        /// reports and the oracle use the same one.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Invariant {
            $(#[doc = $sentence] $variant,)+
        }

        impl Invariant {
            /// Every invariant, in order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name: `D-DUR`.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// The sentence that states it.
            #[must_use]
            pub fn sentence(self) -> &'static str {
                match self { $(Self::$variant => $sentence,)+ }
            }
        }
    };
}

invariants! {
    DDur = "D-DUR",
        "After a power cut a sector reads as the last write that a successful flush covers, or as a \
         later one.";
    DOldnew = "D-OLDNEW",
        "A sector that no flush covers is old or new, never a third value.";
    DLeak = "D-LEAK",
        "No sector reads as bytes that were only ever written to another guest address.";
    DRyw = "D-RYW",
        "Without a power cut a read returns the last write that completed before it, or one \
         concurrent with it.";
    DStable = "D-STABLE",
        "Recovery is final: what was read after it does not change by itself, and opening twice \
         gives the same content.";
    LProg = "L-PROG",
        "When the disks have answered and timers have fired, every guest request has ended.";
    LConv = "L-CONV",
        "A background job ends within a bounded number of its own steps.";
    EHonest = "E-HONEST",
        "A request that reports success has done all that it promises.";
    ELocal = "E-LOCAL",
        "An I/O error changes only the sectors of the request that failed, and fails no other.";
    EOpen = "E-OPEN",
        "A failed open leaves every byte of the image as it was, and a later one can succeed.";
    EPanic = "E-PANIC",
        "Nothing panics, under any schedule, fault or image.";
    FInj = "F-INJ",
        "No two virtual chunks share a physical one, and every id lies in the data area.";
    FBitmap = "F-BITMAP",
        "A block marked as local has every sector that the base covers stored and right.";
    FReplay = "F-REPLAY",
        "Replaying the journal can be interrupted and repeated, applies nothing old over something \
         newer, and misses nothing that was flushed.";
    FClean = "F-CLEAN",
        "An image marked clean has complete and durable maps.";
    QRef = "Q-REF",
        "Before any repair the refcount of every host cluster is at least the number of references \
         to it, unless the image is marked dirty.";
    QExact = "Q-EXACT",
        "After a clean close the refcount of every host cluster is the number of references to it.";
    QAlias = "Q-ALIAS",
        "No host cluster has two owners, unless they are the same guest address in the active state \
         and in snapshots, or parts of it are compressed data.";
    QCopied = "Q-COPIED",
        "An entry of the active tables that says that its refcount is one has a refcount of one.";
    QReftab = "Q-REFTAB",
        "The tables that the header names are complete; every refcount block is aligned, inside the \
         file, listed once and counted.";
    QSnap = "Q-SNAP",
        "The content of a snapshot does not change until it is deleted.";
    QCache = "Q-CACHE",
        "With nothing in flight and everything flushed, the disks hold what the running image knows.";
    QClean = "Q-CLEAN",
        "An image whose header says clean needs no repair.";
    QRepair = "Q-REPAIR",
        "Repair ends, leaves no error, changes no content that was unambiguous, and can be \
         interrupted and repeated.";
    QReuse = "Q-REUSE",
        "A host cluster is given to a new owner only after a flush has covered the end of the old \
         one's pointer, and every discard for the old one has completed.";
    QPin = "Q-PIN",
        "A host cluster is not given away while a data request to it is in flight.";
    BSuper = "B-SUPER",
        "An enabled dirty bitmap covers every sector changed since it was enabled or cleared, or is \
         marked inconsistent.";
    VBound = "V-BOUND",
        "Any bytes opened as an image end in bounded time, memory and file growth.";
    VNometa = "V-NOMETA",
        "Nothing is written to a place that another structure of the image claims.";
    VFeature = "V-FEATURE",
        "An unknown incompatible feature makes open fail without a write.";
    VExtern = "V-EXTERN",
        "Inspecting an image opens no other file, and nothing named in an image is executed.";
}

impl Invariant {
    /// Whether explorations decide it. What hostile images may do (the V- family) is decided by the
    /// engine's tests and by fuzzing; Q-REUSE and Q-PIN by their effect, which has other names.
    #[must_use]
    pub fn is_explored(self) -> bool {
        let elsewhere = self.name().starts_with("V-");
        let by_effect = matches!(self, Self::QReuse | Self::QPin);
        !elsewhere && !by_effect
    }

    /// The invariant called `name`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|invariant| invariant.name() == name)
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Invariant {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::from_name(name).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|invariant| invariant.name()).collect();
            format!("expected one of {}, found `{name}`", names.join(", "))
        })
    }
}

/// What came out of an exploration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Everything within the bounds was seen, every goal was met, nothing is violated.
    Holds,
    /// An invariant is violated; there is a counterexample.
    Violated,
    /// Nothing is violated, but a bound stopped the search or a goal was not met.
    Incomplete,
    /// The harness is wrong, or the engine is not deterministic: nothing is known.
    HarnessBroken,
}

impl Verdict {
    /// The name in reports: `holds`, `violated`, `incomplete`, `harness-broken`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::Violated => "violated",
            Self::Incomplete => "incomplete",
            Self::HarnessBroken => "harness-broken",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A broken invariant and the way to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// What was seen and what would have been allowed, one line.
    pub message: String,
    /// What happened on the way, one line each: requests and how they ended, power cuts and what
    /// they left.
    pub story: Vec<String>,
    /// How to get there again: the counterexample. [`Scenario::counterexample`] makes a file of it.
    pub replay: Replay,
    /// The order of ready tasks with which it replays: that of the search, or any, where the
    /// execution is one that the search has put together.
    pub ready: ReadyOrder,
}

/// Which executions were seen.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ScheduleReach {
    /// The strategy: `exhaustive`, `fifo`, `delays`, `random`.
    pub strategy: String,
    /// What leaves out orders, or draws them: `dpor`, `stateful`, `pos`; none if nothing does.
    pub engine: Option<String>,
    /// Executions run.
    pub executions: u64,
    /// Classes of executions that differ only in the order of independent events, where the
    /// strategy tells them apart.
    pub classes: Option<u64>,
    /// Whether there may have been more classes than were told apart, for want of memory.
    pub more_classes: bool,
    /// Of the executions drawn at random, how many are the only one of their class: about the share of
    /// all executions that are of a class never drawn (Good and Turing).
    pub drawn_once: Option<Share>,
    /// The sum of the signatures of these classes, modulo 2^128: equal if they are the same.
    pub class_sum: Option<u128>,
    /// States of executions that were reached, each counted once, where the strategy tells them
    /// apart.
    pub states: Option<u64>,
    /// Executions given up on the way, because what would have followed was covered already.
    pub covered: Option<u64>,
    /// Of the events, how many were seen with exactly what they touch; the others count as touching
    /// everything that tasks share.
    pub footprints: Option<Share>,
    /// Pairs of independent steps that were run both ways, to see that they are.
    pub audited: u64,
    /// The share of the search that is done, where it did not come to its end and that is known.
    pub done: Option<Share>,
    /// Whether no execution within the bounds is missing.
    pub complete: bool,
}

/// How a search is divided among shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Division {
    /// By the first steps of its executions.
    Roots,
    /// By the draws.
    Draws,
    /// Not at all: one shard explores it.
    Whole,
}

/// What one shard says of its part of a search: the certificate from which the whole is put together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardReach {
    /// Which shard, from zero.
    pub index: u64,
    /// Of how many.
    pub count: u64,
    /// How the search is divided.
    pub division: Division,
    /// Steps down to the roots.
    pub depth: u64,
    /// The roots of all shards.
    pub roots: Roots,
    /// Executions of its part that came to their end.
    pub complete: u64,
    /// Those given up because what would have followed was covered already.
    pub covered: u64,
    /// Steps of the search, those that only lead to the roots included.
    pub steps: u64,
    /// The classes of the complete executions.
    pub classes: Classes,
    /// Whether the part was explored to its end.
    pub finished: bool,
    /// Whether no execution of the part is missing.
    pub schedules_complete: bool,
    /// Whether no crash state of the part is missing.
    pub crashes_complete: bool,
    /// What is missing in the part, goals aside.
    pub missing: Vec<String>,
}

/// So many of so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Share {
    /// How many.
    pub part: u64,
    /// Of how many.
    pub whole: u64,
}

impl Share {
    /// The same share of so many, rounded down; of nothing, all.
    #[must_use]
    pub fn of(self, parts: u64) -> u64 {
        let part = u128::from(self.part.min(self.whole)) * u128::from(parts);
        let of = part.checked_div(u128::from(self.whole)).unwrap_or(u128::from(parts));
        u64::try_from(of).expect("at most the parts")
    }

    /// How many there are in all, roughly, if the share is so many; none if it is nothing.
    #[must_use]
    pub fn whole_of(self, part: u64) -> Option<u128> {
        (u128::from(part) * u128::from(self.whole)).checked_div(u128::from(self.part))
    }
}

/// Which crash states were seen.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CrashReach {
    /// The mode: `exact`, `sampled`, `none`.
    pub mode: String,
    /// Distinct crash points.
    pub points: u64,
    /// Crash states of these points.
    pub states: BigUint,
    /// Recoveries run.
    pub recovery_paths: u64,
    /// Guest ranges read back and judged.
    pub queries: u64,
    /// Crash points at which the enumerator was run as well and has seen the same.
    pub cross_checked: u64,
    /// Power cuts inside recovery, at most.
    pub depth: u32,
    /// Whether the crash states that were visited add up to [`Self::states`].
    pub certificate: bool,
    /// Whether no crash state within the bounds is missing.
    pub complete: bool,
}

/// Reachability goals.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Goals {
    /// Those that were met, sorted.
    pub met: Vec<String>,
    /// Those that were not, sorted.
    pub unmet: Vec<String>,
}

/// Everything that one exploration says, of a scenario or of any other system.
#[derive(Debug, Clone, PartialEq)]
pub struct ScenarioResult {
    /// The verdict.
    pub verdict: Verdict,
    /// Broken invariants: at most one violation for each, in the order in which they were found.
    pub violations: Vec<Violation>,
    /// Executions.
    pub schedules: ScheduleReach,
    /// Crash states.
    pub crashes: CrashReach,
    /// Reachability goals.
    pub goals: Goals,
    /// Name and model of each disk, in order: `image`, `writeback/512`.
    pub disks: Vec<(String, String)>,
    /// Ids of the planted bugs, if a scenario has any.
    pub planted: Vec<String>,
    /// Where the random part of the search started, if it has one.
    pub seed: Option<u64>,
    /// Declared bounds and under-approximations that "complete" is relative to.
    pub bounds: Vec<String>,
    /// Why the verdict is [`Verdict::Incomplete`], or would be if nothing were violated.
    pub incomplete: Vec<String>,
    /// Why the verdict is [`Verdict::HarnessBroken`].
    pub broken: Option<String>,
    /// What the shard says of its part, if this is one.
    pub shard: Option<ShardReach>,
    /// Whether the search was told to end before it was done.
    pub stopped: bool,
}

impl ScenarioResult {
    /// The result of a search that could not be carried out.
    #[must_use]
    pub fn broken(scenario: &Scenario, why: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::HarnessBroken,
            broken: Some(why.into()),
            ..Self::nothing_seen(scenario)
        }
    }

    /// A result in which nothing was explored yet; the verdict is [`Verdict::Incomplete`].
    #[must_use]
    pub fn nothing_seen(scenario: &Scenario) -> Self {
        let planted = scenario.system.planted_ids().into_iter().map(str::to_owned).collect();
        let Scenario { disks, explore, expect, .. } = scenario;
        Self { planted, ..Self::before(disks, explore, expect) }
    }

    /// The same without a scenario.
    pub(crate) fn before(disks: &[DiskSpec], explore: &Explore, expect: &Expect) -> Self {
        Self {
            verdict: Verdict::Incomplete,
            violations: Vec::new(),
            schedules: ScheduleReach::default(),
            crashes: CrashReach::default(),
            goals: Goals { met: Vec::new(), unmet: expect.reach.clone() },
            disks: disks.iter().map(|disk| (disk.name.clone(), disk.to_string())).collect(),
            planted: Vec::new(),
            seed: explore.seed(),
            bounds: Vec::new(),
            incomplete: Vec::new(),
            broken: None,
            shard: None,
            stopped: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_read_back() {
        for &invariant in Invariant::ALL {
            assert_eq!(Invariant::from_name(invariant.name()), Some(invariant));
            assert!(invariant.sentence().ends_with('.'), "{invariant}");
        }
        assert_eq!(Invariant::from_name("D-NONE"), None);
    }
}
