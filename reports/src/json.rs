//! One JSON document per run. Names and their order are a contract; version 1.

use plugpull_sim::verdict::{CrashReach, Goals, ScheduleReach, Share};
use serde::{Serialize, Serializer};

use crate::{RunReport, ScenarioReport};

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
        program: &report.program,
        scenarios: report.scenarios.iter().map(Scenario::of).collect(),
        summary: Summary::of(report),
    };
    let mut text = serde_json::to_string_pretty(&document).expect("texts and numbers");
    text.push('\n');
    text
}

#[derive(Serialize)]
struct Document<'a> {
    version: u32,
    program: &'a str,
    scenarios: Vec<Scenario<'a>>,
    summary: Summary,
}

#[derive(Serialize)]
struct Scenario<'a> {
    path: &'a str,
    claim: &'a str,
    verdict: &'static str,
    as_expected: bool,
    violations: Vec<Violation<'a>>,
    schedules: Schedules<'a>,
    crashes: Crashes<'a>,
    goals: GoalLists<'a>,
    #[serde(serialize_with = "as_map")]
    disks: &'a [(String, String)],
    planted: &'a [String],
    seed: Option<u64>,
    bounds: &'a [String],
    incomplete: &'a [String],
    broken: Option<&'a str>,
    seconds: f64,
}

#[derive(Serialize)]
struct Violation<'a> {
    invariant: &'static str,
    message: &'a str,
    counterexample: Option<&'a str>,
}

#[derive(Serialize)]
struct Schedules<'a> {
    strategy: &'a str,
    engine: Option<&'a str>,
    executions: u64,
    classes: Option<u64>,
    states: Option<u64>,
    covered: Option<u64>,
    /// Events seen with exactly what they touch, and all events.
    precise_footprints: Option<[u64; 2]>,
    audited: u64,
    done: Option<f64>,
    complete: bool,
}

#[derive(Serialize)]
struct Crashes<'a> {
    mode: &'a str,
    points: u64,
    states: String,
    recovery_paths: u64,
    queries: u64,
    cross_checked: u64,
    depth: u32,
    certificate: bool,
    complete: bool,
}

#[derive(Serialize)]
struct GoalLists<'a> {
    met: &'a [String],
    unmet: &'a [String],
}

#[derive(Serialize)]
struct Summary {
    total: usize,
    as_expected: usize,
    planted: usize,
    planted_found: usize,
    seconds: f64,
}

impl<'a> Scenario<'a> {
    fn of(report: &'a ScenarioReport) -> Self {
        let result = &report.result;
        let paths = report.counterexamples.iter().map(Option::as_deref);
        let violations = result.violations.iter().zip(paths.chain(std::iter::repeat(None)));
        Self {
            path: &report.path,
            claim: &report.claim,
            verdict: result.verdict.name(),
            as_expected: report.as_expected(),
            violations: violations
                .map(|(violation, counterexample)| Violation {
                    invariant: violation.invariant.name(),
                    message: &violation.message,
                    counterexample,
                })
                .collect(),
            schedules: Schedules::of(&result.schedules),
            crashes: Crashes::of(&result.crashes),
            goals: GoalLists::of(&result.goals),
            disks: &result.disks,
            planted: &result.planted,
            seed: result.seed,
            bounds: &result.bounds,
            incomplete: &result.incomplete,
            broken: result.broken.as_deref(),
            seconds: milliseconds(report.seconds),
        }
    }
}

impl<'a> Schedules<'a> {
    fn of(reach: &'a ScheduleReach) -> Self {
        Self {
            strategy: &reach.strategy,
            engine: reach.engine.as_deref(),
            executions: reach.executions,
            classes: reach.classes,
            states: reach.states,
            covered: reach.covered,
            precise_footprints: reach.footprints.map(|share| [share.part, share.whole]),
            audited: reach.audited,
            done: reach.done.map(thousandths),
            complete: reach.complete,
        }
    }
}

impl<'a> Crashes<'a> {
    fn of(reach: &'a CrashReach) -> Self {
        Self {
            mode: &reach.mode,
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

impl<'a> GoalLists<'a> {
    fn of(goals: &'a Goals) -> Self {
        Self { met: &goals.met, unmet: &goals.unmet }
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

fn as_map<S: Serializer>(pairs: &&[(String, String)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(pairs.iter().map(|(name, model)| (name, model)))
}
