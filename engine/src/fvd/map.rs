//! Where guest bytes live: lookup, apart from any transfer.

use super::geometry::Geometry;
use super::maps::Maps;
use crate::units::ByteRange;

/// Guest bytes that live in one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// The guest range.
    pub range: ByteRange,
    /// Where it lives.
    pub location: Location,
}

/// A place where guest bytes live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
