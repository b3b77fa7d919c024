//! Histories that were recorded below QEMU: our engine opens the image as it was at every flush.
//!
//! The guest's writes have a pattern each. At a flush of the file, each sector of the guest holds
//! what the guest's last completed flush left there, or what a later write wrote that had reached
//! the file by then. A guest's flush is known to be complete when a write that was issued after it
//! reaches the file.

use std::fs::{self, File};
use std::path::Path;

use plugpull_engine::Access;
use serde::Deserialize;
use tempfile::TempDir;

use super::case::{Case, IMAGE, index};
use super::model::difference;
use super::ours::Ours;
use super::write_log::{Entry, FLUSH, parse};
use super::{setting, skipped};

/// Names the archive: a tar file, compressed with zstd.
const ARCHIVE: &str = "PLUGPULL_WRITE_LOGS";
const SECTOR: usize = 512;

/// One operation of the guest, in order of issue.
#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
enum GuestOp {
    Write { offset: u64, length: u64, pattern: u8 },
    Flush,
}

/// A write of the guest, and when it was seen.
struct GuestWrite {
    first_sector: usize,
    sectors: usize,
    pattern: u8,
    /// Writes before the last flush that was issued before this write.
    flushed_before: usize,
    /// The entry of the log in which its data first is.
    seen_at: usize,
}

#[test]
fn images_at_every_flush() {
    let Some(path) = setting(ARCHIVE) else {
        skipped(&format!("{ARCHIVE} is not set, so there are no recorded histories"));
        return;
    };
    let file = File::open(&path).unwrap_or_else(|error| panic!("{ARCHIVE}={path}: {error}"));
    let folder = TempDir::new().expect("a temporary folder");
    let stream = zstd::Decoder::new(file).expect("a zstd stream");
    tar::Archive::new(stream).unpack(folder.path()).expect("a tar archive");
    for (name, flushes) in [("qcow2-4k-a", 67), ("qcow2-64k-a", 24)] {
        let points = History::load(&folder.path().join(name)).judge();
        assert_eq!(points, flushes, "{name}: flushes that were looked at");
    }
}

struct History {
    initial: Vec<u8>,
    last: Vec<u8>,
    log: Vec<Entry>,
    writes: Vec<GuestWrite>,
}

impl History {
    fn load(folder: &Path) -> Self {
        let read = |name: &str| fs::read(folder.join(name)).expect("a file of the history");
        let log = parse(&read("writes.log"));
        let ops: Vec<GuestOp> = serde_json::from_slice(&read("ops.json")).expect("a list");
        let mut writes = Vec::new();
        let mut flushed_before = 0;
        for op in ops {
            match op {
                GuestOp::Flush => flushed_before = writes.len(),
                GuestOp::Write { offset, length, pattern } => writes.push(GuestWrite {
                    first_sector: index(offset) / SECTOR,
                    sectors: index(length) / SECTOR,
                    pattern,
                    flushed_before,
                    seen_at: log.iter().position(|entry| holds(entry, pattern)).expect("its data"),
                }),
            }
        }
        Self { initial: read("initial.qcow2"), last: read("final.qcow2"), log, writes }
    }

    /// Looks at the image at every flush and at the end, and returns the number of flushes.
    fn judge(&self) -> usize {
        let mut file = self.initial.clone();
        let mut flushes = 0;
        for (at, entry) in self.log.iter().enumerate() {
            if entry.flags & FLUSH != 0 {
                flushes += 1;
                let content = content_of(&file);
                self.judge_point(at, &content);
            }
            entry.apply(&mut file);
        }
        let content = content_of(&file);
        let expected = self.after(self.writes.len(), content.len());
        assert_eq!(difference(&content, &expected), None, "at the end");
        let last = content_of(&self.last);
        assert_eq!(difference(&last, &expected), None, "in the image that QEMU left");
        flushes
    }

    /// Judges what the guest sees after the entries before `at`.
    fn judge_point(&self, at: usize, content: &[u8]) {
        let seen = self.writes.iter().filter(|write| write.seen_at < at);
        let flushed = seen.map(|write| write.flushed_before).max().unwrap_or(0);
        let promised = self.after(flushed, content.len());
        let later = &self.writes[flushed..];
        for (sector, bytes) in content.chunks(SECTOR).enumerate() {
            let place = sector * SECTOR..sector * SECTOR + bytes.len();
            let written = |write: &&GuestWrite| {
                let sectors = write.first_sector..write.first_sector + write.sectors;
                write.seen_at < at && sectors.contains(&sector)
            };
            let mut allowed = later.iter().filter(written).map(|write| write.pattern);
            let is_new = allowed.any(|pattern| bytes.iter().all(|&byte| byte == pattern));
            let found = bytes[0];
            assert!(
                is_new || bytes == &promised[place],
                "flush at entry {at}: guest sector {sector} holds {found:#x}, {flushed} writes flushed"
            );
        }
    }

    /// What the guest sees after the first `count` writes.
    fn after(&self, count: usize, len: usize) -> Vec<u8> {
        let mut content = vec![0; len];
        for write in &self.writes[..count] {
            let start = write.first_sector * SECTOR;
            content[start..start + write.sectors * SECTOR].fill(write.pattern);
        }
        content
    }
}

/// Whether the entry writes a sector of nothing but `pattern`.
fn holds(entry: &Entry, pattern: u8) -> bool {
    entry.data.chunks(SECTOR).any(|sector| sector.iter().all(|&byte| byte == pattern))
}

/// What the guest of an image sees, however it was left.
fn content_of(file: &[u8]) -> Vec<u8> {
    let folder = TempDir::new().expect("a temporary folder");
    fs::write(folder.path().join(IMAGE), file).expect("room for an image");
    let session = Ours::open(&Case::plain(), folder.path(), Access::ReadOnly).expect("it opens");
    let content = session.read_all().expect("it can be read");
    session.close().expect("it closes");
    content
}
