//! QEMU's judgement of an image.

use std::path::Path;
use std::process::{Command, Output};

use super::say;

/// What the image is called, in its folder.
pub(super) const IMAGE: &str = "image";

/// Whether `qemu-img` is there; if not, the reason is printed.
///
/// # Panics
/// If it is not, and `CI` is `true`.
pub(super) fn is_there() -> bool {
    if Command::new("qemu-img").arg("--version").output().is_ok() {
        return true;
    }
    let reason = "qemu-img is not installed (package qemu-utils), so nothing judges";
    #[expect(clippy::disallowed_methods, reason = "says what must be there, not what is found")]
    let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(!ci, "CI is true, but {reason}");
    say(&format!("skipped: {reason}"));
    false
}

/// What `qemu-img check` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judgement {
    Clean,
    Leaks,
    /// COPIED is clear in so many entries though the refcount is one; leaks besides, perhaps.
    CopiedClear,
}

/// Judges the image in a folder.
///
/// # Errors
/// What QEMU found, if it is more than that.
pub(super) fn check(folder: &Path) -> Result<Judgement, String> {
    let output = qemu_img(folder, &["check", "--output=json", "-f", "qcow2", IMAGE]);
    let said = format!("{}{}", text(&output.stderr), text(&output.stdout));
    let errors = text(&output.stderr);
    let mut errors = errors.lines().filter(|line| line.starts_with("ERROR")).peekable();
    match output.status.code() {
        Some(0) => Ok(Judgement::Clean),
        Some(3) => Ok(Judgement::Leaks),
        Some(2) if errors.peek().is_some() && errors.all(is_copied_clear) => {
            Ok(Judgement::CopiedClear)
        }
        code => Err(format!("qemu-img check ends with {code:?}:\n{said}")),
    }
}

/// `ERROR OFLAG_COPIED data cluster: l2_entry=5000 refcount=1`: QEMU complains of either mistake, and
/// COPIED is clear in this one.
fn is_copied_clear(line: &str) -> bool {
    let entry = line.split_once("entry=").map(|(_, rest)| rest.split(' ').next().unwrap_or(rest));
    let entry = entry.and_then(|digits| u64::from_str_radix(digits, 16).ok());
    let one = line.split(' ').any(|word| word == "refcount=1");
    line.starts_with("ERROR OFLAG_COPIED ") && one && entry.is_some_and(|entry| entry >> 63 == 0)
}

/// What the guest reads, to QEMU.
///
/// # Errors
/// What QEMU complains of.
pub(super) fn content(folder: &Path) -> Result<Vec<u8>, String> {
    let output = qemu_img(folder, &["convert", "-f", "qcow2", "-O", "raw", IMAGE, "content"]);
    if !output.status.success() {
        return Err(format!("qemu-img convert: {}", text(&output.stderr)));
    }
    Ok(std::fs::read(folder.join("content")).expect("what was converted"))
}

fn qemu_img(folder: &Path, words: &[&str]) -> Output {
    // It looks for a data file where it is started.
    Command::new("qemu-img").args(words).current_dir(folder).output().expect("a tool")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
