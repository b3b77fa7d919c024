//! What exact exploration costs without an engine, on one core.
//!
//! `cargo bench -p plugpull-sim --bench crash_exact` prints a table: each case of the test
//! `collapse`, with what it took and what it must take. The counts are asserted, here and there; the
//! times are the best of several runs and include taking stock of the disk.
//!
//! The last line runs the self-check of exploration on random programs. Arguments after `--`: a
//! number of programs, and part of the name of the cases to run.

use std::time::Duration;

use plugpull_sim::crash::AfterCut;

#[path = "../tests/it/collapse/cases.rs"]
mod collapse;
#[path = "../tests/it/self_check/mod.rs"]
mod self_check;

use collapse::{Figures, Writer};

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let programs = words.iter().find_map(|word| word.parse().ok()).unwrap_or(100_000);
    let name = words.iter().find(|word| word.parse::<u64>().is_err());
    let chosen = |text: &str| name.is_none_or(|name| text.contains(name));
    line(["case", "states", "paths", "queries", "time", "must take"].map(str::to_owned));
    SMALL.iter().filter(|case| chosen(case.name)).for_each(small);
    if chosen("commit, read plainly") {
        plain_commit();
    }
    if chosen("scan all records") {
        all_records();
    }
    if chosen("brute force") {
        [4, 8, 12, 16].into_iter().for_each(blocks);
    }
    if chosen("random programs") {
        self_check(programs);
    }
}

/// A case that collapses, and its bar.
struct Small {
    name: &'static str,
    prepare: fn() -> Writer,
    explore: fn(&AfterCut) -> Figures,
    paths: u64,
    queries_max: u64,
    micros_max: u128,
}

const SMALL: [Small; 4] = [
    Small {
        name: "pointer flip",
        prepare: collapse::pointer_flip,
        explore: collapse::explore_pointer_flip,
        paths: 2,
        queries_max: 256,
        micros_max: 1000,
    },
    Small {
        name: "log, stop at a hole",
        prepare: collapse::log,
        explore: collapse::explore_log,
        paths: 65,
        queries_max: 0,
        micros_max: 1000,
    },
    Small {
        name: "bitmap and data",
        prepare: collapse::bitmap,
        explore: collapse::explore_bitmap,
        paths: 17,
        queries_max: 2176,
        micros_max: 5000,
    },
    Small {
        name: "commit, digest read",
        prepare: collapse::commit,
        explore: collapse::explore_verified_commit,
        paths: 3,
        queries_max: 0,
        micros_max: 1000,
    },
];

fn small(case: &Small) {
    let (figures, time) = best(30, case.prepare, |writer| (case.explore)(&writer.cut()));
    assert_eq!(figures.paths, case.paths);
    assert!(figures.queries <= case.queries_max);
    let is_met = met(time.as_micros() < case.micros_max);
    let bar = format!("{} paths, < {} us: {is_met}", case.paths, case.micros_max);
    figures_line(case.name, &figures, time, bar);
}

/// Ways per second where nothing collapses.
fn all_records() {
    let (figures, time) =
        best(5, collapse::records, |writer| collapse::explore_all_records(&writer.cut()));
    assert_eq!(figures.paths, 1 << 16);
    figures_line("scan all records", &figures, time, rate("paths", figures.paths, time));
}

/// What a read that verifies spares.
fn plain_commit() {
    let (figures, time) =
        best(3, collapse::commit, |writer| collapse::explore_plain_commit(&writer.cut()));
    figures_line("commit, read plainly", &figures, time, "- (for comparison)".to_owned());
}

/// Brute force.
fn blocks(count: u64) {
    let (states, time) = best(
        5,
        || collapse::blocks(count),
        |writer| collapse::enumerate_blocks(&writer.disk.crash_space()),
    );
    assert_eq!(states, 1 << count);
    let name = format!("brute force, {count} blocks");
    let none = || "-".to_owned();
    line([name, states.to_string(), none(), none(), text(time), rate("states", states, time)]);
}

fn self_check(programs: u64) {
    let mut counts = self_check::Counts::default();
    let ((), time) = best(
        1,
        || (),
        |()| {
            for stream in 0..programs {
                self_check::check(0, stream, &mut counts);
            }
        },
    );
    if programs >= 2000 {
        counts.assert_not_vacuous();
    }
    let per_program = time / u32::try_from(programs).expect("a number of programs");
    let bar = format!("< 600 us each, 0 mismatches: {}", met(per_program.as_micros() < 600));
    let name = format!("{programs} random programs");
    let none = || "-".to_owned();
    line([name, counts.states.to_string(), counts.ways.to_string(), none(), text(time), bar]);
    say(&format!("what the random programs were: {counts:?}"));
}

fn rate(what: &str, count: u64, time: Duration) -> String {
    let per_second = u128::from(count) * 1_000_000_000 / time.as_nanos().max(1);
    format!(">= 250000 {what}/s, {per_second}: {}", met(per_second >= 250_000))
}

fn met(is_met: bool) -> &'static str {
    if is_met { "met" } else { "NOT MET" }
}

fn figures_line(name: &str, figures: &Figures, time: Duration, bar: String) {
    let Figures { paths, queries, states } = figures;
    line([
        name.to_owned(),
        states.to_string(),
        paths.to_string(),
        queries.to_string(),
        text(time),
        bar,
    ]);
}

fn text(time: Duration) -> String {
    format!("{} us", time.as_micros())
}

fn line([name, states, paths, queries, time, bar]: [String; 6]) {
    say(&format!("{name:<24} {states:>21} {paths:>7} {queries:>8} {time:>12}   {bar}"));
}

#[expect(clippy::disallowed_macros, reason = "the table is what this program is for")]
fn say(text: &str) {
    println!("{text}");
}

/// The shortest of several runs.
#[expect(clippy::disallowed_types, reason = "it measures")]
fn best<P, R>(runs: usize, prepare: impl Fn() -> P, mut run: impl FnMut(P) -> R) -> (R, Duration) {
    let mut once = || {
        let prepared = prepare();
        let start = std::time::Instant::now();
        let result = run(prepared);
        (result, start.elapsed())
    };
    let first = once();
    (1..runs).map(|_| once()).fold(first, |best, next| if next.1 < best.1 { next } else { best })
}
