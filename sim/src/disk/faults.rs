//! Faults as data: which requests may end differently, and how many of them.
//!
//! A fault on the n-th request is certain; a fault on any request is a choice, and the budget
//! bounds how many such choices one execution may make, since faults multiply executions. Faults
//! on length changes are errors only: there is no length to send astray.

mod fingerprint;

use plugpull_engine::{DiskError, DiskErrorKind};

use super::request::{OpKind, Outcome};

/// The faults of one disk.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FaultPlan {
    /// Single faults, in the order in which their outcomes are offered.
    pub faults: Vec<Fault>,
    /// How many times faults with [`Which::Any`] may be chosen in one execution.
    pub budget: u32,
    /// Sectors (by index) that cannot be read until they are rewritten as a whole.
    pub bad_sectors: Vec<u64>,
}

/// One fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// The kind of request that it hits.
    pub on: OpKind,
    /// Which requests of that kind.
    pub which: Which,
    /// What happens to them. An effect that makes no sense for the kind never hits.
    pub effect: FaultEffect,
    /// Whether, after the first hit, every request of the kind that completes later is hit too,
    /// free of budget.
    pub permanent: bool,
}

/// Which requests of a kind a fault hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Exactly the n-th of its kind on this disk in submission order, from 1. Not a choice.
    Nth(u32),
    /// Any; whether it does is a choice, under the budget.
    Any,
}

/// What a fault does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultEffect {
    /// The request fails.
    Fail(DiskErrorKind),
    /// A write or read reports success with the first byte of its data inverted.
    Corrupt,
    /// A write reports success and lands this many bytes further on, wrapping round the end.
    Misdirect {
        /// A multiple of the sector length.
        shift: u64,
    },
}

impl Fault {
    /// The outcome of a request that it hits, if it can.
    fn outcome(&self, kind: OpKind) -> Option<Outcome> {
        if kind != self.on {
            return None;
        }
        match (self.effect, kind) {
            (FaultEffect::Fail(error), _) => Some(Outcome::Failed(injected(error))),
            (FaultEffect::Corrupt, OpKind::Read | OpKind::Write) => Some(Outcome::Corrupted),
            (FaultEffect::Misdirect { shift }, OpKind::Write) => {
                Some(Outcome::Misdirected { shift })
            }
            (FaultEffect::Corrupt | FaultEffect::Misdirect { .. }, _) => None,
        }
    }
}

/// The error of an injected failure.
fn injected(kind: DiskErrorKind) -> DiskError {
    let detail = match kind {
        DiskErrorKind::Io => "input/output error",
        DiskErrorKind::NoSpace => "no space left on device",
        DiskErrorKind::OutOfRange => "request out of range",
        DiskErrorKind::ReadOnly => "read-only disk",
    };
    DiskError::new(kind, detail)
}

/// A fault plan in execution.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults {
    plan: FaultPlan,
    /// Which faults of the plan have hit.
    hit: Vec<bool>,
    used: u32,
    /// Submissions so far, by kind.
    submitted: [u32; 5],
}

impl Faults {
    /// A plan of which nothing has happened yet.
    pub(crate) fn new(plan: FaultPlan) -> Self {
        Self { hit: vec![false; plan.faults.len()], plan, used: 0, submitted: [0; 5] }
    }

    /// Counts a submission; returns its number among those of its kind, from 1.
    pub(crate) fn count(&mut self, kind: OpKind) -> u32 {
        let count = &mut self.submitted[kind as usize];
        *count += 1;
        *count
    }

    /// The ways in which a request may end. `touches` says whether a read touches a sector.
    pub(crate) fn outcomes(
        &self,
        kind: OpKind,
        number: u32,
        touches: impl Fn(u64) -> bool,
    ) -> Vec<Outcome> {
        if kind == OpKind::Read && self.plan.bad_sectors.iter().any(|&sector| touches(sector)) {
            return vec![Outcome::Failed(injected(DiskErrorKind::Io))];
        }
        if self.plan.faults.is_empty() {
            return vec![Outcome::Done];
        }
        if let Some(certain) = self.certain(kind, number) {
            return vec![certain];
        }
        let mut outcomes = vec![Outcome::Done];
        for (_, outcome) in self.possible(kind) {
            if !outcomes.contains(&outcome) {
                outcomes.push(outcome);
            }
        }
        outcomes
    }

    /// Notes how a request ended.
    pub(crate) fn took(&mut self, kind: OpKind, number: u32, outcome: &Outcome) {
        if *outcome == Outcome::Done {
            return;
        }
        if self.certain(kind, number).is_some() {
            let nth = |fault: &Fault| fault.which == Which::Nth(number) && fault.on == kind;
            if let Some(index) = self.plan.faults.iter().position(nth) {
                self.hit[index] = true;
            }
            return;
        }
        let chosen =
            self.possible(kind).find(|(_, other)| other == outcome).map(|(index, _)| index);
        if let Some(index) = chosen {
            self.hit[index] = true;
            self.used += 1;
        }
    }

    /// A sector was rewritten as a whole.
    pub(crate) fn rewritten(&mut self, is_rewritten: impl Fn(u64) -> bool) {
        self.plan.bad_sectors.retain(|&sector| !is_rewritten(sector));
    }

    /// The sectors that cannot be read.
    pub(crate) fn bad_sectors(&self) -> &[u64] {
        &self.plan.bad_sectors
    }

    /// The outcome of a request that a fault hits for certain.
    fn certain(&self, kind: OpKind, number: u32) -> Option<Outcome> {
        self.plan.faults.iter().zip(&self.hit).find_map(|(fault, &hit)| {
            let forced = fault.which == Which::Nth(number) || (fault.permanent && hit);
            if forced { fault.outcome(kind) } else { None }
        })
    }

    /// The faults that may be chosen for a request.
    fn possible(&self, kind: OpKind) -> impl Iterator<Item = (usize, Outcome)> + '_ {
        let left = self.used < self.plan.budget;
        let any = self.plan.faults.iter().enumerate();
        any.filter(move |(_, fault)| left && fault.which == Which::Any)
            .filter_map(move |(index, fault)| Some((index, fault.outcome(kind)?)))
    }
}
