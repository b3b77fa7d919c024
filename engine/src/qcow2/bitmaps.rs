//! Persistent dirty bitmaps: loaded, marked in use, kept up to date, stored.
//!
//! Order: the mark "in use" is durable before the first change of a session; at close bits and their
//! refcounts are durable before the bitmap table that points to them, and that before the mark is
//! cleared. A power cut leaves the mark, and with it a bitmap that nobody trusts.
//!
//! Only bitmaps that are enabled (`auto`) and consistent are tracked. The others stay as they are.

use std::collections::BTreeSet;

use super::bitmap_directory::{BitmapCluster, BitmapEntry, directory, parse};
use super::claims::Claims;
use super::geometry::Geometry;
use super::header::Header;
use super::region::read_region;
use crate::disk::Disk;
use crate::error::Error;
use crate::requests::read;
use crate::units::ByteRange;

/// Where the flags are in an entry of the directory.
const FLAGS: usize = 12;
/// The flag that says that stored bits are not to be trusted.
const IN_USE: u8 = 1;

/// What is known of a bitmap.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BitmapInfo {
    /// Its name.
    pub name: String,
    /// Bytes per bit.
    pub granularity: u64,
    /// Whether writes are noted in it.
    pub enabled: bool,
    /// Whether its bits can be trusted.
    pub consistent: bool,
}

/// The bits of one cluster of a bitmap.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Bits {
    Zeros,
    Ones,
    /// Least significant bit first.
    Some(Vec<u8>),
}

/// A bitmap of an open image.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Bitmap {
    entry: BitmapEntry,
    /// Where its entry starts in the directory.
    place: usize,
    /// Whether it is enabled and was consistent when the image was opened.
    tracked: bool,
    clusters: Vec<Bits>,
    /// What the bitmap table says.
    table: Vec<BitmapCluster>,
}

/// The bitmaps of an open image.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Bitmaps {
    list: Vec<Bitmap>,
    /// Where the directory is, and its bytes, with zeros to the end of its last sector.
    directory: (u64, Vec<u8>),
}

/// A cluster of bits to be stored, and where, if it has a place.
pub(super) struct Unstored {
    pub(super) bitmap: usize,
    pub(super) cluster: usize,
    pub(super) host: Option<u64>,
    pub(super) bytes: Vec<u8>,
}

impl Bitmaps {
    /// Reads the directory, and the bits of what is to be tracked.
    pub(super) async fn load(
        file: &dyn Disk,
        header: &Header,
        geometry: &Geometry,
    ) -> Result<Self, Error> {
        let Some(extension) = header.consistent_bitmaps() else { return Ok(Self::default()) };
        let range = directory(extension, geometry)?;
        let mut bytes = read_region(file, range, "read bitmap directory").await?;
        let entries = parse(&bytes, extension.count, geometry)?;
        check_apart(&entries, geometry)?;
        let mut list = Vec::new();
        let mut place = 0;
        for entry in entries {
            let len = super::bitmap_directory::entry_len(&bytes[place..]);
            let tracked = entry.auto && !entry.in_use && entry.is_usable();
            let mut bitmap =
                Bitmap { entry, place, tracked, clusters: Vec::new(), table: Vec::new() };
            bitmap.load_table(file).await?;
            list.push(bitmap);
            place += len;
        }
        check_distinct(&list)?;
        for bitmap in list.iter_mut().filter(|bitmap| bitmap.tracked) {
            bitmap.load_bits(file, geometry).await?;
        }
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        Ok(Self { list, directory: (range.offset, bytes) })
    }

    /// The ranges of the file that tables and bits take.
    pub(super) fn ranges(&self, cluster_len: u64) -> Vec<ByteRange> {
        let mut ranges = Vec::new();
        for bitmap in &self.list {
            ranges.push(bitmap.entry.table());
            ranges.extend(bitmap.table.iter().filter_map(|cluster| match cluster {
                BitmapCluster::Stored { host } => Some(ByteRange::new(*host, cluster_len)),
                BitmapCluster::Zeros | BitmapCluster::Ones => None,
            }));
        }
        ranges
    }

