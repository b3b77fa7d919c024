//! `plugpull replay`: one counterexample again, step by step.

use std::path::PathBuf;

use plugpull_report::text;
use plugpull_sim::explore::{self, ReplayEnd};

use crate::failure::Failure;
use crate::output;
use crate::run::scenarios::load_one;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// A scenario file with a `[replay]` table
    file: PathBuf,
}

/// Exit code 0 if the recorded violation is seen again, 1 if not, 4 if the recorded way does not
/// fit the program any more.
pub(crate) fn run(args: &Args) -> Result<u8, Failure> {
    let loaded = load_one(&args.file)?;
    let path = &loaded.path;
    let Some(replay) = &loaded.scenario.replay else {
        return Err(Failure::input(format!(
            "{path}: no [replay] table, so there is nothing to replay; explore it with \
             `plugpull run {path}`"
        )));
    };
    let mut count = 0u64;
    let end = explore::replay(&loaded.scenario, &mut |step| {
        count += 1;
        output::line(&format!("{count:5}  {step}"));
    });
    output::line("");
    Ok(match end {
        ReplayEnd::Reproduced(violation) => {
            output::line("reproduced:");
            output::print(&text::violation(&violation));
            0
        }
        ReplayEnd::Different(violation) => {
            output::line("something else is violated now:");
            output::print(&text::violation(&violation));
            output::line("the file says:");
            output::line(&format!("  {}: {}", replay.invariant, replay.message));
            1
        }
        ReplayEnd::Held => {
            output::line("nothing is violated any more; the file says:");
            output::line(&format!("  {}: {}", replay.invariant, replay.message));
            1
        }
        ReplayEnd::Diverged(why) => {
            return Err(Failure::Broken(format!(
                "{path}: the code has changed since this was recorded, so it no longer fits: \
                 {why}\nexplore it again with `plugpull run {path}`"
            )));
        }
    })
}
