//! The header: one struct that mirrors every field of the first 8192 bytes.
//!
//! Numbers keep the width and sign they have on disk, and are not judged here: whether they make
//! sense together is [`super::geometry`]'s business. What is judged here is whether this is an FVD
//! version 1 header at all.
//!
//! All integers are little-endian, the layout is packed (several 64-bit fields are unaligned), and
//! bytes from [`USED_LEN`] to [`HEADER_LEN`] are zero. Version 1 has no feature bits, so a header
//! that uses those bytes was written by a later variant whose rules are unknown: it is refused.
//!
//! # Source
//! FVD version 1 (January 2011), header; field names are the original's.

use crate::disk::Disk;
use crate::error::Error;
use crate::units::ByteRange;

/// Bytes that the header occupies on disk; the first map region starts here.
pub const HEADER_LEN: usize = 8192;
/// Bytes of the header that hold fields; the rest is zero.
pub const USED_LEN: usize = 4336;
/// [`Header::magic`] of every FVD image: bytes A9 F5 43 51.
pub const MAGIC: u32 = 0x5143_F5A9;
/// The only version there is.
pub const VERSION: u32 = 1;
/// First bytes of the layout described by the published specification, which no known code writes.
const SPECIFICATION_MAGIC: [u8; 4] = *b"FVD\0";

/// Bytes of a header sector: the unit in which flags are rewritten.
pub const SECTOR_LEN: usize = 512;

