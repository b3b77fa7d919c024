//! A run for people: a line per scenario, the details of what was not expected, the score.

use std::fmt::{self, Write as _};

use anstyle::{AnsiColor, Style};
use num_bigint::BigUint;
use plugpull_sim::scenario::Expected;
use plugpull_sim::verdict::{CrashReach, ScenarioResult, ScheduleReach, Share, Verdict, Violation};

use crate::{RunReport, ScenarioReport};

/// The report as text; with colours if `styled`. Times stand on the last line only.
#[must_use]
pub fn render(report: &RunReport, styled: bool) -> String {
    let mut text = Text { out: String::new(), styled };
    for scenario in &report.scenarios {
        text.scenario_line(scenario);
    }
    for scenario in report.scenarios.iter().filter(|scenario| !scenario.as_expected()) {
        text.details(scenario);
    }
    text.summary(report);
    text.out
}

struct Text {
    out: String,
    styled: bool,
}

/// What the author of a scenario wrote: control characters are escaped, a terminal would obey them.
fn plain(text: &str) -> String {
    let escaped = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.into() };
    text.chars().map(escaped).collect()
}

impl Text {
    fn line(&mut self, line: fmt::Arguments<'_>) {
        self.out.write_fmt(line).expect("a string takes everything");
        self.out.push('\n');
    }

    /// A word in colour, padded to `width`.
    fn word(&self, word: &str, width: usize, color: AnsiColor) -> String {
        if self.styled {
            let style = Style::new().fg_color(Some(color.into())).bold();
            format!("{style}{word:width$}{style:#}")
        } else {
            format!("{word:width$}")
        }
    }

    fn scenario_line(&mut self, scenario: &ScenarioReport) {
        let status = if scenario.as_expected() {
            self.word("ok", 4, AnsiColor::Green)
        } else {
            self.word("FAIL", 4, AnsiColor::Red)
        };
        let result = &scenario.result;
        let verdict = result.verdict.name();
        let path = &scenario.path;
        self.line(format_args!("{status} {verdict:10} {path}: {}", Reach(result)));
        for (violation, path) in result.violations.iter().zip(&scenario.counterexamples) {
            if let Some(path) = path {
                self.line(format_args!("     {}: plugpull replay {path}", violation.invariant));
            }
        }
    }

    fn details(&mut self, scenario: &ScenarioReport) {
        let result = &scenario.result;
        self.line(format_args!(""));
        let path = self.word(&scenario.path, 0, AnsiColor::Red);
        self.line(format_args!("{path}"));
        self.line(format_args!("  claim: {}", plain(&scenario.claim)));
        let expected = ExpectedText(scenario.expect.verdict);
        self.line(format_args!("  expected {expected}, found {}", result.verdict));
        self.list("disks", result.disks.iter().map(|(name, model)| format!("{name} {model}")));
        if let Some(seed) = result.seed {
            self.line(format_args!("  seed: {seed}"));
        }
        self.list("planted", &result.planted);
        self.list("bounds", &result.bounds);
        self.list("incomplete", &result.incomplete);
        self.list("goals not met", &result.goals.unmet);
        if let Some(why) = &result.broken {
            self.line(format_args!("  harness broken: {why}"));
        }
        for (index, violation) in result.violations.iter().enumerate() {
            self.violation(violation);
            if let Some(Some(path)) = scenario.counterexamples.get(index) {
                self.line(format_args!("    replay it: plugpull replay {path}"));
            }
        }
    }

    fn list(&mut self, name: &str, items: impl IntoIterator<Item = impl fmt::Display>) {
        let mut items = items.into_iter().peekable();
        if items.peek().is_some() {
            let items: Vec<String> = items.map(|item| item.to_string()).collect();
            self.line(format_args!("  {name}: {}", items.join("; ")));
        }
    }

    fn violation(&mut self, violation: &Violation) {
        let invariant = violation.invariant;
        self.line(format_args!("  {invariant}: {}", violation.message));
        self.line(format_args!("    {}", invariant.sentence()));
        for line in &violation.story {
            self.line(format_args!("    {line}"));
        }
    }

