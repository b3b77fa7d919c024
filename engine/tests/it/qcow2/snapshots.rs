//! The snapshot table: round trips, and tables that lie.

use futures_util::FutureExt;
use plugpull_engine::Error;
use plugpull_engine::qcow2::geometry::Geometry;
use plugpull_engine::qcow2::header::Header;
use plugpull_engine::qcow2::snapshot_table::{Snapshot, SnapshotTable, to_bytes};

use super::header::plain;
use crate::mem_disk::MemDisk;

const TABLE: u64 = 4 << 16;

fn snapshot() -> Snapshot {
    Snapshot {
        id: "1".into(),
        name: "before the upgrade".into(),
        l1_offset: 3 << 16,
        l1_entries: 1,
        date_seconds: 1,
        date_nanoseconds: 2,
        vm_clock: 3,
        vm_state_len: 4,
        virtual_size: Some(1 << 20),
        icount: Some(5),
        unknown_extra: b"what".to_vec(),
    }
}

fn snapshots() -> Vec<Snapshot> {
    let known = Snapshot { unknown_extra: Vec::new(), icount: None, ..snapshot() };
    vec![
        snapshot(),
        Snapshot { id: String::new(), name: String::new(), ..known.clone() },
        Snapshot { vm_state_len: 1 << 40, virtual_size: None, ..known },
    ]
}

/// Reads a table of `count` entries in a file that ends with `table`.
fn read(table: &[u8], count: u32) -> Result<SnapshotTable, Error> {
    let mut bytes = vec![0; usize::try_from(TABLE).unwrap()];
    bytes.extend_from_slice(table);
    let disk = MemDisk::new(bytes);
    let header = Header { snapshot_count: count, snapshots_offset: TABLE, ..plain() };
    let geometry = Geometry::validate(&header, TABLE + table.len() as u64)?;
    let result = SnapshotTable::read(&disk, &header, &geometry).now_or_never().unwrap();
    assert!(disk.changes().is_empty());
    assert!(disk.largest_read() <= 65536 && disk.read_bytes() <= 4 << 20);
    result
}

#[test]
fn print_and_read_are_inverse() {
    let bytes = to_bytes(&snapshots()).unwrap();
    let expected = SnapshotTable { snapshots: snapshots(), len: bytes.len() as u64 };
    assert_eq!(read(&bytes, 3), Ok(expected));
}

/// Extra data that is not there, and part of a field.
#[test]
fn old_entries_have_less() {
    for (extra_len, virtual_size) in [(0, None), (7, None), (8, None), (16, Some(1 << 20))] {
        let mut bytes = to_bytes(&[snapshot()]).unwrap();
        bytes.drain(40 + extra_len..40 + 28);
        bytes[39] = u8::try_from(extra_len).unwrap();
        let table = read(&bytes, 1).unwrap();
        let expected =
            Snapshot { virtual_size, icount: None, unknown_extra: Vec::new(), ..snapshot() };
        assert_eq!(table.snapshots, [expected], "{extra_len}");
    }
}

#[test]
fn any_byte_may_be_damaged() {
    let bytes = to_bytes(&snapshots()).unwrap();
    for at in 0..bytes.len() {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut bytes = bytes.clone();
            bytes[at] = value;
            if let Ok(table) = read(&bytes, 3) {
                to_bytes(&table.snapshots).unwrap();
            }
        }
    }
}

#[test]
fn host_snapshot_table() {
    let bytes = to_bytes(&[snapshot()]).unwrap();
    let check = |at: usize, number: &[u8]| {
        let mut bytes = bytes.clone();
        bytes[at..at + number.len()].copy_from_slice(number);
        assert!(read(&bytes, 1).is_err(), "{number:?} at {at}");
    };
    // Id and name together reach past the last cluster of the file.
    check(12, &[0xff; 4]);
    for extra_len in [1025_u32, 1 << 31, u32::MAX] {
        check(36, &extra_len.to_be_bytes());
    }
    for l1_offset in [0_u64, 512, 5 << 16, 1 << 55, u64::MAX - 65535] {
        check(0, &l1_offset.to_be_bytes());
    }
    for l1_entries in [3 << 13, (4 << 20) + 1, u32::MAX] {
        check(8, &l1_entries.to_be_bytes());
    }
    assert!(read(&bytes, 65537).is_err());
}

/// 65536 entries in a file that has room for a few.
#[test]
fn the_count_takes_no_memory() {
    assert!(read(&to_bytes(&snapshots()).unwrap(), 65536).is_err());
}
