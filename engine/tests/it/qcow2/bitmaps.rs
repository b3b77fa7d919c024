//! The bitmap directory: round trips, and directories that lie.

use futures_util::FutureExt;
use plugpull_engine::Error;
use plugpull_engine::qcow2::bitmap_directory::{BitmapCluster, BitmapEntry, parse, read, to_bytes};
use plugpull_engine::qcow2::geometry::Geometry;
use plugpull_engine::qcow2::header::BitmapsExtension;

use super::header::{FILE_LEN, plain};
use crate::mem_disk::MemDisk;

fn geometry() -> Geometry {
    Geometry::validate(&plain(), FILE_LEN).unwrap()
}

fn bitmap(name: &str) -> BitmapEntry {
    BitmapEntry {
        name: name.into(),
        table_offset: 2 << 16,
        table_entries: 1,
        in_use: false,
        auto: true,
        extra_data_compatible: false,
        granularity_bits: 16,
        extra: Vec::new(),
    }
}

fn bitmaps() -> Vec<BitmapEntry> {
    vec![
        bitmap("a"),
        BitmapEntry { extra: vec![1, 2, 3], extra_data_compatible: true, ..bitmap("second") },
        BitmapEntry { in_use: true, auto: false, table_entries: 0, ..bitmap("eightlet") },
    ]
}

fn parsed(bytes: &[u8], count: u32) -> Result<Vec<BitmapEntry>, Error> {
    parse(bytes, count, &geometry())
}

#[test]
fn print_and_parse_are_inverse() {
    let bytes = to_bytes(&bitmaps()).unwrap();
    assert_eq!(parsed(&bytes, 3), Ok(bitmaps()));
    for len in 0..bytes.len() {
        assert!(parsed(&bytes[..len], 3).is_err(), "{len}");
    }
    for count in [0, 1, 2, 4, u32::MAX] {
        assert!(parsed(&bytes, count).is_err(), "{count}");
    }
}

#[test]
fn any_byte_may_be_damaged() {
    let bytes = to_bytes(&bitmaps()).unwrap();
    for at in 0..bytes.len() {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut bytes = bytes.clone();
            bytes[at] = value;
            if let Ok(bitmaps) = parsed(&bytes, 3) {
                to_bytes(&bitmaps).unwrap();
            }
        }
    }
}

#[test]
fn rules_of_an_entry() {
    let check = |good: bool, bitmap: BitmapEntry| {
        let result = parsed(&to_bytes(std::slice::from_ref(&bitmap)).unwrap(), 1);
        assert_eq!(result.is_ok(), good, "{bitmap:?}: {result:?}");
    };
    check(true, bitmap(&"x".repeat(1023)));
    for bits in [0, 8, 32, 63, 64, 255] {
        check(false, BitmapEntry { granularity_bits: bits, ..bitmap("x") });
    }
    for offset in [0, 512, 4 << 16, 1 << 55, u64::MAX - 65535, u64::MAX] {
        check(false, BitmapEntry { table_offset: offset, ..bitmap("x") });
    }
    for entries in [(2 << 13) + 1, 1 << 31, u32::MAX] {
        check(false, BitmapEntry { table_entries: entries, ..bitmap("x") });
    }
    check(false, BitmapEntry { table_entries: 0, ..bitmap("x") });
    let twice = to_bytes(&[bitmap("x"), bitmap("x")]).unwrap();
    assert!(parsed(&twice, 2).is_err());
    assert!(to_bytes(&[bitmap("")]).is_err());
    assert!(to_bytes(&[bitmap(&"x".repeat(1024))]).is_err());
}

#[test]
fn host_bitmaps_extension() {
    let mut bytes = vec![0; 3 << 16];
    let directory = to_bytes(&bitmaps()).unwrap();
    bytes.extend_from_slice(&directory);
    let disk = MemDisk::new(bytes);
    let good = BitmapsExtension {
        count: 3,
        directory_len: directory.len() as u64,
        directory_offset: 3 << 16,
    };
    let read = |extension| read(&disk, extension, &geometry()).now_or_never().unwrap();
    assert_eq!(read(good), Ok(bitmaps()));
    for count in [0, 2, 65536, u32::MAX] {
        assert!(read(BitmapsExtension { count, ..good }).is_err(), "{count}");
    }
    for directory_len in [0, 24, 65537, 1 << 63, u64::MAX] {
        assert!(read(BitmapsExtension { directory_len, ..good }).is_err(), "{directory_len}");
    }
    for directory_offset in [0, 512, 4 << 16, 1 << 63, u64::MAX] {
        let result = read(BitmapsExtension { directory_offset, ..good });
        assert!(result.is_err(), "{directory_offset}");
    }
    assert!(disk.changes().is_empty());
}

#[test]
fn entries_of_a_table() {
    for (entry, expected) in [
        (0, Some(BitmapCluster::Zeros)),
        (1, Some(BitmapCluster::Ones)),
        (1 << 16, Some(BitmapCluster::Stored { host: 1 << 16 })),
        (1 << 16 | 1, None),
        (2, None),
        (1 << 63, None),
    ] {
        assert_eq!(BitmapCluster::parse(entry), expected, "{entry:#x}");
        assert_eq!(expected.map_or(entry, BitmapCluster::entry), entry);
    }
}
