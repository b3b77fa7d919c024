//! A random walk.

use std::ops::Range;

use super::sample::Rule;
use super::{Draws, Footprint, Outlook, Process};

/// Everything that is enabled is equally likely to go next.
///
/// So an order is the less likely the more often it had others to choose from: of a long process and a
/// short one, the short one tends to end early.
#[derive(Debug, Clone, Default)]
pub struct Walk;

impl<P: Process, F: Footprint> Rule<P, F> for Walk {
    const NAME: &'static str = "walk";

    fn begin(&mut self, _: &Outlook<P, F>, _: &mut Draws) {}

    fn pick(
        &mut self,
        _: &[P],
        among: Range<usize>,
        _: &Outlook<P, F>,
        draws: &mut Draws,
    ) -> usize {
        among.start + draws.below(among.len())
    }

    fn ran(&mut self, _: P, _: &F, _: &Outlook<P, F>, _: &mut Draws) {}
}
