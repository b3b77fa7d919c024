//! Which combinations of candidate sectors pass a checksum.
//!
//! After a power cut every sector has a list of candidate contents. Recovery code that reads n of
//! them and compares one checksum goes one way for the few combinations that pass and the same
//! other way for all that fail, yet deciding the sectors one by one costs a run for each of up to
//! 2^n. [`passing`] lists those that pass, so that such a read has one branch for each and one more
//! for "no match".
//!
//! # The algebra
//! For contents c_0, c_1, ... of given lengths, each algorithm but the hash is a sum in an abelian
//! group of one *term* for each sector, which depends on that sector's content and place only:
//!
//! | algorithm | group | term of sector i |
//! |---|---|---|
//! | CRC-32, CRC-32C | GF(2)^32, XOR | crc(c_i) times x^(8 × bytes after it) modulo the generator |
//! | XOR of bytes, of 64-bit words | GF(2)^8, GF(2)^64, XOR | its bytes, each moved to its place in the word |
//! | sum of 32-bit words | integers modulo 2^32 | its bytes, each moved to its place in the word |
//!
//! A CRC is affine in the bits of the message. Its constant is inside the terms, because
//! crc(a b) = crc(a) x^(8 |b|) + crc(b) holds with the usual initial and final complement.
//!
//! A digest that is stored in a sector itself is computed with its own bytes as zeros. Its bits are
//! sums over sectors as well, so they move to the left side: the term of the sector that holds it is
//! the term of the zeroed content less the stored value, and the terms must add up to zero.
//!
//! So the question is: pick one term of each sector such that they add up to the target. The terms
//! of sectors i.. can only add up to elements of a coset: the sum of their first candidates plus the
//! subgroup that the differences between candidates generate. Over GF(2) that is a span, for which
//! Gaussian elimination gives a basis. A walk over the sectors that leaves when the rest of
//! the target is outside the coset of the sectors to come ends only at solutions if no sector has
//! more than two candidates: every element of a span of n differences is a sum of some of them. With
//! more candidates a coset is an over-estimate (two differences of one sector cannot both be
//! chosen), and for integers a coarse one; then the last sectors' sums are looked up in a table, as
//! in "meet in the middle".
//!
//! # What is promised
//! * Every combination that is returned passes: its digest is computed from its bytes.
//! * None is missing if [`Passing::complete`]. Otherwise a bound was reached, the result names it,
//!   and no combination that precedes the last one is missing.
//! * Same input, same result, in the same order: lexicographic.
//! * A hash has no algebra, so its combinations are tried one by one. Nothing is assumed here: a
//!   collision between candidates would be listed. A caller who does not enumerate, but takes equal
//!   strong digests for equal contents, assumes that there is none, and its verdict says so.
//!
//! What is not here: disks, choices, and what a failed match says about the sectors.

mod equation;
mod group;
mod passing;
mod product;
mod rule;
mod search;
mod table;

#[cfg(test)]
mod tests;

pub use passing::{Bound, Bounds, Passing};
pub use rule::{Algorithm, ByteOrder, Rule, Stored};

use equation::Equation;

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
    let found = match Equation::new(candidates, rule) {
        Some(equation) => search::solve(&equation, bounds),
        None => product::enumerate(candidates, rule, bounds),
    };
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
