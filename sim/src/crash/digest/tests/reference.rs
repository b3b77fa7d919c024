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

/// All solutions by meeting in the middle of what single candidates change in the whole digest.
pub(super) fn met_in_the_middle(
    sectors: &[Vec<Vec<u8>>],
    rule: &Rule,
    minus: fn(u128, u128) -> u128,
    plus: fn(u128, u128) -> u128,
) -> Vec<Vec<usize>> {
    let Stored::Value(expected) = rule.stored else { panic!("only for known digests") };
    let first: Vec<_> = sectors.iter().map(|contents| contents[0].clone()).collect();
    let all_first = slow_digest(rule.algorithm, &first.concat());
    let half = |from: usize, to: usize| {
        let mut sums = vec![(0, Vec::new())];
        for sector in from..to {
            let changes = sectors[sector].iter().map(|content| {
                let mut parts = first.clone();
                parts[sector].clone_from(content);
                minus(slow_digest(rule.algorithm, &parts.concat()), all_first)
            });
            let changes: Vec<_> = changes.collect();
            let longer = sums.iter().flat_map(|(sum, combination)| {
                changes.iter().enumerate().map(move |(index, &change)| {
                    (plus(*sum, change), [&combination[..], &[index]].concat())
                })
            });
            sums = longer.collect();
        }
        sums
    };
    let mut heads = half(0, sectors.len() / 2);
    heads.sort();
    let mut found = Vec::new();
    for (tail_sum, tail) in half(sectors.len() / 2, sectors.len()) {
        let wanted = minus(minus(expected, all_first), tail_sum);
        let start = heads.partition_point(|(sum, _)| *sum < wanted);
        let equal = heads[start..].iter().take_while(|(sum, _)| *sum == wanted);
        found.extend(equal.map(|(_, head)| [&head[..], &tail].concat()));
    }
    found.sort();
    found
}
