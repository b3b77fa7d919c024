//! A walk over the sectors that leaves where the target cannot be reached any more.

use std::ops::ControlFlow;

use super::equation::Equation;
use super::group::Subgroup;
use super::passing::{Bound, Bounds, Collector, Passing};
use super::table::Table;

/// Steps without a table. Most equations are solved by then, and the table, which may have many
/// more entries, is not needed.
const TRIAL_STEPS: u64 = 1 << 14;

/// The solutions of `equation` in lexicographic order.
pub(super) fn solve(equation: &Equation, bounds: Bounds) -> Passing {
    let trial = Bounds { steps_max: bounds.steps_max.min(TRIAL_STEPS), ..bounds };
    let tried = Search::new(equation, Table::empty(equation), trial).run();
    let steps_left = bounds.steps_max - trial.steps_max;
    if tried.stopped != Some(Bound::Steps) || steps_left == 0 {
        return tried;
    }
    let table = Table::balanced(equation, steps_left / 2);
    let rest = Bounds { steps_max: steps_left - table.entries(), ..bounds };
    let found = Search::new(equation, table, rest).run();
    // Both begin with the first solutions; with few steps left the trial may have come further.
    if found.complete() || found.combinations.len() >= tried.combinations.len() {
        found
    } else {
        tried
    }
}

struct Search<'a> {
    equation: &'a Equation,
    /// For every sector, and past the last one, what the sectors from there on may add up to.
    tails: Vec<Tail>,
    table: Table<'a>,
    /// The walk: one for every sector that a candidate is chosen for.
    nodes: Vec<Node>,
    collector: Collector,
}

/// A coset of the group: every sum of the last sectors' terms is in it.
#[derive(Clone)]
struct Tail {
    /// The sum of their first candidates' terms.
    base: u64,
    differences: Subgroup,
}

/// A sector in the walk.
struct Node {
    /// What this sector and those after it have to add up to.
    target: u64,
    /// The candidate to try next; the one before it is being tried.
    next: usize,
}

impl<'a> Search<'a> {
    fn new(equation: &'a Equation, table: Table<'a>, bounds: Bounds) -> Self {
        let collector = Collector::new(bounds);
        Self { equation, tails: tails(equation), table, nodes: Vec::new(), collector }
    }

    fn run(mut self) -> Passing {
        let end = self.walk();
        self.collector.finish(end)
    }

    /// Depth first, so the solutions come in lexicographic order.
    fn walk(&mut self) -> ControlFlow<Bound> {
        self.enter(self.equation.target)?;
        while let Some(sector) = self.nodes.len().checked_sub(1) {
            let node = &mut self.nodes[sector];
            let Some(&term) = self.equation.terms[sector].get(node.next) else {
                self.nodes.pop();
                continue;
            };
            node.next += 1;
            let target = self.equation.group.minus(node.target, term);
            self.enter(target)?;
        }
        ControlFlow::Continue(())
    }

    /// Goes on to the next sector, if `target` can be reached from there.
    fn enter(&mut self, target: u64) -> ControlFlow<Bound> {
        self.collector.step()?;
        let sector = self.nodes.len();
        let tail = &self.tails[sector];
        if !tail.differences.contains(self.equation.group.minus(target, tail.base)) {
            return ControlFlow::Continue(());
        }
        if sector == self.table.first() {
            return self.look_up(target);
        }
        self.nodes.push(Node { target, next: 0 });
        ControlFlow::Continue(())
    }

    fn look_up(&mut self, target: u64) -> ControlFlow<Bound> {
        for ending in self.table.with_sum(target) {
            let chosen = self.nodes.iter().map(|node| node.next - 1);
            self.collector.found(chosen.chain(ending).collect())?;
        }
        ControlFlow::Continue(())
    }
}

fn tails(equation: &Equation) -> Vec<Tail> {
    let group = equation.group;
    let mut tails = vec![Tail { base: 0, differences: Subgroup::trivial(group) }];
    for terms in equation.terms.iter().rev() {
        let mut tail = tails[tails.len() - 1].clone();
        tail.base = group.plus(tail.base, terms[0]);
        for &term in &terms[1..] {
            tail.differences.extend(group.minus(term, terms[0]));
        }
        tails.push(tail);
    }
    tails.reverse();
    tails
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::group::Group;
    use super::*;

    /// The full product.
    fn solutions(equation: &Equation) -> Vec<Vec<usize>> {
        let mut product = vec![(Vec::new(), 0)];
        for terms in &equation.terms {
            let longer = product.iter().flat_map(|(path, sum)| {
                terms.iter().enumerate().map(move |(index, &term)| {
                    ([&path[..], &[index]].concat(), equation.group.plus(*sum, term))
                })
            });
            product = longer.collect();
        }
        product.retain(|&(_, sum)| sum == equation.target);
        product.into_iter().map(|(path, _)| path).collect()
    }

    fn equation() -> impl Strategy<Value = Equation> {
        // From few elements, so that many sums are equal; 2^29 so that sums wrap.
        let terms = prop::collection::vec((0..8_u64).prop_map(|n| n << 29), 1..=4);
        let group = prop_oneof![Just(Group::Xor), Just(Group::Integers32)];
        (group, prop::collection::vec(terms, 0..=5), (0..8_u64).prop_map(|n| n << 29))
            .prop_map(|(group, terms, target)| Equation { group, terms, target })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_table_gives_the_same_solutions(equation in equation()) {
            let bounds = Bounds { passing_max: usize::MAX, steps_max: u64::MAX };
            let expected = Passing { combinations: solutions(&equation), stopped: None };
            for first in 0..=equation.terms.len() {
                let search = Search::new(&equation, Table::starting_at(&equation, first), bounds);
                prop_assert_eq!(&search.run(), &expected, "table from {}", first);
            }
            let balanced = Table::balanced(&equation, 1 << 20);
            prop_assert_eq!(&Search::new(&equation, balanced, bounds).run(), &expected);
        }

        #[test]
        fn with_two_candidates_each_there_are_no_dead_ends(
            terms in prop::collection::vec(prop::array::uniform2(any::<u64>()), 1..=70),
            choices in any::<u128>(),
        ) {
            let chosen = terms.iter().enumerate().map(|(n, pair)| pair[usize::from(choices >> n & 1 == 1)]);
            let target = chosen.fold(0, |sum, term| sum ^ term);
            let terms: Vec<_> = terms.iter().map(|pair| pair.to_vec()).collect();
            let steps_max = 1 + 2 * terms.len() as u64;
            let equation = Equation { group: Group::Xor, terms, target };
            let bounds = Bounds { passing_max: 1, steps_max };
            // The first solution is found in the time that it takes to go there.
            let found = Search::new(&equation, Table::empty(&equation), bounds).run();
            prop_assert_eq!(found.combinations.len(), 1);
        }
    }
}
