//! The reference explorer: every combination of every variable's options.
//!
//! Slow and obvious on purpose: first the states next to "everything lost" and "everything kept",
//! because the smallest counterexamples are there, then a counter with one digit per variable.
//! Beyond the bound it visits a sample (the same first states, then seeded draws) and its coverage
//! says so.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use num_bigint::BigUint;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::crash::direct::combined_key;
use crate::crash::explorer::{Assignment, Coverage, CrashExplorer, CrashState};
use crate::disk::CrashSpace;

/// Enumerates up to a bound.
#[derive(Debug, Clone)]
pub struct BruteForce {
    /// Most states visited at one crash point; a point with more is sampled.
    states_max: u64,
    /// Where the samples come from.
    seed: u64,
}

impl BruteForce {
    /// An enumerator that visits at most `states_max` states of a crash point.
    #[must_use]
    pub fn new(states_max: u64, seed: u64) -> Self {
        Self { states_max, seed }
    }

    fn enumerate(spaces: &[CrashSpace], visitor: &mut Visitor<'_>) {
        for assignment in first_states(spaces) {
            if visitor.visit(&assignment).is_break() {
                return;
            }
        }
        let (lost, kept) = (all(spaces, CrashSpace::lost), all(spaces, CrashSpace::kept));
        let mut assignment = lost.clone();
        while advance(spaces, &mut assignment) {
            let first = differs_once(&assignment, &lost) || differs_once(&assignment, &kept);
            if !first && visitor.visit(&assignment).is_break() {
                return;
            }
        }
    }

    fn sample(&self, spaces: &[CrashSpace], visitor: &mut Visitor<'_>) {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        // A stream of its own for every crash point, whenever it is met.
        rng.set_stream(stream_of(spaces));
        let draws = std::iter::repeat_with(|| draw(spaces, &mut rng));
        let first = first_states(spaces);
        let bound = usize::try_from(self.states_max).unwrap_or(usize::MAX);
        let mut seen = BTreeSet::new();
        for assignment in first.into_iter().chain(draws).take(bound) {
            if seen.insert(assignment.clone()) && visitor.visit(&assignment).is_break() {
                return;
            }
        }
    }
}

impl CrashExplorer for BruteForce {
    fn explore(
        &self,
        spaces: &[CrashSpace],
        visit: &mut dyn FnMut(&CrashState) -> ControlFlow<()>,
    ) -> Coverage {
        let states: BigUint = spaces.iter().map(CrashSpace::raw_states).product();
        let lost = all(spaces, CrashSpace::lost);
        let images = spaces.iter().zip(&lost.options);
        let images = images.map(|(space, options)| space.realize(options)).collect();
        let state = CrashState { assignment: lost, images };
        let mut visitor = Visitor { spaces, visit, state, visited: 0, stopped: false };
        if states <= BigUint::from(self.states_max) {
            Self::enumerate(spaces, &mut visitor);
        } else {
            self.sample(spaces, &mut visitor);
        }
        let Visitor { visited, stopped, .. } = visitor;
        Coverage { states, visited: visited.into(), stopped }
    }
}

struct Visitor<'a> {
    spaces: &'a [CrashSpace],
    visit: &'a mut dyn FnMut(&CrashState) -> ControlFlow<()>,
    /// Where the visit is: the next state is made from it.
    state: CrashState,
    visited: u64,
    stopped: bool,
}

impl Visitor<'_> {
    fn visit(&mut self, assignment: &Assignment) -> ControlFlow<()> {
        self.visited += 1;
        let CrashState { assignment: now, images } = &mut self.state;
        let disks = self.spaces.iter().zip(images).zip(&mut now.options).zip(&assignment.options);
        for (((space, image), from), to) in disks {
            space.move_to(image, from, to);
            from.clone_from(to);
        }
        let answer = (self.visit)(&self.state);
        self.stopped = answer.is_break();
        answer
    }
}

fn stream_of(spaces: &[CrashSpace]) -> u64 {
    let key = combined_key(spaces).to_le_bytes();
    u64::from_le_bytes(key[..8].try_into().expect("eight bytes"))
}

fn all(spaces: &[CrashSpace], option: fn(&CrashSpace, usize) -> usize) -> Assignment {
    let of = |space: &CrashSpace| (0..space.variables()).map(|v| option(space, v)).collect();
    Assignment { options: spaces.iter().map(of).collect() }
}