    /// Whether there are any.
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether writes have to be noted.
    pub(super) fn tracks(&self) -> bool {
        self.list.iter().any(|bitmap| bitmap.tracked)
    }

    /// Notes that the guest changes a range.
    pub(super) fn note(&mut self, guest: ByteRange, cluster_len: u64) {
        for bitmap in self.list.iter_mut().filter(|bitmap| bitmap.tracked) {
            for bit in guest.units(1 << bitmap.entry.granularity_bits) {
                bitmap.set(bit, cluster_len);
            }
        }
    }

    /// The parts of the disk that a bitmap says have changed; none if there is no such bitmap.
    pub(super) fn changed(
        &self,
        name: &str,
        disk_len: u64,
        cluster_len: u64,
    ) -> Option<Vec<ByteRange>> {
        let bitmap = self.list.iter().find(|bitmap| bitmap.entry.name == name)?;
        let granularity = 1 << bitmap.entry.granularity_bits;
        let mut ranges: Vec<ByteRange> = Vec::new();
        for bit in ByteRange::new(0, disk_len).units(granularity) {
            if !bitmap.is_set(bit, cluster_len) {
                continue;
            }
            let range =
                ByteRange::between(bit * granularity, disk_len.min((bit + 1) * granularity));
            match ranges.last_mut() {
                Some(last) if last.end() == range.offset => last.len += range.len,
                _ => ranges.push(range),
            }
        }
        Some(ranges)
    }

    pub(super) fn infos(&self) -> Vec<BitmapInfo> {
        let info = |bitmap: &Bitmap| BitmapInfo {
            name: bitmap.entry.name.clone(),
            granularity: 1 << bitmap.entry.granularity_bits,
            enabled: bitmap.entry.auto,
            consistent: !bitmap.entry.in_use,
        };
        self.list.iter().map(info).collect()
    }

    /// The directory with the mark on what is tracked, or without it: where it is, and its bytes.
    pub(super) fn mark(&mut self, in_use: bool) -> (u64, Vec<u8>) {
        for bitmap in self.list.iter().filter(|bitmap| bitmap.tracked) {
            let flags = &mut self.directory.1[bitmap.place + FLAGS + 3];
            *flags = if in_use { *flags | IN_USE } else { *flags & !IN_USE };
        }
        self.directory.clone()
    }

    /// The clusters of bits that have to be stored.
    pub(super) fn unstored(&self) -> Vec<Unstored> {
        let mut unstored = Vec::new();
        for (index, bitmap) in self.list.iter().enumerate().filter(|(_, bitmap)| bitmap.tracked) {
            for (cluster, bits) in bitmap.clusters.iter().enumerate() {
                let Bits::Some(bytes) = bits else { continue };
                let host = match bitmap.table[cluster] {
                    BitmapCluster::Stored { host } => Some(host),
                    BitmapCluster::Zeros | BitmapCluster::Ones => None,
                };
                unstored.push(Unstored { bitmap: index, cluster, host, bytes: bytes.clone() });
            }
        }
        unstored
    }

    /// Notes where a cluster of bits is stored.
    pub(super) fn stored(&mut self, bitmap: usize, cluster: usize, host: u64) {
        self.list[bitmap].table[cluster] = BitmapCluster::Stored { host };
    }

    /// The bitmap tables: where each is, and its bytes, with zeros to the end of its last sector.
    pub(super) fn tables(&self) -> Vec<(u64, Vec<u8>)> {
        let tracked = self.list.iter().filter(|bitmap| bitmap.tracked);
        tracked
            .map(|bitmap| {
                let entries = bitmap.table.iter().flat_map(|entry| entry.entry().to_be_bytes());
                let mut bytes: Vec<u8> = entries.collect();
                bytes.resize(bytes.len().next_multiple_of(512), 0);
                (bitmap.entry.table_offset, bytes)
            })
            .collect()
    }
}

