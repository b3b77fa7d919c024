//! Power cuts: from a crash point to its crash states, from each state through recovery to a
//! judgement, and on to the cuts inside recovery and inside the sessions that follow.
//!
//! Equal crash points, and equal pairs of images and obligations, are visited once. What is equal
//! includes how deep the search may still go from there.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use num_bigint::BigUint;

use crate::crash::direct::{CrashPoint, combined_key};
use crate::crash::{Assignment, CrashExplorer, CrashState, DirectWorld};
use crate::disk::{CrashSpace, Image};
use crate::exec::catch;
use crate::explore::found::Cut;
use crate::explore::later::LaterSession;
use crate::explore::visited::Visited;
use crate::oracle::{Finding, Obligations};
use crate::scenario::PowerCut;
use crate::system::{Device, Purpose, System};
use crate::verdict::Invariant;

/// The place of a cut after a recovery that came to its end and was read: no other cut has it.
const SETTLED: u64 = 1 << 40;

/// How far the search may still go from a crash point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reach {
    /// Power cuts inside recovery that may still follow.
    pub(crate) recovery_cuts: u32,
    /// Later sessions that were run already.
    pub(crate) sessions_done: usize,
}

/// What was counted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counts {
    /// Distinct crash points.
    pub(crate) points: u64,
    /// Crash states of these points.
    pub(crate) states: BigUint,
    /// Crash states among them that were visited.
    pub(crate) visited: BigUint,
    /// Recoveries that were run.
    pub(crate) recoveries: u64,
    /// Guest ranges read back.
    pub(crate) queries: u64,
    /// Crash points of which not every state was visited, because there are too many.
    pub(crate) sampled_points: u64,
}

/// The violation at the end of a chain of cuts.
pub(crate) struct Violation {
    pub(crate) finding: Finding,
    pub(crate) cuts: Vec<Cut>,
}

/// Decides whether to go on after a violation.
pub(crate) type Report<'a> = &'a mut dyn FnMut(Violation) -> ControlFlow<()>;

/// The power cuts of one exploration.
pub(crate) struct Cuts {
    system: Arc<dyn System>,
    explorer: Arc<dyn CrashExplorer>,
    later: Vec<LaterSession>,
    points_seen: Visited,
    states_seen: Visited,
    chain: Vec<Cut>,
    script: Option<Vec<PowerCut>>,
    /// Why a script cannot be followed.
    pub(crate) misfit: Option<String>,
    pub(crate) counts: Counts,
    pub(crate) events: BTreeSet<&'static str>,
}

impl Cuts {
    pub(crate) fn new(
        system: Arc<dyn System>,
        explorer: Arc<dyn CrashExplorer>,
        later: Vec<LaterSession>,
    ) -> Self {
        Self {
            system,
            explorer,
            later,
            points_seen: Visited::default(),
            states_seen: Visited::default(),
            chain: Vec::new(),
            script: None,
            misfit: None,
            counts: Counts::default(),
            events: BTreeSet::new(),
        }
    }

