//! What is checked: an algorithm, and where the expected digest comes from.

use std::ops::Range;

use xxhash_rust::xxh3::xxh3_128;

/// How the digest of a byte string is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithm {
    /// CRC-32 of IEEE 802.3, zlib and PNG: reflected, generator 0x04C11DB7.
    Crc32,
    /// CRC-32C of iSCSI, ext4 and Btrfs: reflected, generator 0x1EDC6F41.
    Crc32c,
    /// XOR of all bytes.
    Xor8,
    /// XOR of the little-endian 64-bit words; a last part of a word is filled up with zeros.
    Xor64,
    /// Sum of the little-endian 32-bit words modulo 2^32; a last part of a word is filled up with
    /// zeros.
    Sum32,
    /// XXH3 with 128 bits and seed 0. Stands for every hash without usable algebra.
    Xxh3,
}

/// Order of a stored digest's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ByteOrder {
    /// Least significant byte first.
    Little,
    /// Most significant byte first.
    Big,
}

/// Where the expected digest comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stored {
    /// It is known. A value that is wider than the algorithm's digests never matches.
    Value(u128),
    /// It is among the bytes that are read, [`Algorithm::digest_len`] of them. They count as zeros
    /// for the digest. The field may extend over several sectors.
    At {
        /// From the start of the first sector.
        offset: usize,
        /// Of the field.
        order: ByteOrder,
    },
}

/// What the concatenation of the sectors has to satisfy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    /// How the digest is computed.
    pub algorithm: Algorithm,
    /// What it is compared with.
    pub stored: Stored,
}

impl Algorithm {
    /// Bytes of a digest.
    #[must_use]
    pub fn digest_len(self) -> usize {
        match self {
            Self::Xor8 => 1,
            Self::Crc32 | Self::Crc32c | Self::Sum32 => 4,
            Self::Xor64 => 8,
            Self::Xxh3 => 16,
        }
    }

    /// The digest of `bytes`.
    #[must_use]
    pub fn digest(self, bytes: &[u8]) -> u128 {
        match self {
            Self::Crc32 => crc32fast::hash(bytes).into(),
            Self::Crc32c => crc32c::crc32c(bytes).into(),
            Self::Xor8 => bytes.iter().fold(0, |all, byte| all ^ byte).into(),
            Self::Xor64 => words(bytes).fold(0, |all, word| all ^ u64::from_le_bytes(word)).into(),
            Self::Sum32 => {
                let add = |sum: u32, word| sum.wrapping_add(u32::from_le_bytes(word));
                words(bytes).fold(0, add).into()
            }
            Self::Xxh3 => xxh3_128(bytes),
        }
    }
}

/// The words of `bytes`, the last one filled up with zeros.
fn words<const LEN: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; LEN]> {
    bytes.chunks(LEN).map(|part| {
        let mut word = [0; LEN];
        word[..part.len()].copy_from_slice(part);
        word
    })
}

impl Rule {
    /// Whether `bytes`, all of what is read, match.
    ///
    /// # Panics
    /// If the stored digest is not within `bytes`.
    #[must_use]
    pub fn holds(&self, bytes: &[u8]) -> bool {
        let field = self.field();
        assert!(field.end <= bytes.len(), "no field {field:?} in {} bytes", bytes.len());
        let mut bytes = bytes.to_vec();
        let stored = self.take_field(0, &mut bytes);
        let expected = match self.stored {
            Stored::Value(value) => value,
            Stored::At { .. } => stored,
        };
        self.algorithm.digest(&bytes) == expected
    }

    /// Whether any digest has the expected value's width.
    pub(super) fn attainable(&self) -> bool {
        let bits = 8 * self.algorithm.digest_len();
        match self.stored {
            Stored::Value(value) => bits == 128 || value >> bits == 0,
            Stored::At { .. } => true,
        }
    }

    /// The place of the stored digest, empty if the digest is known.
    pub(super) fn field(&self) -> Range<usize> {
        match self.stored {
            Stored::Value(_) => 0..0,
            Stored::At { offset, .. } => {
                let end = offset.checked_add(self.algorithm.digest_len());
                offset..end.expect("a field of what fits into memory")
            }
        }
    }

    /// Sets the part of the field that is in `bytes`, which begin at `start`, to zeros, and returns
    /// what it contributed to the stored value: each byte at its place in the number.
    pub(super) fn take_field(&self, start: usize, bytes: &mut [u8]) -> u128 {
        let Stored::At { order, .. } = self.stored else { return 0 };
        let field = self.field();
        let mut value = 0;
        for at in field.start.max(start)..field.end.min(start + bytes.len()) {
            let byte = std::mem::take(&mut bytes[at - start]);
            let place = match order {
                ByteOrder::Little => at - field.start,
                ByteOrder::Big => field.end - 1 - at,
            };
            value |= u128::from(byte) << (8 * place);
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_the_published_ones() {
        let digest = |algorithm: Algorithm| algorithm.digest(b"123456789");
        assert_eq!(digest(Algorithm::Crc32), 0xCBF4_3926);
        assert_eq!(digest(Algorithm::Crc32c), 0xE306_9283);
        assert_eq!(digest(Algorithm::Xor8), 0x31);
        assert_eq!(digest(Algorithm::Xor64), 0x3837_3635_3433_3231 ^ 0x39);
        assert_eq!(digest(Algorithm::Sum32), 0x3433_3231 + 0x3837_3635 + 0x39);
        assert_eq!(Algorithm::Sum32.digest(&[0xff; 8]), 0xffff_fffe);
        // The first test vector of the XXH3 specification's reference code.
        assert_eq!(Algorithm::Xxh3.digest(b""), 0x99aa_06d3_0147_98d8_6001_c324_468d_497f);
    }

    #[test]
    fn a_field_counts_as_zeros_and_is_read_in_its_order() {
        let rule =
            |order| Rule { algorithm: Algorithm::Sum32, stored: Stored::At { offset: 2, order } };
        // The words are 0x0000_0201, 0x0403_0000 without the field: 0x0403_0201.
        let little = [1, 2, 1, 2, 3, 4, 3, 4];
        let big = [1, 2, 4, 3, 2, 1, 3, 4];
        assert!(rule(ByteOrder::Little).holds(&little));
        assert!(!rule(ByteOrder::Little).holds(&big));
        assert!(rule(ByteOrder::Big).holds(&big));
        assert!(!rule(ByteOrder::Big).holds(&little));
    }

    #[test]
    fn a_value_that_is_too_wide_never_matches() {
        let rule = |value| Rule { algorithm: Algorithm::Xor8, stored: Stored::Value(value) };
        assert!(rule(0x21).holds(&[1, 0x20]));
        assert!(!rule(0x121).holds(&[1, 0x20]));
    }
}
