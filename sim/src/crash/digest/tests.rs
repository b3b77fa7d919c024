//! The solver against a slow, obvious reference.

mod large;
mod reference;

use std::cell::Cell;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};

use super::*;
use reference::{slow_digest, slow_passing};

pub(super) use reference::store;

pub(super) const WITH_ALGEBRA: [Algorithm; 5] =
    [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Xor8, Algorithm::Xor64, Algorithm::Sum32];

const NO_BOUNDS: Bounds = Bounds { passing_max: usize::MAX, steps_max: u64::MAX };

/// Candidates for each sector.
type Sectors = Vec<Vec<Vec<u8>>>;

fn split_like(sectors: &[Vec<Vec<u8>>], mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut parts = Vec::new();
    for contents in sectors {
        let (part, rest) = bytes.split_at(contents[0].len());
        parts.push(part.to_vec());
        bytes = rest;
    }
    parts
}

fn fast_passing(sectors: &[Vec<Vec<u8>>], rule: &Rule, bounds: Bounds) -> Passing {
    let candidates: Vec<Vec<&[u8]>> =
        sectors.iter().map(|contents| contents.iter().map(Vec::as_slice).collect()).collect();
    passing(&candidates, rule, bounds)
}

/// Compares with the reference, without bounds and with bounds that are too tight; returns how
/// many combinations pass.
fn check(sectors: &[Vec<Vec<u8>>], rule: &Rule) -> usize {
    let expected = slow_passing(sectors, rule);
    let all = Passing { combinations: expected.clone(), stopped: None };
    let count = expected.len();
    assert_eq!(fast_passing(sectors, rule, NO_BOUNDS), all);
    assert_eq!(fast_passing(sectors, rule, Bounds { passing_max: count, ..NO_BOUNDS }), all);
    if let Some(fewer) = count.checked_sub(1) {
        let found = fast_passing(sectors, rule, Bounds { passing_max: fewer, ..NO_BOUNDS });
        assert_eq!(found.stopped, Some(Bound::Passing));
        assert_eq!(found.combinations, expected[..fewer]);
    }
    for steps_max in [0, 1, 3, 10, 50] {
        let found = fast_passing(sectors, rule, Bounds { steps_max, ..NO_BOUNDS });
        let listed = found.combinations.len();
        assert_eq!(found.combinations, expected[..listed]);
        match found.stopped {
            None => assert_eq!(listed, count),
            Some(bound) => assert_eq!(bound, Bound::Steps),
        }
    }
    count
}

/// How a random instance is made to have solutions.
#[derive(Debug, Clone)]
struct Plan {
    /// The candidate of each sector that together pass.
    planted: Vec<Index>,
    /// Places of changes that have no effect on the digest; the changed sectors are candidates.
    neutral: Vec<Index>,
    /// Whether the planted combination gets the digest that is expected.
    passes: bool,
}

/// A change of at most twelve bytes at `at` that leaves the digest as it is, unless it touches the
/// field.
fn change_without_effect(algorithm: Algorithm, at: usize, bytes: &mut [u8]) {
    // CRCs of multiples of the generator are zero. Bits are reflected: the highest power comes first.
    let mut add = |generator: u64| {
        for (n, byte) in generator.to_le_bytes()[..5].iter().enumerate() {
            bytes[at + n] ^= byte;
        }
    };
    match algorithm {
        Algorithm::Crc32 => add(0xEDB8_8320 << 1 | 1),
        Algorithm::Crc32c => add(0x82F6_3B78 << 1 | 1),
        // The places in a word are the same.
        Algorithm::Xor8 | Algorithm::Sum32 => bytes.swap(at, at + 4),
        Algorithm::Xor64 => bytes.swap(at, at + 8),
        Algorithm::Xxh3 => {}
    }
}

/// Carries the plan out: `sectors` then have the solutions, and the rule is satisfied by them.
fn plant(sectors: &mut Sectors, rule: &mut Rule, plan: &Plan) {
    let indices: Vec<_> =
        sectors.iter().zip(&plan.planted).map(|(of, index)| index.index(of.len())).collect();
    let chosen = sectors.iter().zip(&indices).map(|(contents, &index)| &contents[index][..]);
    let mut bytes = chosen.collect::<Vec<_>>().concat();
    if plan.passes {
        store(rule, &mut bytes);
        if let Stored::Value(value) = &mut rule.stored {
            *value = slow_digest(rule.algorithm, &bytes);
        }
    }
    let parts = split_like(sectors, &bytes);
    for ((contents, &index), part) in sectors.iter_mut().zip(&indices).zip(parts) {
        contents[index] = part;
    }
    for at in plan.neutral.iter().filter(|_| bytes.len() > 12) {
        let mut changed = bytes.clone();
        change_without_effect(rule.algorithm, at.index(bytes.len() - 12), &mut changed);
        let parts = split_like(sectors, &changed);
        for (contents, part) in sectors.iter_mut().zip(parts) {
            if !contents.contains(&part) && contents.len() < 4 {
                contents.push(part);
            }
        }
    }
}

fn sectors() -> impl Strategy<Value = Sectors> {
    // With few different bytes the short digests of many combinations are equal.
    (prop_oneof![Just(1_u8), Just(255)], 1_usize..=6).prop_flat_map(|(byte_max, count)| {
        let sector = (4_usize..=64).prop_flat_map(move |len| {
            let content = prop::collection::vec(0..=byte_max, len);
            prop::collection::btree_set(content, 1..=4)
        });
        let sector = sector.prop_map(|contents| contents.into_iter().collect());
        prop::collection::vec(sector, count)
    })
}

