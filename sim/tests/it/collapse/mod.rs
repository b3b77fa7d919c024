//! How far exploration collapses: cases with up to 2^65 crash states, and how many ways recovery
//! can go in each. The bench `crash_exact` measures the same cases.

use num_bigint::BigUint;
use plugpull_sim::crash::AfterCut;

mod cases;

use cases::{
    Figures, Writer, bitmap, blocks, commit, enumerate_blocks, explore_all_records, explore_bitmap,
    explore_log, explore_plain_commit, explore_pointer_flip, explore_verified_commit, log,
    pointer_flip, records,
};

fn check(writer: &Writer, explore: fn(&AfterCut) -> Figures, expected: (u64, u64, BigUint)) {
    let (paths, queries, states) = expected;
    let cut = writer.cut();
    assert_eq!(cut.states(), states);
    assert_eq!(explore(&cut), Figures { paths, queries, states });
}

fn two_to_the(exponent: u32) -> BigUint {
    BigUint::from(2_u32).pow(exponent)
}

#[test]
fn a_pointer_flip_goes_two_ways() {
    // One answer for each sector of the old area, two for the new one.
    check(&pointer_flip(), explore_pointer_flip, (2, 64 + 128, two_to_the(65)));
}

#[test]
fn a_log_goes_one_way_for_each_hole() {
    check(&log(), explore_log, (65, 0, two_to_the(64)));
}

#[test]
fn a_bitmap_goes_one_way_for_each_version() {
    check(&bitmap(), explore_bitmap, (17, 17 * 64 * 2, 17_u32 * two_to_the(64)));
}

#[test]
fn a_commit_with_a_digest_goes_three_ways_where_reading_it_goes_one_for_each_body() {
    check(&commit(), explore_verified_commit, (3, 0, two_to_the(17)));
    check(&commit(), explore_plain_commit, (1 + (1 << 16), 0, two_to_the(17)));
}

#[test]
fn reading_everything_goes_every_way() {
    check(&records(), explore_all_records, (1 << 16, 0, two_to_the(16)));
}

#[test]
fn every_state_of_unflushed_blocks_is_seen_once() {
    for count in [4, 8, 12] {
        assert_eq!(enumerate_blocks(&blocks(count).disk.crash_space()), 1 << count);
    }
}
