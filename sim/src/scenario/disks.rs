//! What may go wrong with the disks of a scenario.

use plugpull_engine::DiskErrorKind;

use crate::disk::{Fault, FaultEffect, FaultPlan, OpKind, Which};

/// Everything that may fail.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Faults {
    /// Any request may fail, under a budget.
    pub any: AnyFault,
    /// Particular faults.
    pub placed: Vec<PlacedFault>,
}

/// Any request of certain kinds may fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnyFault {
    /// How many requests may fail in one execution, per disk; 0 for none.
    pub errors: u32,
    /// Which kinds of request.
    pub kinds: Vec<OpKind>,
    /// With which errors.
    pub error: Vec<DiskErrorKind>,
    /// Whether later requests of the kind fail too.
    pub permanent: bool,
    /// On which disks; all if empty.
    pub disks: Vec<String>,
}

impl Default for AnyFault {
    fn default() -> Self {
        Self {
            errors: 0,
            kinds: vec![OpKind::Read, OpKind::Write, OpKind::Flush, OpKind::Resize],
            error: vec![DiskErrorKind::Io],
            permanent: false,
            disks: Vec::new(),
        }
    }
}

/// A fault of one disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedFault {
    /// The disk's name.
    pub disk: String,
    /// What goes wrong.
    pub kind: PlacedFaultKind,
}

/// What goes wrong with one disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlacedFaultKind {
    /// A request ends differently.
    Request(Fault),
    /// The sector with this index cannot be read until it is rewritten.
    BadSector(u64),
}

impl Faults {
    /// The plan for one disk.
    #[must_use]
    pub fn plan(&self, disk: &str) -> FaultPlan {
        let any = &self.any;
        let hit = any.disks.is_empty() || any.disks.iter().any(|name| name == disk);
        let budget = if hit { any.errors } else { 0 };
        let mut plan = FaultPlan { budget, ..FaultPlan::default() };
        if budget > 0 {
            for &on in &any.kinds {
                plan.faults.extend(any.error.iter().map(|&error| Fault {
                    on,
                    which: Which::Any,
                    effect: FaultEffect::Fail(error),
                    permanent: any.permanent,
                }));
            }
        }
        for placed in self.placed.iter().filter(|placed| placed.disk == disk) {
            match placed.kind {
                PlacedFaultKind::Request(fault) => plan.faults.push(fault),
                PlacedFaultKind::BadSector(sector) => plan.bad_sectors.push(sector),
            }
        }
        plan
    }

    /// Whether nothing may fail.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.any.errors == 0 && self.placed.is_empty()
    }
}
