//! The reference explorer: every combination of every variable's options.
//!
//! Slow and obvious on purpose: a counter with one digit per variable. Beyond the bound it visits a
//! sample (everything lost, everything kept, then seeded draws) and its coverage says so.

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
        let mut assignment = all(spaces, CrashSpace::lost);
        loop {
            if visitor.visit(&assignment).is_break() || !advance(spaces, &mut assignment) {
                return;
            }
        }
    }

    fn sample(&self, spaces: &[CrashSpace], visitor: &mut Visitor<'_>) {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        // A stream of its own for every crash point, whenever it is met.
        rng.set_stream(stream_of(spaces));
        let anchors = [all(spaces, CrashSpace::lost), all(spaces, CrashSpace::kept)];
        let draws = (0..self.states_max).map(|_| draw(spaces, &mut rng));
        let mut seen = BTreeSet::new();
        for assignment in anchors.into_iter().chain(draws) {
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
        visit: &mut dyn FnMut(CrashState) -> ControlFlow<()>,
    ) -> Coverage {
        let states: BigUint = spaces.iter().map(CrashSpace::raw_states).product();
        let mut visitor = Visitor { spaces, visit, visited: 0, stopped: false };
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
    visit: &'a mut dyn FnMut(CrashState) -> ControlFlow<()>,
    visited: u64,
    stopped: bool,
}

impl Visitor<'_> {
    fn visit(&mut self, assignment: &Assignment) -> ControlFlow<()> {
        self.visited += 1;
        let images = self.spaces.iter().zip(&assignment.options);
        let images = images.map(|(space, options)| space.realize(options)).collect();
        let answer = (self.visit)(CrashState { assignment: assignment.clone(), images });
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