    fn summary(&mut self, report: &RunReport) {
        let summary = report.summary();
        self.line(format_args!(""));
        self.line(format_args!(
            "{}, {} as expected",
            Count(summary.total as u64, "scenario"),
            summary.as_expected
        ));
        if summary.planted > 0 {
            self.line(format_args!("planted: {}/{}", summary.planted_found, summary.planted));
        }
        self.line(format_args!("{:.1} seconds", report.seconds));
    }
}

struct ExpectedText(Expected);

impl fmt::Display for ExpectedText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Expected::Holds => f.write_str("holds"),
            Expected::Violated(invariant) => write!(f, "violated ({invariant})"),
            Expected::Incomplete => f.write_str("incomplete"),
        }
    }
}

struct Count(u64, &'static str);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}{}", self.0, self.1, if self.0 == 1 { "" } else { "s" })
    }
}

struct Plural(u64, &'static str, &'static str);

impl fmt::Display for Plural {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0, if self.0 == 1 { self.1 } else { self.2 })
    }
}

/// What a verdict rests on: executions and crash states, and whether that is all of them.
struct Reach<'a>(&'a ScenarioResult);

impl fmt::Display for Reach<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ScheduleReach {
            strategy,
            engine,
            executions,
            classes,
            more_classes,
            drawn_once,
            states,
            footprints,
            complete,
            ..
        } = &self.0.schedules;
        let crashes = &self.0.crashes;
        if self.0.verdict == Verdict::HarnessBroken && *executions == 0 {
            return f.write_str("nothing explored");
        }
        write!(f, "{} ({strategy}", Count(*executions, "execution"))?;
        if let Some(engine) = engine.as_ref().filter(|engine| *engine != strategy) {
            write!(f, " by {engine}")?;
        }
        if let Some(classes) = classes {
            let least = if *more_classes { "at least " } else { "" };
            write!(f, ", {least}{}", Plural(*classes, "class", "classes"))?;
        }
        if let Some(share) = drawn_once {
            write!(f, ", {} unseen", Estimate(*share))?;
        }
        if let Some(states) = states {
            write!(f, ", {}", Count(*states, "state"))?;
        }
        if let Some(share) = footprints.filter(|share| share.part < share.whole) {
            let percent = 100 * share.part / share.whole.max(1);
            write!(f, ", {percent}% of the events with precise footprints")?;
        }
        write!(f, "{}), ", if *complete { ", all" } else { "" })?;
        crash_reach(crashes, f)
    }
}

/// A share that is an estimate, in per cent; small ones exactly enough to tell them from nothing.
struct Estimate(Share);

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Share { part, whole } = self.0;
        let percent = (100 * part + whole / 2) / whole.max(1);
        match (part, percent) {
            (1.., 0) => f.write_str("less than 1%"),
            _ => write!(f, "about {percent}%"),
        }
    }
}

/// A number of states: in digits as long as a person can read them, then as a power of two, rounded
/// down.
struct States<'a>(&'a BigUint);

impl fmt::Display for States<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = self.0.bits();
        if bits <= 40 {
            return write!(f, "{}", self.0);
        }
        let more = if self.0.trailing_zeros() == Some(bits - 1) { "" } else { "over " };
        write!(f, "{more}2^{}", bits - 1)
    }
}

fn crash_reach(reach: &CrashReach, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if reach.mode == "none" {
        return f.write_str("no power cuts");
    }
    let states = if reach.states == 1u32.into() { "state" } else { "states" };
    let points = Count(reach.points, "point");
    write!(f, "{} crash {states} at {points} ({}", States(&reach.states), reach.mode)?;
    write!(f, "{}", if reach.complete { ", all" } else { ", not all" })?;
    if reach.mode == "exact" && reach.certificate && reach.complete {
        write!(f, ", certified over {}", Count(reach.recovery_paths, "way"))?;
    }
    if reach.cross_checked > 0 {
        write!(f, ", {} enumerated as well", Count(reach.cross_checked, "point"))?;
    }
    if reach.depth > 0 {
        write!(f, ", recovery cut up to {}", Count(reach.depth.into(), "time"))?;
    }
    f.write_str(")")
}
