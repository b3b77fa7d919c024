//! The bitmap directory, and the entries of bitmap tables.
//!
//! # Source
//! qcow2 specification, "Bitmaps".

use std::collections::BTreeSet;

use super::geometry::Geometry;
use super::header::BitmapsExtension;
use super::number::{put, u16_at, u32_at, u64_at};
use super::region::read_region;
use crate::disk::Disk;
use crate::error::Error;
use crate::units::ByteRange;

/// Bitmaps of one image.
pub const BITMAPS_MAX: u32 = 65535;
/// Bytes of the largest directory.
pub const DIRECTORY_LEN_MAX: u64 = 64 << 20;
/// Bytes of the longest name.
pub const NAME_LEN_MAX: usize = 1023;
/// Bytes per bit, as a power of two.
pub const GRANULARITY_BITS: std::ops::RangeInclusive<u8> = 9..=31;
/// Bytes of the largest bitmap table.
pub const BITMAP_TABLE_LEN_MAX: u64 = 1 << 30;
const FIXED_LEN: usize = 24;
/// Bits of a bitmap table entry that are a host offset.
const OFFSET_MASK: u64 = 0x00ff_ffff_ffff_fe00;
const ALL_ONES: u64 = 1;
/// The only type of bitmap there is: dirty tracking.
const DIRTY_TRACKING: u8 = 1;

mod flag {
    pub(super) const IN_USE: u32 = 1 << 0;
    pub(super) const AUTO: u32 = 1 << 1;
    pub(super) const EXTRA_DATA_COMPATIBLE: u32 = 1 << 2;
    pub(super) const KNOWN: u32 = IN_USE | AUTO | EXTRA_DATA_COMPATIBLE;
}

/// One entry of the bitmap directory.
///
/// | offset | width | field |
/// |---|---|---|
/// | 0 | 8 | offset of the bitmap table |
/// | 8 | 4 | entries of the bitmap table |
/// | 12 | 4 | flags: 0 in use, 1 auto, 2 extra data is compatible |
/// | 16 | 1 | type: 1 dirty tracking |
/// | 17 | 1 | granularity bits |
/// | 18 | 2 | length of the name |
/// | 20 | 4 | length of the extra data |
///
/// Then extra data and name, padded to a multiple of 8 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BitmapEntry {
    /// Unique.
    pub name: String,
    /// Where the bitmap table is.
    pub table_offset: u64,
    /// Entries of the bitmap table.
    pub table_entries: u32,
    /// The stored bits are not to be trusted: a program has not stored them since it used them.
    pub in_use: bool,
    /// Every write to the disk has to be noted.
    pub auto: bool,
    /// The bitmap may be used without knowing its extra data.
    pub extra_data_compatible: bool,
    /// Bytes per bit, as a power of two.
    pub granularity_bits: u8,
    /// Extra data, as it is.
    pub extra: Vec<u8>,
}

/// What an entry of a bitmap table says about a cluster of bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BitmapCluster {
    /// All bits are 0.
    Zeros,
    /// All bits are 1.
    Ones,
    /// The bits are in a host cluster.
    Stored {
        /// Where it is.
        host: u64,
    },
}

impl BitmapCluster {
    /// The meaning of a bitmap table entry: bits 9..=55 host offset; without one, bit 0 means ones.
    /// None if reserved bits are set.
    #[must_use]
    pub fn parse(entry: u64) -> Option<Self> {
        match entry {
            0 => Some(Self::Zeros),
            ALL_ONES => Some(Self::Ones),
            host if host & !OFFSET_MASK == 0 => Some(Self::Stored { host }),
            _ => None,
        }
    }

    /// The bitmap table entry that says so.
    #[must_use]
    pub fn entry(self) -> u64 {
        match self {
            Self::Zeros => 0,
            Self::Ones => ALL_ONES,
            Self::Stored { host } => host,
        }
    }
}

impl BitmapEntry {
    /// Where the bitmap table is.
    #[must_use]
    pub fn table(&self) -> ByteRange {
        // Both were held against the file, so this cannot overflow.
        ByteRange::new(self.table_offset, u64::from(self.table_entries) * 8)
    }