fn plan() -> impl Strategy<Value = Plan> {
    let indices = |count| prop::collection::vec(any::<Index>(), count);
    (indices(6..=6), indices(0..=3), prop::bool::weighted(0.9))
        .prop_map(|(planted, neutral, passes)| Plan { planted, neutral, passes })
}

fn instance() -> impl Strategy<Value = (Sectors, Rule)> {
    let algorithms = [&WITH_ALGEBRA[..], &[Algorithm::Xxh3]].concat();
    let algorithm = prop::sample::select(algorithms);
    let field = prop::option::of((any::<Index>(), any::<bool>()));
    (sectors(), algorithm, field, plan(), any::<u8>()).prop_map(
        |(mut sectors, algorithm, field, plan, value)| {
            let len: usize = sectors.iter().map(|contents| contents[0].len()).sum();
            let places = (len + 1).saturating_sub(algorithm.digest_len());
            let stored = match field {
                Some((at, big)) if places > 0 => {
                    let order = if big { ByteOrder::Big } else { ByteOrder::Little };
                    Stored::At { offset: at.index(places), order }
                }
                _ => Stored::Value(value.into()),
            };
            let mut rule = Rule { algorithm, stored };
            plant(&mut sectors, &mut rule, &plan);
            (sectors, rule)
        },
    )
}

#[test]
fn random_instances_have_the_solutions_of_the_reference() {
    let cases = 8 * ProptestConfig::default().cases;
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let by_count: [Cell<u32>; 3] = Default::default();
    let several_with_field: [Cell<u32>; 5] = Default::default();
    let run = TestRunner::new_with_rng(config, rng).run(&instance(), |(sectors, rule)| {
        let count = check(&sectors, &rule);
        by_count[count.min(2)].update(|cases| cases + 1);
        let algorithm = WITH_ALGEBRA.iter().position(|&one| one == rule.algorithm);
        if let (Some(algorithm), Stored::At { .. }, 2..) = (algorithm, rule.stored, count) {
            several_with_field[algorithm].update(|cases| cases + 1);
        }
        Ok(())
    });
    run.unwrap();
    // What was compared is worth comparing.
    let none_one_several = by_count.map(|cell| cell.get() * 20 / cases);
    assert!(none_one_several.iter().all(|&share| share >= 1), "{none_one_several:?} of 20");
    let several = several_with_field.map(|cell| cell.get());
    assert!(several.iter().all(|&number| number >= cases / 100), "{several:?} of {cases}");
}

#[test]
fn all_small_instances_of_a_small_digest() {
    // Two sectors of one byte, two candidates each, four different bytes.
    let rules = [0, 1, 3]
        .map(Stored::Value)
        .into_iter()
        .chain([0, 1].map(|offset| Stored::At { offset, order: ByteOrder::Little }));
    for stored in rules {
        let rule = Rule { algorithm: Algorithm::Xor8, stored };
        for bits in 0..256 {
            let byte = |shift: u8| vec![u8::try_from(bits >> shift & 3).unwrap()];
            check(&[vec![byte(0), byte(2)], vec![byte(4), byte(6)]], &rule);
        }
    }
}

#[test]
fn what_cannot_match_has_no_solutions_and_is_complete() {
    let sectors = [vec![vec![1], vec![2]]];
    let rule = |algorithm, value| Rule { algorithm, stored: Stored::Value(value) };
    assert_eq!(check(&sectors, &rule(Algorithm::Xor8, 2)), 1);
    assert_eq!(check(&sectors, &rule(Algorithm::Xor8, 0x102)), 0);
    assert_eq!(check(&sectors, &rule(Algorithm::Sum32, 1 << 32 | 2)), 0);
    assert_eq!(check(&sectors, &rule(Algorithm::Crc32, u128::MAX)), 0);
    assert_eq!(check(&[], &rule(Algorithm::Crc32, 0)), 1);
    assert_eq!(check(&[], &rule(Algorithm::Crc32, 1)), 0);
}

#[test]
fn contents_that_are_listed_twice_count_twice() {
    for algorithm in WITH_ALGEBRA.into_iter().chain([Algorithm::Xxh3]) {
        let rule = Rule { algorithm, stored: Stored::Value(slow_digest(algorithm, &[7, 8])) };
        assert_eq!(check(&[vec![vec![7], vec![7]], vec![vec![8], vec![1], vec![8]]], &rule), 4);
    }
}

#[test]
#[should_panic(expected = "no candidate for sector 1")]
fn a_sector_without_candidates_is_a_mistake() {
    let rule = Rule { algorithm: Algorithm::Xor8, stored: Stored::Value(0) };
    let _ = fast_passing(&[vec![vec![0]], vec![]], &rule, NO_BOUNDS);
}

#[test]
#[should_panic(expected = "the digest is stored at 1..5, and only 4 bytes are read")]
fn a_field_outside_is_a_mistake() {
    let stored = Stored::At { offset: 1, order: ByteOrder::Little };
    let rule = Rule { algorithm: Algorithm::Crc32, stored };
    let _ = fast_passing(&[vec![vec![0; 4]]], &rule, NO_BOUNDS);
}
