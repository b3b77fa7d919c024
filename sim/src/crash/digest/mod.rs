//! Which combinations of candidate sectors pass a checksum.
//!
//! After a power cut every sector has a list of candidate contents. Recovery code that reads n of
//! them and compares one checksum goes one way for the few combinations that pass and the same
//! other way for all that fail, yet deciding the sectors one by one costs a run for each of up to
//! 2^n. [`passing`] lists those that pass, so that such a read has one branch for each and one more
//! for "no match".
//!
//! # What is promised
//! * Every combination that is returned passes: its digest is computed from its bytes.
//! * None is missing if [`Passing::complete`]. Otherwise a bound was reached, the result names it,
//!   and no combination that precedes the last one is missing.
//! * Same input, same result, in the same order: lexicographic.
//! * Combinations are tried one by one. Nothing is assumed about hashes here: a
//!   collision between candidates would be listed. A caller who does not enumerate, but takes equal
//!   strong digests for equal contents, assumes that there is none, and its verdict says so.
//!
//! What is not here: disks, choices, and what a failed match says about the sectors.

mod passing;
mod product;
mod rule;

#[cfg(test)]
mod tests;

pub use passing::{Bound, Bounds, Passing};
pub use rule::{Algorithm, ByteOrder, Rule, Stored};

/// The combinations of one candidate for each sector whose concatenation passes `rule`.
///
/// `candidates[i]` are the possible contents of sector i, all of one length; sectors may differ in
/// length. Contents that are listed twice count twice.
///
/// # Panics
/// If a sector has no candidate or candidates of different lengths, or if the stored digest is not
/// within the sectors.
///
/// # Example
/// ```
/// use plugpull_sim::crash::digest::{Algorithm, Bounds, Rule, Stored, passing};
///
/// let old: [&[u8]; 2] = [b"old head", b"old body"];
/// let new: [&[u8]; 2] = [b"new head", b"new body"];
/// let candidates = [vec![old[0], new[0]], vec![old[1], new[1]]];
/// let digest = Algorithm::Crc32.digest(&new.concat());
/// let rule = Rule { algorithm: Algorithm::Crc32, stored: Stored::Value(digest) };
/// let found = passing(&candidates, &rule, Bounds { passing_max: 10, steps_max: 1000 });
/// assert_eq!(found.combinations, [[1, 1]]);
/// assert!(found.complete());
/// ```
#[must_use]
pub fn passing(candidates: &[Vec<&[u8]>], rule: &Rule, bounds: Bounds) -> Passing {
    check_shape(candidates, rule);
    if !rule.attainable() {
        return Passing::none();
    }
    let found = product::enumerate(candidates, rule, bounds);
    for combination in &found.combinations {
        let bytes = concatenated(candidates, combination);
        assert!(rule.holds(&bytes), "harness bug: {combination:?} does not pass {rule:?}");
    }
    found
}

fn check_shape(candidates: &[Vec<&[u8]>], rule: &Rule) {
    let mut len = 0;
    for (sector, contents) in candidates.iter().enumerate() {
        let first = contents.first().map(|content| content.len());
        let first = first.unwrap_or_else(|| panic!("no candidate for sector {sector}"));
        let equal = contents.iter().all(|content| content.len() == first);
        assert!(equal, "candidates of different lengths for sector {sector}");
        len += first;
    }
    let field = rule.field();
    assert!(field.end <= len, "the digest is stored at {field:?}, and only {len} bytes are read");
}

fn concatenated(candidates: &[Vec<&[u8]>], combination: &[usize]) -> Vec<u8> {
    let chosen = candidates.iter().zip(combination).map(|(contents, &index)| contents[index]);
    chosen.collect::<Vec<_>>().concat()
}
