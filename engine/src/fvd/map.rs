//! Where guest bytes live: lookup, apart from any transfer.

use super::geometry::Geometry;
use super::maps::Maps;
use crate::units::ByteRange;

/// Guest bytes that live in one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Extent {
    /// The guest range.
    pub range: ByteRange,
    /// Where it lives.
    pub location: Location,
}

/// A place where guest bytes live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Location {
    /// In the base, at the guest's own offset.
    Base,
    /// Nowhere: reads as zeros.
    Zero,
    /// In data storage.
    Storage {
        /// Of the first byte, in the disk that holds the data.
        offset: u64,
    },
}

impl Location {
    /// Whether `next` goes on where this place ends, `len` bytes later.
    fn continues_in(self, len: u64, next: Self) -> bool {
        match (self, next) {
            (Self::Base, Self::Base) | (Self::Zero, Self::Zero) => true,
            (Self::Storage { offset: here }, Self::Storage { offset: there }) => {
                here + len == there
            }
            _ => false,
        }
    }
}

/// The places of `range`, in order, neighbours merged where one request can serve both.
///
/// The bitmap decides first: a block whose bit is clear is the base's, whatever the table says.
/// The rest of the guest range lives in data storage, in a compact image only where the table has
/// an entry. Bytes past the virtual size are left out.
#[must_use]
pub(crate) fn lookup(geometry: &Geometry, maps: &Maps, range: ByteRange) -> Vec<Extent> {
    let mut extents = Extents::default();
    let range = range.intersection(geometry.guest_range());
    let in_base = range.intersection(geometry.base_range());
    for block in geometry.blocks(in_base) {
        let part = geometry.block_range(block..block + 1).intersection(range);
        if maps.fresh.is_set(block) {
            lookup_storage(geometry, maps, part, &mut extents);
        } else {
            extents.push(part, Location::Base);
        }
    }
    let past_base = ByteRange::between(range.offset.max(in_base.end()), range.end());
    lookup_storage(geometry, maps, past_base, &mut extents);
    extents.list
}

/// The places of a range that is local.
fn lookup_storage(geometry: &Geometry, maps: &Maps, range: ByteRange, extents: &mut Extents) {
    if geometry.compact.is_none() {
        let offset = geometry.data_offset + range.offset;
        extents.push(range, Location::Storage { offset });
        return;
    }
    for chunk in geometry.chunks(range) {
        let whole = geometry.chunk_range(chunk..chunk + 1);
        let part = whole.intersection(range);
        let location = match maps.table.get(chunk) {
            None => Location::Zero,
            Some(entry) => {
                let start = geometry.chunk_offset(entry.physical);
                Location::Storage { offset: start + (part.offset - whole.offset) }
            }
        };
        extents.push(part, location);
    }
}

#[derive(Default)]
struct Extents {
    list: Vec<Extent>,
}

impl Extents {
    fn push(&mut self, range: ByteRange, location: Location) {
        if range.is_empty() {
            return;
        }
        match self.list.last_mut() {
            Some(last) if last.location.continues_in(last.range.len, location) => {
                assert_eq!(last.range.end(), range.offset, "extents come in order");
                last.range.len += range.len;
            }
            _ => self.list.push(Extent { range, location }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::bitmap::Bitmap;
    use super::super::geometry::{BaseGeometry, CompactGeometry};
    use super::super::table::Table;
    use super::*;

    const BLOCK: u64 = 7680;
    const CHUNK: u64 = 8192;
    /// Ends inside block 2 and chunk 2.
    const BASE: u64 = 17408;

    fn geometry() -> Geometry {
        let base = BaseGeometry {
            len: BASE,
            block_len: BLOCK,
            bitmap: ByteRange::new(8192, 4096),
            blocks: 3,
        };
        let table = ByteRange::new(12288, 4096);
        let chunks = CompactGeometry { chunk_len: CHUNK, table, entries: 5, grow_unit: CHUNK };
        Geometry {
            virtual_size: 4 * CHUNK + 1024,
            data_offset: 1 << 20,
            separate_data: false,
            need_zero_init: false,
            base: Some(base),
            compact: Some(chunks),
            journal: None,
        }
    }

    /// Where one sector lives, straight from the format's description.
    fn reference(geometry: &Geometry, maps: &Maps, offset: u64) -> Location {
        if offset < BASE && geometry.base.is_some() && !maps.fresh.is_set(offset / BLOCK) {
            return Location::Base;
        }
        if geometry.compact.is_none() {
            return Location::Storage { offset: geometry.data_offset + offset };
        }
        match maps.table.get(u32::try_from(offset / CHUNK).unwrap()) {
            None => Location::Zero,
            Some(entry) => {
                let start = geometry.data_offset + u64::from(entry.physical) * CHUNK;
                Location::Storage { offset: start + offset % CHUNK }
            }
        }
    }

    /// All bitmaps of three blocks, with tables of five chunks in and out of order.
    #[test]
    fn every_sector_lives_where_the_reference_says() {
        for code in 0..8_u64 * 32 * 4 {
            let (bits, mapped, kind) = (code % 8, code / 8 % 32, code / 256);
            let mut geometry = geometry();
            let mut maps = Maps::loaded(Bitmap::new(3, 4096), Table::new(5));
            for block in (0..3).filter(|block| bits >> block & 1 == 1) {
                maps.fresh.set_range(block..block + 1);
            }
            for chunk in (0..5_u32).filter(|chunk| mapped >> chunk & 1 == 1) {
                maps.table.insert(chunk, if kind & 1 == 0 { chunk + 3 } else { 9 - chunk });
            }
            if kind & 2 == 2 {
                geometry.compact = None;
            }
            for (start, end) in [(0, 40000 / 512 * 512), (7168, 17920), (17408, 33280)] {
                let range = ByteRange::between(start, end);
                let found = lookup(&geometry, &maps, range);
                let mut next = start;
                for extent in &found {
                    assert_eq!(extent.range.offset, next, "no gaps");
                    for at in (0..extent.range.len).step_by(512) {
                        let here = match extent.location {
                            Location::Storage { offset } => {
                                Location::Storage { offset: offset + at }
                            }
                            other => other,
                        };
                        assert_eq!(here, reference(&geometry, &maps, next + at));
                    }
                    next = extent.range.end();
                }
                assert_eq!(next, end.min(geometry.virtual_size));
                let merged = found.windows(2).all(|pair| {
                    !pair[0].location.continues_in(pair[0].range.len, pair[1].location)
                });
                assert!(merged, "neighbours that one request could serve");
            }
        }
    }
}
