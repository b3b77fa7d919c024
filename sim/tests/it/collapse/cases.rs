//! Small disks after a power cut, and what recovers from them. Recovery is written against
//! [`LazyDisks`] here, without an engine: it decides what it reads, and no more.

use std::ops::ControlFlow;

use num_bigint::BigUint;
use plugpull_engine::{ByteRange, WriteFlags};
use plugpull_sim::crash::digest::{Algorithm, Rule, Stored};
use plugpull_sim::crash::{
    AfterCut, BruteForce, Certificate, CrashExplorer, LazyDisks, Watch, fork,
};
use plugpull_sim::disk::{CrashSpace, DiskSpec, DiskState, Image, Op, Outcome, RequestId};

/// A disk in use, whose requests are completed at once.
pub(crate) struct Writer {
    pub(crate) disk: DiskState,
    next: u32,
}

impl Writer {
    /// A disk of zeros.
    fn new(sector_len: usize, sectors: u64) -> Self {
        let spec = DiskSpec { sector_len, ..DiskSpec::new("disk") };
        let image = Image::zeroed(sectors * sector_len as u64);
        Self { disk: DiskState::new(spec, image), next: 0 }
    }

    /// Fills a sector with a byte.
    fn fill(&mut self, sector: u64, byte: u8) {
        let sector_len = self.disk.spec().sector_len;
        let offset = sector * sector_len as u64;
        let data = vec![byte; sector_len].into();
        let id = RequestId::new(0, self.next);
        self.next += 1;
        self.disk.submit(id, Op::Write { offset, data, flags: WriteFlags::NONE });
        self.disk.complete(id, Outcome::Done).expect("no faults");
    }

    /// What a power cut leaves.
    pub(crate) fn cut(&self) -> AfterCut {
        AfterCut::new(&[self.disk.spec().clone()], &[self.disk.crash_space()])
    }
}

/// What an exploration took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Figures {
    /// Ways through recovery.
    pub(crate) paths: u64,
    /// Ways through the queries after it.
    pub(crate) queries: u64,
    /// States that the ways stand for: as many as there are.
    pub(crate) states: BigUint,
}

/// Explores `recovery`, then asks each of the `queries` that its result calls for.
fn explore<R, Q>(
    cut: &AfterCut,
    recovery: impl FnMut(&mut LazyDisks) -> R,
    queries: impl Fn(R) -> Q,
    query: impl Fn(&mut LazyDisks, u64) -> u8,
) -> Figures
where
    Q: Iterator<Item = u64>,
{
    let (mut paths, mut asked) = (0, 0);
    let explored = cut.every_way(Watch::Off, recovery, |disks, result| {
        paths += 1;
        for sector in queries(result) {
            fork(
                disks,
                |disks| query(disks, sector),
                |_, _| {
                    asked += 1;
                    Ok(())
                },
            )?;
        }
        Ok(())
    });
    let certificate: Certificate = explored.expect("a certificate");
    Figures { paths, queries: asked, states: certificate.sum().clone() }
}

fn first_byte(disks: &mut LazyDisks, sector: u64) -> u8 {
    disks.read_sector(0, sector)[0]
}

/// 64 data sectors were written to a new area, and then the header that points there: no flush
/// anywhere.
pub(crate) fn pointer_flip() -> Writer {
    let mut writer = Writer::new(512, 129);
    for sector in 65..129 {
        writer.fill(sector, 1);
    }
    writer.fill(0, 1);
    writer
}

/// Recovery reads the header; each query reads one sector of the area that it points to.
pub(crate) fn explore_pointer_flip(cut: &AfterCut) -> Figures {
    let area = |header: u8| if header == 0 { 1..65 } else { 65..129 };
    explore(cut, |disks| first_byte(disks, 0), area, first_byte)
}

/// A log of 64 records, one in each sector.
pub(crate) fn log() -> Writer {
    let mut writer = Writer::new(512, 64);
    for sector in 0..64 {
        writer.fill(sector, 1);
    }
    writer
}

