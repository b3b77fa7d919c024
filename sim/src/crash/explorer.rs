//! The interface of a crash explorer.

use std::ops::ControlFlow;

use num_bigint::BigUint;

use crate::disk::{CrashSpace, Image};

/// One option for every variable of every disk: `options[disk][variable]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Assignment {
    /// Indices into the options of the disk's [`CrashSpace`].
    pub options: Vec<Vec<usize>>,
}

/// What the power cut left behind, and how.
#[derive(Debug, Clone)]
pub struct CrashState {
    /// The choice that led here.
    pub assignment: Assignment,
    /// The durable content of every disk.
    pub images: Vec<Image>,
}

/// How much of a crash point was visited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coverage {
    /// Crash states that exist at this point.
    pub states: BigUint,
    /// Crash states that were visited.
    pub visited: BigUint,
    /// Whether the visit was broken off by the visitor.
    pub stopped: bool,
}

impl Coverage {
    /// Whether every crash state was visited. This is the certificate: the states were counted one
    /// by one and their number was compared with the product of the variables' options.
    #[must_use]
    pub fn complete(&self) -> bool {
        self.states == self.visited
    }
}

/// Enumerates the crash states of one crash point.
pub trait CrashExplorer: Send + Sync {
    /// Calls `visit` for crash states of `spaces`, one space per disk, until it breaks off.
    ///
    /// The order is the same at every call: all writes lost comes first.
    fn explore(
        &self,
        spaces: &[CrashSpace],
        visit: &mut dyn FnMut(&CrashState) -> ControlFlow<()>,
    ) -> Coverage;
}
