//! What exploring orders of events costs, against bars that it has to keep.
//!
//! `cargo bench -p plugpull-sim --bench orders`. Each line has a count that has to be exact, and the
//! processor time it took; `quick` as an argument leaves out what takes longer than a second.

#[path = "../models/cpu.rs"]
mod cpu;
#[path = "../models/mod.rs"]
#[expect(dead_code, reason = "tests use all of it")]
mod models;

use std::io::Write;
use std::process::ExitCode;

use models::measure::{self, Figures};
use models::{disks, search};
use plugpull_sim::orders::{Counts, Delays, NotRepeated};

/// One measured search.
struct Bar {
    name: &'static str,
    /// Whether it takes long.
    long: bool,
    run: fn() -> Result<Figures, NotRepeated>,
    /// What is to be counted.
    count: fn(&Figures) -> Option<u64>,
    expected: u64,
    /// Processor seconds that it may take.
    seconds_max: f64,
}

fn complete(figures: &Figures) -> Option<u64> {
    Some(figures.counts.complete)
}

fn classes(figures: &Figures) -> Option<u64> {
    figures.classes
}

fn states(figures: &Figures) -> Option<u64> {
    figures.states.map(|states| states as u64)
}

fn crash_keys(figures: &Figures) -> Option<u64> {
    figures.crash_keys.map(|keys| keys as u64)
}

fn delayed(clients: usize, delays: usize) -> Result<Figures, NotRepeated> {
    let mut engine = Delays::new(delays, usize::MAX);
    let mut keys = std::collections::BTreeSet::new();
    let mut model = disks::m3(clients);
    let key = |model: &disks::Disks<_>| {
        keys.insert(model.crash_key());
    };
    search::search(&mut model, &mut engine, key, |_, _, _| {})?;
    let counts: Counts = *engine.counts();
    Ok(Figures { counts, crash_keys: Some(keys.len()), ..Figures::default() })
}

/// The bars. Times are of a shared machine of two slow cores; rates of plain executions: a million
/// a second.
fn bars() -> Vec<Bar> {
    let bar = |name, long, run, count, expected, seconds_max| Bar {
        name,
        long,
        run,
        count,
        expected,
        seconds_max,
    };
    vec![
        bar("M3(4) plain", false, || measure::plain(4, false), complete, 369_600, 0.3696),
        bar("M3(5) dpor", false, || measure::dpor(5, false), classes, 3_451, 0.04),
        bar("M3(6) dpor", false, || measure::dpor(6, false), classes, 81_663, 0.8),
        bar("M3(6) dpor and cuts", true, || measure::dpor(6, true), crash_keys, 729, 4.0),
        bar("M3(6) stateful", false, || measure::stateful(6, 0), states, 14_960, 0.2),
        bar("M3(8) stateful", true, || measure::stateful(8, 0), states, 384_320, 4.0),
        bar("M3(8) stateful, crashes", true, || measure::stateful(8, 0), crash_keys, 6_561, 4.0),
        bar("M3(8) stateful, audits", true, || measure::stateful(8, 1024), states, 384_320, 6.0),
        bar("M3(8) 8 delays", false, || delayed(8, 8), crash_keys, 272, 1.0),
        bar("M3(7) dpor", true, || measure::dpor(7, false), classes, 2_602_699, 60.0),
    ]
}

fn main() -> ExitCode {
    let quick = std::env::args().any(|argument| argument == "quick");
    let mut kept = true;
    for bar in bars().iter().filter(|bar| !quick || !bar.long) {
        let (figures, seconds) = cpu::timed(bar.run);
        let line = match figures {
            Ok(figures) => {
                let count = (bar.count)(&figures);
                let good = count == Some(bar.expected) && seconds <= bar.seconds_max;
                kept &= good;
                let Counts { executions, covered, steps, .. } = figures.counts;
                format!(
                    "{:24} {:>9} of {:>9}, {seconds:.3} of {:.3} CPU-s, {executions} executions \
                     ({covered} given up), {steps} steps{}",
                    bar.name,
                    count.unwrap_or(0),
                    bar.expected,
                    bar.seconds_max,
                    if good { "" } else { "  NOT KEPT" },
                )
            }
            Err(error) => {
                kept = false;
                format!("{:24} failed to {error}", bar.name)
            }
        };
        if writeln!(std::io::stdout(), "{line}").is_err() {
            return ExitCode::FAILURE;
        }
    }
    if kept { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
