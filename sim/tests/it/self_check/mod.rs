//! Exploration checks itself: random disks, random histories, a power cut, a random recovery program
//! and random queries, on undecided disks and by brute force. They must have the same outcomes, as
//! often; so must recoveries that are cut again, as deep as two cuts.
//!
//! Brute force is slow and obvious: it makes every crash image of every crash point, one by one, and
//! runs the same program on it. What a disk may be left with at one crash point is not in question
//! here: [`super::disk_reference`] is about that.
//!
//! Each case is drawn from a stream of its own. One that fails is made smaller and printed.

mod brute;
mod case;
mod counts;
mod disks;
mod exact;
mod growth;
mod history;
pub(crate) mod images;
mod partition;
mod program;
mod random;
mod request;
mod shrink;

use case::Case;
pub(crate) use counts::Counts;

/// Checks one case.
///
/// # Panics
/// If the two sides differ.
pub(crate) fn check(seed: u64, stream: u64, counts: &mut Counts) {
    let case = Case::random(seed, stream);
    if let Err(error) = case.check(counts) {
        let text = case.to_string();
        let (smaller, why) = shrink::shrink(case, error.clone());
        panic!(
            "case {stream} of seed {seed}: {error}\n\nin\n{text}\nsmaller, {why}\n\nin\n{smaller}"
        );
    }
}

#[test]
fn undecided_disks_do_what_brute_force_does() {
    const CASES: u64 = 2000;
    let mut counts = Counts::default();
    for stream in 0..CASES {
        check(1, stream, &mut counts);
    }
    counts.assert_not_vacuous();
}