/// Recovery replays records up to the first hole.
pub(crate) fn explore_log(cut: &AfterCut) -> Figures {
    let replay = |disks: &mut LazyDisks| (0..64).find(|&sector| first_byte(disks, sector) == 0);
    explore(cut, replay, |_| 0..0, first_byte)
}

/// A bitmap that was rewritten with every fourth of 64 data sectors.
pub(crate) fn bitmap() -> Writer {
    let mut writer = Writer::new(512, 65);
    for sector in 1..65 {
        writer.fill(sector, 1);
        if sector.is_multiple_of(4) {
            writer.fill(0, u8::try_from(sector).expect("at most 64"));
        }
    }
    writer
}

/// Recovery reads the bitmap; each query reads one data sector.
pub(crate) fn explore_bitmap(cut: &AfterCut) -> Figures {
    explore(cut, |disks| first_byte(disks, 0), |_| 1..65, first_byte)
}

/// A commit: a body of sixteen sectors and a record that says that it is complete, nothing flushed.
pub(crate) fn commit() -> Writer {
    let mut writer = Writer::new(512, 17);
    (0..17).for_each(|sector| writer.fill(sector, 7));
    writer
}

/// Takes the body if the record is there and the digest of the body is right.
pub(crate) fn explore_verified_commit(cut: &AfterCut) -> Figures {
    let digest = Algorithm::Crc32.digest(&[7; 16 * 512]);
    let rule = Rule { algorithm: Algorithm::Crc32, stored: Stored::Value(digest) };
    let recovery = |disks: &mut LazyDisks| {
        let record = disks.read_sector(0, 16)[0] == 7;
        record && disks.verified(0, ByteRange::new(0, 16 * 512), &rule).is_some()
    };
    explore(cut, recovery, |_| std::iter::empty(), |_, _| 0)
}

/// The same, reading the body sector by sector.
pub(crate) fn explore_plain_commit(cut: &AfterCut) -> Figures {
    let digest = Algorithm::Crc32.digest(&[7; 16 * 512]);
    let recovery = |disks: &mut LazyDisks| {
        if disks.read_sector(0, 16)[0] != 7 {
            return false;
        }
        let body: Vec<u8> =
            (0..16).flat_map(|sector| disks.read_sector(0, sector).to_vec()).collect();
        Algorithm::Crc32.digest(&body) == digest
    };
    explore(cut, recovery, |_| std::iter::empty(), |_, _| 0)
}

/// Sixteen independent records.
pub(crate) fn records() -> Writer {
    let mut writer = Writer::new(512, 16);
    for sector in 0..16 {
        writer.fill(sector, 1);
    }
    writer
}

/// Recovery reads all of them, whatever it finds: the worst case.
pub(crate) fn explore_all_records(cut: &AfterCut) -> Figures {
    let scan = |disks: &mut LazyDisks| (0..16).map(|sector| first_byte(disks, sector)).sum::<u8>();
    explore(cut, scan, |_| 0..0, first_byte)
}

/// A key-value store of blocks of 4 KiB that were not flushed.
pub(crate) fn blocks(count: u64) -> Writer {
    let mut writer = Writer::new(4096, count);
    for block in 0..count {
        writer.fill(block, 1);
    }
    writer
}

/// Brute force: looks at every block of every image. Returns how many images there were, each seen
/// once.
pub(crate) fn enumerate_blocks(space: &CrashSpace) -> u64 {
    let count = space.variables();
    let mut seen = vec![false; 1 << count];
    let explorer = BruteForce::new(1 << count, 0);
    let coverage = explorer.explore(std::slice::from_ref(space), &mut |state| {
        let image = &state.images[0];
        let blocks = (0..count).map(|block| image.part(block as u64 * 4096));
        let number = blocks.fold(0, |number, block| number << 1 | usize::from(block[4095]));
        assert!(!std::mem::replace(&mut seen[number], true), "{number:b} was there before");
        ControlFlow::Continue(())
    });
    assert!(coverage.complete() && !coverage.stopped);
    assert!(seen.iter().all(|&seen| seen));
    u64::try_from(coverage.visited).expect("a small number")
}
