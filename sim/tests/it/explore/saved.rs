//! A search that goes on from any of its executions says the same as one that was never interrupted.

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

use plugpull_sim::explore::{self, Keeper, RunOptions};
use plugpull_sim::scenario::Scenario;
use plugpull_sim::verdict::{ScenarioResult, Verdict};

const SMALL: &str = r#"version = 1
claim = "A flushed write survives."

[system]
kind = "fvd"
size = "8 KiB"
chunk = "4 KiB"
journal = "4 KiB"

[disks.image]
model = "writeback"
sector = 512

[[client]]
ops = ["write 0 512"]

[[client]]
ops = ["flush"]

[explore]
schedules = SCHEDULES
crashes = "exact"
recovery_crashes = 1

[expect]
verdict = "holds"
reach = ["journal-replayed", "journal-written"]
"#;

/// Keeps every state.
#[derive(Debug)]
struct Kept {
    from: Option<Vec<u8>>,
    states: Sender<Vec<u8>>,
}

impl Keeper for Kept {
    fn is_due(&self) -> bool {
        true
    }

    fn keep(&self, state: Vec<u8>) {
        self.states.send(state).unwrap();
    }

    fn kept(&self) -> Option<Vec<u8>> {
        self.from.clone()
    }
}

fn run(scenario: &Scenario, from: Option<Vec<u8>>) -> (ScenarioResult, Vec<Vec<u8>>) {
    let (sender, states) = channel();
    let keeper = Arc::new(Kept { from, states: sender });
    let options = RunOptions { keeper: Some(keeper), ..RunOptions::default() };
    let result = explore::run(scenario, &options, &|_| ());
    drop(options);
    (result, states.iter().collect())
}

/// Interrupts a search after every execution, or after so many of a longer one.
fn check(schedules: &str, change: impl Fn(String) -> String) -> ScenarioResult {
    let text = change(SMALL.replace("SCHEDULES", schedules));
    let scenario = Scenario::parse("small.toml", &text).unwrap_or_else(|error| panic!("{error}"));
    let undisturbed = explore::run(&scenario, &RunOptions::default(), &|_| ());
    let (watched, states) = run(&scenario, None);
    assert_eq!(watched, undisturbed, "{schedules}");
    let found = undisturbed.violations.len() as u64;
    assert!(states.len() as u64 + found >= undisturbed.schedules.executions.min(4), "{schedules}");
    let step = 1 + states.len() / 64;
    for (at, state) in states.iter().enumerate().step_by(step) {
        let (resumed, more) = run(&scenario, Some(state.clone()));
        assert_eq!(resumed, undisturbed, "{schedules} from {at}");
        assert_eq!(more, states[at + 1..], "{schedules} from {at}: other states follow");
    }
    undisturbed
}

#[test]
fn a_search_goes_on_from_every_execution() {
    for schedules in [
        "{ exhaustive = \"dpor\" }",
        "{ exhaustive = \"stateful\" }",
        "{ delays = 2 }",
        "{ random = 20, seed = 3 }",
        "{ random = 20, seed = 3, by = \"portfolio\" }",
    ] {
        let result = check(schedules, |text| text);
        assert_eq!(result.goals.unmet, ["journal-replayed"; 0], "{schedules}");
    }
}

#[test]
fn so_does_one_with_faults_and_choices() {
    let faults = |text: String| text.replace("[expect]", "faults = { errors = 1 }\n\n[expect]");
    check("{ exhaustive = \"dpor\" }", faults);
    check("{ delays = 1 }", faults);
}

#[test]
fn what_was_kept_before_a_violation_leads_to_it() {
    let bug = |text: String| {
        text.replace("kind", "planted = [\"fvd-journal-before-data\"]\nkind")
            .replace("\"flush\"", "\"write 4K 512\"")
            .replace("\"holds\"", "\"violated\"\ninvariant = \"D-DUR\"")
    };
    let result = check("{ exhaustive = \"dpor\" }", bug);
    assert_eq!(result.verdict, Verdict::Violated);
}

#[test]
fn another_state_is_refused() {
    let text = SMALL.replace("SCHEDULES", "{ exhaustive = \"dpor\" }");
    let scenario = Scenario::parse("small.toml", &text).unwrap_or_else(|error| panic!("{error}"));
    let other = Scenario::parse("other.toml", &text.replace("write 0 512", "write 4K 512"));
    let (_, states) = run(&other.unwrap_or_else(|error| panic!("{error}")), None);
    for state in [states[states.len() / 2].clone(), vec![7; 3], Vec::new()] {
        let (result, _) = run(&scenario, Some(state));
        assert_eq!(result.verdict, Verdict::HarnessBroken);
    }
}
