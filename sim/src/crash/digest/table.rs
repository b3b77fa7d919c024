//! The sums of the last sectors' terms, to be looked up.

use super::equation::Equation;

/// Most entries: 16 MiB.
const ENTRIES_MAX: u64 = 1 << 20;

/// Every combination of the sectors from `first` on, by its sum.
#[derive(Debug)]
pub(super) struct Table<'a> {
    /// The sectors of the combinations.
    terms: &'a [Vec<u64>],
    first: usize,
    /// Sum and number of each combination, in this order. The combinations are numbered from zero
    /// in lexicographic order.
    entries: Vec<(u64, u32)>,
}

impl<'a> Table<'a> {
    /// The table of no sectors: one combination, empty, with sum zero.
    pub(super) fn empty(equation: &'a Equation) -> Self {
        Self::starting_at(equation, equation.terms.len())
    }

    /// The table of as many sectors as have no more combinations than the sectors before them,
    /// `entries_max` or [`ENTRIES_MAX`].
    pub(super) fn balanced(equation: &'a Equation, entries_max: u64) -> Self {
        let most = entries_max.min(ENTRIES_MAX);
        let mut first = equation.terms.len();
        let mut entries = 1_u64;
        while let Some(terms) = equation.terms[..first].last() {
            // Neither factor is near 2^32: the loop ends past `most`.
            entries *= terms.len() as u64;
            if entries > most || entries > combinations(&equation.terms[..first - 1]) {
                break;
            }
            first -= 1;
        }
        Self::starting_at(equation, first)
    }

    pub(super) fn starting_at(equation: &'a Equation, first: usize) -> Self {
        let terms = &equation.terms[first..];
        let mut sums = vec![0];
        for terms in terms {
            let each = sums.iter().flat_map(|&sum| terms.iter().map(move |&term| (sum, term)));
            sums = each.map(|(sum, term)| equation.group.plus(sum, term)).collect();
        }
        let mut entries: Vec<_> = sums.into_iter().zip(0..).collect();
        entries.sort_unstable();
        Self { terms, first, entries }
    }

    /// The first sector of the combinations.
    pub(super) fn first(&self) -> usize {
        self.first
    }

    /// How many combinations there are.
    pub(super) fn entries(&self) -> u64 {
        self.entries.len() as u64
    }

    /// The combinations with this sum, in lexicographic order.
    pub(super) fn with_sum(&self, sum: u64) -> impl Iterator<Item = Vec<usize>> {
        let start = self.entries.partition_point(|&(other, _)| other < sum);
        let equal = self.entries[start..].iter().take_while(move |&&(other, _)| other == sum);
        equal.map(|&(_, number)| self.combination(number))
    }

    fn combination(&self, number: u32) -> Vec<usize> {
        let mut rest = number as usize;
        let mut indices = vec![0; self.terms.len()];
        for (index, terms) in indices.iter_mut().zip(self.terms).rev() {
            *index = rest % terms.len();
            rest /= terms.len();
        }
        indices
    }
}

fn combinations(terms: &[Vec<u64>]) -> u64 {
    terms.iter().fold(1, |product: u64, terms| product.saturating_mul(terms.len() as u64))
}
