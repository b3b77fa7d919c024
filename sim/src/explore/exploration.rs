//! What is explored of a system, as a value: a scenario without the system.

use plugpull_engine::ByteRange;

use crate::exec::ReadyOrder;
use crate::explore::later::LaterSession;
use crate::scenario::{Crashes, Expect, Expected, Explore, Faults, Reduction, Scenario, Schedules};
use crate::system::{System, Touched};
use crate::verdict::Invariant;
use crate::workload::GuestOp;

/// What the guests do, how far the search goes, and what is expected to come out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exploration {
    /// The concurrent clients, each with its requests in order of issue.
    pub clients: Vec<Vec<GuestOp>>,
    /// The sessions after a power cut, one after the other: one client each.
    pub after: Vec<Vec<GuestOp>>,
    /// The bounds of the search.
    pub explore: Explore,
    /// What must come out. A search for an invariant goes on until that one is violated.
    pub expect: Expect,
}

impl Exploration {
    /// These clients in every schedule, with every crash state, one power cut inside recovery, no
    /// fault and nothing after: expected to hold.
    #[must_use]
    pub fn new(clients: impl IntoIterator<Item = Vec<GuestOp>>) -> Self {
        Self {
            clients: clients.into_iter().collect(),
            after: Vec::new(),
            explore: Explore {
                schedules: Schedules::Exhaustive(Reduction::Chosen),
                ready: ReadyOrder::Any,
                crashes: Crashes::Exact,
                recovery_crashes: 1,
                paths_max: Explore::PATHS_MAX,
                unreadable: 0,
                faults: Faults::default(),
                cancel: 0,
            },
            expect: Expect { verdict: Expected::Holds, reach: Vec::new() },
        }
    }

    /// What a scenario asks of its system.
    #[must_use]
    pub fn of(scenario: &Scenario) -> Self {
        Self {
            clients: scenario.clients.iter().map(|client| client.requests()).collect(),
            after: scenario.after.clone(),
            explore: scenario.explore.clone(),
            expect: scenario.expect.clone(),
        }
    }

    /// The same, searching for a violation of this invariant.
    #[must_use]
    pub fn expecting(mut self, invariant: Invariant) -> Self {
        self.expect.verdict = Expected::Violated(invariant);
        self
    }

    /// What requests touch.
    pub(super) fn touched(&self) -> Touched {
        self.requests().collect()
    }

    pub(super) fn wanted(&self) -> Option<Invariant> {
        match self.expect.verdict {
            Expected::Violated(invariant) => Some(invariant),
            Expected::Holds | Expected::Incomplete => None,
        }
    }

    pub(super) fn later(&self) -> Vec<LaterSession> {
        let sessions = (2..).zip(&self.after);
        sessions.map(|(number, ops)| LaterSession { number, ops: ops.clone() }).collect()
    }

    fn requests(&self) -> impl Iterator<Item = &GuestOp> {
        self.clients.iter().chain(&self.after).flatten()
    }

    /// Whether the system and what is asked of it fit together. Scenario files are checked when
    /// they are read.
    ///
    /// # Errors
    /// What does not fit.
    pub(super) fn check(&self, system: &dyn System) -> Result<(), String> {
        let (disks, len) = (system.disks(), system.initial().len());
        if system.start().len() != disks.len() {
            return Err(format!("{} disks with {} images", disks.len(), system.start().len()));
        }
        for op in self.requests() {
            let touches = matches!(op, GuestOp::Write { .. } | GuestOp::Read { .. });
            if touches || !op.range().is_empty() {
                check_range(op.range(), len).map_err(|why| format!("`{op}` {why}"))?;
            }
            if system.is_read_only() && op.changes() {
                return Err(format!("`{op}`, and the device is opened for reading only"));
            }
        }
        let mut later = self.after.iter().flatten();
        let of_the_whole = |op: &&GuestOp| op.changes() && op.range().is_empty();
        if let Some(op) = later.find(of_the_whole) {
            return Err(format!("`{op}` after a power cut, where nobody knows what is left"));
        }
        let mut end = 0;
        for query in system.queries() {
            check_range(*query, len).map_err(|why| format!("the query {query} {why}"))?;
            if query.offset < end {
                return Err(format!("the query {query} is not behind the one before it"));
            }
            end = query.end();
        }
        let faults = &self.explore.faults;
        let mut named = faults.any.disks.iter().chain(faults.placed.iter().map(|f| &f.disk));
        match named.find(|name| disks.iter().all(|disk| disk.name != **name)) {
            Some(name) => Err(format!("a fault of the disk `{name}`, which there is not")),
            None => Ok(()),
        }
    }
}

fn check_range(range: ByteRange, len: u64) -> Result<(), String> {
    if range.is_empty() || !range.offset.is_multiple_of(512) || !range.len.is_multiple_of(512) {
        return Err("is not in whole sectors of 512 bytes".to_owned());
    }
    if range.end() > len {
        return Err(format!("is outside the {len} bytes of the guest"));
    }
    Ok(())
}
