//! Any bytes as the header of an FVD image, and a good header with some words replaced.
#![no_main]

use arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use plugpull_engine::fvd::geometry::Geometry;
use plugpull_engine::fvd::header::{HEADER_LEN, Header, USED_LEN};
use plugpull_engine::fvd::planted::PlantedBugs;
use plugpull_fuzz::config::Config;
use plugpull_fuzz::damage::word;

/// Bytes of the metadata file that the header is said to be in.
const FILE_LEN: u64 = 1 << 20;

fuzz_target!(|data: &[u8]| {
    parse(data);
    let mut bytes = Unstructured::new(data);
    let Ok(mut header) = good(&mut bytes) else { return };
    parse(&header);
    while !bytes.is_empty() && replace(&mut header, &mut bytes).is_ok() {
        parse(&header);
    }
});

/// The header of an image that can be created.
fn good(bytes: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let config: Config = bytes.arbitrary()?;
    let base_len = config.base.map_or(0, |(sectors, _)| sectors * 512);
    Ok(config.options().header(base_len).expect("the sizes make an image").encode())
}

fn replace(header: &mut [u8], bytes: &mut Unstructured<'_>) -> Result<()> {
    let offset = usize::from(bytes.int_in_range(0..=4400u16)?);
    let word = word(bytes)?;
    header[offset..offset + word.len()].copy_from_slice(&word);
    Ok(())
}

/// Parsing and validating end in an error or in values that keep their promises.
fn parse(bytes: &[u8]) {
    let Ok(header) = Header::parse(bytes) else { return };
    let printed = header.encode();
    assert_eq!(Header::parse(&printed).as_ref(), Ok(&header), "prints what it parsed");
    assert!(printed[USED_LEN..].iter().all(|&byte| byte == 0), "bytes past the fields are zero");
    let Ok(geometry) = Geometry::validate(&header, FILE_LEN, PlantedBugs::NONE) else { return };
    let regions = [
        geometry.base.as_ref().map(|base| base.bitmap),
        geometry.compact.as_ref().map(|compact| compact.table),
        geometry.journal.as_ref().map(|journal| journal.range),
    ];
    let regions: Vec<_> = regions.into_iter().flatten().collect();
    for (index, region) in regions.iter().enumerate() {
        assert!(region.offset >= HEADER_LEN as u64, "{region} lies in the header");
        assert!(region.end() <= FILE_LEN, "{region} lies past the end of the file");
        let overlaps = regions[..index].iter().any(|other| other.overlaps(*region));
        assert!(!overlaps, "{region} overlaps another region");
        let in_data = !geometry.separate_data && region.end() > geometry.data_offset;
        assert!(!in_data, "{region} reaches into the data");
    }
    if let Some(base) = &geometry.base {
        assert!(base.bitmap.len >= base.blocks.div_ceil(8), "a bit for every block");
        assert!(base.blocks * base.block_len >= base.len.min(geometry.virtual_size));
    }
    if let Some(compact) = &geometry.compact {
        assert!(compact.table.len >= 4 * u64::from(compact.entries), "an entry for every chunk");
        assert!(u64::from(compact.entries) >= geometry.virtual_size.div_ceil(compact.chunk_len));
    }
}