macro_rules! header {
    ($($(#[doc = $doc:literal])+ $name:ident : $kind:ident $(($len:literal))? at $offset:literal,)+) => {
        /// A decoded header.
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        pub struct Header {
            $($(#[doc = $doc])+ pub $name: header!(@type $kind $(($len))?),)+
        }

        impl Header {
            fn decode(bytes: &[u8]) -> Result<Self, Error> {
                Ok(Self { $($name: header!(@get $kind $(($len))?, bytes, $offset, $name),)+ })
            }

            /// The header as it is stored, zero padded.
            ///
            /// # Panics
            /// If a name does not fit with its terminating NUL.
            #[must_use]
            pub fn encode(&self) -> Vec<u8> {
                let mut bytes = vec![0; HEADER_LEN];
                $(header!(@put $kind $(($len))?, bytes, $offset, self.$name);)+
                bytes
            }
        }

        /// Byte offset of every field.
        pub mod offset {
            $(#[doc = concat!("Offset of `", stringify!($name), "`.")]
              #[expect(non_upper_case_globals, reason = "named like the field")]
              pub const $name: usize = $offset;)+
        }
    };
    (@type u32) => { u32 };
    (@type i32) => { i32 };
    (@type i64) => { i64 };
    (@type name($len:literal)) => { String };
    (@type raw($len:literal)) => { [u8; $len] };
    (@get u32, $b:ident, $o:literal, $n:ident) => { u32::from_le_bytes(array($b, $o)) };
    (@get i32, $b:ident, $o:literal, $n:ident) => { i32::from_le_bytes(array($b, $o)) };
    (@get i64, $b:ident, $o:literal, $n:ident) => { i64::from_le_bytes(array($b, $o)) };
    (@get name($len:literal), $b:ident, $o:literal, $n:ident) => {
        name(&$b[$o..$o + $len], concat!(stringify!($n), " ends with a NUL"), concat!(stringify!($n), " is UTF-8 text"))?
    };
    (@get raw($len:literal), $b:ident, $o:literal, $n:ident) => { array($b, $o) };
    (@put u32, $b:ident, $o:literal, $v:expr) => { $b[$o..$o + 4].copy_from_slice(&$v.to_le_bytes()) };
    (@put i32, $b:ident, $o:literal, $v:expr) => { $b[$o..$o + 4].copy_from_slice(&$v.to_le_bytes()) };
    (@put i64, $b:ident, $o:literal, $v:expr) => { $b[$o..$o + 8].copy_from_slice(&$v.to_le_bytes()) };
    (@put name($len:literal), $b:ident, $o:literal, $v:expr) => {
        assert!($v.len() < $len, "{:?} is longer than {} bytes", $v, $len - 1);
        $b[$o..$o + $v.len()].copy_from_slice($v.as_bytes())
    };
    (@put raw($len:literal), $b:ident, $o:literal, $v:expr) => { $b[$o..$o + $len].copy_from_slice(&$v) };
}

header! {
    /// [`MAGIC`].
    magic: u32 at 0,
    /// [`VERSION`].
    version: u32 at 4,
    /// 1: the base is no longer needed, or there never was one. The bitmap is then ignored.
    all_data_in_fvd_img: i32 at 8,
    /// Bytes the guest sees, a multiple of 512.
    virtual_disk_size: i64 at 12,
    /// Bytes of header and maps: where data starts when it is in the same file.
    metadata_size: i64 at 20,
    /// Name of the base, or empty.
    base_img: name(1024) at 28,
    /// Format of the base, or empty.
    base_img_fmt: name(16) at 1052,
    /// Bytes of the base that count; blocks at or past it never use the base.
    base_img_size: i64 at 1068,
    /// Start of the bitmap, 0 without a base.
    bitmap_offset: i64 at 1076,
    /// Bytes of the bitmap region.
    bitmap_size: i64 at 1084,
    /// Bytes that one bit of the bitmap covers.
    block_size: i32 at 1092,
    /// 1: store what was read from the base.
    copy_on_read: i32 at 1096,
    /// Bytes that copy-on-read may have in flight.
    max_outstanding_copy_on_read_data: i64 at 1100,
    /// Name of the file that holds the data, or empty if it follows the maps.
    data_file: name(1024) at 1108,
    /// Format of the data file, or empty.
    data_file_fmt: name(16) at 2132,
    /// Seconds from opening to the start of prefetching; 0 and -1 mean never.
    prefetch_start_delay: i32 at 2148,
    /// Unused.
    prefetch_profile_offset: i64 at 2152,
    /// Unused.
    prefetch_profile_entries: i64 at 2160,
    /// Regions that prefetching holds in memory at once.
    num_prefetch_slots: i32 at 2168,
    /// Bytes of one prefetch region, a multiple of `block_size`.
    bytes_per_prefetch: i32 at 2172,
    /// Milliseconds over which read throughput is measured.
    prefetch_read_throughput_measure_time: i32 at 2176,
    /// Milliseconds over which write throughput is measured.
    prefetch_write_throughput_measure_time: i32 at 2180,
    /// Percentage that the past weighs in the throughput average.
    prefetch_perf_calc_alpha: i32 at 2184,
    /// KB/s below which reading counts as slow.
    prefetch_min_read_throughput: i32 at 2188,
    /// KB/s below which writing counts as slow.
    prefetch_min_write_throughput: i32 at 2192,
    /// Unused.
    prefetch_max_read_throughput: i32 at 2196,
    /// Unused.
    prefetch_max_write_throughput: i32 at 2200,
    /// Milliseconds of pause after slow prefetching; 0 means no pause.
    prefetch_throttle_time: i32 at 2204,
    /// 1: chunks are allocated on demand and found through the table.
    compact_image: i32 at 2208,
    /// Start of the table.
    table_offset: i64 at 2212,
    /// Bytes of a chunk.
    chunk_size: i64 at 2220,
    /// Bytes by which the data storage grows.
    storage_grow_unit: i64 at 2228,
    /// A shell command of the original. Kept when the header is rewritten; nothing here runs it.
    add_storage_cmd: raw(2048) at 2236,
    /// Start of the journal, 0 if there is none.
    journal_offset: i64 at 4284,
    /// Bytes of the journal, 0 if there is none.
    journal_size: i64 at 4292,
    /// 1: the maps are complete, the journal need not be replayed.
    clean_shutdown: i32 at 4300,
    /// 1: storage must read as zero where it was never written.
    need_zero_init: i32 at 4304,
    /// Unused.
    generate_prefetch_profile: i32 at 4308,
    /// Unused; 4096 with a base.
    unit_of_prefetch_profile_entry_len: i32 at 4312,
    /// Unused; -1 with a base.
    profile_directed_prefetch_start_delay: i32 at 4316,
    /// Unused.
    write_updates_base_img: raw(16) at 4320,
}

/// Header sector that holds `all_data_in_fvd_img`.
pub const ALL_DATA_SECTOR: usize = offset::all_data_in_fvd_img / SECTOR_LEN;
/// Where `clean_shutdown` is: zero says that the maps need the journal.
pub const CLEAN_SHUTDOWN: ByteRange = ByteRange { offset: offset::clean_shutdown as u64, len: 4 };
/// Header sector that holds `clean_shutdown` (and `need_zero_init`).
pub const CLEAN_SHUTDOWN_SECTOR: usize = offset::clean_shutdown / SECTOR_LEN;

const _: () = assert!(ALL_DATA_SECTOR == 0);
const _: () = assert!(CLEAN_SHUTDOWN_SECTOR == 8);
const _: () = assert!(offset::write_updates_base_img + 16 == USED_LEN);

impl Header {
    /// Decodes a header from the first bytes of an image.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for another version or variant; [`Error::Corrupt`] if this is no FVD
    /// header, is cut short, or a name is not terminated text.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let start = bytes.get(..4).unwrap_or_default();
        if start == SPECIFICATION_MAGIC {
            return Err(Error::Unsupported(
                "FVD variant of the published specification (magic \"FVD\\0\"); only version 1 \
                 (magic A9 F5 43 51) is known"
                    .into(),
            ));
        }
        if start != MAGIC.to_le_bytes() {
            return Err(corrupt("magic is A9 F5 43 51", format!("{start:02X?}")));
        }
        if bytes.len() < HEADER_LEN {
            return Err(corrupt("the image holds a whole header of 8192 bytes", bytes.len()));
        }
        let version = u32::from_le_bytes(array(bytes, offset::version));
        if version != VERSION {
            return Err(Error::Unsupported(format!("FVD version {version}; only 1 is known")));
        }
        // All bytes at once: looking for the first one takes longer than the rest of parsing.
        let unknown = &bytes[USED_LEN..HEADER_LEN];
        if unknown.iter().fold(0, |any, byte| any | byte) != 0 {
            let at = unknown.iter().position(|&byte| byte != 0).unwrap_or(0);
            return Err(Error::Unsupported(format!(
                "FVD header with a field at byte {}, past the {USED_LEN} bytes of version 1; it \
                 may be an incompatible feature",
                USED_LEN + at
            )));
        }
        Self::decode(bytes)
    }

    /// Reads and decodes the header of `metadata`.
    ///
    /// # Errors
    /// Those of [`Self::parse`], and those of the disk.
    pub async fn read(metadata: &dyn Disk) -> Result<Self, Error> {
        let len = usize::try_from(metadata.len()).map_or(HEADER_LEN, |len| len.min(HEADER_LEN));
        let bytes =
            metadata.read(0, len).await.map_err(|error| Error::disk("read header", error))?;
        Self::parse(&bytes)
    }

    /// One sector of the encoded header: flags change by one write of 512 bytes.
    ///
    /// # Panics
    /// If `sector` is not one of the header's 16.
    #[must_use]
    pub fn sector_with(&self, sector: usize) -> [u8; SECTOR_LEN] {
        array(&self.encode(), sector * SECTOR_LEN)
    }

    /// Whether blocks may still have to be read from the base.
    #[must_use]
    pub fn uses_base(&self) -> bool {
        self.all_data_in_fvd_img == 0
    }

    /// Whether the data is in a file of its own.
    #[must_use]
    pub fn separate_data(&self) -> bool {
        !self.data_file.is_empty()
    }

    /// Whether the maps are complete without the journal.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.clean_shutdown != 0
    }
}

impl Default for Header {
    /// A valid magic and version, everything else zero or empty.
    fn default() -> Self {
        let mut bytes = [0; USED_LEN];
        bytes[..4].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[4..8].copy_from_slice(&VERSION.to_le_bytes());
        Self::decode(&bytes).expect("empty names are valid")
    }
}

/// A header that breaks `rule`.
pub(super) fn corrupt(rule: &'static str, found: impl std::fmt::Display) -> Error {
    Error::corrupt("header", rule, found)
}

fn array<const N: usize>(bytes: &[u8], offset: usize) -> [u8; N] {
    bytes[offset..offset + N].try_into().expect("the slice has N bytes")
}

fn name(field: &[u8], terminated: &'static str, text: &'static str) -> Result<String, Error> {
    let end = field.iter().position(|&byte| byte == 0);
    let end = end.ok_or_else(|| corrupt(terminated, format!("{} bytes", field.len())))?;
    let text = std::str::from_utf8(&field[..end]).map_err(|error| corrupt(text, error))?;
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encode_and_parse_are_inverse() {
        let mut header = Header { base_img: "base.raw".into(), ..Header::default() };
        header.add_storage_cmd[..3].copy_from_slice(b"\xFF\0x");
        header.base_img_size = -1;
        header.clean_shutdown = 1;
        let bytes = header.encode();
        assert_eq!(bytes.len(), HEADER_LEN);
        assert_eq!(bytes[..8], [0xA9, 0xF5, 0x43, 0x51, 1, 0, 0, 0]);
        assert_eq!(Header::parse(&bytes), Ok(header));
    }

    #[test]
    fn a_flag_is_in_its_sector_only() {
        let dirty = Header::default();
        let clean = Header { clean_shutdown: 1, ..Header::default() };
        for sector in 0..HEADER_LEN / SECTOR_LEN {
            let differs = dirty.sector_with(sector) != clean.sector_with(sector);
            assert_eq!(differs, sector == CLEAN_SHUTDOWN_SECTOR, "sector {sector}");
        }
    }
}
