//! Explores M3, `K` clients that write, flush and acknowledge on one disk, and prints what it found
//! as one line of JSON.
//!
//! `cargo run --release -p plugpull-sim --example m3 -- K [plain|dpor|stateful]`. Without an engine,
//! one order of each class is run while there are not too many, otherwise every state is visited.

#[path = "../models/cpu.rs"]
mod cpu;
#[path = "../models/mod.rs"]
#[expect(dead_code, reason = "tests use all of it")]
mod models;

use std::io::Write;
use std::process::ExitCode;

use models::measure;

/// Up to so many clients, one order of each class is run: seven have 2,602,699 of them.
const DPOR_CLIENTS_MAX: usize = 7;
/// A set of cells or clients has a bit for each, and a task has a bit in each footprint.
const CLIENTS_MAX: usize = 12;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(line) => match writeln!(std::io::stdout(), "{line}") {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Err(message) => {
            // If nobody can be told, the exit code says enough.
            let _ = writeln!(std::io::stderr(), "m3: failed to {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<String, String> {
    let clients: Option<usize> = arguments.first().and_then(|first| first.parse().ok());
    let clients = clients.filter(|clients| (1..=CLIENTS_MAX).contains(clients));
    let clients = clients.ok_or("read the number of clients: usage: m3 K [plain|dpor|stateful]")?;
    let usual = if clients <= DPOR_CLIENTS_MAX { "dpor" } else { "stateful" };
    let engine = arguments.get(1).map_or(usual, String::as_str);
    let (figures, seconds) = cpu::timed(|| match engine {
        "plain" => measure::plain(clients, true).map_err(|error| error.to_string()),
        "dpor" => measure::dpor(clients, true).map_err(|error| error.to_string()),
        "stateful" => measure::stateful(clients, 0).map_err(|error| error.to_string()),
        other => Err(format!("find the engine {other}")),
    });
    let figures = figures?;
    let line = serde_json::json!({
        "model": "M3",
        "k": clients,
        "engine": engine,
        "executions": figures.counts.executions,
        "classes": figures.classes,
        "blocked": figures.counts.covered,
        "states": figures.states,
        "crash_keys": figures.crash_keys,
        "cpu_seconds": seconds,
    });
    Ok(line.to_string())
}
