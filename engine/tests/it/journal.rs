//! Journal sectors: records survive encoding, and planned updates keep their promise.

use std::collections::{BTreeMap, BTreeSet};

use plugpull_engine::ByteRange;
use plugpull_engine::fvd::geometry::{BaseGeometry, CompactGeometry, Geometry, JournalGeometry};
use plugpull_engine::fvd::journal::{
    MIXED_ENTRIES_MAX, Record, TABLE_ENTRIES_MAX, Update, encode_sector, encode_sector_over,
    parse_sector, plan_update,
};
use plugpull_engine::fvd::planted::{Bug, PlantedBugs};
use proptest::prelude::*;

const LIMIT: u32 = 1 << 20;

fn geometry(virtual_size: u64, base: Option<(u64, u64)>, chunk: Option<u64>) -> Geometry {
    Geometry {
        virtual_size,
        data_offset: 0,
        separate_data: true,
        need_zero_init: false,
        base: base.map(|(len, block_len)| BaseGeometry {
            len,
            block_len,
            bitmap: ByteRange::new(8192, 4096),
            blocks: len.div_ceil(block_len),
        }),
        compact: chunk.map(|chunk_len| CompactGeometry {
            chunk_len,
            table: ByteRange::new(12288, 4096),
            entries: u32::try_from(virtual_size.div_ceil(chunk_len)).unwrap(),
            grow_unit: chunk_len,
        }),
        journal: Some(JournalGeometry { range: ByteRange::new(16384, 4096), sectors: 8 }),
    }
}

fn parse(sector: &[u8; 512], geometry: &Geometry) -> Vec<Record> {
    parse_sector(0, sector, geometry, LIMIT, PlantedBugs::NONE).unwrap()
}

#[test]
fn the_layout_is_that_of_the_original() {
    let records = [
        Record::Table { first: 12, entries: vec![2 | 1 << 31] },
        Record::Bitmap { first_sector: 100, sectors: 1 },
    ];
    let mut expected = [0; 512];
    let words: [u32; 8] = [0xB4E6_F7AC, 12, 1, 0x8000_0002, 0x3F2A_B8ED, 1, 100, 0];
    for (at, word) in words.iter().enumerate() {
        expected[4 * at..4 * at + 4].copy_from_slice(&word.to_le_bytes());
    }
    assert_eq!(encode_sector(&records), expected);
    assert_eq!(parse(&expected, &geometry(1 << 20, Some((1 << 20, 4096)), Some(4096))), records);
}

#[test]
fn a_full_sector_has_no_end_mark() {
    let geometry = geometry(1 << 20, Some((1 << 20, 4096)), Some(4096));
    let table = |len: usize| Record::Table { first: 0, entries: vec![7; len] };
    let bitmap = Record::Bitmap { first_sector: 1, sectors: 2 };
    for records in [vec![table(TABLE_ENTRIES_MAX)], vec![table(MIXED_ENTRIES_MAX), bitmap]] {
        let len: usize = records.iter().map(Record::encoded_len).sum();
        assert_eq!(len, 512);
        assert_eq!(parse(&encode_sector(&records), &geometry), records);
    }
}

#[test]
fn without_an_end_mark_the_tail_of_the_old_sector_is_read() {
    let geometry = geometry(1 << 20, None, Some(4096));
    let old = encode_sector(&[
        Record::Table { first: 0, entries: vec![0] },
        Record::Table { first: 8, entries: vec![1] },
    ]);
    let new = [Record::Table { first: 3, entries: vec![2] }];
    assert_eq!(parse(&encode_sector(&new), &geometry), new);
    assert_eq!(parse(&encode_sector_over(&new, old), &geometry).len(), 2);
}

/// Whoever steps 12 bytes after a BITMAP record reads the high word of its sector number next.
#[test]
fn the_planted_stride_loses_its_way_after_a_bitmap_record() {
    let geometry = geometry(1 << 20, Some((1 << 20, 4096)), None);
    let mut sector = encode_sector(&[Record::Bitmap { first_sector: 1, sectors: 1 }]);
    let second = encode_sector(&[Record::Bitmap { first_sector: 9, sectors: 1 }]);
    sector[16..32].copy_from_slice(&second[..16]);
    let planted = PlantedBugs::of(&[Bug::JournalRecordStride]);
    assert_eq!(parse(&sector, &geometry).len(), 2);
    assert_eq!(parse_sector(0, &sector, &geometry, LIMIT, planted).unwrap().len(), 1);
}

