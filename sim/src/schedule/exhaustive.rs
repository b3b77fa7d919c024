//! Every choice, depth first, by running again.

use super::{Divergence, Mismatch, Strategy};
use crate::exec::{ChoiceKind, ChoicePoint, Label};
use crate::verdict::Share;

/// Takes every option of every choice, depth first.
///
/// Only the current path is kept. Each execution repeats the path up to the deepest choice with an
/// option left, and takes that option; every repeated choice is compared with what it was before.
#[derive(Debug, Clone, Default)]
pub struct Exhaustive {
    path: Vec<Node>,
    /// Choices made in the current execution.
    depth: usize,
    /// Where the current execution departs from the one before.
    first_new_step: usize,
    executions: u64,
}

#[derive(Debug, Clone)]
struct Node {
    kind: ChoiceKind,
    step: usize,
    past: u64,
    options_key: u64,
    count: usize,
    index: usize,
    /// The option at `index`; the one before it until the choice is made again.
    taken: Label,
}

impl Exhaustive {
    /// A search that has not begun.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Executions begun.
    #[must_use]
    pub fn executions(&self) -> u64 {
        self.executions
    }

    /// Moves to the next path: the deepest choice with an option left takes it.
    fn advance(&mut self) -> bool {
        while let Some(last) = self.path.last_mut() {
            if last.index + 1 < last.count {
                last.index += 1;
                self.first_new_step = last.step;
                return true;
            }
            self.path.pop();
        }
        false
    }
}

impl Strategy for Exhaustive {
    fn begin(&mut self) -> bool {
        if self.executions > 0 && !self.advance() {
            return false;
        }
        self.depth = 0;
        self.executions += 1;
        true
    }

    fn choose(&mut self, point: &ChoicePoint<'_>) -> Result<usize, Box<Divergence>> {
        let choice = self.depth;
        self.depth += 1;
        let Some(node) = self.path.get_mut(choice) else {
            self.path.push(Node {
                kind: point.kind,
                step: point.step,
                past: point.past,
                options_key: point.options_key(),
                count: point.options.len(),
                index: 0,
                taken: point.options[0],
            });
            return Ok(0);
        };
        if let Some(mismatch) = node.mismatch(point) {
            return Err(Divergence::at(choice, point, mismatch));
        }
        node.taken = point.options[node.index];
        Ok(node.index)
    }

    /// An execution that was given up early is taken as explored: what it would have chosen next
    /// was never seen.
    fn end(&mut self) -> Result<(), Box<Divergence>> {
        match self.path.get(self.depth) {
            None => Ok(()),
            Some(node) => Err(Divergence::ended_early(self.depth, node.taken.to_string())),
        }
    }

    fn first_new_step(&self) -> usize {
        self.first_new_step
    }

    /// The share of the tree to the left of the current path, each choice's options weighing the
    /// same.
    fn progress(&self) -> Option<Share> {
        const WHOLE: u64 = 1 << 62;
        let mut weight = u128::from(WHOLE);
        let mut done = 0;
        for node in &self.path {
            done += weight * node.index as u128 / node.count as u128;
            weight /= node.count as u128;
        }
        if self.path.is_empty() && self.executions > 0 {
            done = u128::from(WHOLE);
        }
        Some(Share { part: u64::try_from(done).expect("at most the whole"), whole: WHOLE })
    }
}

impl Node {
    fn mismatch(&self, point: &ChoicePoint<'_>) -> Option<Mismatch> {
        let found = || point.options.iter().map(ToString::to_string).collect();
        if self.kind != point.kind {
            return Some(Mismatch::Kind { expected: self.kind, found: point.kind });
        }
        if self.step != point.step {
            return Some(Mismatch::Step { expected: self.step });
        }
        if self.count != point.options.len() {
            return Some(Mismatch::Count { expected: self.count, found: found() });
        }
        if self.options_key != point.options_key() {
            let expected = self.taken.to_string();
            return Some(Mismatch::Options { expected, found: found() });
        }
        (self.past != point.past).then_some(Mismatch::Past)
    }
}
