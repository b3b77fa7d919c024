//! Disks of any kind with any content.

use plugpull_sim::disk::{DiscardContent, DiskSpec, DiskState, FailedFlush, Image, Model};

use super::random::Random;
use super::request::{LETTERS, UNIT, filled};

/// A disk before anything happened.
#[derive(Debug, Clone)]
pub(crate) struct Fresh {
    pub(crate) spec: DiskSpec,
    /// One for each unit.
    pub(crate) letters: Vec<u8>,
}

impl Fresh {
    pub(crate) fn random(random: &mut Random, name: &str) -> Self {
        let mut spec = DiskSpec::new(name);
        spec.model = random.pick(Model::ALL);
        spec.sector_len = if random.one_in(3) { 4096 } else { 512 };
        if random.one_in(5) {
            spec.tear = Some(if spec.sector_len == 512 { 256 } else { 512 });
        }
        spec.discard = random.pick(DiscardContent::ALL);
        spec.failed_flush = random.pick(FailedFlush::ALL);
        spec.resizable = !random.one_in(8);
        let units = match spec.sector_len {
            512 => 1 + random.below(4),
            _ if random.one_in(2) => 8 * (1 + random.below(2)),
            _ => 1 + random.below(16),
        };
        let letters = (0..units).map(|_| random.pick(&LETTERS)).collect();
        Self { spec, letters }
    }

    pub(crate) fn state(&self) -> DiskState {
        DiskState::new(self.spec.clone(), Image::from_bytes(&filled(&self.letters)))
    }
}

/// Units in a sector.
pub(crate) fn sector_units(spec: &DiskSpec) -> u64 {
    spec.sector_len as u64 / UNIT
}