/// Everything lost, everything kept, and what differs from one of them in one variable; each once.
fn first_states(spaces: &[CrashSpace]) -> Vec<Assignment> {
    let lost = all(spaces, CrashSpace::lost);
    let kept = all(spaces, CrashSpace::kept);
    let mut states = vec![lost.clone(), kept.clone()];
    for near in [kept, lost] {
        for (disk, space) in spaces.iter().enumerate() {
            for variable in 0..space.variables() {
                states.extend((0..space.options(variable)).map(|option| {
                    let mut state = near.clone();
                    state.options[disk][variable] = option;
                    state
                }));
            }
        }
    }
    let mut seen = BTreeSet::new();
    states.retain(|state| seen.insert(state.clone()));
    states
}

/// Whether two assignments differ in no more than one variable.
fn differs_once(one: &Assignment, other: &Assignment) -> bool {
    let pairs = one.options.iter().flatten().zip(other.options.iter().flatten());
    pairs.filter(|(one, other)| one != other).nth(1).is_none()
}

fn draw(spaces: &[CrashSpace], rng: &mut ChaCha8Rng) -> Assignment {
    let mut option = |space: &CrashSpace, variable| {
        let options = space.options(variable) as u64;
        usize::try_from(rng.next_u64() % options).expect("an option's index")
    };
    let of = |space: &CrashSpace| (0..space.variables()).map(|v| option(space, v)).collect();
    Assignment { options: spaces.iter().map(of).collect() }
}

/// The next combination, counting from "everything lost" round to it again; false when all were
/// seen.
fn advance(spaces: &[CrashSpace], assignment: &mut Assignment) -> bool {
    for (space, options) in spaces.iter().zip(&mut assignment.options) {
        for (variable, option) in options.iter_mut().enumerate() {
            *option = (*option + 1) % space.options(variable);
            if *option != space.lost(variable) {
                return true;
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{DiskSpec, DiskState, Image, Op, RequestId};
    use plugpull_engine::WriteFlags;

    /// A disk with `writes` unflushed writes, the n-th of which goes to sector n mod 3.
    fn space(writes: u32) -> CrashSpace {
        let mut disk = DiskState::new(DiskSpec::new("image"), Image::zeroed(4096));
        for number in 0..writes {
            let data = vec![u8::try_from(number + 1).unwrap(); 512];
            let offset = u64::from(number % 3) * 512;
            let op = Op::Write { offset, data: data.into(), flags: WriteFlags::NONE };
            disk.submit(RequestId::new(0, number), op);
        }
        disk.crash_space()
    }

    fn visited(explorer: &BruteForce, spaces: &[CrashSpace]) -> (Vec<Assignment>, Coverage) {
        let mut seen = Vec::new();
        let coverage = explorer.explore(spaces, &mut |state| {
            let images = spaces.iter().zip(&state.assignment.options);
            let images: Vec<_> = images.map(|(space, of)| space.realize(of)).collect();
            assert!(images == state.images);
            seen.push(state.assignment.clone());
            ControlFlow::Continue(())
        });
        (seen, coverage)
    }

    #[test]
    fn every_combination_of_two_disks_is_visited_once() {
        // Three, three and two contents on the first disk, two each on the second.
        let spaces = [space(5), space(3)];
        let (seen, coverage) = visited(&BruteForce::new(1 << 16, 0), &spaces);
        let distinct: BTreeSet<_> = seen.iter().collect();
        assert_eq!((seen.len(), distinct.len()), (3 * 3 * 2 * 8, 144));
        assert_eq!(coverage.states, BigUint::from(144_u32));
        assert!(coverage.complete() && !coverage.stopped);
    }

    #[test]
    fn beyond_the_bound_it_samples_and_says_so() {
        let spaces = [space(5), space(3)];
        let explorer = BruteForce::new(20, 7);
        let (seen, coverage) = visited(&explorer, &spaces);
        let distinct: BTreeSet<_> = seen.iter().collect();
        assert_eq!(seen.len(), distinct.len());
        assert!(seen.len() <= 20 && seen.len() > 10);
        assert!(!coverage.complete());
        assert_eq!(visited(&explorer, &spaces).0, seen, "the same sample again");
    }
}
