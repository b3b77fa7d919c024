//! One execution: open the device, run the clients, read everything back.

use std::collections::BTreeSet;
use std::sync::Arc;

use plugpull_engine::{Disk, Error};

use crate::disk::{Image, OpKind};
use crate::exec::{Cell, Label, Noted, Output, World};
use crate::explore::audit::Audited;
use crate::explore::found::{Cut, Found};
use crate::explore::latest::Recording;
use crate::explore::plan::Plan;
use crate::explore::session::{Client, Guest, SharedGuest};
use crate::oracle::{EVERY_SECTOR, Finding, Moment, Obligations};
use crate::schedule::{GuidedStep, Strategy};
use crate::system::{Device, Purpose};
use crate::verdict::Invariant;

/// An execution under way.
pub(crate) struct Execution {
    pub(crate) world: World,
    guest: SharedGuest,
    stage: Stage,
    /// The named things that had happened when the clients had ended.
    events_of_clients: Option<BTreeSet<&'static str>>,
    /// What a power cut must leave, and the moment of the model that it belongs to.
    obligations: Option<(Moment, Arc<Obligations>)>,
    /// The steps so far, if they are kept.
    recording: Option<Recording>,
    /// Whether steps are kept with what they have touched.
    keeps_steps: bool,
    /// Those so far.
    steps: Vec<Audited>,
}

enum Stage {
    Opening(Output<Result<Arc<dyn Device>, Error>>),
    Running(Arc<dyn Device>),
    Verifying(Output<Option<Finding>>),
    Over,
}

impl Execution {
    /// Disks with the start images, and the task that opens the device.
    pub(crate) fn new(plan: &Plan) -> Self {
        let disks = plan.system.disks().iter().cloned();
        let disks = disks.zip(plan.system.start().iter().cloned()).zip(plan.faults.iter().cloned());
        let disks: Vec<_> = disks.map(|((spec, image), faults)| (spec, image, faults)).collect();
        let count = disks.len();
        let mut world = World::new(disks, plan.world);
        let handles: Vec<Arc<dyn Disk>> = (0..count).map(|index| world.disk(index)).collect();
        let open = plan.system.open(handles, world.runtime(), Purpose::Workload);
        let opening = world.spawn_value("open", open);
        let guest = Arc::new(Cell::new(Guest::new(&*plan.system)));
        Self {
            world,
            guest,
            stage: Stage::Opening(opening),
            events_of_clients: None,
            obligations: None,
            recording: None,
            keeps_steps: false,
            steps: Vec::new(),
        }
    }

    /// Keeps the steps from here on.
    pub(crate) fn start_recording(&mut self, plan: &Plan) {
        self.recording = Some(Recording::new(plan.system.disks()));
    }

    /// Keeps the steps from here on with what they touch, if that is noted.
    pub(crate) fn keep_steps(&mut self) {
        self.keeps_steps = true;
        self.world.keep_made();
    }

    /// Keeps the last step, if that was to be: what happened in it, and how many choices were made
    /// before it. Reading back is no part of what is explored.
    pub(crate) fn record(&mut self, event: Label, choices: usize) {
        let verifying = self.is_verifying();
        if self.keeps_steps
            && !verifying
            && let Some(made) = self.world.made()
        {
            let step = GuidedStep { event, coins: self.world.coins_after(choices) };
            self.steps.push(Audited { step, made });
        }
        if let Some(recording) = self.recording.as_mut().filter(|_| !verifying) {
            recording.add(&self.world, event, choices);
        }
    }

    /// What is explored has come to its end: tells the strategy, the first time.
    pub(crate) fn finished(&mut self, strategy: &mut Box<dyn Strategy>) {
        if !self.is_verifying() && strategy.notes() != Noted::Nothing {
            strategy.finished(&mut || self.world.fingerprint());
        }
    }

    /// The steps so far with what they have touched; none if that is not noted.
    pub(crate) fn steps(&self) -> &[Audited] {
        &self.steps
    }

    /// The steps that were kept.
    pub(crate) fn recording(&self) -> Option<&Recording> {
        self.recording.as_ref()
    }

    /// Takes note of an event; the finding that a client made in it, if any.
    pub(crate) fn observe(&self, plan: &Plan, label: &Label) -> Option<Finding> {
        if let Label::Complete { request, .. } = label
            && plan.system.is_read_only()
            && !matches!(request.kind, OpKind::Read | OpKind::Flush)
        {
            let message = format!("a read-only device changes a disk: {label}");
            return Some(Finding { invariant: Invariant::EOpen, message });
        }
        let world = self.world.handle();
        self.guest.with(|guest| {
            guest.observe(label);
            if label.is_mishap() && world.identifies_states() {
                world.guest_changed(&[], Some(guest.key()));
            }
            guest.finding.take()
        })
    }

    /// What a power cut now must leave.
    pub(crate) fn obligations(&mut self, plan: &Plan) -> Arc<Obligations> {
        self.guest.with(|guest| {
            // Most steps are no event for the guest.
            if let Some((moment, known)) = &self.obligations
                && *moment == guest.model.now()
            {
                return Arc::clone(known);
            }
            let new = Arc::new(Obligations::after_power_cut(&guest.model, plan.system.initial()));
            self.obligations = Some((guest.model.now(), Arc::clone(&new)));
            new
        })
    }

    /// Starts the clients once the device is open, even if jobs still run beside them.
    ///
    /// # Errors
    /// The finding, if the device refused to open without a reason.
    pub(crate) fn look_for_device(&mut self, plan: &Plan) -> Result<(), Finding> {
        let Stage::Opening(opening) = &self.stage else { return Ok(()) };
        match opening.take() {
            None => {}
            Some(Ok(device)) => {
                self.start_clients(plan, &device);
                self.stage = Stage::Running(device);
            }
            Some(Err(error)) => {
                self.stage = Stage::Over;
                self.refused(plan, &error)?;
            }
        }
        Ok(())
    }

