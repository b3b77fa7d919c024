//! Header extensions: a list of typed pieces behind the fixed fields.
//!
//! Each is a u32 type, a u32 length, and the content, padded to a multiple of 8 bytes; type 0 ends
//! the list. The list also ends where its area does: at the name of the backing file, or at the end
//! of the first cluster.
//!
//! # Source
//! qcow2 specification, "Header extensions", "Bitmaps extension".

use super::number::{u32_at, u64_at};
use crate::error::Error;

/// Types of extensions.
pub mod kind {
    /// Ends the list.
    pub const END: u32 = 0;
    /// The name of the backing file's format.
    pub const BACKING_FORMAT: u32 = 0xE279_2ACA;
    /// Names of feature bits.
    pub const FEATURE_NAMES: u32 = 0x6803_F857;
    /// Where the bitmap directory is.
    pub const BITMAPS: u32 = 0x2385_2875;
    /// Where the encryption header is.
    pub const ENCRYPTION: u32 = 0x0537_BE77;
    /// The name of the external data file.
    pub const DATA_FILE: u32 = 0x4441_5441;
}

/// Bytes of an extension in front of its content.
const HEAD_LEN: usize = 8;

/// A header extension.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Extension {
    /// Its type.
    pub kind: u32,
    /// Its content, without padding.
    pub data: Vec<u8>,
}

/// Where the bitmap directory is.
///
/// u32 count, u32 reserved, u64 directory length, u64 directory offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BitmapsExtension {
    /// How many bitmaps there are.
    pub count: u32,
    /// Bytes of the directory.
    pub directory_len: u64,
    /// Its first byte.
    pub directory_offset: u64,
}

impl BitmapsExtension {
    const LEN: usize = 24;

    pub(super) fn parse(data: &[u8]) -> Result<Self, Error> {
        if data.len() != Self::LEN {
            return Err(corrupt("the bitmaps extension has 24 bytes", data.len()));
        }
        let reserved = u32_at(data, 4);
        if reserved != 0 {
            return Err(corrupt("the reserved field of the bitmaps extension is 0", reserved));
        }
        Ok(Self {
            count: u32_at(data, 0),
            directory_len: u64_at(data, 8),
            directory_offset: u64_at(data, 16),
        })
    }

    pub(super) fn extension(self) -> Extension {
        let mut data = self.count.to_be_bytes().to_vec();
        data.extend_from_slice(&[0; 4]);
        data.extend_from_slice(&self.directory_len.to_be_bytes());
        data.extend_from_slice(&self.directory_offset.to_be_bytes());
        Extension { kind: kind::BITMAPS, data }
    }
}

/// The extensions in `area`.
///
/// # Errors
/// [`Error::Corrupt`] if one is longer than what is left of the area.
pub fn parse_extensions(mut area: &[u8]) -> Result<Vec<Extension>, Error> {
    let mut extensions = Vec::new();
    while area.len() >= HEAD_LEN {
        let (kind, len) = (u32_at(area, 0), u32_at(area, 4));
        if kind == kind::END {
            break;
        }
        let left = &area[HEAD_LEN..];
        let fits = usize::try_from(len).ok().filter(|&len| len <= left.len());
        let Some(len) = fits else {
            return Err(corrupt("the length is within the extension area", len));
        };
        extensions.push(Extension { kind, data: left[..len].to_vec() });
        area = &left[len.next_multiple_of(8).min(left.len())..];
    }
    Ok(extensions)
}

/// The extensions as they are stored, with the end of the list.
///
/// # Panics
/// If one has 4 GiB.
#[must_use]
pub fn print_extensions(extensions: &[Extension]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for Extension { kind, data } in extensions {
        let len = u32::try_from(data.len()).expect("an extension is shorter than 4 GiB");
        bytes.extend_from_slice(&kind.to_be_bytes());
        bytes.extend_from_slice(&len.to_be_bytes());
        bytes.extend_from_slice(data);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
    }
    bytes.extend_from_slice(&[0; HEAD_LEN]);
    bytes
}

fn corrupt(rule: &'static str, found: impl std::fmt::Display) -> Error {
    Error::corrupt("header extension", rule, found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list() -> Vec<Extension> {
        let extension = |kind, data: &[u8]| Extension { kind, data: data.to_vec() };
        vec![extension(7, b"abc"), extension(8, b""), extension(9, b"12345678")]
    }

    #[test]
    fn print_and_parse_are_inverse() {
        let bytes = print_extensions(&list());
        assert_eq!(bytes.len(), 16 + 8 + 16 + 8);
        assert_eq!(parse_extensions(&bytes), Ok(list()));
    }

    #[test]
    fn the_end_of_the_area_ends_the_list() {
        let bytes = print_extensions(&list());
        let unterminated = &bytes[..bytes.len() - 8];
        assert_eq!(parse_extensions(unterminated), Ok(list()));
        assert_eq!(parse_extensions(&bytes[..bytes.len() - 1]), Ok(list()));
        // Padding may be cut off, content may not.
        assert_eq!(parse_extensions(&bytes[..11]), Ok(list()[..1].to_vec()));
        assert!(parse_extensions(&bytes[..10]).is_err());
    }

    #[test]
    fn no_length_reaches_past_the_area() {
        for len in [9, 0x7fff_ffff, 0xffff_fff8, u32::MAX] {
            let mut bytes = [0; 16];
            bytes[3] = 7;
            bytes[4..8].copy_from_slice(&u32::to_be_bytes(len));
            assert!(parse_extensions(&bytes).is_err(), "{len}");
        }
    }
}
