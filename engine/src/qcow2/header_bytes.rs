//! How the header is stored.
//!
//! | offset | width | field |
//! |---|---|---|
//! | 0 | 4 | magic |
//! | 4 | 4 | version |
//! | 8 | 8 | backing_file_offset, 0 without one |
//! | 16 | 4 | backing_file_size |
//! | 20 | 4 | cluster_bits |
//! | 24 | 8 | size |
//! | 32 | 4 | crypt_method |
//! | 36 | 4 | l1_size |
//! | 40 | 8 | l1_table_offset |
//! | 48 | 8 | refcount_table_offset |
//! | 56 | 4 | refcount_table_clusters |
//! | 60 | 4 | nb_snapshots |
//! | 64 | 8 | snapshots_offset |
//! | 72 | 8 | incompatible_features, from here on only in version 3 |
//! | 80 | 8 | compatible_features |
//! | 88 | 8 | autoclear_features |
//! | 96 | 4 | refcount_order |
//! | 100 | 4 | header_length |
//! | 104 | 1 | compression_type, if header_length is larger |
//!
//! All numbers are big-endian. Behind header_length follow the extensions, then the name of the
//! backing file; all of it is in the first cluster.
//!
//! # Source
//! qcow2 specification, "Header".

use super::extension::{BitmapsExtension, Extension, kind, parse_extensions, print_extensions};
use super::features::{autoclear, incompatible, parse_names, print_names, refuse_unknown};
use super::header::{Compression, Header, MAGIC};
use super::number::{put, u32_at, u64_at};
use crate::disk::Disk;
use crate::error::Error;
use crate::units::SECTOR;

/// Byte offsets of fields that are changed on their own; all are in the first sector.
pub mod offset {
    /// `l1_size`; `l1_table_offset` follows.
    pub const L1_ENTRIES: usize = 36;
    /// `refcount_table_offset`; `refcount_table_clusters` follows.
    pub const REFCOUNT_TABLE: usize = 48;
    /// `nb_snapshots`; `snapshots_offset` follows.
    pub const SNAPSHOTS: usize = 60;
    /// `incompatible_features`.
    pub const INCOMPATIBLE: usize = 72;
}

/// Bytes of the fixed fields of version 2.
pub const LEN_V2: usize = 72;
/// Bytes of the fixed fields that version 3 has at least.
pub const LEN_V3_MIN: usize = 104;
/// Bytes of the fixed fields that this engine knows, with their padding.
pub const LEN_V3: usize = 112;
/// Bytes of the longest name of a backing file.
pub const BACKING_NAME_MAX: usize = 1023;
const COMPRESSION_AT: usize = 104;

impl Header {
    /// Decodes the header from the bytes of the first cluster, or as many of them as there are.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for another version, encryption, and incompatible features that are
    /// not known, by name; [`Error::Corrupt`] for everything that breaks a rule.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let (version, cluster_bits) = start(bytes)?;
        let cluster_len = 1 << cluster_bits;
        let bytes = &bytes[..bytes.len().min(cluster_len)];
        let header_len = header_len(bytes, version)?;
        let feature = |at| if version == 2 { 0 } else { u64_at(bytes, at) };
        let (incompatible, compatible, autoclear) = (feature(72), feature(80), feature(88));

        let backing = backing_name(bytes, header_len, cluster_len)?;
        let area_end = backing.as_ref().map_or(bytes.len(), |(place, _)| place.start);
        let extensions = parse_extensions(&bytes[header_len..area_end]);
        refuse_features(incompatible, &extensions)?;
        refuse_encryption(u32_at(bytes, 32))?;
        let refcount_order = if version == 2 { 4 } else { u32_at(bytes, 96) };
        rule(refcount_order <= 6, "refcount_order is at most 6", refcount_order)?;

