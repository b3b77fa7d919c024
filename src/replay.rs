//! `plugpull replay`: one counterexample again, step by step.

use std::path::PathBuf;

use plugpull_sim::explore::{self, ReplayEnd};
use plugpull_sim::verdict::Invariant;

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
    let end = explore::replay(&loaded.scenario, &mut output::line);
    output::line("");
    Ok(match end {
        ReplayEnd::Reproduced(violation) => {
            output::line("reproduced:");
            tell(violation.invariant, &violation.message);
            0
        }
        ReplayEnd::Different(violation) => {
            output::line("something else is violated now:");
            tell(violation.invariant, &violation.message);
            output::line("the file says:");
            tell(replay.invariant, &replay.message);
            1
        }
        ReplayEnd::Held => {
            output::line("nothing is violated any more; the file says:");
            tell(replay.invariant, &replay.message);
            1
        }
        ReplayEnd::Diverged(why) => {
            return Err(Failure::Broken(format!(
                "{path}: the code has changed since this was recorded, or the file has, so it no longer fits: \
                 {why}\nexplore it again with `plugpull run {path}`"
            )));
        }
    })
}

fn tell(invariant: Invariant, message: &str) {
    output::line(&format!("  {invariant}: {}", output::plain(message)));
    output::line(&format!("  {}", invariant.sentence()));
}
