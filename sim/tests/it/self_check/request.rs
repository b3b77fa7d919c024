//! Requests in units of 512 bytes, each unit filled with one byte.

use plugpull_engine::WriteFlags;
use plugpull_sim::disk::{GARBAGE, Op};

use super::random::Random;

/// Bytes in a unit.
pub(crate) const UNIT: u64 = 512;

/// What units hold. So few that equal contents meet, and what a disk makes of itself is among them.
pub(crate) const LETTERS: [u8; 6] = [1, 2, 3, 4, 0, GARBAGE];

/// A request that changes a disk, or a flush.
#[derive(Debug, Clone)]
pub(crate) enum Request {
    Write { at: u64, letters: Vec<u8>, flags: WriteFlags },
    Discard { at: u64, units: u64 },
    Resize { units: u64 },
    Flush,
}

impl Request {
    /// One that mostly fits on a disk that is `units` long.
    pub(crate) fn random(random: &mut Random, units: u64, sector_units: u64) -> Self {
        let units = usize::try_from(units).expect("a small disk");
        match random.below(10) {
            kind @ 0..7 if units > 0 => {
                let past_the_end = usize::from(random.one_in(20));
                let at = random.below(units + past_the_end);
                let count = 1 + random.below((units.max(at + 1) - at).min(3));
                // Whole sectors are written more often than chance would have it.
                let sector = usize::try_from(sector_units).expect("small");
                let (at, count) = if random.one_in(2) && units >= sector {
                    (at.min(units - 1) / sector * sector, sector)
                } else {
                    (at, count)
                };
                if kind == 6 {
                    return Self::Discard { at: at as u64, units: count as u64 };
                }
                let letters = (0..count).map(|_| random.pick(&LETTERS)).collect();
                let flags = WriteFlags { preflush: random.one_in(6), fua: random.one_in(6) };
                Self::Write { at: at as u64, letters, flags }
            }
            7 => {
                let near = units + random.below(4);
                Self::Resize { units: near.saturating_sub(random.below(4)) as u64 }
            }
            _ => Self::Flush,
        }
    }

    pub(crate) fn op(&self) -> Op {
        match *self {
            Self::Write { at, ref letters, flags } => write(at, letters, flags),
            Self::Discard { at, units } => Op::Discard { offset: at * UNIT, len: units * UNIT },
            Self::Resize { units } => Op::Resize { len: units * UNIT },
            Self::Flush => Op::Flush,
        }
    }
}

/// A write of units.
pub(crate) fn write(at: u64, letters: &[u8], flags: WriteFlags) -> Op {
    Op::Write { offset: at * UNIT, data: filled(letters).into(), flags }
}

/// The bytes of some units.
pub(crate) fn filled(letters: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 512 * letters.len()];
    for (unit, &letter) in bytes.chunks_mut(512).zip(letters) {
        unit.fill(letter);
    }
    bytes
}
