//! A rule over candidates as an equation in an abelian group; the algebra is in the module above.

use super::group::Group;
use super::rule::{Algorithm, Rule, Stored};

/// Pick one term of each sector such that they add up to the target.
#[derive(Debug)]
pub(super) struct Equation {
    pub(super) group: Group,
    /// One list for each sector, one term for each of its candidates.
    pub(super) terms: Vec<Vec<u64>>,
    pub(super) target: u64,
}

/// Where a sector is among those that are read.
#[derive(Debug, Clone, Copy)]
struct Place {
    bytes_before: usize,
    bytes_after: usize,
}

impl Equation {
    /// None if the algorithm has no algebra.
    ///
    /// # Panics
    /// If the expected value is wider than a digest.
    pub(super) fn new(candidates: &[Vec<&[u8]>], rule: &Rule) -> Option<Self> {
        let group = Group::of(rule.algorithm)?;
        let target = match rule.stored {
            Stored::Value(value) => element(value),
            Stored::At { .. } => 0,
        };
        let mut bytes_after = candidates.iter().map(|contents| contents[0].len()).sum();
        let mut bytes_before = 0;
        let mut terms = Vec::with_capacity(candidates.len());
        for contents in candidates {
            bytes_after -= contents[0].len();
            let place = Place { bytes_before, bytes_after };
            terms.push(contents.iter().map(|content| term(rule, group, place, content)).collect());
            bytes_before += contents[0].len();
        }
        Some(Self { group, terms, target })
    }
}

fn term(rule: &Rule, group: Group, place: Place, content: &[u8]) -> u64 {
    let mut content = content.to_vec();
    let stored = element(rule.take_field(place.bytes_before, &mut content));
    group.minus(digest_part(rule.algorithm, place, &content), stored)
}

/// What `content` contributes to the digest of all that is read.
fn digest_part(algorithm: Algorithm, place: Place, content: &[u8]) -> u64 {
    let bytes = place.bytes_after as u64;
    // Its byte n goes to place `before + n` of a word, wherever the sector begins.
    let moved = |word_len| {
        let place = move |n| (place.bytes_before % word_len + n) % word_len;
        content.iter().enumerate().map(move |(n, &byte)| u64::from(byte) << (8 * place(n)))
    };
    match algorithm {
        Algorithm::Crc32 => followed_by_zeros(crc32fast::hash(content), bytes).into(),
        Algorithm::Crc32c => {
            crc32c::crc32c_combine(crc32c::crc32c(content), 0, place.bytes_after).into()
        }
        Algorithm::Xor8 => moved(1).fold(0, |all, byte| Group::Xor.plus(all, byte)),
        Algorithm::Xor64 => moved(8).fold(0, |all, byte| Group::Xor.plus(all, byte)),
        Algorithm::Sum32 => moved(4).fold(0, |all, byte| Group::Integers32.plus(all, byte)),
        Algorithm::Xxh3 => unreachable!("harness bug: a hash has no parts"),
    }
}

/// `crc` times x^(8 × `bytes`): the contribution of a message to the CRC-32 of a longer one.
fn followed_by_zeros(crc: u32, bytes: u64) -> u32 {
    let mut all = crc32fast::Hasher::new_with_initial(crc);
    // Combining adds the CRC of what follows; without it only the multiplication remains.
    all.combine(&crc32fast::Hasher::new_with_initial_len(0, bytes));
    all.finalize()
}

fn element(value: u128) -> u64 {
    u64::try_from(value).expect("digests with algebra have at most 64 bits")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::rule::ByteOrder;
    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_digest_is_the_sum_of_its_parts(
            sectors in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..6),
        ) {
            for algorithm in super::super::tests::WITH_ALGEBRA {
                let candidates: Vec<_> = sectors.iter().map(|bytes| vec![&bytes[..]]).collect();
                let digest = algorithm.digest(&sectors.concat());
                let rule = Rule { algorithm, stored: Stored::Value(digest) };
                let equation = Equation::new(&candidates, &rule).unwrap();
                let group = equation.group;
                let sum = equation.terms.iter().fold(0, |sum, terms| group.plus(sum, terms[0]));
                prop_assert_eq!(u128::from(sum), digest, "{:?}", algorithm);
            }
        }

        #[test]
        fn with_the_digest_in_place_the_terms_add_up_to_zero(
            mut bytes in prop::collection::vec(any::<u8>(), 8..60),
            cut in any::<prop::sample::Index>(),
            field in any::<prop::sample::Index>(),
            big in any::<bool>(),
        ) {
            for algorithm in super::super::tests::WITH_ALGEBRA {
                let offset = field.index(bytes.len() + 1 - algorithm.digest_len());
                let order = if big { ByteOrder::Big } else { ByteOrder::Little };
                let rule = Rule { algorithm, stored: Stored::At { offset, order } };
                super::super::tests::store(&rule, &mut bytes);
                let (head, tail) = bytes.split_at(cut.index(bytes.len()));
                let equation = Equation::new(&[vec![head], vec![tail]], &rule).unwrap();
                let sum = equation.group.plus(equation.terms[0][0], equation.terms[1][0]);
                prop_assert_eq!((sum, equation.target), (0, 0), "{:?}", rule);
            }
        }

        #[test]
        fn differences_of_crcs_do_not_depend_on_the_message(
            (one, other, difference) in (0_usize..80).prop_flat_map(|len| {
                let bytes = || prop::collection::vec(any::<u8>(), len);
                (bytes(), bytes(), bytes())
            }),
        ) {
            for crc in [Algorithm::Crc32, Algorithm::Crc32c] {
                let effect = |bytes: &[u8]| {
                    let changed: Vec<_> = bytes.iter().zip(&difference).map(|(a, b)| a ^ b).collect();
                    crc.digest(bytes) ^ crc.digest(&changed)
                };
                prop_assert_eq!(effect(&one), effect(&other));
            }
        }
    }
}
