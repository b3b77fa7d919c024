//! Random lives of real images: sessions of writes, reads and flushes with copy-on-read, each ended
//! by a power cut in a random state, by a kill or by a close.

use std::collections::BTreeMap;

use plugpull_engine::fvd::Fvd;
use plugpull_engine::{ByteRange, SECTOR};
use plugpull_sim::crash::DirectWorld;
use plugpull_sim::disk::{CrashSpace, Image, Model};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::subject::{Subject, await_on};

/// Requests of one session.
const OPS: u64 = 12;

/// What the guest of one image knows.
pub(super) struct Life<'a> {
    subject: &'a Subject,
    rng: ChaCha8Rng,
    world: DirectWorld,
    fvd: Fvd,
    /// What a read must return.
    content: Vec<u8>,
    /// What a power cut may leave instead, by sector: what was durable last, and what was written
    /// since then and overwritten.
    also: BTreeMap<usize, Vec<Vec<u8>>>,
    serial: u64,
}

impl<'a> Life<'a> {
    /// Recovers the image as it is.
    pub(super) fn begin(subject: &'a mut Subject, seed: u64) -> Result<Self, String> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        for spec in &mut subject.specs {
            spec.model = SAFE_MODELS[below(&mut rng, SAFE_MODELS.len())];
            spec.sector_len = if one_in(&mut rng, 3) { 4096 } else { 512 };
        }
        let subject = &*subject;
        let content = subject.read_apart(subject.start.clone())?;
        let world = subject.world(subject.start.clone(), true);
        let fvd = subject.open(&world, true)?;
        Ok(Self { subject, rng, world, fvd, content, also: BTreeMap::new(), serial: 0 })
    }

    /// One session, to its violent or peaceful end.
    pub(super) fn session(&mut self) -> Result<(), String> {
        for _ in 0..OPS {
            drop(self.world.take_points());
            let ends = one_in(&mut self.rng, 9);
            self.operate()?;
            if ends {
                return self.cut();
            }
        }
        match below(&mut self.rng, 3) {
            0 => self.cut(),
            // Killed. Without a journal only a flush writes the maps.
            1 => {
                let loses = self.fvd.geometry().journal.is_none();
                self.restart(self.world.visible(), loses)
            }
            _ => {
                await_on(&self.world, "close", self.fvd.close())?;
                self.everything_is_durable();
                if one_in(&mut self.rng, 2) {
                    return self.cut();
                }
                self.restart(self.world.visible(), false)
            }
        }
    }

    /// After a flush: from now on a power cut leaves all of it. One may also hit a moment before
    /// the end of the flush; then all that was possible still is.
    fn everything_is_durable(&mut self) {
        if !one_in(&mut self.rng, 4) {
            drop(self.world.take_points());
            self.also.clear();
        }
    }

    fn operate(&mut self) -> Result<(), String> {
        match below(&mut self.rng, 8) {
            0 | 1 => {
                await_on(&self.world, "a flush", self.fvd.flush())?;
                self.everything_is_durable();
                Ok(())
            }
            2 | 3 => self.read(),
            _ => self.write(),
        }
    }

    fn read(&mut self) -> Result<(), String> {
        let (sector, count) = self.place();
        let range = ByteRange::new(sector as u64 * SECTOR, count as u64 * SECTOR);
        let found = await_on(&self.world, "a read", self.fvd.read(range))?;
        if found == self.content[sector * 512..(sector + count) * 512] {
            return Ok(());
        }
        Err(format!("a read of {range} returns something else"))
    }

    fn write(&mut self) -> Result<(), String> {
        let (sector, count) = self.place();
        self.serial += 1;
        let mut data = Vec::new();
        for sector in sector..sector + count {
            let stamp = [0xC3C3_0000_0000_0000 + self.serial, sector as u64].map(u64::to_le_bytes);
            data.extend_from_slice(&stamp.concat().repeat(32));
            let old = self.content[sector * 512..(sector + 1) * 512].to_vec();
            self.also.entry(sector).or_default().push(old);
        }
        self.content[sector * 512..(sector + count) * 512].copy_from_slice(&data);
        await_on(&self.world, "a write", self.fvd.write(sector as u64 * SECTOR, data))
    }

    /// Cuts the power now, or at a moment of the last request.
    fn cut(&mut self) -> Result<(), String> {
        let mut points = self.world.take_points();
        points.push(self.world.point());
        let point = &points[below(&mut self.rng, points.len())];
        let images = self.draw(&point.spaces);
        self.restart(images, true)
    }

    /// Recovers, perhaps with power cuts in between, and compares what the guest reads.
    fn restart(&mut self, mut images: Vec<Image>, after_cut: bool) -> Result<(), String> {
        let found = self.subject.read_apart(images.clone())?;
        loop {
            self.world = self.subject.world(images, true);
            self.fvd = self.subject.open(&self.world, true)?;
            let points = self.world.take_points();
            if !after_cut || points.is_empty() || !one_in(&mut self.rng, 3) {
                break;
            }
            let point = &points[below(&mut self.rng, points.len())];
            images = self.draw(&point.spaces);
            if self.subject.read_apart(images.clone())? != found {
                return Err("the content depends on where recovery was cut".to_owned());
            }
        }
        for (sector, bytes) in found.chunks(512).enumerate() {
            let allowed = bytes == &self.content[sector * 512..(sector + 1) * 512]
                || after_cut
                    && self.also.get(&sector).is_some_and(|also| also.iter().any(|a| a == bytes));
            if !allowed {
                return Err(format!("sector {sector} is neither old nor new"));
            }
        }
        self.content = found;
        self.also.clear();
        Ok(())
    }

    fn draw(&mut self, spaces: &[CrashSpace]) -> Vec<Image> {
        let bias = below(&mut self.rng, 4);
        let rng = &mut self.rng;
        let mut option = |space: &CrashSpace, variable| match bias {
            0 if !one_in(rng, 8) => space.lost(variable),
            1 if !one_in(rng, 8) => space.kept(variable),
            _ => below(rng, space.options(variable)),
        };
        let of = |space: &CrashSpace| {
            let choice: Vec<usize> =
                (0..space.variables()).map(|variable| option(space, variable)).collect();
            space.realize(&choice)
        };
        spaces.iter().map(of).collect()
    }

    fn place(&mut self) -> (usize, usize) {
        let all = self.content.len() / 512;
        let longest = [1, 2, 8, 16, 40, 200][below(&mut self.rng, 6)];
        let count = 1 + below(&mut self.rng, longest.min(all));
        (below(&mut self.rng, all - count + 1), count)
    }
}

/// The device models on which nothing that was flushed may be lost.
const SAFE_MODELS: [Model; 4] =
    [Model::Writeback, Model::Writethrough, Model::Ordered, Model::AtomicWrite];

fn below(rng: &mut ChaCha8Rng, end: usize) -> usize {
    usize::try_from(rng.next_u64() % end as u64).expect("below a usize")
}

fn one_in(rng: &mut ChaCha8Rng, count: usize) -> bool {
    below(rng, count) == 0
}
