//! Which strategy explores which schedules.

use crate::exec::{Noted, ReadyOrder};
use crate::orders::{Dpor, Shard};
use crate::scenario::{Draw, Explore, Reduction, Schedules};
use crate::schedule::{Exhaustive, Fifo, Orders, Random, Strategy};

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

/// A strategy that has not begun.
pub(super) fn strategy(explore: &Explore) -> Box<dyn Strategy> {
    match explore.schedules {
        Schedules::Exhaustive(Reduction::Plain) => Box::new(Exhaustive::new()),
        Schedules::Exhaustive(_) => {
            let macro_step = explore.ready == ReadyOrder::MacroStep;
            Box::new(Orders::new(Dpor::new(Shard::WHOLE), noted(explore.schedules), macro_step))
        }
        Schedules::Fifo => Box::new(Fifo::new()),
        Schedules::Delays(_) => Box::new(Fifo::new()),
        Schedules::Random { count, seed, .. } => Box::new(Random::new(seed, 0..count)),
    }
}
