//! What is still possible of one variable of a crash space.

use std::sync::Arc;

/// A set of options of one variable, never empty, in ascending order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remaining {
    /// From the first to before the second.
    Range(u32, u32),
    /// Exactly these.
    Listed(Arc<[u32]>),
}

impl Remaining {
    /// All of `options` options.
    ///
    /// # Panics
    /// If there are none.
    #[must_use]
    pub fn all(options: usize) -> Self {
        assert!(options > 0, "a variable without options");
        Self::Range(0, index(options))
    }

    /// Just one.
    #[must_use]
    pub fn one(option: u32) -> Self {
        Self::Range(option, option + 1)
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> usize {
        match self {
            Self::Range(first, end) => (end - first) as usize,
            Self::Listed(options) => options.len(),
        }
    }

    /// The smallest: as much lost as possible, in most spaces.
    #[must_use]
    pub fn first(&self) -> u32 {
        match self {
            Self::Range(first, _) => *first,
            Self::Listed(options) => options[0],
        }
    }

    /// Whether an option is among them.
    #[must_use]
    pub fn contains(&self, option: u32) -> bool {
        match self {
            Self::Range(first, end) => (*first..*end).contains(&option),
            Self::Listed(options) => options.binary_search(&option).is_ok(),
        }
    }

    /// The `n`-th of them.
    ///
    /// # Panics
    /// If there are fewer.
    #[must_use]
    pub fn nth(&self, n: usize) -> u32 {
        assert!(n < self.count(), "option {n} of {}", self.count());
        match self {
            Self::Range(first, _) => first + index(n),
            Self::Listed(options) => options[n],
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.count()).map(|n| self.nth(n))
    }
}

/// One variable that has to be narrowed down before an answer can be given, and the groups of its
/// remaining options that make no difference to the answer.
///
/// The groups are disjoint and together all remaining options: taking each group in turn visits
/// every state exactly once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Index of the variable in its crash space.
    pub variable: usize,
    /// The groups, at least two.
    pub groups: Groups,
}

/// Some groups of options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Groups {
    /// Each option from `first` on for itself, but those from `last` to before `end`, which share
    /// one.
    Each {
        /// The option in the first group.
        first: u32,
        /// The first option in the last group.
        last: u32,
        /// After the last option.
        end: u32,
    },
    /// Exactly these.
    Listed(Vec<Remaining>),
}

impl Groups {
    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Each { first, last, .. } => (last - first) as usize + 1,
            Self::Listed(groups) => groups.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The `n`-th of them.
    ///
    /// # Panics
    /// If there are fewer.
    #[must_use]
    pub fn nth(&self, n: usize) -> Remaining {
        match self {
            &Self::Each { first, last, end } => {
                let own = first + index(n);
                assert!(own <= last, "group {n} of {}", self.len());
                if own == last { Remaining::Range(last, end) } else { Remaining::one(own) }
            }
            Self::Listed(groups) => groups[n].clone(),
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = Remaining> + '_ {
        (0..self.len()).map(|n| self.nth(n))
    }
}

impl Question {
    /// A question in which each option of `remaining` below `distinct` is its own group, and what
    /// is left over belongs to the last; none if that is one group.
    pub(crate) fn each(variable: usize, remaining: &Remaining, distinct: usize) -> Option<Self> {
        let groups = match *remaining {
            Remaining::Range(first, end) => {
                // The last group has at least one option.
                let last = index(distinct - 1).clamp(first, end - 1);
                Groups::Each { first, last, end }
            }
            Remaining::Listed(_) => Groups::Listed(remaining.iter().map(Remaining::one).collect()),
        };
        (groups.len() > 1).then_some(Self { variable, groups })
    }

    /// A question whose groups are the remaining options with equal signatures, in the order of
    /// their first option; none if all are equal.
    pub(crate) fn by<S: Ord>(
        variable: usize,
        remaining: &Remaining,
        signature: impl Fn(u32) -> S,
    ) -> Option<Self> {
        let mut groups: std::collections::BTreeMap<S, Vec<u32>> = std::collections::BTreeMap::new();
        for option in remaining.iter() {
            groups.entry(signature(option)).or_default().push(option);
        }
        let mut groups: Vec<Vec<u32>> = groups.into_values().collect();
        groups.sort_unstable();
        let groups: Vec<Remaining> =
            groups.into_iter().map(|options| Remaining::Listed(options.into())).collect();
        (groups.len() > 1).then_some(Self { variable, groups: Groups::Listed(groups) })
    }
}

/// An option's number: crash spaces are far smaller than 2^32 options a variable.
pub(crate) fn index(option: usize) -> u32 {
    u32::try_from(option).expect("fewer than 2^32 options")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_a_partition() {
        for (first, end) in [(0, 1), (0, 5), (2, 5), (3, 4), (1, 2)] {
            let remaining = Remaining::Range(first, end);
            for distinct in 1..=5 {
                let Some(question) = Question::each(0, &remaining, distinct) else { continue };
                let options = |group: Remaining| group.iter().collect::<Vec<u32>>();
                let all: Vec<u32> = question.groups.iter().flat_map(options).collect();
                assert_eq!(all, remaining.iter().collect::<Vec<_>>(), "{first}..{end} {distinct}");
                let content = |option: u32| option.min(index(distinct) - 1);
                let contents = question.groups.iter().map(|group| {
                    let contents: Vec<u32> = group.iter().map(content).collect();
                    assert!(contents.windows(2).all(|pair| pair[0] == pair[1]));
                    contents[0]
                });
                let contents: Vec<u32> = contents.collect();
                assert!(contents.windows(2).all(|pair| pair[0] < pair[1]), "distinct contents");
            }
        }
    }

    #[test]
    fn equal_signatures_share_a_group() {
        let question = Question::by(3, &Remaining::all(6), |option| option % 3).unwrap();
        let groups: Vec<Vec<u32>> =
            question.groups.iter().map(|group| group.iter().collect()).collect();
        assert_eq!(groups, [vec![0, 3], vec![1, 4], vec![2, 5]]);
        assert_eq!(Question::by(0, &Remaining::all(4), |_| 0), None);
    }
}
