//! Every way of a small program on disks that a power cut left: the explorer without engine, oracle
//! and schedule. Toy systems, benches and the comparison with the enumerator use it; scenarios go
//! through [`crate::explore`], which does the same with an engine.

use std::sync::Arc;

use num_bigint::BigUint;

use crate::crash::{Certificate, LazyDisks, Path, Unreadable, Watch};
use crate::disk::{CrashSpace, DiskSpec};

/// What a power cut left of some disks.
#[derive(Debug, Clone)]
pub struct AfterCut {
    specs: Arc<[DiskSpec]>,
    spaces: Arc<[CrashSpace]>,
    unreadable: Option<Unreadable>,
}

/// Why nothing that was seen can be trusted: the certificate does not add up, or the program is not
/// deterministic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Broken(pub String);

impl AfterCut {
    /// One space for each disk.
    ///
    /// # Panics
    /// If there are not as many.
    #[must_use]
    pub fn new(specs: &[DiskSpec], spaces: &[CrashSpace]) -> Self {
        assert_eq!(specs.len(), spaces.len(), "one space for each disk");
        Self { specs: specs.into(), spaces: spaces.into(), unreadable: None }
    }

    /// The same, with up to `budget` sectors made unreadable.
    #[must_use]
    pub fn with_unreadable(self, budget: u32) -> Self {
        Self { unreadable: Some(Unreadable::new(budget, &self.spaces)), ..self }
    }

    /// The number of crash states.
    #[must_use]
    pub fn states(&self) -> BigUint {
        let images = self.spaces.iter().map(CrashSpace::raw_states).product();
        self.unreadable
            .iter()
            .fold(images, |states: BigUint, unreadable| states * unreadable.ways())
    }

    /// Runs `recovery` once for every way that what it reads can make it go. `end` gets what came
    /// out and the disks as they were left: to [`fork`] queries from, or, if they were watched, to cut
    /// the power again.
    ///
    /// # Errors
    /// See [`Broken`].
    pub fn every_way<R>(
        &self,
        watch: Watch,
        mut recovery: impl FnMut(&mut LazyDisks) -> R,
        mut end: impl FnMut(&mut LazyDisks, R) -> Result<(), Broken>,
    ) -> Result<Certificate, Broken> {
        let mut certificate = Certificate::new(self.states());
        let mut path = Path::new();
        let pairs = self.specs.iter().cloned().zip(self.spaces.iter().cloned());
        let mut untouched = LazyDisks::after_power_cut(pairs, Path::new(), watch);
        if let Some(unreadable) = &self.unreadable {
            untouched = untouched.with_unreadable(unreadable.clone());
        }
        loop {
            let mut disks = untouched.clone().on(path);
            let result = recovery(&mut disks);
            path = disks.path.clone();
            path.end().map_err(Broken)?;
            certificate.add(&disks.states());
            end(&mut disks, result)?;
            if !path.advance() {
                break;
            }
        }
        certificate.verify().map_err(Broken)?;
        Ok(certificate)
    }
}

/// Runs a query in every way, each time from where `disks` are. `answer` gets what came out, and the
/// disks after it.
///
/// # Errors
/// See [`Broken`].
pub fn fork<R>(
    disks: &LazyDisks,
    mut query: impl FnMut(&mut LazyDisks) -> R,
    mut answer: impl FnMut(&mut LazyDisks, R) -> Result<(), Broken>,
) -> Result<(), Broken> {
    let mut path = disks.path.branch_here();
    loop {
        let mut fork = disks.clone().on(path);
        let result = query(&mut fork);
        path = fork.path.clone();
        path.end().map_err(Broken)?;
        answer(&mut fork, result)?;
        if !path.advance() {
            return Ok(());
        }
    }
}
