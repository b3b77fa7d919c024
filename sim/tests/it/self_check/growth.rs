//! Whether what a power cut may leave only grows where `may_settle` says so: at every submission,
//! and at completions about which it says false.

use plugpull_sim::disk::{CrashSpace, Outcome};

use super::history::{Act, Player};
use super::images;

/// Plays a step and compares; whether there was anything to compare.
pub(crate) fn play(player: &mut Player, act: Act) -> Result<bool, String> {
    let (disk, grows) = match &act {
        Act::Submit { disk, .. } => (*disk, true),
        Act::End { disk, id, outcome } => {
            (*disk, *outcome == Outcome::Done && !player.disks[*disk].may_settle(*id))
        }
    };
    let before = player.disks[disk].crash_space();
    player.play(act.clone());
    let after = player.disks[disk].crash_space();
    if !grows || before.key() == after.key() {
        return Ok(false);
    }
    // Larger ones are as good as compared by their smaller prefixes.
    if images::count(std::slice::from_ref(&after), COMPARED_MAX).is_none() {
        return Ok(false);
    }
    match lost(&before, &after) {
        0 => Ok(true),
        count => Err(format!("{count} crash images have become impossible with {act:?}")),
    }
}

/// Most states of one disk that are compared.
const COMPARED_MAX: usize = 1024;

fn lost(before: &CrashSpace, after: &CrashSpace) -> usize {
    images::keys(before).difference(&images::keys(after)).count()
}
