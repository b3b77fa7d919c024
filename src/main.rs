//! The command-line program: a thin layer over the crates, one file per verb.
//!
//! Exit codes: 0 all as expected, 1 some verdict differs, 2 bad usage or bad input, 3 incomplete,
//! 4 harness broken.

mod clock;
mod failure;
mod identity;
mod image;
mod merge;
mod output;
mod replay;
mod run;

use std::panic::AssertUnwindSafe;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use failure::Failure;

/// Pulls the plug on a storage engine: deterministic, exact crash simulation.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Subcommand)]
enum Verb {
    /// Explore scenarios (the default)
    Run(run::Args),
    /// Replay one counterexample, step by step
    Replay(replay::Args),
    /// Put the reports of all shards of a run together
    Merge(merge::Args),
    /// Work with images in real files
    #[command(subcommand)]
    Image(image::Verb),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let work = AssertUnwindSafe(|| match cli.verb {
        None => run::run(&run::Args::default()),
        Some(Verb::Run(args)) => run::run(&args),
        Some(Verb::Replay(args)) => replay::run(&args),
        Some(Verb::Merge(args)) => merge::run(&args),
        Some(Verb::Image(verb)) => image::run(verb),
    });
    // The panic hook has printed what and where; here it only becomes an exit code of ours.
    let result = std::panic::catch_unwind(work).unwrap_or_else(|_| {
        Err(Failure::Broken("a panic inside plugpull: this is a bug, please report it".to_owned()))
    });
    match result.and_then(|code| output::check().map(|()| code)) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            output::complain(&failure);
            ExitCode::from(failure.exit_code())
        }
    }
}
