//! Any bytes as the header of an FVD image.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plugpull_engine::fvd::geometry::Geometry;
use plugpull_engine::fvd::header::{HEADER_LEN, Header, MAGIC, VERSION};
use plugpull_engine::fvd::planted::PlantedBugs;

/// Bytes of the metadata file that the header is said to be in.
const FILE_LEN: u64 = 1 << 20;

fuzz_target!(|data: &[u8]| {
    parse(data);
    // The same bytes behind a magic and version that are right, padded to a whole header.
    let mut bytes = Vec::with_capacity(HEADER_LEN);
    bytes.extend(MAGIC.to_le_bytes());
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend(data);
    bytes.resize(HEADER_LEN, 0);
    parse(&bytes);
});

/// Parsing and validating end in an error or in values that keep their promises.
fn parse(bytes: &[u8]) {
    let Ok(header) = Header::parse(bytes) else { return };
    assert_eq!(Header::parse(&header.encode()).as_ref(), Ok(&header), "prints what it parsed");
    let Ok(geometry) = Geometry::validate(&header, FILE_LEN, PlantedBugs::NONE) else { return };
    let regions = [
        geometry.base.as_ref().map(|base| base.bitmap),
        geometry.compact.as_ref().map(|compact| compact.table),
        geometry.journal.as_ref().map(|journal| journal.range),
    ];
    for region in regions.iter().flatten() {
        assert!(region.offset >= HEADER_LEN as u64, "{region} lies in the header");
        assert!(region.end() <= FILE_LEN, "{region} lies past the end of the file");
    }
}
