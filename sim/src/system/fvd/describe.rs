//! Which structure of an image the bytes of a disk belong to.

use plugpull_engine::fvd::geometry::Geometry;
use plugpull_engine::{ByteRange, SECTOR};

/// Header bytes, padded.
const HEADER: u64 = 8192;

pub(super) struct Layout {
    geometry: Geometry,
}

impl Layout {
    pub(super) fn new(geometry: Geometry) -> Self {
        Self { geometry }
    }

    /// How many sectors the journal has; it never grows.
    pub(super) fn journal_sectors(&self) -> usize {
        let sectors = self.geometry.journal.as_ref().map_or(0, |journal| journal.sectors);
        usize::try_from(sectors).expect("a journal that fits in memory")
    }

    /// `table sector 0`, `journal sector 3`, `data of chunk 2, sector 1`.
    pub(super) fn describe(&self, disk: &str, offset: u64) -> String {
        let geometry = &self.geometry;
        if disk == "base" {
            return format!("base sector {}", offset / SECTOR);
        }
        let in_image = disk == "image";
        if in_image && offset < HEADER {
            return format!("header sector {}", offset / SECTOR);
        }
        let regions = [
            ("bitmap", geometry.base.as_ref().map(|base| base.bitmap)),
            ("table", geometry.compact.as_ref().map(|compact| compact.table)),
            ("journal", geometry.journal.as_ref().map(|journal| journal.range)),
        ];
        let here = ByteRange::new(offset, 1);
        for (name, region) in regions {
            if let Some(region) = region
                && in_image
                && region.overlaps(here)
            {
                return format!("{name} sector {}", (offset - region.offset) / SECTOR);
            }
        }
        if in_image && (geometry.separate_data || offset < geometry.data_offset) {
            return format!("padding sector {}", offset / SECTOR);
        }
        self.data(offset - geometry.data_offset)
    }

    fn data(&self, offset: u64) -> String {
        match &self.geometry.compact {
            None => format!("data of guest sector {}", offset / SECTOR),
            Some(compact) => format!(
                "data of physical chunk {}, sector {}",
                offset / compact.chunk_len,
                offset % compact.chunk_len / SECTOR
            ),
        }
    }
}
