//! What comes before what in one execution.

use serde::{Deserialize, Serialize};

/// For each step of an execution, the set of earlier steps that come before it in the order of
/// dependence: a bit each, in rows of equal length.
///
/// The sets are closed: what comes before a step of the set is in the set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clocks {
    words: Vec<u64>,
    /// Words of a row. Executions are short mostly, so it starts at one.
    stride: usize,
    len: usize,
}

impl Default for Clocks {
    fn default() -> Self {
        Self { words: Vec::new(), stride: 1, len: 0 }
    }
}

impl Clocks {
    /// How many steps there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The set of steps before `step`: bit n of word w stands for step 64 w + n.
    #[must_use]
    pub fn row(&self, step: usize) -> &[u64] {
        &self.words[step * self.stride..][..self.stride]
    }

    /// Whether `earlier` comes before `later`.
    #[must_use]
    pub fn is_before(&self, earlier: usize, later: usize) -> bool {
        has(self.row(later), earlier)
    }

    /// One more step, after those of `row`. Not more than were in [`Clocks::row_for_next`].
    pub(crate) fn push(&mut self, row: &[u64]) {
        assert_eq!(row.len(), self.stride, "a row of the right length");
        self.words.extend_from_slice(row);
        self.len += 1;
    }

    /// Makes `row` the empty set, with room for all steps up to now.
    pub(crate) fn row_for_next(&mut self, row: &mut Vec<u64>) {
        if self.len > 64 * self.stride {
            self.widen();
        }
        row.clear();
        row.resize(self.stride, 0);
    }

    /// Keeps the first `len` steps.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.words.truncate(len * self.stride);
        self.len = self.len.min(len);
    }

    fn widen(&mut self) {
        let wide = 2 * self.stride;
        let mut words = Vec::with_capacity(wide * self.len);
        for row in self.words.chunks(self.stride) {
            words.extend_from_slice(row);
            words.resize(words.len() + wide - self.stride, 0);
        }
        self.words = words;
        self.stride = wide;
    }
}

/// Whether the set has `step`.
pub(super) fn has(set: &[u64], step: usize) -> bool {
    set[step / 64] >> (step % 64) & 1 == 1
}

/// Adds `step` to the set.
pub(super) fn add(set: &mut [u64], step: usize) {
    set[step / 64] |= 1 << (step % 64);
}

/// Removes `step` from the set.
pub(super) fn remove(set: &mut [u64], step: usize) {
    set[step / 64] &= !(1 << (step % 64));
}

/// Adds all steps before `end` to the set.
pub(super) fn add_all_before(set: &mut [u64], end: usize) {
    set[..end / 64].fill(u64::MAX);
    if !end.is_multiple_of(64) {
        set[end / 64] |= (1 << (end % 64)) - 1;
    }
}

/// Adds all of `more` to the set.
pub(super) fn join(set: &mut [u64], more: &[u64]) {
    for (word, more) in set.iter_mut().zip(more) {
        *word |= more;
    }
}

/// Whether no step is in both sets.
pub(super) fn apart(one: &[u64], other: &[u64]) -> bool {
    one.iter().zip(other).all(|(one, other)| one & other == 0)
}

/// The steps of the set, in order.
pub(super) fn steps(set: &[u64]) -> impl Iterator<Item = usize> {
    set.iter().enumerate().flat_map(|(at, &word)| {
        let mut rest = word;
        std::iter::from_fn(move || {
            let bit = (rest != 0).then(|| rest.trailing_zeros() as usize)?;
            rest &= rest - 1;
            Some(64 * at + bit)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_executions_keep_what_was_known() {
        let mut clocks = Clocks::default();
        let mut row = Vec::new();
        for step in 0..300 {
            clocks.row_for_next(&mut row);
            // After every third step of those before.
            (0..step).filter(|earlier| earlier % 3 == 0).for_each(|earlier| add(&mut row, earlier));
            clocks.push(&row);
        }
        for later in 0..300 {
            let before: Vec<usize> = steps(clocks.row(later)).collect();
            assert_eq!(before, (0..later).step_by(3).collect::<Vec<_>>());
        }
    }

    #[test]
    fn sets() {
        let mut set = [0; 3];
        add_all_before(&mut set, 128);
        add(&mut set, 130);
        remove(&mut set, 64);
        assert_eq!(steps(&set).count(), 128);
        assert!(has(&set, 130) && !has(&set, 129) && !has(&set, 64));
        assert!(apart(&set, &[0, 1, 0]) && !apart(&set, &[1, 1, 0]));
    }
}
