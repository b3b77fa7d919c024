//! The snapshot table.
//!
//! The header has the number of snapshots, not the length of the table: entries are judged as they
//! are read, each before memory is taken for it.
//!
//! # Source
//! qcow2 specification, "Snapshots".

use super::geometry::{Geometry, SNAPSHOTS_MAX};
use super::header::Header;
use super::number::{put, u16_at, u32_at, u64_at};
use super::region::Stream;
use crate::disk::Disk;
use crate::error::Error;
use crate::units::ByteRange;

/// Bytes of the largest snapshot table.
pub const TABLE_LEN_MAX: u64 = 64 << 20;
/// Bytes of the most extra data of one entry.
pub const EXTRA_LEN_MAX: usize = 1024;
/// Bytes of an entry in front of its extra data.
const FIXED_LEN: usize = 40;
/// Bytes of the extra data that this engine knows.
const KNOWN_EXTRA_LEN: usize = 24;
/// The instruction count of an entry that does not know it.
const NO_ICOUNT: u64 = u64::MAX;

/// One entry of the snapshot table.
///
/// | offset | width | field |
/// |---|---|---|
/// | 0 | 8 | offset of the L1 table |
/// | 8 | 4 | entries of the L1 table |
/// | 12 | 2 | length of the id |
/// | 14 | 2 | length of the name |
/// | 16 | 4 | date, seconds |
/// | 20 | 4 | date, nanoseconds |
/// | 24 | 8 | time the guest had run |
/// | 32 | 4 | length of the machine state, if the extra data does not have it |
/// | 36 | 4 | length of the extra data |
///
/// Extra data: u64 length of the machine state, u64 virtual size, u64 instruction count; each may be
/// missing with all that follow. Then id and name, padded to a multiple of 8 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Snapshot {
    /// Unique: a number, as a text.
    pub id: String,
    /// For people.
    pub name: String,
    /// Where its L1 table is.
    pub l1_offset: u64,
    /// Entries of its L1 table.
    pub l1_entries: u32,
    /// When it was taken: seconds since 1970.
    pub date_seconds: u32,
    /// And nanoseconds.
    pub date_nanoseconds: u32,
    /// How long the guest had run, in nanoseconds.
    pub vm_clock: u64,
    /// Bytes of saved machine state.
    pub vm_state_len: u64,
    /// Bytes that the guest saw; of an old entry that does not say, none.
    pub virtual_size: Option<u64>,
    /// Instructions executed, if known.
    pub icount: Option<u64>,
    /// Extra data that this engine does not know, as it is.
    pub unknown_extra: Vec<u8>,
}

/// The snapshots, and what the table takes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SnapshotTable {
    /// The snapshots, in their order.
    pub snapshots: Vec<Snapshot>,
    /// Bytes of the table.
    pub len: u64,
}

impl SnapshotTable {
    /// Reads the table.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for an entry that breaks a rule or reaches past the end of the file or of
    /// the largest table; disk errors.
    pub async fn read(
        file: &dyn Disk,
        header: &Header,
        geometry: &Geometry,
    ) -> Result<Self, Error> {
        let mut table = Self { snapshots: Vec::new(), len: 0 };
        let Some(offset) = geometry.snapshots_offset else { return Ok(table) };
        let len = geometry.file_limit.saturating_sub(offset).min(TABLE_LEN_MAX);
        let mut stream = Stream::new(file, ByteRange::new(offset, len), "read snapshot table");
        for index in 0..header.snapshot_count.min(SNAPSHOTS_MAX) {
            let entry = Entry { index };
            let (snapshot, len) = entry.read(&mut stream).await?;
            let l1 = geometry.snapshot_l1(snapshot.l1_offset, snapshot.l1_entries);
            l1.map_err(|error| entry.name_in(error))?;
            table.snapshots.push(snapshot);
            table.len += len;
        }
        Ok(table)
    }
}

/// Reads the snapshots of an image, oldest first.
///
/// # Errors
/// Those of [`SnapshotTable::read`].
pub async fn read(
    file: &dyn Disk,
    header: &Header,
    geometry: &Geometry,
) -> Result<Vec<Snapshot>, Error> {
    Ok(SnapshotTable::read(file, header, geometry).await?.snapshots)
}

/// The snapshot table as it is stored. Its number of bytes is a multiple of 8.
///
/// # Errors
/// [`Error::InvalidArgument`] if an id or a name has more than 65535 bytes, extra data more than
/// [`EXTRA_LEN_MAX`], or all of it more than [`TABLE_LEN_MAX`].
pub fn to_bytes(snapshots: &[Snapshot]) -> Result<Vec<u8>, Error> {
    let count = snapshots.len();
    argument(count as u64 <= SNAPSHOTS_MAX.into(), "there are at most 65536 snapshots", count)?;
    let mut bytes = Vec::new();
    for snapshot in snapshots {
        bytes.extend(snapshot.to_bytes()?);
        let len = bytes.len();
        argument(len as u64 <= TABLE_LEN_MAX, "the snapshot table has at most 64 MiB", len)?;
    }
    Ok(bytes)
}

