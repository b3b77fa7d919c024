//! Every way through recovery from one crash point, and the certificate; the nearest ways, where
//! there are too many.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use num_bigint::BigUint;

use crate::crash::{Certificate, DirectWorld, Nearness, Path, Watch};
use crate::disk::{CrashSpace, Prefer, Undecided};
use crate::explore::cross_check::Observed;
use crate::explore::cuts::{Cuts, Left, Level, Point, Report, Taken, Wrong};
use crate::explore::leaf::run;
use crate::system::Purpose;

impl Cuts {
    /// Every way through recovery from here.
    pub(super) fn exact(
        &mut self,
        point: &Point,
        paths_max: u64,
        report: Report<'_>,
    ) -> ControlFlow<()> {
        let images: BigUint = point.spaces.iter().map(CrashSpace::raw_states).product();
        let states = point.unreadable.iter().fold(images, |states, some| states * some.ways());
        let mut certificate = Certificate::new(states);
        let left = Left::Undecided(Arc::clone(&point.spaces), point.unreadable.clone());
        self.chain.push(Level {
            at: point.at,
            session: point.session(),
            spaces: Arc::clone(&point.spaces),
            taken: Taken::Some(point.spaces.iter().cloned().map(Undecided::new).collect()),
            unreadable: Vec::new(),
            wrong: Wrong::default(),
        });
        let outer = (self.observed.take(), std::mem::take(&mut self.cut_short));
        self.observed = self.cross_checks.then(Observed::default);
        let answer = self.ways(point, &left, paths_max, &mut certificate, report);
        let observed = std::mem::replace(&mut self.observed, outer.0);
        let complete = !std::mem::replace(&mut self.cut_short, outer.1);
        self.chain.pop();
        self.counts.states += certificate.states();
        self.counts.visited += certificate.sum();
        match answer {
            ControlFlow::Break(()) => ControlFlow::Break(()),
            // The bound may have been reached with the last way there is.
            ControlFlow::Continue(all)
                if complete && (all || certificate.sum() == certificate.states()) =>
            {
                self.trusted(certificate.verify())?;
                observed.map_or(ControlFlow::Continue(()), |seen| self.cross_check(point, &seen))
            }
            ControlFlow::Continue(_) => {
                self.counts.bounded_points += 1;
                self.counts.bounded.0 += certificate.sum();
                self.counts.bounded.1 += certificate.states();
                ControlFlow::Continue(())
            }
        }
    }

    /// The ways through recovery; whether all were taken. If there are too many, the nearest to
    /// everything kept and to everything lost are taken after as many as were allowed.
    fn ways(
        &mut self,
        point: &Point,
        left: &Left,
        paths_max: u64,
        certificate: &mut Certificate,
        report: Report<'_>,
    ) -> ControlFlow<(), bool> {
        self.look_at_images(left, report)?;
        let mut path = Path::new();
        let mut seen = BTreeSet::new();
        loop {
            let way = self.way(point, left, path, report)?;
            path = way.path;
            self.trusted(path.end())?;
            certificate.add(&way.states);
            seen.insert(path.key());
            if !path.advance() {
                return ControlFlow::Continue(true);
            }
            if seen.len() as u64 == paths_max {
                return self.nearest(point, left, paths_max, seen, certificate, report);
            }
        }
    }

    /// Iterative deepening: the ways that differ from everything kept, or from everything lost, in
    /// no answer, in one, in two, as long as no more than `paths_max` are added. Whether in the end
    /// no way was left out.
    fn nearest(
        &mut self,
        point: &Point,
        left: &Left,
        paths_max: u64,
        mut seen: BTreeSet<Vec<u32>>,
        certificate: &mut Certificate,
        report: Report<'_>,
    ) -> ControlFlow<(), bool> {
        let mut added = 0;
        let mut differing_max = 0;
        loop {
            let mut left_out = false;
            for from in [Prefer::Kept, Prefer::Lost] {
                let mut path = Path::near(Nearness { from, differing_max });
                loop {
                    path = self.probe(left, path);
                    self.trusted(path.end())?;
                    if seen.insert(path.key()) {
                        let way = self.way(point, left, path.again(), report)?;
                        certificate.add(&way.states);
                        added += 1;
                        path = way.path;
                    }
                    if added == paths_max {
                        let known = self.counts.levels.unwrap_or(usize::MAX);
                        self.counts.levels = Some(known.min(differing_max));
                        return ControlFlow::Continue(false);
                    }
                    if !path.advance() {
                        break;
                    }
                }
                left_out |= path.left_out();
            }
            if !left_out {
                return ControlFlow::Continue(true);
            }
            differing_max += 1;
        }
    }

    /// Recovers without looking at what came out: which way it goes.
    fn probe(&mut self, left: &Left, path: Path) -> Path {
        let world = DirectWorld::new(self.disks(left, path, Watch::Off));
        let open = self.system.open(world.disks(), world.runtime(), Purpose::Recovery);
        drop(run(&world, "recovery", open));
        world.settle();
        world.path()
    }
}

#[cfg(test)]
mod tests {
    use crate::explore::search::Search;
    use crate::explore::strategy::{Assigned, strategy};
    use crate::explore::{Exploration, method, plan::Plan, report, system};
    use crate::scenario::Scenario;
    use crate::verdict::{ScenarioResult, Verdict};

    use super::*;

    /// Two unflushed sectors, explored with this way of counting.
    fn explored(states_of: fn(&crate::crash::LazyDisks) -> BigUint) -> ScenarioResult {
        let text = r#"version = 1
claim = "Unflushed sectors are old or new."

[system]
kind = "fvd"
size = "4 KiB"

[disks.image]
model = "writeback"

[[client]]
ops = ["write 0 1K"]

[explore]
schedules = "exhaustive"

[expect]
verdict = "holds"
"#;
        let scenario = Scenario::parse("counted.toml", text).expect("a scenario");
        let exploration = Exploration::of(&scenario);
        let system = system(&scenario, &exploration).expect("a system");
        let plan = Plan::new(Arc::clone(&system), &exploration).expect("a plan");
        let explore = &exploration.explore;
        let mut cuts = Cuts::new(system, method(explore), plan.later.clone());
        cuts.states_of = states_of;
        let outcome = Search::new(&plan, &mut cuts)
            .run(&mut strategy(explore, 0, &Assigned::default()), &mut |_, _| {
                ControlFlow::Continue(())
            });
        report::result(&plan, &exploration, outcome, cuts, None)
    }

    #[test]
    fn a_wrong_certificate_breaks_the_whole_search() {
        let right = explored(crate::crash::LazyDisks::states);
        assert_eq!((right.verdict, right.crashes.certificate), (Verdict::Holds, true));
        let check = |states_of, complaint: &str| {
            let wrong = explored(states_of);
            assert_eq!(wrong.verdict, Verdict::HarnessBroken);
            assert_eq!(wrong.broken.as_deref(), Some(complaint));
            assert!(!wrong.crashes.certificate);
        };
        check(
            |disks| disks.states() + 1_u32,
            "the certificate does not add up: 2 ways stand for 4 crash states, and there are 2",
        );
        check(
            |_| BigUint::ZERO,
            "the certificate does not add up: 2 ways stand for 0 crash states, and there are 2",
        );
    }
}
