//! Seeded random choices, one independent stream per execution.

use super::{Divergence, Strategy};
use crate::exec::ChoicePoint;
use crate::orders::Draws;
use crate::verdict::Share;

/// Takes a random option everywhere.
///
/// Execution `i` of campaign `seed` draws from ChaCha8 stream `i` of that seed, so that any
/// execution can be run alone, and shards can take disjoint ranges.
///
/// Among the options of a choice, mishaps (faults and cancelled requests) together are taken once
/// in [`Draws::MISHAP_ONE_IN`], if there is anything else.
#[derive(Debug, Clone)]
pub struct Random {
    seed: u64,
    first: u64,
    end: u64,
    next: u64,
    /// Distance between two iterations.
    step: u64,
    draws: Draws,
}

impl Random {
    /// Executions `iterations` of the campaign `seed`.
    #[must_use]
    pub fn new(seed: u64, iterations: std::ops::Range<u64>) -> Self {
        Self::one_in(1, seed, iterations)
    }

    /// Of these executions the first, and from there one in `step`.
    #[must_use]
    pub fn one_in(step: u64, seed: u64, iterations: std::ops::Range<u64>) -> Self {
        assert!(step > 0, "iterations go on");
        let (first, end) = (iterations.start, iterations.end);
        Self { seed, first, end, next: first, step, draws: Draws::new(seed, first) }
    }

    /// The iteration that runs now or ran last; none before the first.
    #[must_use]
    pub fn iteration(&self) -> Option<u64> {
        (self.next > self.first).then(|| self.next - self.step)
    }
}

impl Strategy for Random {
    fn begin(&mut self) -> bool {
        if self.next >= self.end {
            return false;
        }
        self.draws = Draws::new(self.seed, self.next);
        self.next = self.next.saturating_add(self.step);
        true
    }

    fn choose(&mut self, point: &ChoicePoint<'_>) -> Result<usize, Box<Divergence>> {
        let mishaps = point.options.iter().filter(|label| label.is_mishap()).count();
        let others = point.options.len() - mishaps;
        if mishaps == 0 || others == 0 {
            return Ok(self.draws.below(point.options.len()));
        }
        let wanted = self.draws.is_mishap();
        let nth = self.draws.below(if wanted { mishaps } else { others });
        let mut matching =
            (0..point.options.len()).filter(|&index| point.options[index].is_mishap() == wanted);
        Ok(matching.nth(nth).expect("counted above"))
    }

    fn end(&mut self) -> Result<(), Box<Divergence>> {
        Ok(())
    }

    fn save(&self) -> Option<Vec<u8>> {
        Some(self.next.to_le_bytes().to_vec())
    }

    fn restore(&mut self, saved: &[u8]) -> Result<(), String> {
        let next = saved.try_into().map_err(|_| "not the number of an iteration")?;
        self.next = u64::from_le_bytes(next);
        Ok(())
    }

    fn progress(&self) -> Option<Share> {
        let part = self.next.min(self.end).saturating_sub(self.first);
        Some(Share { part, whole: self.end.saturating_sub(self.first) })
    }
}
