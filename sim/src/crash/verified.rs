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

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::ops::ControlFlow;

    use num_bigint::BigUint;
    use plugpull_engine::WriteFlags;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{Rng, SeedableRng};

    use super::*;
    use crate::crash::digest::{Algorithm, Stored};
    use crate::crash::{AfterCut, BruteForce, CrashExplorer, Watch, fork};
    use crate::disk::{CrashSpace, DiskSpec, DiskState, Image, RequestId};

    const SECTOR: u64 = 512;

    /// A disk with unflushed writes: sector, and the byte that fills it.
    fn space(sectors: u64, writes: &[(u64, u8)]) -> CrashSpace {
        let mut disk = DiskState::new(DiskSpec::new("disk"), Image::zeroed(sectors * SECTOR));
        for (number, &(sector, fill)) in (0..).zip(writes) {
            let data = vec![fill; 512].into();
            let op = Op::Write { offset: sector * SECTOR, data, flags: WriteFlags::NONE };
            let id = RequestId::new(0, number);
            disk.submit(id, op);
            disk.complete(id, crate::disk::Outcome::Done).expect("a write");
        }
        disk.crash_space()
    }

    fn read(disks: &mut LazyDisks, sector: u64) -> u8 {
        disks.request(0, Op::Read { offset: sector * SECTOR, len: 512 }).expect("a read")[0]
    }

    #[test]
    fn a_commit_with_a_checksum_over_sixteen_sectors_has_three_ways() {
        let writes: Vec<(u64, u8)> = (0..17).map(|sector| (sector, 7)).collect();
        let space = space(17, &writes);
        let left = AfterCut::new(&[DiskSpec::new("disk")], &[space]);
        let new = Algorithm::Crc32.digest(&[7; 16 * 512]);
        let rule = Rule { algorithm: Algorithm::Crc32, stored: Stored::Value(new) };
        // The record says whether there is a commit; the body counts if its digest is right.
        let recovery = |disks: &mut LazyDisks| {
            read(disks, 16) == 7
                && disks.verified(0, ByteRange::new(0, 16 * SECTOR), &rule).is_some()
        };
        let mut ways = Vec::new();
        let certificate = left.every_way(Watch::Off, recovery, |disks, committed| {
            ways.push((committed, disks.states()));
            Ok(())
        });
        let states = |count: u64| BigUint::from(count);
        let expected =
            [(false, states(1 << 16)), (true, states(1)), (false, states((1 << 16) - 1))];
        assert_eq!(ways, expected);
        assert_eq!(*certificate.expect("adds up").states(), states(1 << 17));
    }

    #[test]
    fn after_no_match_what_would_match_is_not_there() {
        let left = AfterCut::new(&[DiskSpec::new("disk")], &[space(2, &[(0, 1), (1, 1)])]);
        let rule = Rule {
            algorithm: Algorithm::Crc32,
            stored: Stored::Value(Algorithm::Crc32.digest(&[1; 1024])),
        };
        let mut seen = BTreeSet::new();
        let recovery = |disks: &mut LazyDisks| {
            if disks.verified(0, ByteRange::new(0, 1024), &rule).is_some() {
                return None;
            }
            Some((read(disks, 1), read(disks, 0)))
        };
        let certificate = left.every_way(Watch::Off, recovery, |_, outcome| {
            seen.insert(outcome);
            Ok(())
        });
        assert!(certificate.is_ok());
        assert_eq!(seen, BTreeSet::from([None, Some((0, 0)), Some((0, 1)), Some((1, 0))]));
    }

    /// A small program: each step verifies a range, reads, overwrites a sector, or flushes; what it
    /// does next depends on what it saw.
    fn program(
        disks: &mut LazyDisks,
        sectors: u64,
        rules: &[(ByteRange, Rule)],
        steps: &[u64],
    ) -> Vec<u8> {
        let mut seen = Vec::new();
        for &step in steps {
            let sector = (step >> 8) % sectors;
            match step % 8 {
                0..3 => {
                    let (range, rule) = &rules[(step >> 8) as usize % rules.len()];
                    seen.push(match disks.verified(0, *range, rule) {
                        Some(bytes) => bytes[0],
                        None => 0xFF,
                    });
                }
                3 | 4 => seen.push(read(disks, sector)),
                5 if seen.last().is_some_and(|&last| last > 1) => {
                    let data = vec![9; 512].into();
                    let op = Op::Write { offset: sector * SECTOR, data, flags: WriteFlags::NONE };
                    disks.request(0, op).expect("a write");
                }
                6 => _ = disks.request(0, Op::Flush).expect("a flush"),
                _ => {}
            }
        }
        seen
    }

    type Seen = BTreeMap<Vec<u8>, BigUint>;

    #[test]
    fn random_programs_see_what_they_see_on_every_image() {
        let (mut clauses, mut nested) = (0, 0);
        for case in 0..1500 {
            let mut rng = ChaCha8Rng::seed_from_u64(7);
            rng.set_stream(case);
            let mut draw = |below: u64| rng.next_u64() % below;
            let sectors = 2 + draw(3);
            let writes: Vec<(u64, u8)> =
                (0..draw(6)).map(|_| (draw(sectors), 1 + u8::try_from(draw(3)).unwrap())).collect();
            let space = space(sectors, &writes);
            let spec = DiskSpec::new("disk");
            // Digests of images that may be there, of ranges of any kind.
            let choice: Vec<usize> = (0..space.variables())
                .map(|variable| usize::try_from(draw(space.options(variable) as u64)).unwrap())
                .collect();
            let image = space.realize(&choice);
            let rules: Vec<(ByteRange, Rule)> = (0..2)
                .map(|_| {
                    let first = draw(sectors);
                    let count = 1 + draw(sectors - first);
                    let range = ByteRange::new(first * SECTOR, count * SECTOR);
                    let bytes = image.bytes(range.offset, usize::try_from(range.len).unwrap());
                    let algorithm =
                        [Algorithm::Crc32, Algorithm::Xor64][usize::try_from(draw(2)).unwrap()];
                    let stored = Stored::Value(algorithm.digest(&bytes));
                    (range, Rule { algorithm, stored })
                })
                .collect();
            let steps: Vec<u64> = (0..6).map(|_| draw(1 << 16)).collect();
            let run = |disks: &mut LazyDisks| program(disks, sectors, &rules, &steps);
            let after = |disks: &mut LazyDisks| (0..sectors).map(|s| read(disks, s)).collect();
            let again = |point: crate::crash::CrashPoint| point.spaces;

            let mut exact = Seen::new();
            let mut exact_inner: BTreeSet<Vec<u8>> = BTreeSet::new();
            let left = AfterCut::new(std::slice::from_ref(&spec), std::slice::from_ref(&space));
            let certificate = left.every_way(Watch::Intervals, run, |disks, seen| {
                let before = disks.states();
                fork(disks, after, |fork, read: Vec<u8>| {
                    clauses += usize::from(fork.states() < before);
                    *exact.entry([&seen[..], &read].concat()).or_default() += fork.states();
                    Ok(())
                })?;
                for spaces in disks.take_points().into_iter().map(again) {
                    nested += 1;
                    let inner = AfterCut::new(std::slice::from_ref(&spec), &spaces);
                    inner.every_way(Watch::Off, after, |_, read| {
                        exact_inner.insert(read);
                        Ok(())
                    })?;
                }
                Ok(())
            });
            certificate.unwrap_or_else(|broken| panic!("case {case}: {broken}"));

            let mut brute = Seen::new();
            let mut brute_inner: BTreeSet<Vec<u8>> = BTreeSet::new();
            let all = BruteForce::new(1 << 16, 0);
            let _ = all.explore(&[space], &mut |state| {
                let images = state.images.iter().cloned();
                let on = std::iter::once(spec.clone()).zip(images);
                let mut disks = LazyDisks::new(on, Watch::Every);
                let seen = run(&mut disks);
                let points = disks.take_points();
                let read: Vec<u8> = after(&mut disks);
                *brute.entry([&seen[..], &read].concat()).or_default() += 1_u32;
                for point in points {
                    let _ = all.explore(&point.spaces, &mut |state| {
                        let bytes = state.images[0].to_bytes();
                        let firsts = bytes.iter().step_by(512).copied().collect();
                        brute_inner.insert(firsts);
                        ControlFlow::Continue(())
                    });
                }
                ControlFlow::Continue(())
            });
            assert_eq!(exact, brute, "case {case}: {writes:?} {rules:?} {steps:?}");
            assert_eq!(exact_inner, brute_inner, "case {case}: {writes:?} {rules:?} {steps:?}");
        }
        assert!(clauses > 500 && nested > 500, "{clauses} narrowed queries, {nested} nested cuts");
    }
}