        let mut header = Self {
            version,
            backing_file: backing.map(|(_, name)| name),
            backing_format: None,
            cluster_bits,
            virtual_size: u64_at(bytes, 24),
            l1_entries: u32_at(bytes, offset::L1_ENTRIES),
            l1_offset: u64_at(bytes, offset::L1_ENTRIES + 4),
            refcount_table_offset: u64_at(bytes, offset::REFCOUNT_TABLE),
            refcount_table_clusters: u32_at(bytes, offset::REFCOUNT_TABLE + 8),
            snapshot_count: u32_at(bytes, offset::SNAPSHOTS),
            snapshots_offset: u64_at(bytes, offset::SNAPSHOTS + 4),
            incompatible,
            compatible,
            autoclear,
            refcount_order,
            header_len: u32::try_from(header_len).expect("within a cluster"),
            compression: compression(bytes, header_len, incompatible)?,
            data_file: None,
            bitmaps: None,
            feature_names: Vec::new(),
            unknown_extensions: Vec::new(),
            unknown_fields: bytes.get(LEN_V3..header_len).unwrap_or_default().to_vec(),
        };
        for extension in extensions? {
            header.take(extension)?;
        }
        header.check_features()?;
        Ok(header)
    }

    /// Reads and decodes the header of `file`.
    ///
    /// # Errors
    /// Those of [`Self::parse`], and those of the disk.
    pub async fn read(file: &dyn Disk) -> Result<Self, Error> {
        let read = async |len: u64| {
            let len = usize::try_from(file.len().min(len)).expect("at most a cluster");
            file.read(0, len).await.map_err(|error| Error::disk("read header", error))
        };
        let first = read(SECTOR).await?;
        let (_, cluster_bits) = start(&first)?;
        Self::parse(&read(1 << cluster_bits).await?)
    }

    /// The header as it is stored, padded with zeros to whole sectors.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if it does not fit the first cluster, or if `header_len` has no
    /// room for what is in the fixed fields.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let mut bytes = self.fixed_fields()?;
        bytes.extend_from_slice(&print_extensions(&self.extensions()));
        if let Some(name) = &self.backing_file {
            argument(
                (1..=BACKING_NAME_MAX).contains(&name.len()),
                "the name of the backing file has 1 to 1023 bytes",
                name.len(),
            )?;
            let (at, len) = (bytes.len() as u64, u32::try_from(name.len()).expect("checked"));
            put(&mut bytes, 8, at.to_be_bytes());
            put(&mut bytes, 16, len.to_be_bytes());
            bytes.extend_from_slice(name.as_bytes());
        }
        let len = bytes.len();
        let fits = len as u64 <= self.cluster_len();
        argument(fits, "header, extensions and backing file name fit the first cluster", len)?;
        bytes.resize(len.next_multiple_of(512), 0);
        Ok(bytes)
    }

    fn fixed_fields(&self) -> Result<Vec<u8>, Error> {
        let len = usize::try_from(self.header_len).unwrap_or(usize::MAX);
        let expected = match self.version {
            2 => LEN_V2,
            _ if len == LEN_V3_MIN && self.compression == Compression::Deflate => LEN_V3_MIN,
            _ => LEN_V3 + self.unknown_fields.len(),
        };
        argument(len == expected, "header_length is that of the fixed fields", len)?;
        let mut bytes = vec![0; len];
        put(&mut bytes, 0, MAGIC.to_be_bytes());
        put(&mut bytes, 4, self.version.to_be_bytes());
        put(&mut bytes, 20, self.cluster_bits.to_be_bytes());
        put(&mut bytes, 24, self.virtual_size.to_be_bytes());
        put(&mut bytes, offset::L1_ENTRIES, self.l1_entries.to_be_bytes());
        put(&mut bytes, offset::L1_ENTRIES + 4, self.l1_offset.to_be_bytes());
        put(&mut bytes, offset::REFCOUNT_TABLE, self.refcount_table_offset.to_be_bytes());
        put(&mut bytes, offset::REFCOUNT_TABLE + 8, self.refcount_table_clusters.to_be_bytes());
        put(&mut bytes, offset::SNAPSHOTS, self.snapshot_count.to_be_bytes());
        put(&mut bytes, offset::SNAPSHOTS + 4, self.snapshots_offset.to_be_bytes());
        if self.version == 2 {
            return Ok(bytes);
        }
        put(&mut bytes, offset::INCOMPATIBLE, self.incompatible.to_be_bytes());
        put(&mut bytes, 80, self.compatible.to_be_bytes());
        put(&mut bytes, 88, self.autoclear.to_be_bytes());
        put(&mut bytes, 96, self.refcount_order.to_be_bytes());
        put(&mut bytes, 100, self.header_len.to_be_bytes());
        if len > COMPRESSION_AT {
            bytes[COMPRESSION_AT] = u8::from(self.compression == Compression::Zstd);
            bytes[LEN_V3..].copy_from_slice(&self.unknown_fields);
        }
        Ok(bytes)
    }

    fn extensions(&self) -> Vec<Extension> {
        let text = |kind, text: &Option<String>| {
            text.as_ref().map(|text| Extension { kind, data: text.clone().into_bytes() })
        };
        let names = (!self.feature_names.is_empty() && self.version >= 3).then(|| Extension {
            kind: kind::FEATURE_NAMES,
            data: print_names(&self.feature_names),
        });
        let mut extensions = Vec::new();
        extensions.extend(text(kind::BACKING_FORMAT, &self.backing_format));
        extensions.extend(text(kind::DATA_FILE, &self.data_file));
        extensions.extend(names);
        extensions.extend(self.bitmaps.map(BitmapsExtension::extension));
        extensions.extend(self.unknown_extensions.iter().cloned());
        extensions
    }

    /// Takes over what an extension says.
    fn take(&mut self, extension: Extension) -> Result<(), Error> {
        const ONCE: &str = "each known extension is there once";
        match extension.kind {
            kind::BACKING_FORMAT => {
                rule(self.backing_format.is_none(), ONCE, "a second backing format")?;
                self.backing_format = Some(text(&extension.data, "the format is UTF-8 text")?);
            }
            kind::DATA_FILE => {
                rule(self.data_file.is_none(), ONCE, "a second data file")?;
                self.data_file =
                    Some(text(&extension.data, "the name of the data file is UTF-8 text")?);
            }
            kind::FEATURE_NAMES => {
                rule(self.feature_names.is_empty(), ONCE, "a second table of feature names")?;
                self.feature_names = parse_names(&extension.data);
            }
            kind::BITMAPS => {
                rule(self.bitmaps.is_none(), ONCE, "a second bitmaps extension")?;
                self.bitmaps = Some(BitmapsExtension::parse(&extension.data)?);
            }
            kind::ENCRYPTION => {
                return Err(Error::Unsupported("encryption (an encryption header)".into()));
            }
            _ => self.unknown_extensions.push(extension),
        }
        Ok(())
    }

    /// The rules between features.
    fn check_features(&self) -> Result<(), Error> {
        let extended = self.incompatible & incompatible::EXTENDED_L2 != 0;
        rule(
            !extended || self.cluster_bits >= 14,
            "cluster_bits is at least 14 with extended L2 entries",
            self.cluster_bits,
        )?;
        let raw = self.data_file_is_raw();
        rule(
            !raw || self.has_data_file(),
            "the raw external data bit comes with an external data file",
            "the bit alone",
        )?;
        rule(
            !raw || self.backing_file.is_none(),
            "an image with a raw external data file has no backing file",
            "both",
        )?;
        rule(
            self.autoclear & autoclear::BITMAPS == 0 || self.bitmaps.is_some(),
            "the bitmaps bit comes with a bitmaps extension",
            "the bit alone",
        )
    }
}

