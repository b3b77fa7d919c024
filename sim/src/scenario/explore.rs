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
    /// Every one.
    Exhaustive,
    /// The one in which nothing is reordered.
    Fifo,
    /// This many drawn at random.
    Random {
        /// How many.
        count: u64,
        /// Where the draw starts.
        seed: u64,
    },
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
