//! How the cost of an exact exploration grows with the length of a run.
//!
//! `cargo bench -p plugpull-sim --bench growth`. N flushed writes in sequence, to places that come
//! round again, with one power cut inside every recovery: each flush ends an interval, each interval
//! is explored once, and recovery, reading back and obligations cost the same however long the run
//! has been. So the time per write must not depend on N.
//!
//! Prints one line per N and, at the end, the largest time per write over the smallest.

#![expect(clippy::disallowed_types, reason = "a bench measures time")]
#![expect(clippy::disallowed_macros, reason = "a bench prints its figures")]

use std::time::Instant;

use plugpull_sim::explore::{self, RunOptions};
use plugpull_sim::scenario::Scenario;
use plugpull_sim::verdict::Verdict;

/// Runs of each length; the fastest counts.
const RUNS: usize = 5;

fn main() {
    println!("fastest of {RUNS} runs each; the time per write must stay within a factor of 2");
    println!(
        "{:>6} {:>12} {:>8} {:>8} {:>14}",
        "writes", "states", "points", "ways", "us per write"
    );
    let mut times = Vec::new();
    for writes in [8, 16, 32, 64, 128, 256, 512, 1024] {
        let scenario = Scenario::parse("bench", &text(writes)).expect("a valid scenario");
        let fastest = (0..RUNS).map(|_| {
            let start = Instant::now();
            let result = explore::run(&scenario, &RunOptions::default(), &|_| ());
            let time = start.elapsed();
            assert_eq!(result.verdict, Verdict::Holds, "{:?}", result.incomplete);
            assert!(result.crashes.certificate, "the certificate adds up");
            (time, result.crashes)
        });
        let (time, crashes) = fastest.min_by_key(|(time, _)| *time).expect("at least one run");
        let per_write = time.as_secs_f64() * 1e6 / f64::from(writes);
        times.push(per_write);
        println!(
            "{writes:>6} {:>12} {:>8} {:>8} {per_write:>14.1}",
            crashes.states.to_string(),
            crashes.points,
            crashes.recovery_paths
        );
    }
    let largest = times.iter().copied().fold(f64::MIN, f64::max);
    let smallest = times.iter().copied().fold(f64::MAX, f64::min);
    println!("largest / smallest time per write: {:.2}", largest / smallest);
}

/// Two sectors a write, eight places.
fn text(writes: u32) -> String {
    let ops: Vec<String> =
        (0..8).map(|place| format!("\"write {}K 1K\", \"flush\"", place * 8)).collect();
    format!(
        r#"version = 1
claim = "The cost of flushed writes in sequence."

[system]
kind = "fvd"
size = "64 KiB"
chunk = "4 KiB"
journal = "4 KiB"

[disks.image]
model = "writeback"
sector = 512

[[client]]
ops = [{}]
repeat = {}

[explore]
schedules = "fifo"
crashes = "exact"
recovery_crashes = 1

[expect]
verdict = "holds"
"#,
        ops.join(", "),
        writes / 8
    )
}
