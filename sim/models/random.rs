//! Random small programs.

use super::program::{FLAGS, OBJECTS, Op, Program, Stage};

/// A stream of numbers that depends on its seed only.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ mixed >> 31) % end as u64).expect("small")
    }
}

/// A program of two to four tasks with one to three stages each.
pub(crate) fn program(seed: u64) -> Program {
    let mut dice = Dice::new(seed);
    let tasks = 2 + dice.below(5) / 2;
    (0..tasks)
        .map(|task| {
            let stages = 1 + dice.below(if tasks == 2 { 3 } else { 2 });
            (0..stages).map(|_| stage(&mut dice, task, tasks)).collect()
        })
        .collect()
}

fn stage(dice: &mut Dice, task: usize, tasks: usize) -> Stage {
    match dice.below(10) {
        0..=4 => Stage::One(op(dice, task, tasks)),
        5 | 6 => Stage::Optional(op(dice, task, tasks)),
        7 | 8 => Stage::Both(op(dice, task, tasks), op(dice, task, tasks)),
        _ => Stage::Either(op(dice, task, tasks), op(dice, task, tasks)),
    }
}

fn op(dice: &mut Dice, task: usize, tasks: usize) -> Op {
    let (object, flag) = (dice.below(OBJECTS), dice.below(FLAGS));
    match dice.below(16) {
        0..=2 => Op::Read(object),
        3 | 4 => Op::Write(object),
        5 => Op::Swap(object),
        6 | 7 => Op::Add(object, 1 + object as u64),
        8 | 9 => Op::Maybe(object, 2 + dice.below(2)),
        10 | 11 => Op::Signal(flag),
        12 => Op::Wait(flag),
        13 | 14 => Op::Sleep(1 + dice.below(2) as u64),
        _ => Op::Cancel((task + 1 + dice.below(tasks - 1)) % tasks),
    }
}
