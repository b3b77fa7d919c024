//! Feature bits, and the table of their names that an image brings along.
//!
//! A program that does not know an incompatible feature can so still say what it is called.
//!
//! # Source
//! qcow2 specification, "Header", "Feature name table".

use std::fmt::Write;

use crate::error::Error;

/// Feature bits of [`super::header::Header::incompatible`].
pub mod incompatible {
    /// Refcounts may be too low: they have to be repaired before use.
    pub const DIRTY: u64 = 1 << 0;
    /// The image is damaged and must not be written before a repair.
    pub const CORRUPT: u64 = 1 << 1;
    /// Guest data is in a file of its own.
    pub const EXTERNAL_DATA: u64 = 1 << 2;
    /// Clusters are compressed by the method that the header names.
    pub const COMPRESSION: u64 = 1 << 3;
    /// L2 entries have subcluster bitmaps.
    pub const EXTENDED_L2: u64 = 1 << 4;
    /// All bits that this engine knows.
    pub const KNOWN: u64 = DIRTY | CORRUPT | EXTERNAL_DATA | COMPRESSION | EXTENDED_L2;
}

/// Feature bits of [`super::header::Header::compatible`].
pub mod compatible {
    /// Refcounts may be left behind while the dirty bit is set.
    pub const LAZY_REFCOUNTS: u64 = 1 << 0;
}

/// Feature bits of [`super::header::Header::autoclear`].
pub mod autoclear {
    /// The bitmaps extension is consistent with the image.
    pub const BITMAPS: u64 = 1 << 0;
    /// The external data file is usable as a raw image.
    pub const DATA_FILE_RAW: u64 = 1 << 1;
    /// All bits that this engine knows.
    pub const KNOWN: u64 = BITMAPS | DATA_FILE_RAW;
}

/// Bytes of one entry: u8 type of the bit, u8 number of the bit, name padded with zeros.
const ENTRY_LEN: usize = 48;
const NAME_LEN: usize = ENTRY_LEN - 2;

/// Type of bit (0 incompatible, 1 compatible, 2 autoclear), bit number, name.
pub type FeatureName = (u8, u8, String);

/// The names of all bits that this engine knows.
#[must_use]
pub fn known_names() -> Vec<FeatureName> {
    [
        (0, 0, "dirty bit"),
        (0, 1, "corrupt bit"),
        (0, 2, "external data file"),
        (0, 3, "compression type"),
        (0, 4, "extended L2 entries"),
        (1, 0, "lazy refcounts"),
        (2, 0, "bitmaps"),
        (2, 1, "raw external data"),
    ]
    .map(|(kind, bit, name)| (kind, bit, name.into()))
    .into()
}

/// The names in the content of the extension. What does not make up an entry is ignored: nothing
/// depends on names.
#[must_use]
pub fn parse_names(data: &[u8]) -> Vec<FeatureName> {
    let entry = |entry: &[u8]| {
        let name = entry[2..].split(|&byte| byte == 0).next().unwrap_or_default();
        (entry[0], entry[1], String::from_utf8_lossy(name).into_owned())
    };
    data.chunks_exact(ENTRY_LEN).map(entry).collect()
}

/// The content of the extension. Names are cut off at what an entry has room for.
#[must_use]
pub fn print_names(names: &[FeatureName]) -> Vec<u8> {
    let mut data = Vec::new();
    for (kind, bit, name) in names {
        let mut len = name.len().min(NAME_LEN);
        while !name.is_char_boundary(len) {
            len -= 1;
        }
        data.extend_from_slice(&[*kind, *bit]);
        data.extend_from_slice(&name.as_bytes()[..len]);
        data.resize(data.len().next_multiple_of(ENTRY_LEN), 0);
    }
    data
}

/// Refuses incompatible features that are not known, by the image's own names for them.
pub(super) fn refuse_unknown(incompatible: u64, names: &[FeatureName]) -> Result<(), Error> {
    let unknown = incompatible & !incompatible::KNOWN;
    if unknown == 0 {
        return Ok(());
    }
    let mut text = String::from("incompatible features:");
    for bit in (0..64).filter(|bit| unknown >> bit & 1 == 1) {
        let name = names.iter().find(|(kind, number, _)| *kind == 0 && *number == bit);
        let comma = if text.ends_with(':') { "" } else { "," };
        match name {
            Some((_, _, name)) => write!(text, "{comma} {name:?} (bit {bit})"),
            None => write!(text, "{comma} bit {bit}, which the image does not name"),
        }
        .expect("a string takes all text");
    }
    Err(Error::Unsupported(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn print_and_parse_are_inverse() {
        assert_eq!(parse_names(&print_names(&known_names())), known_names());
        let long = vec![(0, 63, "x".repeat(46)), (2, 0, String::new())];
        assert_eq!(parse_names(&print_names(&long)), long);
        let cut = print_names(&[(0, 1, "ä".repeat(46))]);
        assert_eq!(parse_names(&cut), [(0, 1, "ä".repeat(23))]);
    }

    #[test]
    fn part_of_an_entry_is_none() {
        let data = print_names(&known_names());
        for len in 0..data.len() {
            assert_eq!(parse_names(&data[..len]), known_names()[..len / ENTRY_LEN]);
        }
    }

    #[test]
    fn unknown_features_are_called_by_their_names() {
        let names = [(1, 5, "not this".into()), (0, 5, "time \"travel\"".into())];
        assert_eq!(refuse_unknown(incompatible::KNOWN, &names), Ok(()));
        assert_eq!(
            refuse_unknown(1 << 5 | 1 << 63 | 1, &names).unwrap_err().to_string(),
            "unsupported: incompatible features: \"time \\\"travel\\\"\" (bit 5), bit 63, which \
             the image does not name"
        );
    }
}