    /// Whether the bitmap may be used without knowing its extra data.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.extra.is_empty() || self.extra_data_compatible
    }

    /// Entries that the table of a bitmap of this granularity has.
    #[must_use]
    pub fn table_entries_for(&self, geometry: &Geometry) -> u64 {
        let bits = geometry.virtual_size.div_ceil(1 << self.granularity_bits);
        bits.div_ceil(8).div_ceil(geometry.cluster_len)
    }

    fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let name_len = self.name.len();
        let named = (1..=NAME_LEN_MAX).contains(&name_len);
        argument(named, "a name has 1 to 1023 bytes", name_len)?;
        let extra_len = u32::try_from(self.extra.len())
            .map_err(|_| invalid("extra data is shorter than 4 GiB", self.extra.len()))?;
        let set = |bit, set| if set { bit } else { 0 };
        let flags = set(flag::IN_USE, self.in_use)
            | set(flag::AUTO, self.auto)
            | set(flag::EXTRA_DATA_COMPATIBLE, self.extra_data_compatible);
        let mut bytes = vec![0; FIXED_LEN];
        put(&mut bytes, 0, self.table_offset.to_be_bytes());
        put(&mut bytes, 8, self.table_entries.to_be_bytes());
        put(&mut bytes, 12, flags.to_be_bytes());
        put(&mut bytes, 16, [DIRTY_TRACKING, self.granularity_bits]);
        put(&mut bytes, 18, u16::try_from(name_len).expect("checked").to_be_bytes());
        put(&mut bytes, 20, extra_len.to_be_bytes());
        bytes.extend_from_slice(&self.extra);
        bytes.extend_from_slice(self.name.as_bytes());
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        Ok(bytes)
    }
}

/// The entries as they are stored.
///
/// # Errors
/// [`Error::InvalidArgument`] for names that are not 1 to 1023 bytes long, for more than
/// [`BITMAPS_MAX`] bitmaps, and if all of it is more than [`DIRECTORY_LEN_MAX`].
pub fn to_bytes(bitmaps: &[BitmapEntry]) -> Result<Vec<u8>, Error> {
    let count = bitmaps.len();
    argument(count as u64 <= BITMAPS_MAX.into(), "there are at most 65535 bitmaps", count)?;
    let mut bytes = Vec::new();
    for bitmap in bitmaps {
        bytes.extend(bitmap.to_bytes()?);
        let len = bytes.len();
        argument(len as u64 <= DIRECTORY_LEN_MAX, "the directory has at most 64 MiB", len)?;
    }
    Ok(bytes)
}

/// Reads the bitmap directory.
///
/// # Errors
/// [`Error::Corrupt`] for whatever breaks a rule, before memory is taken for it; disk errors.
pub async fn read(
    file: &dyn Disk,
    extension: BitmapsExtension,
    geometry: &Geometry,
) -> Result<Vec<BitmapEntry>, Error> {
    let directory = directory(extension, geometry)?;
    let bytes = read_region(file, directory, "read bitmap directory").await?;
    parse(&bytes, extension.count, geometry)
}

/// Where the directory is.
///
/// # Errors
/// [`Error::Corrupt`] if it is not aligned, not within the file, or its size is out of bounds.
pub fn directory(extension: BitmapsExtension, geometry: &Geometry) -> Result<ByteRange, Error> {
    let BitmapsExtension { count, directory_len: len, directory_offset: offset } = extension;
    rule((1..=BITMAPS_MAX).contains(&count), "there are 1 to 65535 bitmaps", count)?;
    rule(len <= DIRECTORY_LEN_MAX, "the directory has at most 64 MiB", len)?;
    let aligned = offset.is_multiple_of(geometry.cluster_len);
    rule(aligned, "the directory offset is a multiple of the cluster length", offset)?;
    let inside = geometry.holds(offset, len);
    rule(inside, "the directory is within the file, behind the header", offset)?;
    Ok(ByteRange::new(offset, len))
}

/// The `count` entries of a directory.
///
/// # Errors
/// [`Error::Corrupt`] for an entry that breaks a rule, names that are not unique, and a length that
/// is not that of the entries.
pub fn parse(
    mut directory: &[u8],
    count: u32,
    geometry: &Geometry,
) -> Result<Vec<BitmapEntry>, Error> {
    let mut bitmaps = Vec::new();
    let mut names = BTreeSet::new();
    for index in 0..count {
        let (bitmap, len) = Entry { index, geometry }.parse(directory)?;
        let is_new = names.insert(bitmap.name.clone());
        rule(is_new, "names of bitmaps are unique", format!("{:?} again", bitmap.name))?;
        bitmaps.push(bitmap);
        directory = &directory[len..];
    }
    rule(directory.is_empty(), "the directory ends with its last entry", directory.len())?;
    Ok(bitmaps)
}

