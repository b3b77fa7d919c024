//! Uniform random walk: every order that a pilot lets expect is as likely as any other.

use std::ops::Range;

use super::sample::Rule;
use super::{Draws, Footprint, Outlook, Process};

/// A process is the likelier to go next the more events follow from its next one.
///
/// If no event follows from two others, and the events are those of the pilot, then every order of
/// them is equally likely. Nothing is selected as more interesting than the rest.
///
/// # Source
/// Zhao, Wolff, Mathur, Roychoudhury, "Selectively Uniform Concurrency Testing" (ASPLOS 2025), with
/// what a request and the run of its task set off counted where the paper counts what is left of a
/// thread: here every request is a process of its own.
#[derive(Debug, Clone, Default)]
pub struct Surw;

impl<P: Process, F: Footprint> Rule<P, F> for Surw {
    const NAME: &'static str = "surw";

    fn begin(&mut self, _: &Outlook<P, F>, _: &mut Draws) {}

    fn pick(
        &mut self,
        enabled: &[P],
        among: Range<usize>,
        outlook: &Outlook<P, F>,
        draws: &mut Draws,
    ) -> usize {
        let weights = enabled[among.clone()].iter().map(|&process| outlook.weight(process));
        let mut drawn = draws.below(weights.clone().sum());
        let passed = weights.take_while(|&weight| {
            let is_passed = drawn >= weight;
            drawn = drawn.saturating_sub(weight);
            is_passed
        });
        among.start + passed.count()
    }

    fn ran(&mut self, _: P, _: &F, _: &Outlook<P, F>, _: &mut Draws) {}
}
