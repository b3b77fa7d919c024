//! Growing the virtual disk of a closed image.

use futures_util::FutureExt;
use plugpull_engine::fvd::create::{CompactOptions, CreateOptions, JournalSize, create};
use plugpull_engine::fvd::grow::grow;
use plugpull_engine::fvd::header::{Header, offset};
use plugpull_engine::fvd::planted::{Bug, PlantedBugs};
use plugpull_engine::{Disk, Error, ErrorKind};

use crate::mem_disk::{Change, MemDisk};

fn image(virtual_size: u64, compact: bool, data_file: &str) -> MemDisk {
    let options = CreateOptions {
        virtual_size,
        compact: compact
            .then_some(CompactOptions { chunk_size: Some(4096), storage_grow_unit: Some(4096) }),
        journal_size: JournalSize::Bytes(4096),
        data_file: data_file.into(),
        ..CreateOptions::default()
    };
    let disk = MemDisk::new(Vec::new());
    create(&disk, &options, None).now_or_never().unwrap().unwrap();
    MemDisk::new(disk.bytes())
}

fn grown(disk: &MemDisk, data: Option<&MemDisk>, size: u64) -> Result<Header, Error> {
    let data = data.map(|data| data as &dyn Disk);
    grow(disk, data, size, PlantedBugs::NONE).now_or_never().unwrap()
}

#[test]
fn the_new_size_is_one_sector_and_a_flush() {
    for (compact, to, rounded) in
        [(false, 1 << 30, 1 << 30), (true, 1 << 22, 1 << 22), (true, 65537, 66048)]
    {
        let disk = image(65536, compact, "");
        let before = disk.bytes();
        let header = grown(&disk, None, to).unwrap();
        assert_eq!(header.virtual_disk_size, rounded);
        assert_eq!(disk.changes(), [Change::Write { offset: 0, len: 512 }, Change::Flush]);
        let mut expected = before;
        expected[12..20].copy_from_slice(&rounded.to_le_bytes());
        assert_eq!(disk.bytes(), expected);
    }
}

#[test]
fn the_same_size_writes_nothing() {
    let disk = image(65536, true, "");
    assert!(grown(&disk, None, 65536).is_ok());
    assert_eq!(disk.changes(), []);
}

#[test]
fn what_cannot_grow_is_left_alone() {
    let unclean = image(65536, false, "");
    let mut bytes = unclean.bytes();
    bytes[offset::clean_shutdown] = 0;
    let unclean = MemDisk::new(bytes);
    let mut bytes = image(65536, true, "").bytes();
    bytes[8192 + 16 * 4] = 0;
    let dirty_padding = MemDisk::new(bytes);
    let mut long = image(65536, false, "").bytes();
    long.extend(vec![1; 65536 + 512]);
    let cases = [
        (
            "one chunk more than the table holds",
            image(65536, true, ""),
            (1 << 22) + 1,
            ErrorKind::InvalidArgument,
        ),
        (
            "far more than the table holds",
            image(65536, true, ""),
            1 << 62,
            ErrorKind::InvalidArgument,
        ),
        ("smaller", image(65536, false, ""), 65024, ErrorKind::InvalidArgument),
        ("past 2^63", image(65536, false, ""), u64::MAX, ErrorKind::InvalidArgument),
        (
            "past 2^63 with the maps",
            image(65536, false, ""),
            i64::MAX as u64 & !511,
            ErrorKind::InvalidArgument,
        ),
        ("not closed", unclean, 1 << 20, ErrorKind::Unsupported),
        ("entries in the padding", dirty_padding, 1 << 20, ErrorKind::Corrupt),
        ("old content on a device", MemDisk::device(long), 1 << 20, ErrorKind::Unsupported),
        (
            "a data file that is not open",
            image(65536, false, "data"),
            1 << 20,
            ErrorKind::InvalidArgument,
        ),
        ("no image", MemDisk::new(vec![0; 9000]), 1 << 20, ErrorKind::Corrupt),
    ];
    for (name, disk, size, kind) in cases {
        assert_eq!(grown(&disk, None, size).unwrap_err().kind(), kind, "{name}");
        assert_eq!(disk.changes(), [], "{name}");
    }
}

/// A table followed by unclaimed pages has room in the file, but nothing says that it is empty.
#[test]
fn a_gap_after_the_table_is_not_taken() {
    let mut bytes = image(65536, true, "").bytes();
    bytes.resize(1 << 20, 0);
    bytes[offset::journal_offset..offset::journal_offset + 8]
        .copy_from_slice(&65536_i64.to_le_bytes());
    bytes[offset::metadata_size..offset::metadata_size + 8]
        .copy_from_slice(&(1_i64 << 20).to_le_bytes());
    let disk = MemDisk::new(bytes);
    let error = grown(&disk, None, (1 << 22) + 1).unwrap_err();
    let Error::InvalidArgument { rule, .. } = error else { panic!("{error:?}") };
    assert!(rule.contains("room"), "{rule}");
    assert_eq!(disk.changes(), []);
}

#[test]
fn what_the_guest_could_not_see_is_cleared_first() {
    // A flat image whose storage is longer than the virtual disk.
    for separate in [false, true] {
        let data = MemDisk::new(vec![0xAA; 65536 + 4096]);
        let disk = image(65536, false, if separate { "data" } else { "" });
        let disk =
            if separate { disk } else { MemDisk::new([disk.bytes(), data.bytes()].concat()) };
        grown(&disk, separate.then_some(&data), 1 << 20).unwrap();
        let storage = if separate { &data } else { &disk };
        let start = if separate { 0 } else { 8192 };
        assert_eq!(storage.changes()[..2], [Change::Resize(start + 65536), Change::Flush]);
        assert_eq!(storage.len(), start + 65536);
    }

    // A compact image whose last chunk is partial: the chunk is at physical 1.
    let mut bytes = image(4096 * 3 + 512, true, "").bytes();
    let data_start = bytes.len();
    bytes.resize(data_start + 2 * 4096, 0xAA);
    bytes[8192 + 12..8192 + 16].copy_from_slice(&1_u32.to_le_bytes());
    let disk = MemDisk::new(bytes);
    grown(&disk, None, 65536).unwrap();
    let bytes = disk.bytes();
    let visible = data_start + 4096 + 512;
    assert!(bytes[data_start..visible].iter().all(|&byte| byte == 0xAA));
    assert!(bytes[visible..].iter().all(|&byte| byte == 0));
    let clear = Change::Write { offset: visible as u64, len: 4096 - 512 };
    let size = Change::Write { offset: 0, len: 512 };
    assert_eq!(disk.changes(), [clear, Change::Flush, size, Change::Flush]);
}

#[test]
fn the_planted_bug_lets_the_table_run_into_the_journal() {
    let disk = image(65536, true, "");
    let planted = PlantedBugs::of(&[Bug::GrowKeepsSmallTable]);
    grow(&disk, None, 1 << 23, planted).now_or_never().unwrap().unwrap();
    let error = grown(&disk, None, 1 << 24).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}
