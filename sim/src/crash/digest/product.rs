//! Every combination, one after the other: for hashes, which have no algebra.

use std::ops::ControlFlow;

use super::concatenated;
use super::passing::{Bound, Bounds, Collector, Passing};
use super::rule::Rule;

pub(super) fn enumerate(candidates: &[Vec<&[u8]>], rule: &Rule, bounds: Bounds) -> Passing {
    let mut collector = Collector::new(bounds);
    let end = try_all(candidates, rule, &mut collector);
    collector.finish(end)
}

fn try_all(
    candidates: &[Vec<&[u8]>],
    rule: &Rule,
    collector: &mut Collector,
) -> ControlFlow<Bound> {
    let mut combination = vec![0; candidates.len()];
    loop {
        collector.step()?;
        if rule.holds(&concatenated(candidates, &combination)) {
            collector.found(combination.clone())?;
        }
        if !advance(candidates, &mut combination) {
            return ControlFlow::Continue(());
        }
    }
}

/// The next combination in lexicographic order; false after the last one.
fn advance(candidates: &[Vec<&[u8]>], combination: &mut [usize]) -> bool {
    for (contents, index) in candidates.iter().zip(combination).rev() {
        *index += 1;
        if *index < contents.len() {
            return true;
        }
        *index = 0;
    }
    false
}
