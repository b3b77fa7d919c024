//! Planted bugs that show only when something is reordered or fails: first in, first out misses them,
//! and executions drawn at random find them.

use plugpull_sim::exec::ReadyOrder;
use plugpull_sim::explore::{RunOptions, run};
use plugpull_sim::scenario::{Client, Draw, Expected, Scenario, Schedules};
use plugpull_sim::verdict::{ScenarioResult, Verdict};

/// Most executions that a bug may take.
const COUNT: u64 = 10_000;

macro_rules! planted {
    ($id:literal) => {
        Scenario::parse($id, include_str!(concat!("../../../scenarios/planted/", $id, ".toml")))
            .expect("a scenario")
    };
}

/// The planted bugs that a request has to fail for, as their scenarios have them.
fn failing() -> Vec<Scenario> {
    vec![
        planted!("fvd-close-ignores-map-error"),
        planted!("fvd-failed-open-marks-clean"),
        planted!("fvd-prefetch-ignores-failed-write"),
        planted!("fvd-recovery-ignores-map-error"),
        planted!("fvd-recycle-ignores-map-error"),
        planted!("fvd-stale-bits-before-record"),
    ]
}

/// Planted bugs between clients, so far apart that nothing goes wrong unless one has to wait.
fn racing() -> Vec<Scenario> {
    let clients: [&[&str]; 2] = [&["read 0 1K"], &["flush", "flush", "flush", "close"]];
    vec![
        planted!("fvd-full-block-write-vs-cow.reordered"),
        between(planted!("fvd-close-leaves-copy-on-read"), &clients),
        between(planted!("fvd-copy-on-read-bits-before-data"), &clients),
    ]
}

/// One client fills the journal; the other two have to begin only when it is full.
fn waiters() -> Scenario {
    planted!("fvd-journal-waiters-lifo.reordered")
}

/// The scenario with these clients.
fn between(mut scenario: Scenario, clients: &[&[&str]]) -> Scenario {
    let client = scenario.clients[0].clone();
    let with = |ops: &&[&str]| {
        let ops = ops.iter().map(|op| op.parse().expect("an operation")).collect();
        Client { ops, ..client.clone() }
    };
    scenario.clients = clients.iter().map(with).collect();
    scenario
}

fn explored(scenario: &Scenario, schedules: Schedules) -> ScenarioResult {
    let mut scenario = scenario.clone();
    scenario.explore.schedules = schedules;
    run(&scenario, &RunOptions::default(), &|_| ())
}

fn drawn(by: Draw) -> Schedules {
    Schedules::Random { count: COUNT, seed: 1, by }
}

#[track_caller]
fn assert_found_only_by(by: Draw, scenario: &Scenario) {
    let claim = &scenario.claim;
    let fifo = explored(scenario, Schedules::Fifo);
    assert!(matches!(fifo.verdict, Verdict::Holds | Verdict::Incomplete), "{claim}");
    let result = explored(scenario, drawn(by));
    let Expected::Violated(wanted) = scenario.expect.verdict else { panic!("planted: {claim}") };
    let executions = result.schedules.executions;
    assert_eq!(result.verdict, Verdict::Violated, "{claim} {:?}", result.broken);
    assert!(result.violations.iter().any(|violation| violation.invariant == wanted), "{claim}");
    assert!((2..=COUNT + 1).contains(&executions), "{claim} {executions}");
}

#[test]
fn partial_order_sampling_finds_planted_bugs_that_need_a_failing_request() {
    failing().iter().for_each(|scenario| assert_found_only_by(Draw::Pos, scenario));
}

#[test]
fn partial_order_sampling_finds_planted_bugs_that_need_another_order() {
    racing().iter().for_each(|scenario| assert_found_only_by(Draw::Pos, scenario));
    let mut waiters = waiters();
    waiters.explore.ready = ReadyOrder::Any;
    assert_found_only_by(Draw::Pos, &waiters);
}

/// With tasks that run in a fixed order nearly every event conflicts with every other, and to wait long
/// is as unlikely for partial-order sampling as for a random walk. That is what the others are for.
#[test]
fn what_has_to_wait_long_is_found_by_few_changes_of_priority_and_by_uniform_walks() {
    for by in [Draw::Pct, Draw::Surw, Draw::Portfolio] {
        assert_found_only_by(by, &waiters());
    }
}

/// The parts of a campaign are comparable only if nothing depends on what was run before.
#[test]
fn a_campaign_is_the_same_every_time() {
    let scenario = &racing()[0];
    let schedules = Schedules::Random { count: 20, seed: 5, by: Draw::Portfolio };
    assert_eq!(explored(scenario, schedules), explored(scenario, schedules));
}
