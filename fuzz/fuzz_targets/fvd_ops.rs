//! Any sequence of requests, power cuts included, against a model of the guest's disk.
//!
//! The model is independent of the simulator's oracle, and simpler: every written sector is filled
//! with a number, and for each sector the model has the numbers it may hold after a power cut. One
//! request is in flight at a time, so these are the flushed number and all later ones.
#![no_main]

use arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use plugpull_engine::Access;
use plugpull_engine::ByteRange;
use plugpull_engine::fvd::Fvd;
use plugpull_fuzz::config::Config;
use plugpull_fuzz::session::Session;
use plugpull_sim::disk::{CrashSpace, Image};

/// Fills the base; no write has this number.
const BASE: u8 = 0xBA;
/// Requests in one run: later ones say nothing that an earlier one could not.
const OPS_MAX: usize = 64;

fuzz_target!(|data: &[u8]| {
    let mut bytes = Unstructured::new(data);
    let Ok(config) = bytes.arbitrary::<Config>() else { return };
    let mut run = Run::new(config);
    for _ in 0..OPS_MAX {
        if bytes.is_empty() || run.step(&mut bytes).is_err() {
            break;
        }
    }
    run.read_all();
});

struct Run {
    config: Config,
    session: Session,
    fvd: Fvd,
    /// Per sector, what it may hold after a power cut; the last entry is what it holds now.
    model: Vec<Vec<u32>>,
    writes: u32,
}

impl Run {
    fn new(config: Config) -> Self {
        let session = Session::create(config, BASE, true);
        let fvd = session.open(Access::ReadWrite).expect("a fresh image opens");
        let base = config.base.map_or(0, |(sectors, _)| sectors);
        let initial = u32::from_le_bytes([BASE; 4]);
        let model = (0..config.sectors).map(|at| vec![if at < base { initial } else { 0 }]);
        Self { model: model.collect(), config, session, fvd, writes: 0 }
    }

    fn step(&mut self, bytes: &mut Unstructured<'_>) -> Result<()> {
        match bytes.int_in_range(0..=9)? {
            0..=4 => self.write(bytes),
            5 => self.read(bytes),
            6 => {
                self.flush();
                Ok(())
            }
            7 => {
                self.close();
                self.reopen(self.session.contents());
                Ok(())
            }
            8 => {
                // The program dies, the disks do not. What it had told nobody to keep may be gone.
                self.reopen(self.session.contents());
                self.recovered();
                Ok(())
            }
            _ => self.power_cut(bytes),
        }
    }

    fn range(&self, bytes: &mut Unstructured<'_>) -> Result<std::ops::Range<usize>> {
        let start = bytes.int_in_range(0..=self.model.len() - 1)?;
        let len = bytes.int_in_range(1..=(self.model.len() - start).min(40))?;
        Ok(start..start + len)
    }

    fn write(&mut self, bytes: &mut Unstructured<'_>) -> Result<()> {
        let range = self.range(bytes)?;
        self.writes += 1;
        let data = self.writes.to_le_bytes().repeat(128 * range.len());
        let write = self.fvd.write(range.start as u64 * 512, data);
        self.session.run(write).expect("a write");
        for sector in &mut self.model[range] {
            sector.push(self.writes);
        }
        Ok(())
    }

    fn read(&mut self, bytes: &mut Unstructured<'_>) -> Result<()> {
        let range = self.range(bytes)?;
        for (at, found) in range.clone().zip(self.numbers(range)) {
            assert_eq!(Some(&found), self.model[at].last(), "sector {at}");
        }
        Ok(())
    }

    fn flush(&mut self) {
        self.session.run(self.fvd.flush()).expect("a flush");
        self.settle();
    }

    fn close(&mut self) {
        self.session.run(self.fvd.close()).expect("a close");
        self.settle();
    }

    /// Only what every sector holds now is left of its past.
    fn settle(&mut self) {
        for sector in &mut self.model {
            sector.drain(..sector.len() - 1);
        }
    }

    fn reopen(&mut self, contents: Vec<Image>) {
        self.session = Session::new(self.config, contents, true);
        self.fvd = self.session.open(Access::ReadWrite).expect("an image of ours opens");
    }

    /// Cuts the power; what is left is up to the input, and all is lost once that ends.
    fn power_cut(&mut self, bytes: &mut Unstructured<'_>) -> Result<()> {
        let mut left = Vec::new();
        for space in self.session.world.point().spaces {
            let options = |variable| bytes.int_in_range(0..=space.options(variable) - 1);
            let options: Vec<usize> = (0..space.variables()).map(options).collect::<Result<_>>()?;
            left.push(CrashSpace::realize(&space, &options));
        }
        self.reopen(left);
        self.recovered();
        Ok(())
    }

    /// Every sector holds something that it may, and from now on that.
    fn recovered(&mut self) {
        for (at, found) in (0..).zip(self.numbers(0..self.model.len())) {
            let allowed = &self.model[at];
            assert!(
                allowed.contains(&found),
                "sector {at} is {found:#x}, not one of {allowed:#x?}"
            );
            self.model[at] = vec![found];
        }
    }

    fn read_all(&self) {
        for (at, found) in (0..).zip(self.numbers(0..self.model.len())) {
            assert_eq!(Some(&found), self.model[at].last(), "sector {at}");
        }
    }

    /// The numbers that sectors are filled with.
    fn numbers(&self, range: std::ops::Range<usize>) -> Vec<u32> {
        let bytes = ByteRange::new(range.start as u64 * 512, range.len() as u64 * 512);
        let bytes = self.session.run(self.fvd.read(bytes)).expect("a read");
        let number = |sector: &[u8]| {
            let word: [u8; 4] = sector[..4].try_into().expect("four bytes");
            assert!(sector.chunks_exact(4).all(|part| part == word), "a sector is torn");
            u32::from_le_bytes(word)
        };
        bytes.chunks_exact(512).map(number).collect()
    }
}
