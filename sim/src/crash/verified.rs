//! Reads that verify what they read: several sectors, and a digest over all of them.
//!
//! Read one by one, n sectors with two contents each are 2^n ways of which nearly all fail. A
//! verified read is answered by *which combination passes*, or that none does: one way for each
//! that passes and one more. After "none" the sectors stay undecided, and all that is known of them
//! is that no passing combination is there ([`Undecided`](crate::disk::Undecided) calls that a
//! clause); whoever reads one of them later is asked only for what agrees with it.
//!
//! The content is shown only if the digest matches, because what a program does with sectors that
//! failed would depend on each of them: it has to read them for that.
//!
//! Where sectors are not independent, and where there are more passing combinations than
//! [`BOUNDS`], the sectors are decided one by one instead. That is as exact, and takes more ways.

use plugpull_engine::ByteRange;

use crate::crash::LazyDisks;
use crate::crash::digest::{Bounds, Rule, passing};
use crate::crash::path::{About, Asked};
use crate::disk::Op;

/// How many passing combinations are looked for, and how hard.
pub const BOUNDS: Bounds = Bounds { passing_max: 4096, steps_max: 1 << 20 };

impl LazyDisks {
    /// Reads whole sectors; none if the digest does not match.
    ///
    /// # Panics
    /// If the range is not made of whole sectors of the disk, or does not hold a digest that the
    /// rule says is stored in it.
    pub fn verified(&mut self, disk: usize, range: ByteRange, rule: &Rule) -> Option<Vec<u8>> {
        let unit = self.disk(disk).spec().sector_len as u64;
        assert!(
            range.offset.is_multiple_of(unit) && range.len.is_multiple_of(unit),
            "{range} is not in sectors of {unit} bytes"
        );
        self.len_of(disk);
        if !self.is_known(disk, range) {
            self.decide_digest(disk, range, rule)?;
        }
        let len = usize::try_from(range.len).expect("a range that fits in memory");
        let bytes = self.request(disk, Op::Read { offset: range.offset, len });
        let bytes = bytes.expect("reads do not fail here");
        rule.holds(&bytes).then_some(bytes)
    }

    /// Decides which passing combination is there, if one is; none if it is known that none is.
    fn decide_digest(&mut self, disk: usize, range: ByteRange, rule: &Rule) -> Option<()> {
        let sectors = range.units(self.disk(disk).spec().sector_len as u64);
        let candidates: Option<Vec<_>> =
            sectors.clone().map(|sector| self.disk(disk).candidates(sector)).collect();
        let Some(candidates) = candidates else { return Some(()) };
        let contents: Vec<Vec<&[u8]>> =
            candidates.iter().map(|list| list.iter().map(|content| &**content).collect()).collect();
        let found = passing(&contents, rule, BOUNDS);
        if !found.complete() {
            return Some(());
        }
        let spelled = |combination: &Vec<usize>| {
            let chosen = candidates.iter().zip(combination).map(|(list, &at)| list[at].clone());
            sectors.clone().zip(chosen).collect::<Vec<_>>()
        };
        let all: Vec<_> = found.combinations.iter().map(spelled).collect();
        let possible: Vec<_> =
            all.into_iter().filter(|combination| self.disk(disk).allows(combination)).collect();
        let none = self.disk(disk).clone().rule_out(&possible);
        let answers = possible.len() + usize::from(none);
        let about = Asked { disk, about: About::Digest(sectors.start) };
        let answer = if answers > 1 { self.path.answer(about, answers, 0) } else { 0 };
        match possible.get(answer) {
            Some(combination) => {
                self.disk_mut(disk).assume(combination);
                Some(())
            }
            None => {
                assert!(self.disk_mut(disk).rule_out(&possible), "something is left");
                None
            }
        }
    }
}