fn records(geometry: &Geometry) -> impl Strategy<Value = Vec<Record>> + use<> {
    let chunks = geometry.compact.as_ref().map_or(0, |compact| compact.entries);
    let sectors = u32::try_from(geometry.virtual_size / 512).unwrap();
    let table = (0..chunks, 1_usize..60).prop_flat_map(move |(first, len)| {
        let len = len.min((chunks - first) as usize);
        let entry = (0..LIMIT, any::<bool>())
            .prop_map(|(physical, dirty)| physical | u32::from(dirty) << 31);
        prop::collection::vec(entry, len).prop_map(move |entries| Record::Table { first, entries })
    });
    let bitmap = (0..sectors).prop_flat_map(move |first| {
        (1..=sectors - first)
            .prop_map(move |sectors| Record::Bitmap { first_sector: u64::from(first), sectors })
    });
    (prop::collection::vec(table, 0..5), prop::option::of(bitmap)).prop_map(|(tables, bitmap)| {
        let mut room = 512 - 16;
        let mut records: Vec<Record> = Vec::new();
        for record in tables.into_iter().filter(|record| {
            let fits = record.encoded_len() <= room;
            room -= if fits { record.encoded_len() } else { 0 };
            fits
        }) {
            records.push(record);
        }
        records.extend(bitmap);
        records
    })
}

/// A layout, which chunks are allocated, and a range that was stored.
fn update() -> impl Strategy<Value = (Geometry, BTreeMap<u32, u32>, ByteRange)> {
    let virtual_sectors = 1_u64..4096;
    let base = prop::option::weighted(
        0.8,
        (1_u64..4096, prop::sample::select(vec![1_u64, 2, 8, 15, 100, 1500])),
    );
    let chunk = prop::option::weighted(0.9, prop::sample::select(vec![1_u64, 3, 8, 16, 128]));
    (virtual_sectors, base, chunk, any::<(u16, u16)>(), any::<u64>(), 0..4_u32).prop_map(
        |(sectors, base, chunk, (start, len), seed, gaps)| {
            let base = base.map(|(len, block)| (len.min(sectors) * 512, block * 512));
            let geometry = geometry(sectors * 512, base, chunk.map(|chunk| chunk * 512));
            let start = u64::from(start) % sectors;
            let len = u64::from(len) % (sectors - start) + 1;
            let stored = ByteRange::new(start * 512, len * 512);
            let chunks = geometry.compact.as_ref().map_or(0, |compact| compact.entries);
            let gap = |v: u32| gaps > 0 && (seed >> (v % 61)) & 7 < u64::from(gaps);
            let table = (0..chunks)
                .filter(|&v| !gap(v))
                .map(|v| (v, v.wrapping_mul(7919) % LIMIT))
                .collect();
            (geometry, table, stored)
        },
    )
}

/// What a sector sets, as recovery applies it: chunks with their entries, and blocks.
fn applied(geometry: &Geometry, records: &[Record]) -> (BTreeMap<u32, u32>, BTreeSet<u64>) {
    let (mut entries, mut blocks) = (BTreeMap::new(), BTreeSet::new());
    for record in records {
        match record {
            Record::Table { first, entries: values } => {
                entries.extend((*first..).zip(values.iter().copied()))
            }
            Record::Bitmap { first_sector, sectors } => blocks.extend(
                geometry.blocks(ByteRange::new(first_sector * 512, u64::from(*sectors) * 512)),
            ),
        }
    }
    (entries, blocks)
}

