//! What the search needs: a system, with requests and faults written out.

use std::sync::Arc;

use crate::disk::FaultPlan;
use crate::exec::WorldOptions;
use crate::explore::exploration::Exploration;
use crate::explore::later::LaterSession;
use crate::explore::strategy;
use crate::scenario::{Crashes, Schedules};
use crate::system::System;
use crate::verdict::Invariant;
use crate::workload::GuestOp;

/// What is explored: everything but the strategy.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) system: Arc<dyn System>,
    pub(crate) clients: Vec<Vec<GuestOp>>,
    pub(crate) later: Vec<LaterSession>,
    /// One plan for each disk.
    pub(crate) faults: Vec<FaultPlan>,
    pub(crate) world: WorldOptions,
    /// Whether power is cut at all.
    pub(crate) crashes: bool,
    /// Whether each execution is run again with its completions as late as they can be. Where every
    /// order of completions has an execution, that shows nothing new.
    pub(crate) latest: bool,
    /// At most so many cuts of each execution are taken; one that has more is run again with its
    /// completions as late as they can be, instead. None if all are taken whatever it costs.
    pub(crate) cuts_max: Option<usize>,
    pub(crate) recovery_cuts: u32,
    pub(crate) unreadable: u32,
    /// The search goes on until this one is found; any other is noted on the way.
    pub(crate) wanted: Option<Invariant>,
}

/// Of executions drawn at random, each of which may be large.
const CUTS_MAX: usize = 1024;

impl Plan {
    /// Whether a disk may go on failing when no new fault hits.
    pub(crate) fn has_lasting_faults(&self) -> bool {
        self.faults.iter().any(|plan| {
            !plan.bad_sectors.is_empty() || plan.faults.iter().any(|fault| fault.permanent)
        })
    }

    /// What an exploration asks of a system.
    ///
    /// # Errors
    /// Why that cannot be.
    pub(crate) fn new(system: Arc<dyn System>, exploration: &Exploration) -> Result<Self, String> {
        exploration.check(&*system)?;
        let explore = &exploration.explore;
        Ok(Self {
            clients: exploration.clients.clone(),
            later: exploration.later(),
            faults: system.disks().iter().map(|disk| explore.faults.plan(&disk.name)).collect(),
            world: WorldOptions {
                ready: explore.ready,
                cancel_budget: explore.cancel,
                told: system.is_tracked(),
                noted: strategy::noted(explore.schedules),
                ..WorldOptions::default()
            },
            crashes: explore.crashes != Crashes::None,
            latest: explore.crashes != Crashes::None && explore.schedules.stands_for_one_order(),
            cuts_max: matches!(explore.schedules, Schedules::Random { .. }).then_some(CUTS_MAX),
            recovery_cuts: explore.recovery_crashes,
            unreadable: explore.unreadable,
            wanted: exploration.wanted(),
            system,
        })
    }
}