    /// Everything that was started has ended: starts what comes next; false if nothing does.
    ///
    /// # Errors
    /// The finding, if the reading back broke a promise.
    pub(crate) fn next_stage(&mut self, plan: &Plan) -> Result<bool, Finding> {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Running(device) if !self.guest.with(|guest| guest.closed) => {
                self.world.calm();
                // What reading back brings about is not the scenario's doing.
                self.events_of_clients = Some(self.events());
                self.stage = Stage::Verifying(self.start_verifying(plan, device));
                Ok(true)
            }
            Stage::Verifying(verifying) => {
                verifying.take().expect("the reading has ended").map_or(Ok(false), Err)
            }
            Stage::Running(_) => self.closed_finding(plan).map_or(Ok(false), Err),
            Stage::Over => Ok(false),
            Stage::Opening(_) => unreachable!("the opening has ended and was looked at"),
        }
    }

    /// Whether a power cut now would show anything that earlier ones do not: reading back changes
    /// nothing.
    pub(crate) fn is_verifying(&self) -> bool {
        matches!(self.stage, Stage::Verifying(_))
    }

    /// Whether a background job of the device has not come to its end.
    pub(crate) fn job_is_running(&self) -> bool {
        matches!(&self.stage, Stage::Running(device) if device.job_is_running())
    }

    /// The named things that have happened.
    pub(crate) fn events(&self) -> BTreeSet<&'static str> {
        if let Some(events) = &self.events_of_clients {
            return events.clone();
        }
        let mut events = self.world.events();
        self.guest.with(|guest| events.extend(&guest.events));
        events
    }

    /// A violation of this execution after its first `choices` choices and these power cuts.
    pub(crate) fn found(&self, finding: Finding, choices: usize, cuts: Vec<Cut>) -> Found {
        let guest_log = self.guest.with(|guest| guest.log.clone());
        let mut trace = self.world.trace();
        trace.choices.truncate(choices);
        Found { finding, trace, ready: self.world.ready_order(), cuts, guest_log }
    }

    fn start_clients(&mut self, plan: &Plan, device: &Arc<dyn Device>) {
        for (number, ops) in (0..).zip(&plan.clients) {
            let client = Client {
                number,
                ops: ops.clone(),
                device: Arc::clone(device),
                guest: Arc::clone(&self.guest),
                system: Arc::clone(&plan.system),
                world: self.world.handle(),
            };
            self.world.spawn(&format!("c{number}"), client.run());
        }
    }

    /// A refused open is excused by a fault or by damage, and must then have changed nothing
    /// (E-OPEN).
    fn refused(&self, plan: &Plan, error: &Error) -> Result<(), Finding> {
        self.guest.with(|guest| guest.events.insert("open-refused"));
        let finding = |invariant, message| Err(Finding { invariant, message });
        let damaged = plan.system.may_refuse();
        if !damaged && !self.guest.with(|guest| guest.had_faults()) {
            let message = format!("the device refuses to open: {error}");
            return finding(plan.system.refusal(error), message);
        }
        let start = plan.system.start();
        let same =
            |index: usize, image: &Image| self.world.with_disk(index, |d| d.visible() == image);
        let unchanged = start.iter().enumerate().all(|(index, image)| same(index, image));
        if unchanged || (plan.system.recovers_at_start() && !damaged) {
            return Ok(());
        }
        finding(Invariant::EOpen, format!("a failed open changed the image ({error})"))
    }

    /// What is wrong with the disks after a close that has reported success, if nothing has failed.
    fn closed_finding(&self, plan: &Plan) -> Option<Finding> {
        let settled = self.guest.with(|guest| guest.close_succeeded && !guest.had_faults());
        let image = |index| self.world.with_disk(index, |disk| disk.visible().clone());
        let disks = 0..plan.system.disks().len();
        let images: Vec<Image> = disks.filter(|_| settled).map(image).collect();
        if settled { plan.system.check_closed(&images) } else { None }
    }

    /// With nothing in flight the whole disk must equal the model (D-RYW). If nothing has failed, the
    /// disks hold all of it after a flush (Q-CACHE).
    fn start_verifying(&mut self, plan: &Plan, device: Arc<dyn Device>) -> Output<Option<Finding>> {
        let expected = self.guest.with(|guest| {
            Obligations::quiescent(&guest.model, plan.system.initial(), EVERY_SECTOR)
        });
        let queries = plan.system.queries().to_vec();
        let may_fail = plan.has_lasting_faults();
        let compares =
            plan.system.compares_flushed() && !self.guest.with(|guest| guest.had_faults());
        self.world.spawn_value("verify", async move {
            for &query in &queries {
                match device.read_back(query).await {
                    Ok(bytes) => {
                        let finding = expected.judge(query.offset / 512, &bytes);
                        if finding.is_some() {
                            return finding;
                        }
                    }
                    Err(_) if may_fail => {}
                    Err(error) => {
                        let message = format!("guest range {query} cannot be read: {error}");
                        return Some(Finding { invariant: Invariant::ELocal, message });
                    }
                }
            }
            if compares {
                if let Err(error) = device.flush().await {
                    let message = format!("a flush with nothing in flight fails: {error}");
                    return Some(Finding { invariant: Invariant::ELocal, message });
                }
                let finding = device.check_flushed(queries).await;
                if finding.is_some() {
                    return finding;
                }
            }
            device.check()
        })
    }
}
