//! Any sequence of requests against a model of the guest's disk and its snapshots; between them the
//! image is closed, checked and opened again.
//!
//! The model is independent of the simulator's oracle: every written sector is filled with a number.
#![no_main]

use arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use plugpull_engine::qcow2::Qcow2;
use plugpull_engine::qcow2::check::check;
use plugpull_engine::{Access, ByteRange, Error};
use plugpull_fuzz::qcow2::{Config, Session};

/// Fills the backing file; no write has this number.
const BASE: u8 = 0xBA;
/// Requests in one run: later ones say nothing that an earlier one could not.
const OPS_MAX: usize = 64;
/// Sectors that the disk grows to at most.
const SECTORS_MAX: usize = 400;

fuzz_target!(|data: &[u8]| {
    let mut bytes = Unstructured::new(data);
    let Ok(config) = bytes.arbitrary::<Config>() else { return };
    let mut run = Run::new(config);
    for _ in 0..OPS_MAX {
        if bytes.is_empty() || run.step(&mut bytes).is_err() {
            break;
        }
    }
    run.reopen();
});

struct Run {
    config: Config,
    session: Session,
    image: Qcow2,
    /// What each sector holds.
    model: Vec<u32>,
    /// The names of snapshots, and what they hold.
    snapshots: Vec<(String, Vec<u32>)>,
    count: u32,
}

impl Run {
    fn new(config: Config) -> Self {
        let session = Session::create(config, BASE);
        let image = session.open(Access::ReadWrite).expect("a fresh image opens");
        let base = config.base.unwrap_or(0);
        let initial = u32::from_le_bytes([BASE; 4]);
        let model = (0..config.sectors).map(|at| if at < base { initial } else { 0 }).collect();
        Self { config, session, image, model, snapshots: Vec::new(), count: 0 }
    }

    fn step(&mut self, bytes: &mut Unstructured<'_>) -> Result<()> {
        match bytes.int_in_range(0..=15)? {
            0..=4 => self.write(bytes),
            5 => self.write_compressed(bytes),
            6 => self.write_zeroes(bytes),
            7 | 8 => self.discard(bytes),
            9 => self.read(bytes),
            10 => {
                self.session.run(self.image.flush()).expect("a flush");
                Ok(())
            }
            11 => self.resize(bytes),
            12 => {
                self.create_snapshot();
                Ok(())
            }
            13 => self.apply_snapshot(bytes),
            14 => self.delete_snapshot(bytes),
            _ => {
                self.reopen();
                Ok(())
            }
        }
    }

    fn range(&self, bytes: &mut Unstructured<'_>) -> Result<std::ops::Range<usize>> {
        let start = bytes.int_in_range(0..=self.model.len() - 1)?;
        let len = bytes.int_in_range(1..=(self.model.len() - start).min(40))?;
        Ok(start..start + len)
    }

    fn cluster_sectors(&self) -> usize {
        usize::try_from(self.config.cluster_len / 512).expect("a few sectors")
    }

    fn write(&mut self, bytes: &mut Unstructured<'_>) -> Result<()> {
        let range = self.range(bytes)?;
        self.count += 1;
        let data = self.count.to_le_bytes().repeat(128 * range.len());
        self.session.run(self.image.write(range.start as u64 * 512, data)).expect("a write");
        self.model[range].fill(self.count);
        Ok(())
    }

    fn write_compressed(&mut self, bytes: &mut Unstructured<'_>) -> Result<()> {
        let sectors = self.cluster_sectors();
        let start = bytes.int_in_range(0..=self.model.len() - 1)? / sectors * sectors;
        let range = start..(start + sectors).min(self.model.len());
        let data = (self.count + 1).to_le_bytes().repeat(128 * range.len());
        let written = self.image.write_compressed(start as u64 * 512, data);
        if self.allowed(self.session.run(written)) {
            self.count += 1;
            self.model[range].fill(self.count);
        }
        Ok(())
    }

    fn write_zeroes(&mut self, bytes: &mut Unstructured<'_>) -> Result<()> {
        let range = self.range(bytes)?;
        let zeroed = self.image.write_zeroes(guest(&range), bytes.arbitrary()?);
        self.session.run(zeroed).expect("zeros");
        self.model[range].fill(0);
        Ok(())
    }

