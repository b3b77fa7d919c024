//! More combinations than can be enumerated.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::reference::{met_in_the_middle, slow_digest, slow_passing, store};
use super::*;

fn random_sectors(seed: u64, sectors: usize, candidates: usize, len: usize) -> Sectors {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut content = || {
        let mut bytes = vec![0; len];
        rng.fill_bytes(&mut bytes);
        bytes
    };
    (0..sectors).map(|_| (0..candidates).map(|_| content()).collect()).collect()
}

/// The rule that the indices `planted`, repeated as often as needed, pass.
fn rule_for(algorithm: Algorithm, sectors: &mut Sectors, planted: &[usize], field: bool) -> Rule {
    let stored = match field {
        true => Stored::At { offset: 3, order: ByteOrder::Big },
        false => Stored::Value(0),
    };
    let mut rule = Rule { algorithm, stored };
    let index = |n: usize| planted[n % planted.len()];
    let chosen = sectors.iter().enumerate().map(|(n, contents)| &contents[index(n)][..]);
    let mut bytes = chosen.collect::<Vec<_>>().concat();
    store(&rule, &mut bytes);
    if let Stored::Value(value) = &mut rule.stored {
        *value = slow_digest(algorithm, &bytes);
    }
    let parts = split_like(sectors, &bytes);
    for (n, (contents, part)) in sectors.iter_mut().zip(parts).enumerate() {
        contents[index(n)] = part;
    }
    rule
}

fn repeated(planted: &[usize], sectors: usize) -> Vec<usize> {
    planted.iter().copied().cycle().take(sectors).collect()
}

#[test]
fn sixteen_pairs_have_the_solutions_of_the_reference() {
    for (seed, field) in [(1, false), (2, true)] {
        let mut sectors = random_sectors(seed, 16, 2, 8);
        let rule = rule_for(Algorithm::Crc32, &mut sectors, &[1, 0, 1], field);
        let expected = slow_passing(&sectors, &rule);
        assert!(expected.contains(&repeated(&[1, 0, 1], 16)));
        let found = fast_passing(&sectors, &rule, Bounds { passing_max: 100, steps_max: 200 });
        assert_eq!(found, Passing { combinations: expected, stopped: None });
    }
}

#[test]
fn forty_pairs_have_as_many_solutions_as_the_kernel_has_elements() {
    for algorithm in [Algorithm::Crc32, Algorithm::Crc32c] {
        for field in [false, true] {
            let mut sectors = random_sectors(3, 40, 2, 512);
            let rule = rule_for(algorithm, &mut sectors, &[0, 1, 1], field);
            let found = fast_passing(&sectors, &rule, NO_BOUNDS);
            // Forty unknowns in 32 equations, all of which are independent here. Every one listed
            // was checked, so if they are 2^(40 - 32) there is no other.
            assert_eq!((found.combinations.len(), found.stopped), (256, None));
            assert!(found.combinations.contains(&repeated(&[0, 1, 1], 40)));
        }
    }
}

#[test]
fn sixty_four_pairs_reach_the_bound_on_what_is_listed_without_dead_ends() {
    let mut sectors = random_sectors(4, 64, 2, 512);
    let rule = rule_for(Algorithm::Crc32, &mut sectors, &[1], false);
    // Two steps for each sector are enough to find the next one.
    let bounds = Bounds { passing_max: 50, steps_max: 50 * 2 * 64 };
    let found = fast_passing(&sectors, &rule, bounds);
    assert_eq!((found.combinations.len(), found.stopped), (50, Some(Bound::Passing)));
    // With 64 equations few combinations remain, here one.
    let rule = rule_for(Algorithm::Xor64, &mut sectors, &[1, 0], true);
    let found = fast_passing(&sectors, &rule, bounds);
    assert!(found.complete() && found.combinations.contains(&repeated(&[1, 0], 64)));
}

#[test]
fn two_hundred_pairs_of_which_few_differ_in_effect() {
    // Sectors whose candidates have equal XORs of bytes are free, the others are not.
    let mut sectors = vec![vec![vec![1, 2], vec![2, 2]]; 200];
    for free in [0, 50, 199] {
        sectors[free] = vec![vec![1, 2], vec![2, 1]];
    }
    let rule = rule_for(Algorithm::Xor64, &mut sectors, &[0], false);
    let bounds = Bounds { passing_max: 8, steps_max: 10_000 };
    assert_eq!(fast_passing(&sectors, &rule, bounds).stopped, Some(Bound::Passing));
    sectors.truncate(51);
    sectors.iter_mut().for_each(|contents| contents.truncate(1));
    sectors[7].push(vec![1, 3]);
    sectors[9].push(vec![1, 3]);
    let rule = rule_for(Algorithm::Xor64, &mut sectors, &[0], false);
    assert_eq!(check(&sectors, &rule), 1, "different places in the word");
}

#[test]
fn twenty_triples_have_the_solutions_that_meet_in_the_middle() {
    let bounds = Bounds { passing_max: 1000, steps_max: 1_000_000 };
    let planted = [2, 0, 1, 1, 2, 0, 0];
    for algorithm in [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Sum32] {
        let mut sectors = random_sectors(5, 20, 3, 12);
        let rule = rule_for(algorithm, &mut sectors, &planted, false);
        let expected = match algorithm {
            Algorithm::Sum32 => met_in_the_middle(
                &sectors,
                &rule,
                |a, b| (a + (1 << 32) - b) % (1 << 32),
                |a, b| (a + b) % (1 << 32),
            ),
            _ => met_in_the_middle(&sectors, &rule, |a, b| a ^ b, |a, b| a ^ b),
        };
        assert!(expected.contains(&repeated(&planted, 20)));
        let found = fast_passing(&sectors, &rule, bounds);
        assert_eq!(found, Passing { combinations: expected, stopped: None });
    }
}

#[test]
fn sums_of_many_sectors_and_hashes_of_many_reach_the_bound_on_steps() {
    // The second bound is one at which the first attempt, without a table, came further.
    let sums = [100_000, 16_394].map(|steps_max| (Algorithm::Sum32, steps_max));
    for (algorithm, steps_max) in sums.into_iter().chain([(Algorithm::Xxh3, 1000)]) {
        let mut sectors = random_sectors(6, 64, 2, 16);
        let rule = rule_for(algorithm, &mut sectors, &[1], true);
        let bounds = Bounds { passing_max: 10, steps_max };
        let found = fast_passing(&sectors, &rule, bounds);
        assert_eq!(found.stopped, Some(Bound::Steps));
        let first = rule_for(algorithm, &mut sectors, &[0], false);
        let found = fast_passing(&sectors, &first, bounds);
        assert_eq!(found.combinations[0], [0; 64], "what comes before the bound is listed");
        assert_eq!(found.stopped, Some(Bound::Steps));
    }
}

#[test]
fn hashes_are_enumerated_completely_within_the_bound() {
    let mut sectors = random_sectors(7, 10, 2, 16);
    let rule = rule_for(Algorithm::Xxh3, &mut sectors, &[1], true);
    let found = fast_passing(&sectors, &rule, Bounds { passing_max: 10, steps_max: 1024 });
    assert_eq!(found, Passing { combinations: vec![vec![1; 10]], stopped: None });
    let found = fast_passing(&sectors, &rule, Bounds { passing_max: 10, steps_max: 1023 });
    assert_eq!(found, Passing { combinations: vec![], stopped: Some(Bound::Steps) });
}