impl Snapshot {
    fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let len =
            |text: &str, rule| u16::try_from(text.len()).map_err(|_| invalid(rule, text.len()));
        let extra = self.extra();
        argument(extra.len() <= EXTRA_LEN_MAX, "extra data has at most 1024 bytes", extra.len())?;
        let extra_len = u32::try_from(extra.len()).expect("checked");
        let mut bytes = vec![0; FIXED_LEN];
        put(&mut bytes, 0, self.l1_offset.to_be_bytes());
        put(&mut bytes, 8, self.l1_entries.to_be_bytes());
        put(&mut bytes, 12, len(&self.id, "an id has at most 65535 bytes")?.to_be_bytes());
        put(&mut bytes, 14, len(&self.name, "a name has at most 65535 bytes")?.to_be_bytes());
        put(&mut bytes, 16, self.date_seconds.to_be_bytes());
        put(&mut bytes, 20, self.date_nanoseconds.to_be_bytes());
        put(&mut bytes, 24, self.vm_clock.to_be_bytes());
        // Readers that know the extra data do not look at this field.
        put(&mut bytes, 32, u32::try_from(self.vm_state_len).unwrap_or(0).to_be_bytes());
        put(&mut bytes, 36, extra_len.to_be_bytes());
        bytes.extend(extra);
        bytes.extend_from_slice(self.id.as_bytes());
        bytes.extend_from_slice(self.name.as_bytes());
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        Ok(bytes)
    }

    /// Extra data, up to the last field that is there.
    fn extra(&self) -> Vec<u8> {
        let mut extra = self.vm_state_len.to_be_bytes().to_vec();
        let Some(virtual_size) = self.virtual_size else { return extra };
        extra.extend_from_slice(&virtual_size.to_be_bytes());
        if self.icount.is_some() || !self.unknown_extra.is_empty() {
            extra.extend_from_slice(&self.icount.unwrap_or(NO_ICOUNT).to_be_bytes());
            extra.extend_from_slice(&self.unknown_extra);
        }
        extra
    }
}

/// An entry being read.
#[derive(Clone, Copy)]
struct Entry {
    index: u32,
}

impl Entry {
    /// The snapshot, and the bytes that its entry takes.
    async fn read(self, stream: &mut Stream<'_>) -> Result<(Snapshot, u64), Error> {
        let fixed = self.take(stream, FIXED_LEN).await?;
        let extra_len = usize::try_from(u32_at(&fixed, 36)).unwrap_or(usize::MAX);
        if extra_len > EXTRA_LEN_MAX {
            return Err(self.corrupt("extra data has at most 1024 bytes", extra_len));
        }
        let (id_len, name_len) = (u16_at(&fixed, 12).into(), u16_at(&fixed, 14).into());
        let extra = self.take(stream, extra_len).await?;
        let id = self.take(stream, id_len).await?;
        let name = self.take(stream, name_len).await?;
        let len = FIXED_LEN + extra_len + id_len + name_len;
        let padding = len.next_multiple_of(8) - len;
        self.take(stream, padding).await?;
        let field = |at: usize| (extra.len() >= at + 8).then(|| u64_at(&extra, at));
        let snapshot = Snapshot {
            id: self.text(id, "the id is UTF-8 text")?,
            name: self.text(name, "the name is UTF-8 text")?,
            l1_offset: u64_at(&fixed, 0),
            l1_entries: u32_at(&fixed, 8),
            date_seconds: u32_at(&fixed, 16),
            date_nanoseconds: u32_at(&fixed, 20),
            vm_clock: u64_at(&fixed, 24),
            vm_state_len: field(0).unwrap_or_else(|| u32_at(&fixed, 32).into()),
            virtual_size: field(8),
            icount: field(16).filter(|&icount| icount != NO_ICOUNT),
            unknown_extra: extra.get(KNOWN_EXTRA_LEN..).unwrap_or_default().to_vec(),
        };
        Ok((snapshot, (len + padding) as u64))
    }

    async fn take(self, stream: &mut Stream<'_>, len: usize) -> Result<Vec<u8>, Error> {
        stream.take(len).await?.ok_or_else(|| {
            self.corrupt("the table ends within the file and has at most 64 MiB", "more")
        })
    }

    fn text(self, bytes: Vec<u8>, rule: &'static str) -> Result<String, Error> {
        String::from_utf8(bytes).map_err(|error| self.corrupt(rule, error))
    }

    fn corrupt(self, rule: &'static str, found: impl std::fmt::Display) -> Error {
        Error::corrupt(self.structure(), rule, found)
    }

    fn name_in(self, error: Error) -> Error {
        match error {
            Error::Corrupt { rule, found, .. } => self.corrupt(rule, found),
            other => other,
        }
    }

    fn structure(self) -> String {
        format!("snapshot table entry {}", self.index)
    }
}

fn argument(holds: bool, rule: &'static str, found: usize) -> Result<(), Error> {
    if holds { Ok(()) } else { Err(invalid(rule, found)) }
}

fn invalid(rule: &'static str, found: usize) -> Error {
    Error::InvalidArgument { what: "snapshots", rule, found: found.to_string() }
}
