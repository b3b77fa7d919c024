//! Which strategy explores which schedules.

use crate::exec::{Footprint, Noted, ReadyOrder};
use crate::orders::{
    Delays, Dpor, Engine, Iterations, Pct, Portfolio, Pos, Rule, Sample, Shard, Stateful, Surw,
};
use crate::scenario::{Draw, Explore, Reduction, Schedules};
use crate::schedule::{Exhaustive, Fifo, Orders, Random, STATES_MAX, Strategy, Tells};

/// What the strategy for these schedules has to know of every step.
pub(super) fn noted(schedules: Schedules) -> Noted {
    match schedules {
        Schedules::Exhaustive(Reduction::Plain)
        | Schedules::Fifo
        | Schedules::Random { by: Draw::Walk, .. } => Noted::Nothing,
        Schedules::Exhaustive(Reduction::Dpor) | Schedules::Random { .. } => Noted::Footprints,
        Schedules::Exhaustive(Reduction::Stateful | Reduction::Chosen) | Schedules::Delays(_) => {
            Noted::States
        }
    }
}

/// What of a search a strategy explores.
#[derive(Debug, Clone)]
pub(super) struct Assigned {
    /// Of one that has an execution for every class.
    pub(super) shard: Shard,
    /// Of one that draws: the first draw, and the distance between two.
    draws: (u64, u64),
}

impl Default for Assigned {
    fn default() -> Self {
        Self { shard: Shard::WHOLE, draws: (0, 1) }
    }
}

impl Assigned {
    /// What is below some roots.
    pub(super) fn below(shard: Shard) -> Self {
        Self { shard, ..Self::default() }
    }

    /// One draw in so many.
    pub(super) fn draws(first: u64, one_in: u64) -> Self {
        Self { draws: (first, one_in), ..Self::default() }
    }
}

/// A strategy that has not begun. Of the states that it meets again it looks at one in
/// `audit_one_in`, whether they are what they were before.
pub(super) fn strategy(
    explore: &Explore,
    audit_one_in: u64,
    assigned: &Assigned,
) -> Box<dyn Strategy> {
    match explore.schedules {
        Schedules::Exhaustive(Reduction::Plain) => Box::new(Exhaustive::new()),
        Schedules::Exhaustive(Reduction::Dpor) => orders(Dpor::new(assigned.shard), explore),
        Schedules::Exhaustive(Reduction::Stateful | Reduction::Chosen) => {
            orders(Stateful::new(STATES_MAX, audit_one_in), explore)
        }
        Schedules::Fifo => Box::new(Fifo::new()),
        Schedules::Delays(delays) => orders(Delays::new(delays as usize, STATES_MAX), explore),
        Schedules::Random { count, seed, by: Draw::Walk } => {
            let (first, one_in) = assigned.draws;
            Box::new(Random::one_in(one_in, seed, first..count))
        }
        Schedules::Random { count, seed, by: Draw::Pos } => {
            sample::<Pos<u64>>(explore, count, seed, assigned)
        }
        Schedules::Random { count, seed, by: Draw::Surw } => {
            sample::<Surw>(explore, count, seed, assigned)
        }
        Schedules::Random { count, seed, by: Draw::Pct } => {
            sample::<Pct<u64>>(explore, count, seed, assigned)
        }
        Schedules::Random { count, seed, by: Draw::Portfolio } => {
            sample::<Portfolio<u64>>(explore, count, seed, assigned)
        }
    }
}

fn sample<R>(explore: &Explore, count: u64, seed: u64, assigned: &Assigned) -> Box<dyn Strategy>
where
    R: Rule<u64, Footprint> + Default + Send + 'static,
{
    let (first, one_in) = assigned.draws;
    let iterations = Iterations { range: 0..count, of: one_in, index: first % one_in };
    orders(Sample::<_, _, R>::new(seed, iterations), explore)
}

fn orders<E>(engine: E, explore: &Explore) -> Box<dyn Strategy>
where
    E: Engine<u64, Footprint> + Tells + Send + 'static,
{
    let macro_step = explore.ready == ReadyOrder::MacroStep;
    Box::new(Orders::new(engine, noted(explore.schedules), macro_step))
}