/// Refuses tables that overlap, before any memory is taken for them.
fn check_apart(entries: &[BitmapEntry], geometry: &Geometry) -> Result<(), Error> {
    let mut claims = Claims::default();
    for entry in entries {
        if !claims.claim(&entry.table().units(geometry.cluster_len)) {
            let structure = format!("table of bitmap {:?}", entry.name);
            let rule = "structures do not overlap";
            return Err(Error::corrupt(structure, rule, entry.table_offset));
        }
    }
    Ok(())
}

/// Refuses tables that name one host cluster twice, before any memory is taken for its bits.
fn check_distinct(list: &[Bitmap]) -> Result<(), Error> {
    let mut hosts = BTreeSet::new();
    for bitmap in list {
        for cluster in &bitmap.table {
            if let BitmapCluster::Stored { host } = cluster
                && !hosts.insert(*host)
            {
                let structure = format!("table of bitmap {:?}", bitmap.entry.name);
                return Err(Error::corrupt(structure, "names each cluster once", host));
            }
        }
    }
    Ok(())
}

impl Bitmap {
    async fn load_table(&mut self, file: &dyn Disk) -> Result<(), Error> {
        let bytes = read(file, "read bitmap table", self.entry.table()).await?;
        let (words, _) = bytes.as_chunks::<8>();
        for (index, word) in words.iter().enumerate() {
            let entry = u64::from_be_bytes(*word);
            let Some(cluster) = BitmapCluster::parse(entry) else {
                let structure =
                    format!("entry {index} of the table of bitmap {:?}", self.entry.name);
                return Err(Error::corrupt(structure, "reserved bits are zero", entry));
            };
            self.table.push(cluster);
        }
        Ok(())
    }

    async fn load_bits(&mut self, file: &dyn Disk, geometry: &Geometry) -> Result<(), Error> {
        let len = geometry.cluster_len;
        for (index, cluster) in self.table.iter().enumerate() {
            self.clusters.push(match cluster {
                BitmapCluster::Zeros => Bits::Zeros,
                BitmapCluster::Ones => Bits::Ones,
                BitmapCluster::Stored { host } => {
                    if !host.is_multiple_of(len) || !geometry.holds(*host, len) {
                        let name = &self.entry.name;
                        let structure = format!("entry {index} of the table of bitmap {name:?}");
                        let rule = "points to a cluster of the file";
                        return Err(Error::corrupt(structure, rule, host));
                    }
                    Bits::Some(read(file, "read bitmap", ByteRange::new(*host, len)).await?)
                }
            });
        }
        Ok(())
    }

    /// Where a bit is: in which cluster, at which byte, with which mask.
    fn place_of(bit: u64, cluster_len: u64) -> (usize, usize, u8) {
        let byte = bit / 8;
        let place = |value: u64| usize::try_from(value).expect("a place in memory");
        (place(byte / cluster_len), place(byte % cluster_len), 1 << (bit % 8))
    }

    fn set(&mut self, bit: u64, cluster_len: u64) {
        let (cluster, byte, mask) = Self::place_of(bit, cluster_len);
        let bits = &mut self.clusters[cluster];
        if *bits == Bits::Ones {
            return;
        }
        if *bits == Bits::Zeros {
            *bits = Bits::Some(vec![0; usize::try_from(cluster_len).expect("at most 2 MiB")]);
        }
        let Bits::Some(bytes) = bits else { return };
        bytes[byte] |= mask;
    }

    fn is_set(&self, bit: u64, cluster_len: u64) -> bool {
        let (cluster, byte, mask) = Self::place_of(bit, cluster_len);
        match self.clusters.get(cluster) {
            Some(Bits::Some(bytes)) => bytes[byte] & mask != 0,
            Some(Bits::Ones) => true,
            Some(Bits::Zeros) | None => false,
        }
    }
}