    /// Whole clusters read as zeros afterwards, where the format can say so.
    fn discard(&mut self, bytes: &mut Unstructured<'_>) -> Result<()> {
        let range = self.range(bytes)?;
        self.session.run(self.image.discard(guest(&range))).expect("a discard");
        if self.config.version == 2 && self.config.base.is_some() {
            return Ok(());
        }
        let sectors = self.cluster_sectors();
        let start = range.start.next_multiple_of(sectors);
        let at_end = range.end == self.model.len();
        let end = if at_end { range.end } else { range.end / sectors * sectors };
        if start < end {
            self.model[start..end].fill(0);
        }
        Ok(())
    }

    fn read(&mut self, bytes: &mut Unstructured<'_>) -> Result<()> {
        let range = self.range(bytes)?;
        let read = self.session.run(self.image.read(guest(&range))).expect("a read");
        assert_eq!(numbers(&read), self.model[range.clone()], "sectors {range:?}");
        Ok(())
    }

    fn resize(&mut self, bytes: &mut Unstructured<'_>) -> Result<()> {
        let sectors = bytes.int_in_range(1..=SECTORS_MAX)?;
        let resized = self.image.resize(sectors as u64 * 512);
        if self.allowed(self.session.run(resized)) {
            self.model.resize(sectors, 0);
        }
        Ok(())
    }

    fn create_snapshot(&mut self) {
        self.count += 1;
        let name = format!("s{}", self.count);
        let made = self.image.create_snapshot(&name);
        if self.allowed(self.session.run(made)) {
            self.snapshots.push((name, self.model.clone()));
        }
    }

    fn snapshot(&self, bytes: &mut Unstructured<'_>) -> Result<Option<usize>> {
        if self.snapshots.is_empty() {
            return Ok(None);
        }
        bytes.int_in_range(0..=self.snapshots.len() - 1).map(Some)
    }

    fn apply_snapshot(&mut self, bytes: &mut Unstructured<'_>) -> Result<()> {
        let Some(index) = self.snapshot(bytes)? else { return Ok(()) };
        let (name, model) = self.snapshots[index].clone();
        if self.allowed(self.session.run(self.image.apply_snapshot(&name))) {
            self.model = model;
        }
        Ok(())
    }

    fn delete_snapshot(&mut self, bytes: &mut Unstructured<'_>) -> Result<()> {
        let Some(index) = self.snapshot(bytes)? else { return Ok(()) };
        let (name, _) = self.snapshots.remove(index);
        self.session.run(self.image.delete_snapshot(&name)).expect("a deletion");
        Ok(())
    }

    /// Whether a request took effect; what an image of this kind cannot do does not.
    fn allowed<T>(&self, result: std::result::Result<T, Error>) -> bool {
        match result {
            Ok(_) => true,
            Err(Error::Unsupported(_)) => false,
            Err(error) => panic!("{error}"),
        }
    }

    fn reopen(&mut self) {
        self.read_all();
        self.session.run(self.image.close()).expect("a close");
        self.session = Session::new(self.config, self.session.contents());
        let report = self.session.run(check(&*self.session.world.disks()[0], None));
        let report = report.expect("a check");
        assert!(report.is_clean(), "{report:#?}");
        self.image = self.session.open(Access::ReadWrite).expect("an image of ours opens");
        self.read_all();
    }

    fn read_all(&self) {
        let all = guest(&(0..self.model.len()));
        let read = self.session.run(self.image.read(all)).expect("a read");
        assert_eq!(numbers(&read), self.model);
        for (name, model) in &self.snapshots {
            let read = self.image.read_snapshot(name, guest(&(0..model.len())));
            let read = self.session.run(read).expect("a read of a snapshot");
            assert_eq!(numbers(&read), *model, "snapshot {name}");
        }
    }
}

fn guest(sectors: &std::ops::Range<usize>) -> ByteRange {
    ByteRange::new(sectors.start as u64 * 512, sectors.len() as u64 * 512)
}

/// The numbers that sectors are filled with.
fn numbers(bytes: &[u8]) -> Vec<u32> {
    let number = |sector: &[u8]| {
        let word: [u8; 4] = sector[..4].try_into().expect("four bytes");
        assert!(sector.chunks_exact(4).all(|part| part == word), "a sector is torn");
        u32::from_le_bytes(word)
    };
    bytes.chunks_exact(512).map(number).collect()
}
