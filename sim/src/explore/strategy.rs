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

/// A strategy that has not begun. Of the states that it meets again it looks at one in
/// `audit_one_in`, whether they are what they were before.
pub(super) fn strategy(explore: &Explore, audit_one_in: u64) -> Box<dyn Strategy> {
    match explore.schedules {
        Schedules::Exhaustive(Reduction::Plain) => Box::new(Exhaustive::new()),
        Schedules::Exhaustive(Reduction::Dpor) => orders(Dpor::new(Shard::WHOLE), explore),
        Schedules::Exhaustive(Reduction::Stateful | Reduction::Chosen) => {
            orders(Stateful::new(STATES_MAX, audit_one_in), explore)
        }
        Schedules::Fifo => Box::new(Fifo::new()),
        Schedules::Delays(delays) => orders(Delays::new(delays as usize, STATES_MAX), explore),
        Schedules::Random { count, seed, by: Draw::Walk } => Box::new(Random::new(seed, 0..count)),
        Schedules::Random { count, seed, by: Draw::Pos } => {
            sample::<Pos<u64>>(explore, count, seed)
        }
        Schedules::Random { count, seed, by: Draw::Surw } => sample::<Surw>(explore, count, seed),
        Schedules::Random { count, seed, by: Draw::Pct } => {
            sample::<Pct<u64>>(explore, count, seed)
        }
        Schedules::Random { count, seed, by: Draw::Portfolio } => {
            sample::<Portfolio<u64>>(explore, count, seed)
        }
    }
}

fn sample<R>(explore: &Explore, count: u64, seed: u64) -> Box<dyn Strategy>
where
    R: Rule<u64, Footprint> + Default + Send + 'static,
{
    orders(Sample::<_, _, R>::new(seed, Iterations::all(0..count)), explore)
}

fn orders<E>(engine: E, explore: &Explore) -> Box<dyn Strategy>
where
    E: Engine<u64, Footprint> + Tells + Send + 'static,
{
    let macro_step = explore.ready == ReadyOrder::MacroStep;
    Box::new(Orders::new(engine, noted(explore.schedules), macro_step))
}
