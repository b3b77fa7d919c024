//! What can be changed in an image: words of metadata at their extremes, bits of the header, its
//! length.

use plugpull_engine::qcow2::bitmap_directory;
use plugpull_engine::qcow2::geometry::Geometry;
use plugpull_engine::qcow2::header::Header;
use plugpull_engine::qcow2::snapshot_table::SnapshotTable;
use plugpull_engine::{Disk, Error};

use super::images::{Good, now};
use crate::mem_disk::MemDisk;

/// A changed image.
pub(super) struct Mutant {
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
}

/// A structure of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Part {
    pub(super) name: &'static str,
    pub(super) offset: usize,
    pub(super) len: usize,
}

/// Bits that mean something in one entry or another.
const FLAGS: [u32; 9] = [0, 1, 2, 9, 55, 56, 61, 62, 63];
const COPIED: u64 = 1 << 63;
/// Of words that are zero among zeros, one of so many is tried in a table of large clusters.
const ZEROS_STRIDE: usize = 509;
const HEADER_LEN: usize = 112;

/// Shows one of every `stride` mutants of an image.
pub(super) fn each(good: &Good, stride: u64, mut show: impl FnMut(Mutant)) {
    let mut index = 0_u64;
    let mut offer = |name: &dyn Fn() -> String, change: &dyn Fn(&mut Vec<u8>)| {
        index += 1;
        // The quotient by the golden ratio: no period of the loops below is in step with it.
        if (index.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20).is_multiple_of(stride) {
            let mut bytes = good.bytes.clone();
            change(&mut bytes);
            if bytes != good.bytes {
                show(Mutant { name: name(), bytes });
            }
        }
    };
    for bit in 0..HEADER_LEN * 8 {
        offer(&|| format!("header bit {bit}"), &|bytes| bytes[bit / 8] ^= 1 << (bit % 8));
    }
    for len in (0..good.bytes.len()).step_by(512) {
        offer(&|| format!("cut to {len}"), &|bytes| bytes.truncate(len));
    }
    let parts = parts(&good.bytes).expect("a good image");
    for part in &parts {
        for at in (part.offset..part.offset + part.len).step_by(8) {
            let Some(interest) = interest(good, part, at) else { continue };
            for (number, value) in values(good, &parts, at).into_iter().enumerate() {
                if interest == Interest::Some && number % 5 != at / 8 % 5 {
                    continue;
                }
                let name = || format!("{} at {}: {value:#x}", part.name, at - part.offset);
                offer(&name, &|bytes| bytes[at..at + 8].copy_from_slice(&value.to_be_bytes()));
            }
            for (at, bits, value) in narrow(part, at, interest) {
                let name = || format!("{} at {}: {bits}: {value:#x}", part.name, at - part.offset);
                offer(&name, &|bytes| put(bytes, at, bits, value));
            }
        }
    }
}

/// How much of a word is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Interest {
    All,
    Some,
}

fn word(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).map_or(0, |word| u64::from_be_bytes(word.try_into().expect("eight")))
}

fn interest(good: &Good, part: &Part, at: usize) -> Option<Interest> {
    let near = at.saturating_sub(8).max(part.offset)..at + 9;
    let is_near = near.step_by(8).any(|at| word(&good.bytes, at) != 0);
    let is_end = at < part.offset + 16 || at + 16 >= part.offset + part.len;
    if is_near || is_end {
        return Some(Interest::All);
    }
    let few = good.cluster_len == 512 || (at / 8).is_multiple_of(ZEROS_STRIDE);
    few.then_some(Interest::Some)
}

fn values(good: &Good, parts: &[Part], at: usize) -> Vec<u64> {
    let len = good.bytes.len() as u64;
    let old = word(&good.bytes, at);
    let mut values = vec![
        0,
        1,
        511,
        512,
        len,
        len - 512,
        1 << 31,
        (1 << 32) - 1,
        1 << 55,
        (1 << 56) - 512,
        1 << 62,
        1 << 63,
        u64::MAX,
        word(&good.bytes, at + 8),
        word(&good.bytes, at.saturating_sub(8)),
        old.wrapping_add(512),
        old.wrapping_add(good.cluster_len as u64),
    ];
    for part in parts {
        let offset = part.offset as u64;
        values.extend([offset, offset + 512, offset | COPIED]);
    }
    values.extend(FLAGS.map(|bit| old ^ 1 << bit));
    values.sort_unstable();
    values.dedup();
    values
}

