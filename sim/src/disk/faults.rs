//! Faults as data: which requests may end differently, and how many of them.

use plugpull_engine::DiskErrorKind;

use super::request::OpKind;

/// The faults of one disk.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FaultPlan {
    /// Single faults, in the order in which their outcomes are offered.
    pub faults: Vec<Fault>,
    /// How many faults with [`Which::Any`] may hit in one execution.
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
    /// What happens to them.
    pub effect: FaultEffect,
    /// Whether, after the first hit, every later request of the kind is hit too, free of budget.
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
    /// A write or read reports success with its first byte inverted.
    Corrupt,
    /// A write reports success and lands this many bytes further on.
    Misdirect {
        /// A multiple of the sector length.
        shift: u64,
    },
}
