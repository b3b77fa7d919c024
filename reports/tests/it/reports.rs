use plugpull_report::{RunReport, ScenarioReport, json, text};
use plugpull_sim::exec::Trace;
use plugpull_sim::scenario::{Replay, Scenario};
use plugpull_sim::verdict::{
    CrashReach, Goals, Invariant, ScenarioResult, ScheduleReach, Share, Verdict, Violation,
};

const HOLDS: &str = r#"version = 1
claim = "A flushed write survives any power cut."
[system]
kind = "fvd"
size = "64 KiB"
chunk = "4 KiB"
journal = "4 KiB"
data_file = true
[disks.data]
model = "ordered"
[[client]]
ops = ["write 0 4K", "flush"]
[explore]
schedules = "exhaustive"
crashes = "exact"
recovery_crashes = 1
[expect]
verdict = "holds"
reach = ["journal-replayed"]
"#;

fn scenario(expect: &str, planted: &str) -> Scenario {
    let text = HOLDS
        .replace("verdict = \"holds\"", expect)
        .replace("data_file = true", &format!("data_file = true\nplanted = [{planted}]"));
    Scenario::parse("x.toml", &text).unwrap_or_else(|error| panic!("{error}"))
}

fn explored(scenario: &Scenario) -> ScenarioResult {
    ScenarioResult {
        verdict: Verdict::Holds,
        schedules: ScheduleReach {
            strategy: "exhaustive".to_owned(),
            engine: Some("dpor".to_owned()),
            executions: 123,
            classes: Some(100),
            more_classes: false,
            drawn_once: None,
            class_sum: Some(1 << 100),
            states: None,
            covered: Some(23),
            footprints: Some(Share { part: 1, whole: 3 }),
            audited: 4,
            done: None,
            complete: true,
        },
        crashes: CrashReach {
            mode: "exact".to_owned(),
            points: 10,
            states: "1208925819614629174706176".parse().unwrap(),
            recovery_paths: 5,
            queries: 100,
            cross_checked: 3,
            depth: 1,
            certificate: true,
            complete: true,
        },
        goals: Goals { met: vec!["journal-replayed".to_owned()], unmet: Vec::new() },
        ..ScenarioResult::nothing_seen(scenario)
    }
}

fn violated(scenario: &Scenario) -> ScenarioResult {
    ScenarioResult {
        verdict: Verdict::Violated,
        violations: vec![Violation {
            ready: scenario.explore.ready,
            invariant: Invariant::DDur,
            message: "sector 0 reads as its initial content; write c0.0 was flushed".to_owned(),
            story: vec!["c0.0 write 0 4K: ok".to_owned(), "c0.1 flush: ok".to_owned()],
            replay: Replay {
                invariant: Invariant::DDur,
                message: "sector 0 reads as its initial content".to_owned(),
                trace: Trace { version: Trace::VERSION, choices: Vec::new() },
                crashes: Vec::new(),
            },
        }],
        ..explored(scenario)
    }
}

fn report(path: &str, scenario: &Scenario, result: ScenarioResult) -> ScenarioReport {
    let counterexample = |_| Some(format!("plugpull-out/{path}"));
    ScenarioReport {
        path: format!("scenarios/{path}"),
        claim: scenario.claim.clone(),
        expect: scenario.expect.clone(),
        counterexamples: (0..result.violations.len()).map(counterexample).collect(),
        result,
        shard: None,
        seconds: 0.1234567,
    }
}

/// One scenario of each kind: as expected, planted and found, violated, incomplete, broken.
fn run() -> RunReport {
    let holds = scenario("verdict = \"holds\"", "");
    let planted =
        scenario("verdict = \"violated\"\ninvariant = \"D-DUR\"", "\"fvd-recycle-without-flush\"");
    let unmet = ScenarioResult {
        verdict: Verdict::Incomplete,
        goals: Goals { met: Vec::new(), unmet: vec!["journal-replayed".to_owned()] },
        bounds: vec!["ready tasks run in one order".to_owned()],
        incomplete: vec!["a goal was not met".to_owned()],
        seed: Some(7),
        schedules: ScheduleReach {
            strategy: "random".to_owned(),
            engine: Some("pos".to_owned()),
            classes: Some(57),
            more_classes: true,
            drawn_once: Some(Share { part: 3, whole: 122 }),
            complete: false,
            ..explored(&holds).schedules
        },
        ..explored(&holds)
    };
    RunReport {
        program: "plugpull 0.1.0".to_owned(),
        scenarios: vec![
            report("fvd/holds.toml", &holds, explored(&holds)),
            report("planted/recycle.toml", &planted, violated(&planted)),
            report("fvd/lost.toml", &holds, violated(&holds)),
            report("fvd/unmet.toml", &holds, unmet),
            report("fvd/broken.toml", &holds, ScenarioResult::broken(&holds, "no such thing")),
        ],
        seconds: 3.4,
    }
}

#[test]
fn text_leads_with_verdicts_and_tells_what_was_not_expected() {
    insta::assert_snapshot!("text", text::render(&run(), false));
}

#[test]
fn json_has_the_names_of_the_contract() {
    let mut report = run();
    report.scenarios = report.scenarios.drain(2..4).collect();
    insta::assert_snapshot!("json", json::render(&report));
}

#[test]
fn colours_change_nothing_else() {
    let styled = text::render(&run(), true);
    let mut plain = String::new();
    let mut rest = styled.as_str();
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        plain.push_str(before);
        rest = after.split_once('m').map_or("", |(_, rest)| rest);
    }
    plain.push_str(rest);
    assert_eq!(plain, text::render(&run(), false));
    assert_ne!(styled, plain);
}

#[test]
fn the_exit_code_names_the_worst() {
    let all = run();
    let exit = |kept: &[usize]| {
        let scenarios = kept.iter().map(|&index| all.scenarios[index].clone()).collect();
        RunReport { scenarios, ..all.clone() }.summary().exit_code()
    };
    let (holds, found, lost, unmet, broken) = (0, 1, 2, 3, 4);
    let cases: [(&[usize], u8); 7] = [
        (&[], 0),
        (&[holds, found], 0),
        (&[holds, lost], 1),
        (&[holds, unmet], 3),
        (&[lost, unmet], 1),
        (&[unmet, broken], 4),
        (&[lost, broken], 4),
    ];
    for (kept, expected) in cases {
        assert_eq!(exit(kept), expected, "{kept:?}");
    }
}

#[test]
fn a_planted_bug_counts_only_with_its_invariant() {
    let mut report = run();
    assert_eq!((report.summary().planted, report.summary().planted_found), (1, 1));
    report.scenarios[1].result.violations[0].invariant = Invariant::DLeak;
    assert_eq!((report.summary().planted, report.summary().planted_found), (1, 0));
}
