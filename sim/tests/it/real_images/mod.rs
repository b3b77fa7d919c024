//! Images of the original implementation on disks whose power is cut.
//!
//! Every image is the durable start of simulated disks. Recovery runs on them, and at every moment
//! inside it the power is cut: every state that the disks may be left in is recovered again, and must
//! read exactly as if nothing had happened. A write and a flush that follow recovery are cut in the
//! same way; they may only change their own sectors. Then each image lives some random sessions.

#[path = "../../../../engine/tests/it/real_images/archive.rs"]
mod archive;
mod cuts;
mod lives;
#[path = "../../../../engine/tests/it/real_images/manifest.rs"]
mod manifest;
mod subject;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use plugpull_engine::fvd::planted::{Bug, PlantedBugs};

use archive::Images;
use cuts::Reach;
use lives::Life;
use manifest::{Expected, Fate};
use subject::Subject;

/// Sessions of a random life.
const SESSIONS: u64 = 5;

#[test]
fn recovery_of_unclean_images_can_be_cut_anywhere() {
    let mut reach = Reach::default();
    let judged = for_each_image(|folder, expected| {
        if expected.clean { Ok(()) } else { Subject::load(folder, expected).judge(&mut reach) }
    });
    if !judged {
        return;
    }
    // What was explored, so that silence means something. A write that stores a whole chunk has
    // too many states to visit all.
    assert_eq!(reach.images, 81, "{reach:?}");
    assert_eq!(reach.recovery.sampled_points, 0, "{reach:?}");
    assert!(reach.recovery.points > 200, "{reach:?}");
    assert!(reach.recovery.states > 100, "{reach:?}");
    assert!(reach.write.sampled_points < reach.write.points / 20, "{reach:?}");
    assert!(reach.write.states > 1000, "{reach:?}");
    assert!(reach.replayed, "{reach:?}");
}

#[test]
fn random_lives_of_real_images_keep_their_promises() {
    let mut seed = 0;
    for_each_image(|folder, expected| {
        seed += 1;
        let mut subject = Subject::load(folder, expected);
        let mut life = Life::begin(&mut subject, seed)?;
        (1..=SESSIONS).try_for_each(|number| {
            life.session().map_err(|error| format!("session {number} of life {seed}: {error}"))
        })
    });
}

/// Judges every image that opens, and fails with all complaints; false if there are no images.
fn for_each_image(mut judge: impl FnMut(&Path, Expected) -> Result<(), String>) -> bool {
    let Some(images) = Images::unpack(|_| true) else { return false };
    let mut complaints = Vec::new();
    for (name, folder) in images.folders() {
        let expected = Expected::load(name, &folder);
        if expected.fate == Fate::Opens {
            let judged = catch_unwind(AssertUnwindSafe(|| judge(&folder, expected)));
            let judged = judged.unwrap_or_else(|_| Err("a panic, see above".to_owned()));
            complaints.extend(judged.err().map(|complaint| format!("{name}: {complaint}")));
        }
    }
    assert!(complaints.is_empty(), "{} complaints:\n{}", complaints.len(), complaints.join("\n"));
    true
}

/// Engines that are unsafe after recovery, and an image that shows it.
const PLANTED: &[(Bug, &str)] = &[
    // With all in one file, the flush of the next write's data would make up for it.
    (Bug::RecoveryReusesJournalBeforeFlush, "flat-base-b7680-coroff-data-unclean"),
    (Bug::CleanFlagBeforeMapsFlush, "compact-nobase-b512-c1x-unclean"),
    (Bug::JournalBeforeData, "flat-base-b512-coroff-unclean"),
    (Bug::ExtensionNotDurable, "journal4096-s1-compact-base-unclean"),
    (Bug::RecycledChunkShowsOldData, "bug-P2-recycle-no-flush"),
];

#[test]
fn unsafe_engines_are_caught_on_real_images() {
    let wanted = |name: &str| PLANTED.iter().any(|&(_, image)| image == name);
    let Some(images) = Images::unpack(wanted) else { return };
    for (name, folder) in images.folders() {
        for &(bug, _) in PLANTED.iter().filter(|&&(_, image)| image == name) {
            let mut subject = Subject::load(&folder, Expected::load(name, &folder));
            subject.planted = PlantedBugs::of(&[bug]);
            let judged = subject.judge(&mut Reach::default());
            assert!(judged.is_err(), "{} is not found on {name}", bug.id());
        }
    }
}
