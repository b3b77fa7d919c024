//! One way through recovery, and everything that follows it: reading back, power cuts inside it and
//! after it, later sessions.

use std::ops::ControlFlow;
use std::sync::Arc;

use num_bigint::BigUint;
use plugpull_engine::ByteRange;

use crate::crash::{Certificate, CrashPoint, DirectWorld, Path, Watch};
use crate::disk::Image;
use crate::exec::catch;
use crate::explore::answers::{Answer, Answers};
use crate::explore::cuts::{Cuts, Left, Level, Point, Reach, Report, SETTLED, Wrong};
use crate::oracle::{Finding, Obligations};
use crate::system::{Device, Purpose};
use crate::verdict::Invariant;

/// A way that was taken to its end.
pub(super) struct Way {
    pub(super) path: Path,
    /// How many crash states go this way.
    pub(super) states: BigUint,
}

/// A device that has recovered on some disks.
pub(super) struct Recovered {
    pub(super) world: DirectWorld,
    pub(super) device: Arc<dyn Device>,
}

impl Cuts {
    /// Takes one way, and goes on from its end.
    pub(super) fn way(
        &mut self,
        point: &Point,
        left: &Left,
        path: Path,
        report: Report<'_>,
    ) -> ControlFlow<(), Way> {
        if self.go_on_within_budget().is_break() {
            return ControlFlow::Break(());
        }
        self.counts.recoveries += 1;
        let reach = point.reach;
        let goes_on = reach.recovery_cuts > 0 || reach.sessions_done < self.later.len();
        let world = DirectWorld::new(self.disks(left, path, self.watch(goes_on)));
        let recovered = self.recover(&world, report)?;
        world.settle();
        self.events.append(&mut world.events());
        let path = world.path();
        let states = world.with_disks(|disks| (self.states_of)(disks));
        world.with_disks(|disks| self.narrow(disks));
        let points = world.take_points();
        match recovered {
            // What a program does that is not deterministic means nothing.
            _ if path.end().is_err() => {}
            Err(finding) => {
                self.observe(|observed| observed.finding(&finding));
                self.note_wrong(|wrong| wrong.everything = true);
                self.lost(finding, None, report)?;
                self.cut_recovery(points, point, report)?;
            }
            Ok(None) => {
                self.observe(|observed| observed.end("refused"));
                self.cut_recovery(points, point, report)?;
            }
            Ok(Some(device)) => {
                self.observe(|observed| observed.end("recovered"));
                let recovered = Recovered { world, device };
                self.check_repair(&recovered, report)?;
                let answers = self.read_back(&recovered, point, goes_on, report)?;
                self.cut_recovery(points, point, report)?;
                if goes_on {
                    self.go_on(left, &recovered, &answers, point, report)?;
                }
            }
        }
        ControlFlow::Continue(Way { path, states })
    }

    /// What has to be noted of a run that goes on, or not.
    fn watch(&self, goes_on: bool) -> Watch {
        match goes_on {
            false => Watch::Off,
            true if self.at_every_step || self.script.is_some() => Watch::Every,
            true => Watch::Intervals,
        }
    }

    /// A recovery that lost something, in one guest sector if that can be said. What only shows when
    /// it is cut and repeated breaks F-REPLAY as well.
    pub(super) fn lost(
        &mut self,
        finding: Finding,
        sector: Option<u64>,
        report: Report<'_>,
    ) -> ControlFlow<()> {
        let message = format!("recovery that was cut and repeated: {}", finding.message);
        self.tell(finding, report)?;
        let repeated = matches!(
            &self.chain[..],
            [.., first, second] if first.session == second.session && second.at != SETTLED
        );
        let (_, outer) = self.chain.split_last().expect("a power cut was taken");
        let was_wrong = |level: &Level| {
            level.wrong.everything
                || sector
                    .map_or(!level.wrong.sectors.is_empty(), |at| level.wrong.sectors.contains(&at))
        };
        let only_repeated = repeated && !outer.iter().any(was_wrong);
        let finding = Finding { invariant: Invariant::FReplay, message };
        if !only_repeated {
            return ControlFlow::Continue(());
        }
        // On undecided disks nobody knows whether it was wrong before; on images it shows.
        self.tell_if_real(finding, report)
    }

