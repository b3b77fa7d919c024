//! qcow2 images that QEMU judges: the same operations on our engine and on QEMU, in lock step.
//!
//! * `random`: both sides, and a plain list of bytes, hold the same after every batch; each side
//!   reads, and finds nothing wrong with, what the other has written.
//! * `created`: every option of `qemu-img create` that is claimed.
//! * `recorded`: histories recorded below QEMU, opened at every flush.
//!
//! Without QEMU, or without the recordings, the tests say that they were skipped; where `CI` is
//! `true` they fail.

mod case;
mod created;
mod model;
mod ops;
mod ours;
mod qemu;
mod random;
mod recorded;
mod volatile;
mod write_log;

use std::io::Write as _;

/// A setting of the surroundings.
#[expect(clippy::disallowed_methods, reason = "says what is there to test with, not what is found")]
fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Says why a test is skipped, past the capture of output that hides what passing tests print.
///
/// # Panics
/// Where `CI` is `true`: nothing is skipped there.
fn skipped(reason: &str) {
    assert!(setting("CI").is_none_or(|ci| ci != "true"), "CI is true, but {reason}");
    writeln!(std::io::stderr(), "skipped: {reason}").expect("standard error takes a line");
}