    /// Visits every crash state of one crash point.
    pub(crate) fn point(
        &mut self,
        spaces: Vec<CrashSpace>,
        at: u64,
        obligations: &Obligations,
        reach: Reach,
        report: Report<'_>,
    ) -> ControlFlow<()> {
        let session = reach.sessions_done + 1;
        if let Some(script) = &self.script {
            let Some(cut) = script.get(self.chain.len()) else {
                return ControlFlow::Continue(());
            };
            if (cut.session as usize, cut.at) != (session, at) {
                return ControlFlow::Continue(());
            }
            return self.scripted(&cut.clone(), spaces, at, obligations, reach, report);
        }
        let key = visit_key(combined_key(&spaces), obligations, reach);
        if !self.points_seen.insert(key) {
            return ControlFlow::Continue(());
        }
        self.counts.points += 1;
        let explorer = Arc::clone(&self.explorer);
        let spaces: Arc<[CrashSpace]> = spaces.into();
        let coverage = explorer.explore(&spaces, &mut |state: CrashState| {
            let CrashState { assignment, images } = state;
            self.chain.push(Cut { at, spaces: Arc::clone(&spaces), assignment, session });
            let answer = self.state(images, obligations, reach, report);
            self.chain.pop();
            answer
        });
        let sampled = !coverage.complete() && !coverage.stopped;
        self.counts.sampled_points += u64::from(sampled);
        self.counts.states += &coverage.states;
        self.counts.visited += &coverage.visited;
        if coverage.stopped { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// From now on takes these cuts and no others.
    pub(crate) fn follow(&mut self, script: Vec<PowerCut>) {
        self.script = Some(script);
    }

    /// The one crash state that a script asks for.
    fn scripted(
        &mut self,
        cut: &PowerCut,
        spaces: Vec<CrashSpace>,
        at: u64,
        obligations: &Obligations,
        reach: Reach,
        report: Report<'_>,
    ) -> ControlFlow<()> {
        let fits = cut.disks.len() == spaces.len()
            && cut.disks.iter().zip(&spaces).all(|(disk, space)| {
                disk.left.len() == space.variables()
                    && disk.left.iter().enumerate().all(|(variable, left)| {
                        left.of == space.options(variable)
                            && left.option < left.of
                            && left.label == space.describe(variable, left.option)
                    })
            });
        if !fits {
            self.misfit = Some(format!(
                "power cut {} of the file does not fit what the disks may be left with here",
                self.chain.len() + 1
            ));
            return ControlFlow::Break(());
        }
        let options = cut.disks.iter().map(|disk| disk.left.iter().map(|left| left.option));
        let options: Vec<Vec<usize>> = options.map(Iterator::collect).collect();
        let images = spaces.iter().zip(&options).map(|(space, of)| space.realize(of)).collect();
        let session = reach.sessions_done + 1;
        let assignment = Assignment { options };
        self.chain.push(Cut { at, spaces: spaces.into(), assignment, session });
        let answer = self.state(images, obligations, reach, report);
        self.chain.pop();
        answer
    }

    fn state(
        &mut self,
        images: Vec<Image>,
        obligations: &Obligations,
        reach: Reach,
        report: Report<'_>,
    ) -> ControlFlow<()> {
        let contents =
            images.iter().fold(0, |key: u128, image| key.rotate_left(29).wrapping_add(image.key()));
        if !self.states_seen.insert(visit_key(contents, obligations, reach)) {
            return ControlFlow::Continue(());
        }
        if let Some(finding) = self.system.check_image(&images) {
            report(Violation { finding, cuts: self.chain.clone() })?;
        }
        self.counts.recoveries += 1;
        let goes_on = reach.recovery_cuts > 0 || reach.sessions_done < self.later.len();
        let disks = self.system.disks().iter().cloned().zip(images);
        let world = DirectWorld::new(disks, goes_on);
        let recovered = self.recover(&world, obligations, goes_on, report);
        self.events.append(&mut world.events());
        match recovered {
            Err(finding) => self.report_lost(finding, report),
            Ok(None) => ControlFlow::Continue(()),
            Ok(Some(recovered)) => self.go_on(&world, recovered, obligations, reach, report),
        }
    }

    /// What only shows when recovery is cut and repeated breaks F-REPLAY as well.
    fn report_lost(&self, finding: Finding, report: Report<'_>) -> ControlFlow<()> {
        let cuts = self.chain.clone();
        let repeated = matches!(
            &cuts[..],
            [.., first, second] if first.session == second.session && second.at != SETTLED
        );
        let message = format!("recovery that was cut and repeated: {}", finding.message);
        report(Violation { finding, cuts: cuts.clone() })?;
        if !repeated {
            return ControlFlow::Continue(());
        }
        report(Violation { finding: Finding { invariant: Invariant::FReplay, message }, cuts })
    }

    /// Opens the device, reads everything back and judges it; none if it is damaged and refuses.
    fn recover(
        &mut self,
        world: &DirectWorld,
        obligations: &Obligations,
        wants_content: bool,
        report: Report<'_>,
    ) -> Result<Option<Recovered>, Finding> {
        let open = self.system.open(world.disks(), world.runtime(), Purpose::Recovery);
        let device = match run(world, "recovery", open)? {
            Ok(device) => device,
            Err(_) if self.system.may_refuse() && !world.changed() => return Ok(None),
            Err(error) => {
                let message = format!("the device refuses to open after a power cut: {error}");
                return Err(Finding { invariant: self.system.refusal(&error), message });
            }
        };
        if self.system.is_read_only() && world.changed() {
            let message = "recovery of a read-only device changes a disk".to_owned();
            return Err(Finding { invariant: Invariant::EOpen, message });
        }
        // Structure first: its violations say more than the content that they lead to. But a
        // search that wants the content's goes on to it.
        if let Some(finding) = device.check() {
            let cuts = self.chain.clone();
            if report(Violation { finding: finding.clone(), cuts }).is_break() {
                return Err(finding);
            }
        }
        let points = world.take_points();
        // Most of it is what it was: starting from there, little is copied.
        let mut content = wants_content.then(|| obligations.initial().clone());
        for &query in self.system.queries() {
            self.counts.queries += 1;
            let bytes = run(world, "a read after recovery", device.read(query))?;
            let bytes = bytes.map_err(|error| Finding {
                invariant: Invariant::DDur,
                message: format!("guest range {query} cannot be read after recovery: {error}"),
            })?;
            if let Some(finding) = obligations.judge(query.offset / 512, &bytes) {
                return Err(finding);
            }
            if let Some(content) = &mut content {
                content.write(query.offset, &bytes);
            }
        }
        Ok(Some(Recovered { device, points, content }))
    }

    /// From a recovered state: cuts inside this recovery, a cut after it, later sessions.
    fn go_on(
        &mut self,
        world: &DirectWorld,
        recovered: Recovered,
        obligations: &Obligations,
        reach: Reach,
        report: Report<'_>,
    ) -> ControlFlow<()> {
        let Some(content) = recovered.content else { return ControlFlow::Continue(()) };
        if let Some(recovery_cuts) = reach.recovery_cuts.checked_sub(1) {
            let inner = Reach { recovery_cuts, ..reach };
            for (at, point) in (0..).zip(recovered.points) {
                self.point(point.spaces, at, obligations, inner, report)?;
            }
            let settled = Obligations::exactly(&content);
            let last = Reach { recovery_cuts: 0, sessions_done: self.later.len() };
            self.point(world.crash_spaces(), SETTLED, &settled, last, report)?;
        }
        let Some(session) = self.later.get(reach.sessions_done).cloned() else {
            return ControlFlow::Continue(());
        };
        _ = world.take_points();
        let ran = session.run(world, recovered.device, &content);
        self.events.append(&mut world.events());
        let ran = match ran {
            Ok(ran) => ran,
            Err(finding) => return report(Violation { finding, cuts: self.chain.clone() }),
        };
        let next = Reach { sessions_done: reach.sessions_done + 1, ..reach };
        let points = world.take_points();
        let after_all = points.len() as u64;
        for (at, CrashPoint { spaces, phase }) in (0..).zip(points) {
            self.point(spaces, at, &ran.obligations[phase], next, report)?;
        }
        let end = ran.obligations.last().expect("a session has a last phase");
        self.point(world.crash_spaces(), after_all, end, next, report)
    }
}

struct Recovered {
    device: Arc<dyn Device>,
    points: Vec<CrashPoint>,
    /// All queries' bytes, where something follows that needs them.
    content: Option<Image>,
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

fn visit_key(contents: u128, obligations: &Obligations, reach: Reach) -> u128 {
    let reach = u128::from(reach.recovery_cuts) << 32 | reach.sessions_done as u128;
    let mixed = contents.rotate_left(64) ^ obligations.key().rotate_left(17);
    mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).wrapping_add(reach)
}