    /// Notes, on images, that the recovery at hand shows something wrong.
    pub(super) fn note_wrong(&mut self, note: impl FnOnce(&mut Wrong)) {
        if self.script.is_some() {
            note(&mut self.chain.last_mut().expect("a power cut was taken").wrong);
        }
    }

    /// Opens the device and checks its structure.
    fn recover(
        &mut self,
        world: &DirectWorld,
        report: Report<'_>,
    ) -> ControlFlow<(), Result<Option<Arc<dyn Device>>, Finding>> {
        let opened = self.open(world);
        // Structure first: its violations say more than the content that they lead to. But a
        // search that wants the content's goes on to it.
        if let Ok(Some(device)) = &opened
            && let Some(finding) = device.check()
        {
            self.observe(|observed| observed.finding(&finding));
            world.with_disks(|disks| self.narrow(disks));
            self.note_wrong(|wrong| wrong.everything = true);
            self.tell(finding, report)?;
        }
        ControlFlow::Continue(opened)
    }

    /// Opens the device; none if it is damaged and refuses.
    fn open(&self, world: &DirectWorld) -> Result<Option<Arc<dyn Device>>, Finding> {
        let open = self.system.open(world.disks(), world.runtime(), Purpose::Recovery);
        let device = match run(world, "recovery", open)? {
            Ok(device) => device,
            Err(_) if self.system.may_refuse() && !world.changed() => return Ok(None),
            // Whoever cannot read what is needed has to say so.
            Err(_) if world.with_disks(|disks| disks.failed_reads()) > 0 => return Ok(None),
            Err(error) => {
                let message = format!("the device refuses to open after a power cut: {error}");
                return Err(Finding { invariant: self.system.refusal(&error), message });
            }
        };
        if self.system.is_read_only() && world.changed() {
            let message = "recovery of a read-only device changes a disk".to_owned();
            return Err(Finding { invariant: Invariant::EOpen, message });
        }
        Ok(Some(device))
    }

    /// Reads everything back and judges it.
    fn read_back(
        &mut self,
        recovered: &Recovered,
        point: &Point,
        keep: bool,
        report: Report<'_>,
    ) -> ControlFlow<(), Answers> {
        let before = self.chain.last().expect("a power cut was taken").taken.clone();
        let mut answers = Answers::new(point.obligations.initial().clone(), keep);
        for &range in &*point.asked {
            self.ask(recovered, range, &point.obligations, &mut answers, report)?;
        }
        self.chain.last_mut().expect("a power cut was taken").taken = before;
        ControlFlow::Continue(answers)
    }

    /// Cuts inside this recovery, also one that has failed: power may be cut before it does, and what
    /// was undecided then need not have made it fail.
    fn cut_recovery(
        &mut self,
        points: Vec<CrashPoint>,
        point: &Point,
        report: Report<'_>,
    ) -> ControlFlow<()> {
        let reach = point.reach;
        let Some(recovery_cuts) = reach.recovery_cuts.checked_sub(1) else {
            return ControlFlow::Continue(());
        };
        for cut in points {
            self.narrow_to(cut.undecided, cut.unreadable.as_ref());
            let (at, spaces, unreadable) = (cut.at, cut.spaces.into(), cut.unreadable);
            let reach = Reach { recovery_cuts, ..reach };
            self.point(Point { at, spaces, unreadable, reach, ..point.clone() }, report)?;
        }
        ControlFlow::Continue(())
    }

    /// From a recovered state: a cut after recovery, later sessions.
    fn go_on(
        &mut self,
        left: &Left,
        recovered: &Recovered,
        answers: &Answers,
        point: &Point,
        report: Report<'_>,
    ) -> ControlFlow<()> {
        let reach = point.reach;
        if reach.recovery_cuts > 0 {
            let last = Reach { recovery_cuts: 0, sessions_done: self.later.len() };
            for (part, settled) in answers.settled(recovered) {
                self.narrow_to(settled.undecided, settled.unreadable.as_ref());
                let settled = Point {
                    at: SETTLED,
                    spaces: settled.spaces.into(),
                    unreadable: settled.unreadable,
                    obligations: Arc::new(Obligations::exactly(&part.content)),
                    asked: part.asked.clone(),
                    reach: last,
                };
                self.point(settled, report)?;
            }
        }
        if reach.sessions_done < self.later.len() {
            for part in answers.parts() {
                self.session(left, recovered, &part, point, report)?;
            }
        }
        ControlFlow::Continue(())
    }

