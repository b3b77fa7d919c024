//! From a scenario to what the search needs: the system set up, requests and faults written out.

use std::sync::Arc;

use plugpull_engine::ByteRange;

use crate::disk::{FaultPlan, Image};
use crate::exec::WorldOptions;
use crate::explore::later::LaterSession;
use crate::scenario::{Crashes, Expected, Scenario, Schedules, SystemSpec};
use crate::system::System;
use crate::system::fvd::FvdSystem;
use crate::verdict::Invariant;
use crate::workload::GuestOp;

/// What is explored: everything but the strategy.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) system: Arc<dyn System>,
    /// The guest content that the start images hold.
    pub(crate) initial: Image,
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
    pub(crate) recovery_cuts: u32,
    /// The search goes on until this one is found; any other is noted on the way.
    pub(crate) wanted: Option<Invariant>,
}

impl Plan {
    /// Whether a disk may go on failing when no new fault hits.
    pub(crate) fn has_lasting_faults(&self) -> bool {
        self.faults.iter().any(|plan| {
            !plan.bad_sectors.is_empty() || plan.faults.iter().any(|fault| fault.permanent)
        })
    }

    /// Sets the scenario up.
    ///
    /// # Errors
    /// Why it cannot be.
    pub(crate) fn new(scenario: &Scenario) -> Result<Self, String> {
        let clients: Vec<_> = scenario.clients.iter().map(|client| client.requests()).collect();
        let later = (2..).zip(&scenario.after);
        let later = later.map(|(number, ops)| LaterSession { number, ops: ops.clone() });
        let SystemSpec::Fvd(spec) = &scenario.system;
        let touched: Vec<ByteRange> =
            clients.iter().chain(&scenario.after).flatten().map(|op| op.range()).collect();
        let system =
            FvdSystem::new(spec, &scenario.disks, &touched).map_err(|error| error.to_string())?;
        let explore = &scenario.explore;
        Ok(Self {
            initial: system.initial().clone(),
            system: Arc::new(system),
            later: later.collect(),
            clients,
            faults: scenario.disks.iter().map(|disk| explore.faults.plan(&disk.name)).collect(),
            world: WorldOptions {
                ready: explore.ready,
                cancel_budget: explore.cancel,
                ..WorldOptions::default()
            },
            crashes: explore.crashes != Crashes::None,
            latest: explore.crashes != Crashes::None && explore.schedules != Schedules::Exhaustive,
            recovery_cuts: explore.recovery_crashes,
            wanted: match scenario.expect.verdict {
                Expected::Violated(invariant) => Some(invariant),
                Expected::Holds | Expected::Incomplete => None,
            },
        })
    }
}
