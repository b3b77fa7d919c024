//! qcow2 images that power cuts leave, judged by QEMU.
//!
//! Some executions of every scenario of `scenarios/qcow2` that promises anything, and of a few of
//! our own, are cut where they can be cut. Of the distinct images some are judged:
//!
//! * as they are: `qemu-img check` finds leaks at most, and COPIED clear where the refcount is one,
//!   which a crash in a snapshot operation may leave. With the dirty bit refcounts may be anything;
//! * after [`repair`](plugpull_engine::qcow2::repair::repair): it finds nothing;
//! * of some of them, QEMU then reads what our engine reads.
//!
//! Engines with planted bugs are not judged here. Without QEMU the test says that it was skipped;
//! where `CI` is `true` it fails.

mod collect;
mod judge;
mod qemu;
mod scenarios;

use std::io::Write as _;

use collect::{Collected, collect};
use judge::{Counts, Judge};
use scenarios::scenarios;

/// Images that are judged of one scenario.
const IMAGES_MAX: usize = if cfg!(debug_assertions) { 20 } else { 400 };

#[test]
fn crash_images_are_sound_to_qemu() {
    if !qemu::is_there() {
        return;
    }
    let judge = Judge::new();
    let (mut all, mut complaints) = (Counts::default(), Vec::new());
    for (name, scenario) in scenarios() {
        let Collected { system, images, distinct } = collect(&scenario, IMAGES_MAX);
        let mut counts = Counts { scenarios: 1, distinct, ..Counts::default() };
        for (number, images) in images.into_iter().enumerate() {
            if let Err(complaint) = judge.judge(&*system, number, images, &mut counts) {
                complaints.push(format!("{name}, image {number}: {complaint}"));
            }
        }
        all += counts;
    }
    say(&format!("{all}"));
    assert!(complaints.is_empty(), "{} complaints:\n{}", complaints.len(), complaints.join("\n"));
    // What was judged, so that silence means something.
    assert!(all.scenarios >= 70, "{all}");
    assert!(all.leaking > 100, "{all}");
    assert!(all.dirty > 50, "{all}");
    assert!(all.copied_clear > 0, "{all}");
    assert!(all.repaired > 100, "{all}");
    assert!(all.read > 100, "{all}");
    assert!(all.with_backing > 20, "{all}");
    assert!(all.with_data_file > 20, "{all}");
}

/// Prints a line past the capture of output that hides what passing tests print.
fn say(line: &str) {
    writeln!(std::io::stderr(), "{line}").expect("standard error takes a line");
}