/// Version and cluster_bits: what has to be known to read the rest.
fn start(bytes: &[u8]) -> Result<(u32, u32), Error> {
    let magic = bytes.get(..4).unwrap_or_default();
    rule(magic == MAGIC.to_be_bytes(), "magic is \"QFI\\xfb\"", format!("{magic:02X?}"))?;
    rule(bytes.len() >= LEN_V2, "the file holds a whole header", bytes.len())?;
    let (version, cluster_bits) = (u32_at(bytes, 4), u32_at(bytes, 20));
    if !(2..=3).contains(&version) {
        return Err(Error::Unsupported(format!("qcow2 version {version}; 2 and 3 are known")));
    }
    rule((9..=21).contains(&cluster_bits), "cluster_bits is 9 to 21", cluster_bits)?;
    Ok((version, cluster_bits))
}

fn header_len(bytes: &[u8], version: u32) -> Result<usize, Error> {
    if version == 2 {
        return Ok(LEN_V2);
    }
    rule(bytes.len() >= LEN_V3_MIN, "the file holds a whole header", bytes.len())?;
    let len = u32_at(bytes, 100);
    rule(len.is_multiple_of(8), "header_length is a multiple of 8", len)?;
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    rule(len >= LEN_V3_MIN, "header_length is at least 104", len)?;
    rule(len <= bytes.len(), "header_length is within the first cluster", len)?;
    Ok(len)
}

