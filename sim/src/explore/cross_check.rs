//! The comparison with the enumerator: at a crash point with few states, every one of them is
//! realized and recovered for itself, and exactly the same must have been seen.
//!
//! What is compared is not the verdict but everything that can be seen: how recovery ended, what
//! was found about images and structures, and the set of contents of every guest sector that was
//! read back. A state that undecided disks have missed, or made up, shows in one of them.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::ops::ControlFlow;

use num_bigint::BigUint;
use plugpull_engine::{ByteRange, SECTOR};
use xxhash_rust::xxh3::xxh3_128;

use crate::crash::BruteForce;
use crate::explore::cuts::{Cuts, Method, Point, Reach};
use crate::oracle::Finding;

/// Crash points with more states than this are not enumerated.
pub(super) const STATES_MAX: u64 = 1 << 16;

/// What was seen at one crash point, power cuts and sessions that follow aside.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Observed {
    /// How recovery ended, and what was found.
    ends: BTreeSet<String>,
    /// Guest sectors with the contents that were read, as hashes.
    contents: BTreeSet<(u64, u128)>,
}

impl Observed {
    pub(super) fn end(&mut self, end: impl Into<String>) {
        self.ends.insert(end.into());
    }

    pub(super) fn finding(&mut self, finding: &Finding) {
        self.ends.insert(format!("{}: {}", finding.invariant, finding.message));
    }

    pub(super) fn content(&mut self, range: ByteRange, bytes: &[u8]) {
        let sectors = (range.offset / SECTOR..).zip(bytes.chunks(512));
        self.contents.extend(sectors.map(|(sector, content)| (sector, xxh3_128(content))));
    }

    /// What only one of two has seen.
    fn difference(&self, other: &Self) -> String {
        let mut text = String::new();
        let mut tell = |who: &str, mine: &Self, theirs: &Self| {
            let ends = mine.ends.difference(&theirs.ends).cloned();
            let contents = mine.contents.difference(&theirs.contents);
            let contents =
                contents.map(|(sector, content)| format!("sector {sector} as {content:032x}"));
            for only in ends.chain(contents).take(4) {
                let _ = write!(text, "; only {who} saw: {only}");
            }
        };
        tell("the search on undecided disks", self, other);
        tell("the enumerator", other, self);
        text
    }
}

impl Cuts {
    /// Enumerates a crash point that was explored, if it has few enough states, and compares.
    pub(super) fn cross_check(&mut self, point: &Point, exact: &Observed) -> ControlFlow<()> {
        let states: BigUint =
            point.spaces.iter().map(crate::disk::CrashSpace::raw_states).product();
        let plain = point.spaces.iter().all(crate::disk::CrashSpace::is_plain);
        if point.unreadable.is_some() || !plain || states > BigUint::from(STATES_MAX) {
            return ControlFlow::Continue(());
        }
        let enumerator = Method::Enumerated(BruteForce::new(STATES_MAX, 0));
        let mut reference = Self::new(std::sync::Arc::clone(&self.system), enumerator, Vec::new());
        reference.observed = Some(Observed::default());
        reference.only_observes = true;
        let reach = Reach { recovery_cuts: 0, sessions_done: 0 };
        let _ =
            reference.point(Point { reach, ..point.clone() }, &mut |_| ControlFlow::Continue(()));
        let brute = reference.observed.take().expect("it observes");
        self.counts.cross_checked += 1;
        if brute == *exact {
            return ControlFlow::Continue(());
        }
        self.distrust(format!(
            "the search on undecided disks and the enumerator of {states} states disagree at step \
             {}{}",
            point.at,
            exact.difference(&brute)
        ))
    }
}