/// An entry being read.
struct Entry<'a> {
    index: u32,
    geometry: &'a Geometry,
}

impl Entry<'_> {
    /// The entry at the start of `bytes`, and the bytes that it takes.
    fn parse(&self, bytes: &[u8]) -> Result<(BitmapEntry, usize), Error> {
        const WHOLE: &str = "the entry ends within the directory";
        self.rule(bytes.len() >= FIXED_LEN, WHOLE, bytes.len())?;
        let name_len = usize::from(u16_at(bytes, 18));
        let named = (1..=NAME_LEN_MAX).contains(&name_len);
        self.rule(named, "the name has 1 to 1023 bytes", name_len)?;
        let extra_len = usize::try_from(u32_at(bytes, 20)).unwrap_or(usize::MAX);
        let left = bytes.len() - FIXED_LEN;
        let whole = extra_len <= left && name_len <= left - extra_len;
        self.rule(whole, WHOLE, extra_len)?;
        let name_at = FIXED_LEN + extra_len;
        let name = std::str::from_utf8(&bytes[name_at..name_at + name_len]);
        let flags = u32_at(bytes, 12);
        self.rule(flags & !flag::KNOWN == 0, "reserved flags are 0", flags)?;
        let kind = bytes[16];
        self.rule(kind == DIRTY_TRACKING, "the type is 1, dirty tracking", kind)?;
        let entry = BitmapEntry {
            name: name.map_err(|error| self.corrupt("the name is UTF-8 text", error))?.into(),
            table_offset: u64_at(bytes, 0),
            table_entries: u32_at(bytes, 8),
            in_use: flags & flag::IN_USE != 0,
            auto: flags & flag::AUTO != 0,
            extra_data_compatible: flags & flag::EXTRA_DATA_COMPATIBLE != 0,
            granularity_bits: bytes[17],
            extra: bytes[FIXED_LEN..name_at].to_vec(),
        };
        self.check(&entry)?;
        let len = (name_at + name_len).next_multiple_of(8);
        self.rule(len <= bytes.len(), WHOLE, bytes.len())?;
        Ok((entry, len))
    }

    fn check(&self, entry: &BitmapEntry) -> Result<(), Error> {
        let bits = entry.granularity_bits;
        self.rule(GRANULARITY_BITS.contains(&bits), "granularity_bits is 9 to 31", bits)?;
        let (offset, entries) = (entry.table_offset, entry.table_entries);
        let len = u64::from(entries) * 8;
        self.rule(len <= BITMAP_TABLE_LEN_MAX, "the bitmap table has at most 1 GiB", len)?;
        let geometry = self.geometry;
        let aligned = offset.is_multiple_of(geometry.cluster_len);
        self.rule(aligned, "the bitmap table is aligned to clusters", offset)?;
        let inside = entries == 0 || geometry.holds(offset, len);
        self.rule(inside, "the bitmap table is within the file, behind the header", offset)?;
        // A bitmap in use is stored anew before anything reads it, in the size of that time.
        let covers = entry.in_use || u64::from(entries) >= entry.table_entries_for(geometry);
        self.rule(covers, "the bitmap table covers the virtual disk", entries)
    }

    fn rule(
        &self,
        holds: bool,
        rule: &'static str,
        found: impl std::fmt::Display,
    ) -> Result<(), Error> {
        if holds { Ok(()) } else { Err(self.corrupt(rule, found)) }
    }

    fn corrupt(&self, rule: &'static str, found: impl std::fmt::Display) -> Error {
        Error::corrupt(format!("bitmap directory entry {}", self.index), rule, found)
    }
}

fn rule(holds: bool, rule: &'static str, found: impl std::fmt::Display) -> Result<(), Error> {
    if holds { Ok(()) } else { Err(Error::corrupt("bitmap directory", rule, found)) }
}

fn argument(holds: bool, rule: &'static str, found: usize) -> Result<(), Error> {
    if holds { Ok(()) } else { Err(invalid(rule, found)) }
}

fn invalid(rule: &'static str, found: usize) -> Error {
    Error::InvalidArgument { what: "bitmaps", rule, found: found.to_string() }
}