/// Where the name of the backing file is, and the name.
fn backing_name(
    bytes: &[u8],
    header_len: usize,
    cluster_len: usize,
) -> Result<Option<(std::ops::Range<usize>, String)>, Error> {
    let (at, len) = (u64_at(bytes, 8), u32_at(bytes, 16));
    if at == 0 || len == 0 {
        return Ok(None);
    }
    let at = usize::try_from(at).unwrap_or(usize::MAX);
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    rule(len <= BACKING_NAME_MAX, "backing_file_size is at most 1023", len)?;
    rule(at >= header_len, "backing_file_offset is behind the fixed fields", at)?;
    let in_cluster = at <= cluster_len && len <= cluster_len - at;
    rule(in_cluster, "the name of the backing file is in the first cluster", at)?;
    let name = bytes.get(at..at + len);
    let Some(name) = name else {
        return Err(corrupt("the name of the backing file is in the file", at));
    };
    let name = text(name, "the name of the backing file is UTF-8 text")?;
    Ok(Some((at..at + len, name)))
}

/// Refuses features that are not known. Their names count even if other extensions are damaged.
fn refuse_features(
    incompatible: u64,
    extensions: &Result<Vec<Extension>, Error>,
) -> Result<(), Error> {
    let extensions = extensions.as_deref().unwrap_or_default();
    let names = extensions.iter().find(|extension| extension.kind == kind::FEATURE_NAMES);
    let names = names.map(|extension| parse_names(&extension.data)).unwrap_or_default();
    refuse_unknown(incompatible, &names)
}

fn refuse_encryption(crypt_method: u32) -> Result<(), Error> {
    match crypt_method {
        0 => Ok(()),
        1 => Err(Error::Unsupported("encryption (AES)".into())),
        2 => Err(Error::Unsupported("encryption (LUKS)".into())),
        other => Err(Error::Unsupported(format!("encryption (unknown method {other})"))),
    }
}

fn compression(bytes: &[u8], header_len: usize, incompatible: u64) -> Result<Compression, Error> {
    let kind = if header_len > COMPRESSION_AT { bytes[COMPRESSION_AT] } else { 0 };
    let differs = incompatible & incompatible::COMPRESSION != 0;
    rule(
        differs == (kind != 0),
        "compression_type is not 0 if and only if the compression type bit is set",
        kind,
    )?;
    match kind {
        0 => Ok(Compression::Deflate),
        1 => Ok(Compression::Zstd),
        other => Err(Error::Unsupported(format!("compression type {other}"))),
    }
}

fn text(bytes: &[u8], rule: &'static str) -> Result<String, Error> {
    let text = std::str::from_utf8(bytes).map_err(|error| corrupt(rule, error))?;
    Ok(text.into())
}

fn rule(holds: bool, rule: &'static str, found: impl std::fmt::Display) -> Result<(), Error> {
    if holds { Ok(()) } else { Err(corrupt(rule, found)) }
}

fn corrupt(rule: &'static str, found: impl std::fmt::Display) -> Error {
    Error::corrupt("header", rule, found)
}

fn argument(holds: bool, rule: &'static str, found: usize) -> Result<(), Error> {
    if holds {
        return Ok(());
    }
    Err(Error::InvalidArgument { what: "header", rule, found: found.to_string() })
}