/// Fields of less than eight bytes in a word: where, how many bits, and values.
fn narrow(part: &Part, at: usize, interest: Interest) -> Vec<(usize, u32, u64)> {
    let mut fields = Vec::new();
    let mut add = |at, bits, values: &[u64]| {
        fields.extend(values.iter().map(|&value| (at, bits, value)));
    };
    if interest == Interest::Some {
        return fields;
    }
    match part.name {
        "header" | "snapshot table" | "bitmap directory" => {
            for at in [at, at + 4] {
                add(at, 32, &[0, 1, 7, 8, 22, 63, 255, 512, 1 << 16, 1 << 31, (1 << 32) - 8]);
                add(at, 32, &[0x7fff_ffff, 0xffff_ffff]);
            }
            for at in (at..at + 8).step_by(2) {
                add(at, 16, &[0, 1, 0xffff]);
            }
            for at in at..at + 8 {
                add(at, 8, &[0, 9, 31, 32, 63, 255]);
            }
        }
        "refcount block" => {
            for at in at..at + 8 {
                add(at, 8, &[0, 1, 2, 0x10, 0x55, 0x7f, 0x80, 0xff]);
            }
        }
        _ => {}
    }
    fields
}

fn put(bytes: &mut [u8], at: usize, bits: u32, value: u64) {
    let width = bits as usize / 8;
    bytes[at..at + width].copy_from_slice(&value.to_be_bytes()[8 - width..]);
}

/// The structures of an image, in the order of their places.
pub(super) fn parts(bytes: &[u8]) -> Result<Vec<Part>, Error> {
    let disk = MemDisk::new(bytes.to_vec());
    let header = now(Header::read(&disk))?;
    let geometry = Geometry::validate(&header, disk.len())?;
    let cluster = geometry.cluster_len;
    let mut parts = Vec::new();
    let mut add = |name, offset: u64, len: u64| {
        let place = |value: u64| usize::try_from(value).expect("a place in memory");
        parts.push(Part { name, offset: place(offset), len: place(len) });
    };
    let words = |offset: u64, count: u64| {
        let offset = usize::try_from(offset).expect("in memory");
        (0..usize::try_from(count).expect("in memory")).map(move |it| word(bytes, offset + 8 * it))
    };
    let offset_of = |entry: u64| entry & 0x00ff_ffff_ffff_fe00;
    add("header", 0, header.to_bytes()?.len() as u64);
    add("refcount table", geometry.refcount_table.offset, geometry.refcount_table.len);
    for block in words(geometry.refcount_table.offset, geometry.refcount_table_entries) {
        if block != 0 {
            add("refcount block", block, cluster);
        }
    }
    let snapshots = now(SnapshotTable::read(&disk, &header, &geometry))?;
    if let Some(offset) = geometry.snapshots_offset {
        add("snapshot table", offset, snapshots.len);
    }
    let mut l1_tables = vec![("L1 table", geometry.l1.offset, header.l1_entries)];
    for snapshot in &snapshots.snapshots {
        l1_tables.push(("L1 table of a snapshot", snapshot.l1_offset, snapshot.l1_entries));
    }
    for (name, offset, entries) in l1_tables {
        add(name, offset, u64::from(entries) * 8);
        let l2 = if name == "L1 table" { "L2 table" } else { "L2 table of a snapshot" };
        for entry in words(offset, entries.into()).map(offset_of).filter(|&entry| entry != 0) {
            add(l2, entry, cluster);
        }
    }
    if let Some(extension) = header.consistent_bitmaps() {
        let directory = bitmap_directory::directory(extension, &geometry)?;
        add("bitmap directory", directory.offset, directory.len);
        for bitmap in now(bitmap_directory::read(&disk, extension, &geometry))? {
            add("bitmap table", bitmap.table_offset, u64::from(bitmap.table_entries) * 8);
            for entry in words(bitmap.table_offset, bitmap.table_entries.into()) {
                if entry > 1 {
                    add("bitmap", entry, cluster);
                }
            }
        }
    }
    parts.sort_by_key(|part| part.offset);
    parts.dedup_by_key(|part| part.offset);
    Ok(parts)
}
