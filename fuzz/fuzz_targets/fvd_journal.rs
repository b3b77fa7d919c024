//! Any bytes as a journal sector.
#![no_main]

use arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use plugpull_engine::ByteRange;
use plugpull_engine::fvd::geometry::Geometry;
use plugpull_engine::fvd::journal::{
    JOURNAL_SECTOR_LEN, JournalSector, Record, encode_sector, parse_sector,
};
use plugpull_engine::fvd::planted::PlantedBugs;
use plugpull_fuzz::config::Config;

fuzz_target!(|data: &[u8]| {
    let mut bytes = Unstructured::new(data);
    let (Ok(config), Ok(limit)) = (bytes.arbitrary::<Config>(), bytes.arbitrary::<u16>()) else {
        return;
    };
    let geometry = geometry(config);
    let mut sector: JournalSector = [0; JOURNAL_SECTOR_LEN];
    let rest = bytes.take_rest();
    let len = rest.len().min(JOURNAL_SECTOR_LEN);
    sector[..len].copy_from_slice(&rest[..len]);
    let limit = u32::from(limit);
    let parse = |sector| parse_sector(0, sector, &geometry, limit, PlantedBugs::NONE);
    let Ok(records) = parse(&sector) else { return };
    for record in &records {
        stays_inside(record, &geometry, limit);
    }
    // What the parser accepts the printer can write, and it means the same.
    let bitmaps = records.iter().filter(|record| matches!(record, Record::Bitmap { .. })).count();
    let last = matches!(records.last(), Some(Record::Bitmap { .. }));
    if bitmaps == usize::from(last) {
        assert_eq!(parse(&encode_sector(&records)), Ok(records));
    }
});

fn geometry(config: Config) -> Geometry {
    let base_len = config.base.map_or(0, |(sectors, _)| sectors * 512);
    let header = config.options().header(base_len).expect("the sizes make an image");
    let metadata_len = u64::try_from(header.metadata_size).expect("a size");
    Geometry::validate(&header, metadata_len, PlantedBugs::NONE)
        .expect("what can be created is valid")
}

fn stays_inside(record: &Record, geometry: &Geometry, limit: u32) {
    match record {
        Record::Table { first, entries } => {
            let chunks = geometry.compact.as_ref().expect("it has chunks").entries as usize;
            assert!(!entries.is_empty());
            assert!(*first as usize + entries.len() <= chunks, "{record:?} of {chunks} chunks");
            let physical = |entry: u32| entry & 0x7FFF_FFFF;
            assert!(entries.iter().all(|&entry| physical(entry) < limit), "{record:?} of {limit}");
        }
        Record::Bitmap { first_sector, sectors } => {
            let range = ByteRange::new(first_sector * 512, u64::from(*sectors) * 512);
            assert!(geometry.guest_range().contains(range), "{record:?} leaves the disk");
        }
    }
}
