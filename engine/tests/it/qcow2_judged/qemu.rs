//! QEMU's tools: finding them, and a twin image that they work on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use plugpull_engine::ByteRange;

use super::case::{BASE, Case, DATA, IMAGE};
use super::ops::{Fill, NOISES, Op, noise};
use super::skipped;

/// Whether QEMU's tools are there; if not, the reason is printed.
pub(super) fn is_there() -> bool {
    let there = ["qemu-img", "qemu-io"].map(|tool| Command::new(tool).arg("--version").output());
    if there.iter().all(Result::is_ok) {
        return true;
    }
    skipped("qemu-img or qemu-io is not installed (package qemu-utils), so nothing judges");
    false
}

/// Runs a tool in `folder`, and returns what it says.
///
/// # Errors
/// What it complains about.
pub(super) fn run(folder: &Path, tool: &str, words: &[String]) -> Result<String, String> {
    let output = Command::new(tool).args(words).current_dir(folder).output().expect("a tool");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    // qemu-io ends well after commands that failed.
    if output.status.success() && complaint.is_empty() && !said.contains("failed") {
        return Ok(said);
    }
    Err(format!("{tool} {}: {complaint}{said}", words.join(" ")))
}

/// The same, with arguments that hold no blanks.
pub(super) fn say(folder: &Path, line: &str) -> Result<String, String> {
    let mut words = line.split_whitespace().map(str::to_owned);
    let tool = words.next().expect("a tool");
    run(folder, &tool, &words.collect::<Vec<_>>())
}

/// Makes the files that an image needs besides itself.
pub(super) fn surround(case: &Case, folder: &Path) {
    fs::create_dir_all(folder).expect("a folder");
    if case.base_len.is_some() {
        fs::write(folder.join(BASE), case.base()).expect("room for a base");
    }
    for number in 0..NOISES {
        fs::write(folder.join(format!("noise{number}")), noise(number)).expect("room for noise");
    }
}

/// An image that QEMU works on.
pub(super) struct Twin {
    pub(super) folder: PathBuf,
    /// Commands for qemu-io that have not run yet.
    commands: Vec<String>,
}

impl Twin {
    pub(super) fn create(case: &Case, folder: PathBuf) -> Result<Self, String> {
        surround(case, &folder);
        let mut words = ["create", "-q", "-f", "qcow2"].map(str::to_owned).to_vec();
        words.extend(case.qemu_options());
        words.extend([IMAGE.to_owned(), case.virtual_size.to_string()]);
        run(&folder, "qemu-img", &words)?;
        Ok(Self::of(folder))
    }

    /// The image in a folder.
    pub(super) fn of(folder: PathBuf) -> Self {
        Self { folder, commands: Vec::new() }
    }

    /// Copies the image, new as it is, and its data file.
    pub(super) fn copy_to(&self, folder: &Path) {
        for name in [IMAGE, DATA] {
            if self.folder.join(name).exists() {
                fs::copy(self.folder.join(name), folder.join(name)).expect("room for a copy");
            }
        }
    }

    /// Does the operation now or, if qemu-io does it, in [`Twin::finish`]. The guest's disk has
    /// `len` bytes before it.
    pub(super) fn apply(&mut self, case: &Case, op: &Op, len: u64) -> Result<(), String> {
        match op {
            Op::Write(range, fill) => {
                self.commands.push(write("", *fill, range.offset, range.len));
            }
            Op::Writes(writes) => {
                let writes = writes.iter();
                let writes = writes.map(|(range, fill)| write("", *fill, range.offset, range.len));
                self.commands.extend(writes);
            }
            Op::WriteCompressed(range, fill) if case.discard_zeroes() => {
                // QEMU compresses only where nothing is allocated. Reopened, because QEMU 10.0 goes on
                // filling the cluster that it compressed into last, also when that has been freed
                // and holds something else by now: write -c 0 4k, discard 0 4k, write 8k 4k,
                // write -c 0 4k, and the cluster at 8k is lost.
                self.commands.push("close".to_owned());
                self.commands
                    .push(format!("open -o driver=qcow2,discard=unmap,cache.no-flush=on {IMAGE}"));
                self.commands.push(format!("discard {} {}", range.offset, range.len));
                self.commands.push(write("-c ", *fill, range.offset, range.len));
            }
            Op::WriteCompressed(range, fill) => {
                self.commands.push(write("", *fill, range.offset, range.len));
            }
            Op::WriteZeroes { range, unmap } => {
                let unmap = if *unmap { "-u " } else { "" };
                self.commands.push(format!("write -z {unmap}{} {}", range.offset, range.len));
            }
            Op::Discard(range) => {
                self.commands.push(format!("discard {} {}", range.offset, range.len));
            }
            Op::Flush => self.commands.push("flush".to_owned()),
            // QEMU opens its image anew for each batch.
            Op::Reopen => {}
            Op::Resize(new_len) => {
                self.alone(&format!("qemu-img resize -q -f qcow2 --shrink {IMAGE} {new_len}"))?;
                // When it shrinks a disk, QEMU keeps the rest of the last cluster, and shows it
                // again when the disk grows. We promise zeros.
                let rest = ByteRange::between(len, len.next_multiple_of(case.cluster_len));
                let rest = rest.intersection(ByteRange::new(0, *new_len));
                if !rest.is_empty() {
                    self.commands.push(format!("write -z {} {}", rest.offset, rest.len));
                }
            }
            Op::CreateSnapshot(name) => self.snapshot('c', name)?,
            Op::ApplySnapshot(name) => self.snapshot('a', name)?,
            Op::DeleteSnapshot(name) => self.snapshot('d', name)?,
        }
        Ok(())
    }

    fn snapshot(&mut self, what: char, name: &str) -> Result<(), String> {
        self.alone(&format!("qemu-img snapshot -{what} {name} {IMAGE}"))
    }

    fn alone(&mut self, line: &str) -> Result<(), String> {
        self.finish()?;
        say(&self.folder, line).map(drop)
    }

    /// Runs what has not run yet.
    pub(super) fn finish(&mut self) -> Result<(), String> {
        if self.commands.is_empty() {
            return Ok(());
        }
        let mut words = ["-f", "qcow2", "-d", "unmap", "-t", "unsafe"].map(str::to_owned).to_vec();
        for command in self.commands.drain(..) {
            words.extend(["-c".to_owned(), command]);
        }
        words.push(IMAGE.to_owned());
        run(&self.folder, "qemu-io", &words).map(drop)
    }
}

fn write(flag: &str, fill: Fill, offset: u64, len: u64) -> String {
    let fill = match fill {
        Fill::Byte(byte) => format!("-P {byte}"),
        Fill::Noise(number) => format!("-s noise{number}"),
    };
    format!("write -q {flag}{fill} {offset} {len}")
}
