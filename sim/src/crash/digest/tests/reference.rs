//! Slow and obvious: nothing of the code under test but the types.

use super::super::{Algorithm, ByteOrder, Rule, Stored};

/// A reflected CRC, bit by bit.
fn crc(generator: u32, bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ generator } else { crc >> 1 };
        }
    }
    !crc
}

pub(super) fn slow_digest(algorithm: Algorithm, bytes: &[u8]) -> u128 {
    let at = |word: usize| bytes.iter().enumerate().map(move |(n, &byte)| (8 * (n % word), byte));
    match algorithm {
        Algorithm::Crc32 => crc(0xEDB8_8320, bytes).into(),
        Algorithm::Crc32c => crc(0x82F6_3B78, bytes).into(),
        Algorithm::Xor8 => at(1).fold(0, |all, (_, byte)| all ^ u128::from(byte)),
        Algorithm::Xor64 => at(8).fold(0, |all, (shift, byte)| all ^ u128::from(byte) << shift),
        Algorithm::Sum32 => {
            at(4).fold(0, |all, (shift, byte)| (all + (u128::from(byte) << shift)) % (1 << 32))
        }
        Algorithm::Xxh3 => xxhash_rust::xxh3::xxh3_128(bytes),
    }
}

fn slow_holds(rule: &Rule, bytes: &[u8]) -> bool {
    match rule.stored {
        Stored::Value(value) => slow_digest(rule.algorithm, bytes) == value,
        Stored::At { .. } => {
            let mut with_digest = bytes.to_vec();
            store(rule, &mut with_digest);
            with_digest == bytes
        }
    }
}

/// Puts the digest where it belongs.
pub(in super::super) fn store(rule: &Rule, bytes: &mut [u8]) {
    let Stored::At { offset, order } = rule.stored else { return };
    let len = rule.algorithm.digest_len();
    bytes[offset..offset + len].fill(0);
    let digest = slow_digest(rule.algorithm, bytes).to_le_bytes();
    bytes[offset..offset + len].copy_from_slice(&digest[..len]);
    if order == ByteOrder::Big {
        bytes[offset..offset + len].reverse();
    }
}

/// The full product.
pub(super) fn slow_passing(sectors: &[Vec<Vec<u8>>], rule: &Rule) -> Vec<Vec<usize>> {
    let mut product = vec![(Vec::new(), Vec::new())];
    for contents in sectors {
        let mut longer = Vec::new();
        for (combination, bytes) in &product {
            for (index, content) in contents.iter().enumerate() {
                longer
                    .push(([&combination[..], &[index]].concat(), [&bytes[..], content].concat()));
            }
        }
        product = longer;
    }
    product.retain(|(_, bytes)| slow_holds(rule, bytes));
    product.into_iter().map(|(combination, _)| combination).collect()
}
