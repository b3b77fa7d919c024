//! Where guest bytes live, in images of any format.

use plugpull_engine::ByteRange;
use plugpull_engine::file_disk::FileDisk;
use plugpull_engine::{DiskError, fvd, qcow2};

/// Where a guest range lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In the base, at the same offset.
    Base,
    /// Nowhere: zeros.
    Zero,
    /// In the image, or in its data file.
    Data {
        /// First byte there.
        offset: u64,
    },
    /// Compressed, in the image.
    Compressed {
        /// First byte of the compressed cluster.
        offset: u64,
        /// Its bytes.
        len: u64,
    },
}

/// A guest range that lives in one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) range: ByteRange,
    pub(super) place: Place,
}

impl Extent {
    /// Both as one, if `next`, which comes after `self`, continues it.
    pub(super) fn joined(self, next: Self) -> Option<Self> {
        let continues = match (self.place, next.place) {
            (Place::Base, Place::Base) | (Place::Zero, Place::Zero) => true,
            (Place::Data { offset: here }, Place::Data { offset: there }) => {
                here + self.range.len == there
            }
            _ => false,
        };
        let range = ByteRange::between(self.range.offset, next.range.end());
        continues.then_some(Self { range, ..self })
    }
}

impl From<fvd::Extent> for Extent {
    fn from(extent: fvd::Extent) -> Self {
        let place = match extent.location {
            fvd::Location::Base => Place::Base,
            fvd::Location::Zero => Place::Zero,
            fvd::Location::Storage { offset } => Place::Data { offset },
        };
        Self { range: extent.range, place }
    }
}

/// The same of a qcow2 image, with or without a base.
pub(super) fn of_qcow2(extent: qcow2::Extent, has_base: bool) -> Extent {
    let place = match extent.location {
        qcow2::Location::Backing if has_base => Place::Base,
        qcow2::Location::Backing | qcow2::Location::Zero => Place::Zero,
        qcow2::Location::Data { offset } => Place::Data { offset },
        qcow2::Location::Compressed { offset, len, .. } => Place::Compressed { offset, len },
    };
    Extent { range: extent.range, place }
}

/// The same of a raw file: what the host has stored, and its holes.
pub(super) fn of_raw(file: &FileDisk, range: ByteRange) -> Result<Vec<Extent>, DiskError> {
    let mut extents = Vec::new();
    let mut at = range.offset;
    while at < range.end() {
        let rest = ByteRange::between(at, range.end());
        let data = file.first_data(rest)?.unwrap_or(ByteRange::new(rest.end(), 0));
        let hole = ByteRange::between(at, data.offset);
        extents.extend((!hole.is_empty()).then_some(Extent { range: hole, place: Place::Zero }));
        let place = Place::Data { offset: data.offset };
        extents.extend((!data.is_empty()).then_some(Extent { range: data, place }));
        at = data.end();
    }
    Ok(extents)
}
