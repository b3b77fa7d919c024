//! What a check reports of sound images and of badly damaged ones.

use futures_util::FutureExt;
use plugpull_engine::fvd::check::{BlockCounts, CheckReport, ChunkCounts, JournalCounts, check};
use plugpull_engine::fvd::create::{CompactOptions, CreateOptions, create};
use plugpull_engine::fvd::header::offset;
use plugpull_engine::fvd::journal::{Record, encode_sector};

use crate::hostile::mixed;
use crate::mem_disk::MemDisk;

const JOURNAL: usize = 16384;

fn checked(bytes: Vec<u8>, data_len: Option<u64>) -> CheckReport {
    check(&MemDisk::new(bytes), data_len).now_or_never().unwrap().unwrap()
}

#[test]
fn a_closed_image_is_counted_without_its_journal() {
    let mut bytes = mixed();
    let record = Record::Table { first: 5, entries: vec![3] };
    bytes[JOURNAL..JOURNAL + 512].copy_from_slice(&encode_sector(&[record]));
    let expected = CheckReport {
        clean: true,
        blocks: Some(BlockCounts { local: 2, total: 8 }),
        chunks: Some(ChunkCounts { allocated: 2, leaked: 0, total: 16 }),
        journal: Some(JournalCounts { sectors: 8, used_sectors: 1, records: 1 }),
        problems: Vec::new(),
        more_problems: 0,
    };
    assert_eq!(checked(bytes, None), expected);
}

#[test]
fn an_open_image_is_judged_with_its_journal() {
    let mut bytes = mixed();
    let records = [
        Record::Table { first: 5, entries: vec![3 | 1 << 31] },
        Record::Bitmap { first_sector: 40, sectors: 1 },
    ];
    bytes[JOURNAL + 1024..JOURNAL + 1536].copy_from_slice(&encode_sector(&records));
    bytes[offset::clean_shutdown] = 0;
    let expected = CheckReport {
        clean: false,
        blocks: Some(BlockCounts { local: 3, total: 8 }),
        chunks: Some(ChunkCounts { allocated: 3, leaked: 1, total: 16 }),
        journal: Some(JournalCounts { sectors: 8, used_sectors: 1, records: 2 }),
        problems: Vec::new(),
        more_problems: 0,
    };
    let report = checked(bytes, None);
    assert!(report.is_sound());
    assert_eq!(report, expected);
}

#[test]
fn entries_are_held_against_the_data_file_if_its_length_is_known() {
    let options = CreateOptions {
        virtual_size: 65536,
        data_file: "data".into(),
        compact: Some(CompactOptions { chunk_size: Some(4096), storage_grow_unit: None }),
        ..CreateOptions::default()
    };
    let disk = MemDisk::new(Vec::new());
    create(&disk, &options, None).now_or_never().unwrap().unwrap();
    let mut bytes = disk.bytes();
    bytes[8192..8196].copy_from_slice(&9_u32.to_le_bytes());
    for (data_len, sound) in [(None, true), (Some(10 * 4096), true), (Some(10 * 4096 - 1), false)] {
        assert_eq!(checked(bytes.clone(), data_len).is_sound(), sound, "{data_len:?}");
    }
}

#[test]
fn many_problems_are_counted_not_listed() {
    let options = CreateOptions {
        virtual_size: 4096 * 1000,
        compact: Some(CompactOptions { chunk_size: Some(4096), storage_grow_unit: None }),
        ..CreateOptions::default()
    };
    let disk = MemDisk::new(Vec::new());
    create(&disk, &options, None).now_or_never().unwrap().unwrap();
    let mut bytes = disk.bytes();
    for v in 0..1000_usize {
        bytes[8192 + 4 * v..8192 + 4 * v + 4].copy_from_slice(&7_u32.to_le_bytes());
    }
    let report = checked(bytes, None);
    assert_eq!((report.problems.len(), report.more_problems), (100, 900));
    assert_eq!(
        report.problems[0].to_string(),
        "table: an entry lies within the data: found entry 0: chunk 7, data has 0"
    );
}
