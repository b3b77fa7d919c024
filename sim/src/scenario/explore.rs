//! The workload's clients and the bounds of a search.

use crate::exec::ReadyOrder;
use crate::scenario::Faults;
use crate::workload::GuestOp;

/// One guest client: a task that issues its requests in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// The requests.
    pub ops: Vec<GuestOp>,
    /// How often the whole list is issued, at least once.
    pub repeat: u32,
}

impl Client {
    /// Every request in the order of issue, repetitions written out.
    #[must_use]
    pub fn requests(&self) -> Vec<GuestOp> {
        let times = usize::try_from(self.repeat).expect("32 bits fit");
        self.ops.repeat(times)
    }
}

/// The bounds of a search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explore {
    /// Which executions.
    pub schedules: Schedules,
    /// Which orders of ready tasks.
    pub ready: ReadyOrder,
    /// Which crash states.
    pub crashes: Crashes,
    /// How many power cuts may hit recovery, one inside the other.
    pub recovery_crashes: u32,
    /// The most crash states of one crash point that are enumerated; beyond it they are sampled
    /// and the verdict is `Incomplete`.
    pub paths_max: u64,
    /// How many of the sectors that the first power cut leaves undecided may be unreadable after it,
    /// until they are written again.
    pub unreadable: u32,
    /// What may fail.
    pub faults: Faults,
    /// How many guest requests may be given up by their clients in one execution.
    pub cancel: u32,
}

impl Explore {
    /// [`Self::paths_max`] where a scenario does not say.
    pub const PATHS_MAX: u64 = 1 << 16;
}

/// Which executions are explored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schedules {
    /// Every one, or what stands for it.
    Exhaustive(Reduction),
    /// The one in which nothing is reordered.
    Fifo,
    /// Every one in which at most so much is delayed: to pass over `n` events that have been possible
    /// for longer costs `n`.
    Delays(u32),
    /// This many drawn at random.
    Random {
        /// How many.
        count: u64,
        /// Where the draw starts.
        seed: u64,
        /// What is drawn.
        by: Draw,
    },
}

impl Schedules {
    /// Whether executions stand for nothing but themselves: other orders of their completions are not
    /// explored too, and it is not known which of their steps depend on each other.
    #[must_use]
    pub fn stands_for_one_order(self) -> bool {
        matches!(self, Self::Fifo | Self::Random { by: Draw::Walk, .. } | Self::Delays(_))
    }
}

/// How much an exhaustive search leaves out of what is equivalent to something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reduction {
    /// As the program sees fit; it says which it has taken.
    #[default]
    Chosen,
    /// Nothing: every order of everything. The reference.
    Plain,
    /// One execution for every class of those that differ only in the order of independent events
    /// (dynamic partial-order reduction).
    Dpor,
    /// What follows a state that was reached before (stateful search).
    Stateful,
}

impl Reduction {
    /// The one that scenario files call `name`: `plain`, `dpor`, `stateful`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let found = super::convert::REDUCTIONS.iter().find(|(known, _)| *known == name);
        found.map(|&(_, reduction)| reduction)
    }
}

/// How executions are drawn. All but the walk begin with one in which nothing is reordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Draw {
    /// Whatever is possible is equally likely at every choice: a random walk.
    #[default]
    Walk,
    /// The order of conflicting events is equally likely either way (partial-order sampling).
    Pos,
    /// Every order of the events that a first run has shown is equally likely.
    Surw,
    /// Few changes of priority, at random places.
    Pct,
    /// Some of each: 60 of 100 by [`Self::Pos`], 20 by [`Self::Surw`], 10 by [`Self::Pct`], 10 at
    /// random among what is possible.
    Portfolio,
}

/// Which crash states are explored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crashes {
    /// Every one, of every crash point.
    Exact,
    /// None: power stays on.
    None,
    /// This many per crash point, drawn at random.
    Sampled {
        /// How many.
        count: u64,
        /// Where the draw starts.
        seed: u64,
    },
}

impl Explore {
    /// The seed that a random part of the search starts from, if it has one.
    #[must_use]
    pub fn seed(&self) -> Option<u64> {
        match (self.schedules, self.crashes) {
            (Schedules::Random { seed, .. }, _) | (_, Crashes::Sampled { seed, .. }) => Some(seed),
            _ => None,
        }
    }

    /// Starts every random part of the search from `seed` instead.
    pub fn set_seed(&mut self, new: u64) {
        if let Schedules::Random { seed, .. } = &mut self.schedules {
            *seed = new;
        }
        if let Crashes::Sampled { seed, .. } = &mut self.crashes {
            *seed = new;
        }
    }
}
