//! Some of each way to draw.

use std::ops::Range;

use super::sample::Rule;
use super::{Draws, Footprint, Outlook, Pct, Pos, Process, Surw, Walk};

/// Draws for every execution the rule by which it is drawn: [`Pos`] 60 times of 100, [`Surw`] 20
/// times, [`Pct`] 10 times, [`Walk`] 10 times. What one hardly ever shows, another one may.
#[derive(Debug, Clone)]
pub struct Portfolio<P> {
    pos: Pos<P>,
    pct: Pct<P>,
    current: Current,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Current {
    Pos,
    Surw,
    Pct,
    Walk,
}

impl<P> Default for Portfolio<P> {
    fn default() -> Self {
        Self { pos: Pos::default(), pct: Pct::default(), current: Current::Pos }
    }
}

impl Current {
    fn draw(draws: &mut Draws) -> Self {
        match draws.below(100) {
            0..60 => Self::Pos,
            60..80 => Self::Surw,
            80..90 => Self::Pct,
            _ => Self::Walk,
        }
    }
}

impl<P: Process, F: Footprint> Rule<P, F> for Portfolio<P> {
    const NAME: &'static str = "portfolio";

    fn begin(&mut self, outlook: &Outlook<P, F>, draws: &mut Draws) {
        self.current = Current::draw(draws);
        match self.current {
            Current::Pos => self.pos.begin(outlook, draws),
            Current::Pct => self.pct.begin(outlook, draws),
            Current::Surw | Current::Walk => {}
        }
    }

    fn pick(
        &mut self,
        enabled: &[P],
        among: Range<usize>,
        outlook: &Outlook<P, F>,
        draws: &mut Draws,
    ) -> usize {
        match self.current {
            Current::Pos => self.pos.pick(enabled, among, outlook, draws),
            Current::Surw => Surw.pick(enabled, among, outlook, draws),
            Current::Pct => self.pct.pick(enabled, among, outlook, draws),
            Current::Walk => Rule::<P, F>::pick(&mut Walk, enabled, among, outlook, draws),
        }
    }

    fn ran(&mut self, process: P, footprint: &F, outlook: &Outlook<P, F>, draws: &mut Draws) {
        match self.current {
            Current::Pos => self.pos.ran(process, footprint, outlook, draws),
            Current::Pct => self.pct.ran(process, footprint, outlook, draws),
            Current::Surw | Current::Walk => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_has_its_share() {
        let shares = [(Current::Pos, 60), (Current::Surw, 20), (Current::Pct, 10)];
        let drawn: Vec<Current> =
            (0..10_000).map(|stream| Current::draw(&mut Draws::new(1, stream))).collect();
        for (rule, percent) in shares {
            let count = drawn.iter().filter(|&&other| other == rule).count();
            assert!(count.abs_diff(100 * percent) < 150, "{rule:?}: {count}");
        }
    }
}
