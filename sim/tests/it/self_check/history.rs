//! What happens to the disks before the power cut, failures included.

use plugpull_engine::{DiskError, DiskErrorKind};
use plugpull_sim::disk::{CrashSpace, DiskState, Op, OpKind, Outcome, RequestId};

use super::disks::{Fresh, sector_units};
use super::random::Random;
use super::request::{Request, UNIT};

/// One step. Any sequence of steps makes sense, so that leaving some out does, too.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Submit {
        disk: usize,
        request: Request,
    },
    /// Ends one of the requests in flight, counted modulo their number; nothing without any.
    End {
        which: usize,
        how: Ending,
    },
}

/// How a request ends, as far as it can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Done,
    Failed,
    Corrupted,
    Misdirected,
}

/// Disks on which a history is played.
#[derive(Debug, Clone)]
pub(crate) struct Player {
    pub(crate) disks: Vec<DiskState>,
    in_flight: Vec<InFlight>,
    next: u32,
}

#[derive(Debug, Clone)]
struct InFlight {
    disk: usize,
    id: RequestId,
    rejected: bool,
}

/// What a step is about to do.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    Submit { disk: usize, op: Op },
    End { disk: usize, id: RequestId, outcome: Outcome },
}

impl Player {
    pub(crate) fn new(fresh: &[Fresh]) -> Self {
        let disks = fresh.iter().map(Fresh::state).collect();
        Self { disks, in_flight: Vec::new(), next: 0 }
    }

    /// What a power cut may leave.
    pub(crate) fn spaces(&self) -> Vec<CrashSpace> {
        self.disks.iter().map(DiskState::crash_space).collect()
    }

    /// What a step does here, if anything.
    pub(crate) fn act(&self, step: &Step) -> Option<Act> {
        match *step {
            Step::Submit { disk, ref request } => Some(Act::Submit { disk, op: request.op() }),
            Step::End { which, how } => {
                let ending = self.in_flight.get(which % self.in_flight.len().max(1))?;
                let state = &self.disks[ending.disk];
                let how = if ending.rejected { Ending::Done } else { how };
                let outcome = outcome(how, state, state.op(ending.id));
                Some(Act::End { disk: ending.disk, id: ending.id, outcome })
            }
        }
    }

    pub(crate) fn play(&mut self, act: Act) {
        match act {
            Act::Submit { disk, op } => {
                let id = RequestId::new(0, self.next);
                self.next += 1;
                let rejected = is_rejected(&self.disks[disk], &op);
                self.disks[disk].submit(id, op);
                self.in_flight.push(InFlight { disk, id, rejected });
            }
            Act::End { disk, id, outcome } => {
                self.in_flight.retain(|other| other.id != id);
                // The reply is not needed.
                let _ = self.disks[disk].complete(id, outcome);
            }
        }
    }

    /// A step that keeps few changes in flight.
    pub(crate) fn random_step(&self, random: &mut Random) -> Step {
        let count = self.in_flight.len();
        if count > 0 && (count > 3 || random.one_in(2)) {
            let how = match random.below(16) {
                0 | 1 => Ending::Failed,
                2 => Ending::Corrupted,
                3 => Ending::Misdirected,
                _ => Ending::Done,
            };
            return Step::End { which: random.below(count), how };
        }
        let disk = random.below(self.disks.len());
        let state = &self.disks[disk];
        let request = Request::random(random, state.len() / UNIT, sector_units(state.spec()));
        Step::Submit { disk, request }
    }
}

fn outcome(how: Ending, disk: &DiskState, op: &Op) -> Outcome {
    let sector_len = disk.spec().sector_len as u64;
    let write = op.kind() == OpKind::Write;
    match how {
        Ending::Failed => Outcome::Failed(DiskError::new(DiskErrorKind::Io, "as told")),
        Ending::Corrupted if write => Outcome::Corrupted,
        Ending::Misdirected if write && disk.len() >= sector_len => {
            Outcome::Misdirected { shift: sector_len }
        }
        Ending::Done | Ending::Corrupted | Ending::Misdirected => Outcome::Done,
    }
}

fn is_rejected(disk: &DiskState, op: &Op) -> bool {
    match op {
        Op::Write { offset, data, .. } => offset + data.len() as u64 > disk.len(),
        Op::Discard { offset, len } => offset + len > disk.len(),
        Op::Resize { .. } => !disk.spec().resizable,
        Op::Read { .. } | Op::Flush => false,
    }
}