fn assert_keeps_its_promise(
    geometry: &Geometry,
    table: &BTreeMap<u32, u32>,
    stored: ByteRange,
    update: &Update,
) {
    let (mut all_entries, mut all_blocks) = (BTreeMap::new(), BTreeSet::new());
    for phase in &update.phases {
        assert!(!phase.is_empty());
        let earlier: BTreeMap<u32, u32> = all_entries.clone();
        for records in phase {
            let sector = encode_sector(records);
            assert_eq!(&parse(&sector, geometry), records);
            let (entries, blocks) = applied(geometry, records);
            for (v, entry) in &entries {
                assert_eq!(table.get(v), Some(entry), "chunk {v}");
            }
            for &block in &blocks {
                for chunk in geometry.chunks(geometry.block_range(block..block + 1)) {
                    let known = entries.contains_key(&chunk) || earlier.contains_key(&chunk);
                    assert!(known || !table.contains_key(&chunk), "block {block}, chunk {chunk}");
                }
            }
            all_entries.extend(entries);
            all_blocks.extend(blocks);
        }
    }
    assert!(update.phases.len() <= 2);
    let wanted_blocks: BTreeSet<u64> = geometry.blocks(stored).collect();
    assert_eq!(all_blocks, wanted_blocks);
    let mut wanted_chunks: BTreeSet<u32> = geometry.chunks(stored).collect();
    for block in wanted_blocks {
        wanted_chunks.extend(geometry.chunks(geometry.block_range(block..block + 1)));
    }
    wanted_chunks.retain(|chunk| table.contains_key(chunk));
    assert_eq!(all_entries.keys().copied().collect::<BTreeSet<_>>(), wanted_chunks);
    let listed: BTreeSet<u32> = update.chunks().flatten().collect();
    assert_eq!(listed, wanted_chunks);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn records_survive_encoding(
        records in records(&geometry(1 << 20, Some((1 << 19, 4096)), Some(4096))),
    ) {
        let geometry = geometry(1 << 20, Some((1 << 19, 4096)), Some(4096));
        prop_assert_eq!(parse(&encode_sector(&records), &geometry), records);
    }

    #[test]
    fn any_bytes_are_answered(words in prop::collection::vec(
        prop_oneof![Just(0xB4E6_F7AC_u32), Just(0x3F2A_B8ED), 0..4_u32, any::<u32>()], 128,
    )) {
        let mut sector = [0; 512];
        for (at, word) in words.iter().enumerate() {
            sector[4 * at..4 * at + 4].copy_from_slice(&word.to_le_bytes());
        }
        for geometry in [geometry(65536, Some((65536, 4096)), Some(4096)), geometry(65536, None, Some(512))] {
            if let Ok(records) = parse_sector(0, &sector, &geometry, LIMIT, PlantedBugs::NONE) {
                let len: usize = records.iter().map(Record::encoded_len).sum();
                prop_assert!(len <= 512);
            }
        }
    }

    #[test]
    fn updates_keep_their_promise((geometry, table, stored) in update()) {
        let update = plan_update(&geometry, stored, |v| table.get(&v).copied());
        assert_keeps_its_promise(&geometry, &table, stored, &update);
    }
}

#[test]
fn updates_take_the_expected_sectors() {
    // Base and block, chunk (all in sectors of a disk of 4096), stored, sectors per phase.
    let cases = [
        (None, None, (0, 8), vec![]),
        (Some((4096, 8)), None, (5, 1000), vec![1]),
        (Some((64, 8)), None, (64, 8), vec![]),
        (None, Some(8), (0, 8 * 125), vec![1]),
        (None, Some(8), (0, 8 * 126), vec![2]),
        (Some((4096, 8)), Some(8), (0, 8 * 121), vec![1]),
        (Some((4096, 8)), Some(8), (0, 8 * 122), vec![2]),
        // One block of 150 chunks: entries in two sectors, then its bit.
        (Some((4096, 1200)), Some(8), (3, 1), vec![2, 1]),
        // A block that spans two chunks, half of it stored.
        (Some((4096, 15)), Some(16), (15, 1), vec![1]),
    ];
    for (base, chunk, (start, len), expected) in cases {
        let sectors = |(len, unit): (u64, u64)| (len * 512, unit * 512);
        let geometry = geometry(4096 * 512, base.map(sectors), chunk.map(|chunk| chunk * 512));
        let stored = ByteRange::new(start * 512, len * 512);
        let update = plan_update(&geometry, stored, Some);
        let planned: Vec<usize> = update.phases.iter().map(Vec::len).collect();
        assert_eq!(planned, expected, "{base:?} {chunk:?} {start}+{len}");
        assert_eq!(update.sectors(), expected.iter().sum::<usize>());
    }
}