    /// The next session after what recovery brought back, in every way that what it reads may make
    /// it go. Recovery is run again for it, on the same way, because a session changes the device.
    fn session(
        &mut self,
        left: &Left,
        recovered: &Recovered,
        part: &Part,
        point: &Point,
        report: Report<'_>,
    ) -> ControlFlow<()> {
        let reach = point.reach;
        let session = self.later[reach.sessions_done].clone();
        let next = Reach { sessions_done: reach.sessions_done + 1, ..reach };
        let fixed = part.answer.as_ref().map_or_else(
            || recovered.world.path().fixed_so_far(),
            |answer| answer.path.fixed_so_far(),
        );
        let states = match &part.answer {
            Some(answer) => answer.disks.states(),
            None => recovered.world.with_disks(|disks| disks.states()),
        };
        let mut certificate = Certificate::new(states);
        let mut path = fixed;
        loop {
            let world = DirectWorld::new(self.disks(left, path, self.watch(true)));
            let open = self.system.open(world.disks(), world.runtime(), Purpose::Recovery);
            let Ok(Ok(device)) = run(&world, "recovery", open) else {
                return self
                    .distrust("not deterministic: recovery fails when it is run again".into());
            };
            world.settle();
            if let Some(answer) = &part.answer {
                // The answer of which this session knows.
                let again = run(&world, "a read after recovery", device.read_back(answer.range));
                if !matches!(again, Ok(Ok(bytes)) if bytes == answer.bytes) {
                    let why = "not deterministic: a query has another answer when it is run again";
                    return self.distrust(why.into());
                }
            }
            drop(world.take_points());
            let failed_reads = world.with_disks(|disks| disks.failed_reads());
            let ran = session.run(&world, device, &part.content, &part.asked);
            self.events.append(&mut world.events());
            path = world.path();
            if let Err(why) = path.end() {
                return self.distrust(why);
            }
            world.with_disks(|disks| {
                self.narrow(disks);
                certificate.add(&disks.states());
            });
            // A request may fail that had to read what cannot be read; nothing else may happen to it.
            let excused = world.with_disks(|disks| disks.failed_reads()) > failed_reads;
            let stopped = ran.stopped.into_iter();
            let stopped =
                stopped.filter(|stopped| !excused || stopped.invariant != Invariant::EHonest);
            for finding in ran.findings.into_iter().chain(stopped) {
                self.tell(finding, report)?;
            }
            // Power may be cut before what has stopped it, too.
            let mut points = world.take_points();
            let end = world.point();
            // Unless it is among them, the end of the session is a crash point, too.
            if points.last().is_none_or(|last| (last.at, last.phase) != (end.at, end.phase)) {
                points.push(end);
            }
            for cut in points {
                self.narrow_to(cut.undecided, cut.unreadable.as_ref());
                let cut = Point {
                    at: cut.at,
                    spaces: cut.spaces.into(),
                    unreadable: cut.unreadable,
                    obligations: Arc::clone(&ran.obligations[cut.phase]),
                    asked: part.asked.clone(),
                    reach: next,
                };
                self.point(cut, report)?;
            }
            if !path.advance() {
                return self.trusted(certificate.verify());
            }
            if self.is_too_many(certificate.ways()) {
                return ControlFlow::Continue(());
            }
        }
    }
}

/// Guest ranges whose content is known together: all those that do not depend on anything
/// undecided, or one that does, with one of its answers.
pub(super) struct Part {
    pub(super) content: Image,
    pub(super) asked: Arc<[ByteRange]>,
    pub(super) answer: Option<Answer>,
}

/// Runs `future` on the disks of `world`; a panic or a standstill is a finding.
pub(crate) fn run<T>(
    world: &DirectWorld,
    what: &str,
    future: impl Future<Output = T>,
) -> Result<T, Finding> {
    let caught = catch(|| world.run(future));
    match caught {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(stuck)) => Err(Finding {
            invariant: Invariant::LProg,
            message: format!("{what} does not end: {}", stuck.reason),
        }),
        Err(panic) => Err(Finding {
            invariant: Invariant::EPanic,
            message: format!("{what} panics: {}", panic.message),
        }),
    }
}
