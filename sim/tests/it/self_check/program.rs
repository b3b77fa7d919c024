//! Recovery: a small program whose way depends on what it reads.

use plugpull_engine::WriteFlags;
use plugpull_sim::crash::LazyDisks;
use plugpull_sim::disk::{Op, Reply, RequestId};
use xxhash_rust::xxh3::xxh3_64;

use super::random::Random;
use super::request::{LETTERS, Request, UNIT, write};

/// One step. Any sequence of steps makes sense; all programs end, because they only skip forward.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Reads some bytes; from then on they are what was *seen*.
    Read { disk: usize, place: Place, len: usize, shown: bool },
    /// Asks for the length, which is then what was seen.
    Len { disk: usize, shown: bool },
    /// Leaves out the next steps, if what was seen has a bit set.
    SkipIf { bit: u32, count: usize },
    /// Submits something, and waits for it unless it is left `in_flight`.
    Change { disk: usize, request: Request, in_flight: bool },
    /// Writes what depends on what was seen.
    WriteSeen { disk: usize, at: u64, units: usize, flags: WriteFlags, in_flight: bool },
    /// Completes one of the requests in flight, counted modulo their number.
    Complete { which: usize },
}

/// Where a read begins.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place {
    /// There.
    Byte(u64),
    /// At one of so many units, whichever what was seen says.
    SeenUnit(u64),
}

/// What a program lets others see.
pub(crate) type Outcome = Vec<u64>;

/// Runs a program as a task.
pub(crate) fn run(program: &[Step], task: u32, disks: &mut LazyDisks) -> Outcome {
    let mut run = Run { disks, task, next: 0, seen: 0, outcome: Vec::new(), in_flight: Vec::new() };
    let mut skipped = 0;
    for step in program {
        if skipped > 0 {
            skipped -= 1;
        } else if let &Step::SkipIf { bit, count } = step {
            skipped = if run.seen >> bit & 1 == 1 { count } else { 0 };
        } else {
            run.step(step);
        }
    }
    run.outcome
}

struct Run<'a> {
    disks: &'a mut LazyDisks,
    task: u32,
    next: u32,
    seen: u64,
    outcome: Outcome,
    in_flight: Vec<(usize, RequestId)>,
}

impl Run<'_> {
    fn step(&mut self, step: &Step) {
        match *step {
            Step::Read { disk, place, len, shown } => {
                let offset = match place {
                    Place::Byte(offset) => offset,
                    Place::SeenUnit(units) => self.seen % units * UNIT,
                };
                let id = self.submit(disk, Op::Read { offset, len });
                let reply = self.disks.complete(disk, id);
                self.see(xxh3_64(&reply.expect("reads do not fail")), shown);
            }
            Step::Len { disk, shown } => {
                let len = self.disks.len_of(disk);
                self.see(xxh3_64(&len.to_le_bytes()), shown);
            }
            Step::SkipIf { .. } => unreachable!("handled by the loop"),
            Step::Change { disk, ref request, in_flight } => {
                self.change(disk, request.op(), in_flight);
            }
            Step::WriteSeen { disk, at, units, flags, in_flight } => {
                let letter = |unit| LETTERS[index(self.seen >> (3 * unit) & 7) % LETTERS.len()];
                let letters: Vec<u8> = (0..units).map(letter).collect();
                self.change(disk, write(at, &letters, flags), in_flight);
            }
            Step::Complete { which } => {
                if !self.in_flight.is_empty() {
                    let (disk, id) = self.in_flight.remove(which % self.in_flight.len());
                    let reply = self.disks.complete(disk, id);
                    self.show(&reply);
                }
            }
        }
    }

    fn change(&mut self, disk: usize, op: Op, in_flight: bool) {
        let id = self.submit(disk, op);
        if in_flight {
            self.in_flight.push((disk, id));
        } else {
            let reply = self.disks.complete(disk, id);
            self.show(&reply);
        }
    }

    fn submit(&mut self, disk: usize, op: Op) -> RequestId {
        let id = RequestId::new(self.task, self.next);
        self.next += 1;
        self.disks.submit(disk, id, op);
        id
    }

    fn see(&mut self, seen: u64, shown: bool) {
        self.seen = seen;
        if shown {
            self.outcome.push(seen);
        }
    }

    /// Whether a change was rejected can be seen.
    fn show(&mut self, reply: &Reply) {
        self.outcome.push(u64::from(reply.is_ok()));
    }
}

fn index(number: u64) -> usize {
    usize::try_from(number).expect("small")
}

/// A program for `disks` disks of about `units` units, with sectors of `sector_units`; `changes` is
/// how many steps may change something.
pub(crate) fn random(
    random: &mut Random,
    disks: &[(u64, u64)],
    steps: usize,
    mut changes: usize,
) -> Vec<Step> {
    let mut program = Vec::new();
    for _ in 0..steps {
        let disk = random.below(disks.len());
        let (units, sector_units) = disks[disk];
        let shown = random.one_in(2);
        if changes > 1 && units > 0 && random.one_in(12) {
            changes -= 2;
            program.extend(shrink_and_grow(random, disk, units));
            continue;
        }
        let step = match random.below(12) {
            0 => Step::Len { disk, shown },
            1 | 2 => Step::SkipIf { bit: index_bit(random), count: 1 + random.below(3) },
            3..9 if changes > 0 => {
                changes -= 1;
                change(random, disk, units, sector_units)
            }
            9 if changes > 0 => Step::Complete { which: random.below(4) },
            _ => read(random, disk, units, shown),
        };
        program.push(step);
    }
    program
}

/// What was cut off is gone, whether or not anybody has looked at it.
fn shrink_and_grow(random: &mut Random, disk: usize, units: u64) -> Vec<Step> {
    let short = random.below(index(units)) as u64;
    let long = short + random.below(index(units - short) + 2) as u64;
    let change = |request, in_flight| Step::Change { disk, request, in_flight };
    let mut steps = vec![change(Request::Resize { units: short }, random.one_in(4))];
    if random.one_in(2) {
        steps.push(change(Request::Flush, false));
    }
    steps.push(change(Request::Resize { units: long }, random.one_in(4)));
    if random.one_in(3) {
        steps.push(change(Request::Flush, false));
    }
    steps
}

fn index_bit(random: &mut Random) -> u32 {
    random.pick(&[0, 1, 2])
}

fn read(random: &mut Random, disk: usize, units: u64, shown: bool) -> Step {
    let place = if random.one_in(5) {
        Place::SeenUnit(units + 1)
    } else {
        let unit = random.below(index(units) + 1) as u64;
        Place::Byte(unit * UNIT + random.pick(&[0, 0, 0, 8, 250, 508]))
    };
    let len = random.pick(&[1, 8, 512, 512, 512, 1024]);
    Step::Read { disk, place, len, shown }
}

fn change(random: &mut Random, disk: usize, units: u64, sector_units: u64) -> Step {
    let in_flight = random.one_in(3);
    if random.one_in(4) && units > 0 {
        let at = random.below(index(units));
        let units = 1 + random.below((index(units) - at).min(2));
        let flags = WriteFlags { preflush: random.one_in(6), fua: random.one_in(6) };
        return Step::WriteSeen { disk, at: at as u64, units, flags, in_flight };
    }
    Step::Change { disk, request: Request::random(random, units, sector_units), in_flight }
}
