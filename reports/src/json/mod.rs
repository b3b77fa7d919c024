//! One JSON document per run. Names and their order are a contract; version 1.

pub(crate) mod document;

use plugpull_sim::scenario::{Expect, Expected};
use plugpull_sim::verdict::{CrashReach, ScenarioResult, ScheduleReach, ShardReach, Share};
use xxhash_rust::xxh3::xxh3_128;

use crate::{RunReport, ScenarioReport, ShardHeader};
use document::{
    Crashes, Document, Goals, Hex, Part, Scenario, Schedules, Shard, Summary, Violation,
};

/// The version of the document.
pub const VERSION: u32 = 1;

/// The document, indented, with a line end.
///
/// Numbers of crash states are decimal strings: they outgrow every number type.
///
/// # Panics
/// Never: every part can be written as JSON.
#[must_use]
pub fn render(report: &RunReport) -> String {
    let document = Document {
        version: VERSION,
        program: report.program.clone(),
        scenarios: report.scenarios.iter().map(Scenario::of).collect(),
        summary: Summary::of(report),
    };
    let mut text = serde_json::to_string_pretty(&document).expect("texts and numbers");
    text.push('\n');
    text
}

impl Scenario {
    fn of(report: &ScenarioReport) -> Self {
        let result = &report.result;
        let shard = report.shard.as_ref();
        let mut scenario = Self {
            path: report.path.clone(),
            claim: report.claim.clone(),
            verdict: result.verdict.name().to_owned(),
            as_expected: report.as_expected(),
            violations: violations(report),
            schedules: Schedules::of(&result.schedules),
            crashes: Crashes::of(&result.crashes),
            goals: Goals { met: result.goals.met.clone(), unmet: result.goals.unmet.clone() },
            disks: result.disks.clone(),
            planted: result.planted.clone(),
            seed: result.seed,
            bounds: result.bounds.clone(),
            incomplete: result.incomplete.clone(),
            broken: result.broken.clone(),
            shard: shard.map(|header| Shard::of(header, &report.expect, result)),
            seconds: 0.0,
        };
        scenario.seal();
        scenario.seconds = milliseconds(report.seconds);
        scenario
    }

    /// Seals the certificate, if there is one.
    fn seal(&mut self) {
        if let Some(shard) = &mut self.shard {
            shard.seal = Hex(0);
            let text = serde_json::to_string(self).expect("texts and numbers");
            let seal = Hex(xxh3_128(text.as_bytes()));
            self.shard.iter_mut().for_each(|shard| shard.seal = seal);
        }
    }

    /// Whether it is as it was when it was sealed; that has to be so before anything else is done with
    /// it.
    pub(crate) fn is_sealed(&mut self) -> bool {
        let sealed = self.shard.as_ref().map(|shard| shard.seal);
        let seconds = std::mem::replace(&mut self.seconds, 0.0);
        self.seal();
        self.seconds = seconds;
        self.shard.as_ref().map(|shard| shard.seal) == sealed
    }
}

fn violations(report: &ScenarioReport) -> Vec<Violation> {
    let paths = report.counterexamples.iter().cloned().chain(std::iter::repeat(None));
    let violations = report.result.violations.iter().zip(paths);
    violations
        .map(|(violation, counterexample)| Violation {
            invariant: violation.invariant.name().to_owned(),
            message: violation.message.clone(),
            counterexample,
        })
        .collect()
}

impl Schedules {
    fn of(reach: &ScheduleReach) -> Self {
        Self {
            strategy: reach.strategy.clone(),
            engine: reach.engine.clone(),
            executions: reach.executions,
            classes: reach.classes,
            more_classes: reach.more_classes,
            drawn_once: reach.drawn_once.map(|share| [share.part, share.whole]),
            class_sum: reach.class_sum.map(Hex),
            states: reach.states,
            covered: reach.covered,
            precise_footprints: reach.footprints.map(|share| [share.part, share.whole]),
            audited: reach.audited,
            done: reach.done.map(thousandths),
            complete: reach.complete,
        }
    }
}

impl Crashes {
    fn of(reach: &CrashReach) -> Self {
        Self {
            mode: reach.mode.clone(),
            points: reach.points,
            states: reach.states.to_string(),
            recovery_paths: reach.recovery_paths,
            queries: reach.queries,
            cross_checked: reach.cross_checked,
            depth: reach.depth,
            certificate: reach.certificate,
            complete: reach.complete,
        }
    }
}

impl Shard {
    fn of(header: &ShardHeader, expect: &Expect, result: &ScenarioResult) -> Self {
        let (expected, invariant) = match expect.verdict {
            Expected::Holds => ("holds", None),
            Expected::Violated(invariant) => ("violated", Some(invariant.name().to_owned())),
            Expected::Incomplete => ("incomplete", None),
        };
        Self {
            index: header.index,
            count: header.count,
            binary: Hex(header.binary),
            scenario: Hex(header.scenario),
            options: Hex(header.options),
            expected: expected.to_owned(),
            expected_invariant: invariant,
            part: result.shard.as_ref().map(Part::of),
            seal: Hex(0),
        }
    }
}

impl Part {
    fn of(reach: &ShardReach) -> Self {
        let (roots, classes) = (&reach.roots, &reach.classes);
        Self {
            division: reach.division,
            depth: reach.depth,
            roots: document::Roots { count: roots.count, open: roots.open, hash: Hex(roots.hash) },
            complete: reach.complete,
            covered: reach.covered,
            steps: reach.steps,
            classes: document::Classes {
                count: classes.count,
                sum: Hex(classes.sum),
                xor: Hex(classes.xor),
                min: Hex(classes.min),
                max: Hex(classes.max),
            },
            finished: reach.finished,
            schedules_complete: reach.schedules_complete,
            crashes_complete: reach.crashes_complete,
            missing: reach.missing.clone(),
        }
    }
}

impl Summary {
    fn of(report: &RunReport) -> Self {
        let summary = report.summary();
        Self {
            total: summary.total,
            as_expected: summary.as_expected,
            planted: summary.planted,
            planted_found: summary.planted_found,
            seconds: milliseconds(report.seconds),
        }
    }
}

/// A share, rounded down to the thousandth: what is not all of it is never told as 1.
fn thousandths(share: Share) -> f64 {
    f64::from(u16::try_from(share.of(1000)).expect("at most 1000")) / 1000.0
}

/// Times are told to the millisecond.
fn milliseconds(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}
