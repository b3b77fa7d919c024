//! Snapshots, sizes and zeros in a toy that keeps each view in a place of its own: what it does right
//! holds, and each thing that it does wrong is found under its name.
//!
//! ```text
//! sector  content
//! 0..2    the guest's disk
//! 2..4    the snapshot s1
//! 4       whether it exists
//! ```

use std::sync::Arc;

use plugpull_engine::{ByteRange, Disk, Error, Runtime, WriteFlags};
use plugpull_sim::disk::{DiskSpec, Image};
use plugpull_sim::explore::{Exploration, RunOptions, run_system};
use plugpull_sim::oracle::View;
use plugpull_sim::oracle::stamp::Origin;
use plugpull_sim::system::{BoxFuture, Device, Purpose, System};
use plugpull_sim::verdict::{Invariant, Verdict};
use plugpull_sim::workload::{GuestOp, SnapshotName};

const SECTORS: u64 = 2;
const LEN: u64 = SECTORS * 512;
const MARK: u64 = 2 * LEN;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    Nothing,
    /// A snapshot exists before what it holds is durable.
    MarkFirst,
    /// A snapshot is not durable when it completes.
    NotDurable,
    /// Later writes of the guest reach the snapshot.
    WritesThrough,
    /// Going back is not durable when it completes.
    AppliedInCache,
    /// Discards do nothing.
    KeepsDiscarded,
}

struct Toy {
    disks: [DiskSpec; 1],
    start: [Image; 1],
    initial: Image,
    queries: [ByteRange; 2],
    missing: [ByteRange; 1],
    wrong: Wrong,
}

fn view() -> View {
    View::Snapshot(SnapshotName::new(1).unwrap())
}

impl Toy {
    fn new(wrong: Wrong) -> Self {
        let mut initial = Image::zeroed(view().address(LEN));
        for sector in 0..SECTORS {
            initial.write(view().address(sector * 512), &Origin::Nothing { sector }.content());
        }
        let snapshot = ByteRange::new(view().address(0), LEN);
        Self {
            disks: [DiskSpec::new("disk")],
            start: [Image::zeroed(MARK + 512)],
            initial,
            queries: [ByteRange::new(0, LEN), snapshot],
            missing: [snapshot],
            wrong,
        }
    }
}

impl System for Toy {
    fn disks(&self) -> &[DiskSpec] {
        &self.disks
    }

    fn start(&self) -> &[Image] {
        &self.start
    }

    fn initial(&self) -> &Image {
        &self.initial
    }

    fn queries(&self) -> &[ByteRange] {
        &self.queries
    }

    fn extent(&self, _: View) -> u64 {
        LEN
    }

    fn missing(&self) -> &[ByteRange] {
        &self.missing
    }

    fn open(
        &self,
        disks: Vec<Arc<dyn Disk>>,
        _: Arc<dyn Runtime>,
        _: Purpose,
    ) -> BoxFuture<Result<Arc<dyn Device>, Error>> {
        let opened = Opened { disk: Store(Arc::clone(&disks[0])), wrong: self.wrong };
        Box::pin(async move { Ok(Arc::new(opened) as Arc<dyn Device>) })
    }
}

#[derive(Clone)]
struct Store(Arc<dyn Disk>);

impl Store {
    async fn read(&self, offset: u64, len: u64) -> Result<Vec<u8>, Error> {
        let read = self.0.read(offset, usize::try_from(len).unwrap());
        read.await.map_err(|error| Error::disk("read", error))
    }

    async fn write(&self, offset: u64, data: Vec<u8>) -> Result<(), Error> {
        let write = self.0.write(offset, data, WriteFlags::NONE);
        write.await.map_err(|error| Error::disk("write", error))
    }

    async fn flush(&self) -> Result<(), Error> {
        self.0.flush().await.map_err(|error| Error::disk("flush", error))
    }

    async fn copy(&self, from: u64, to: u64) -> Result<(), Error> {
        let content = self.read(from, LEN).await?;
        self.write(to, content).await
    }

    async fn set_mark(&self, mark: u8) -> Result<(), Error> {
        self.write(MARK, vec![mark; 512]).await
    }
}

struct Opened {
    disk: Store,
    wrong: Wrong,
}

impl Device for Opened {
    fn read(&self, range: ByteRange) -> BoxFuture<Result<Vec<u8>, Error>> {
        let disk = self.disk.clone();
        Box::pin(async move { disk.read(range.offset, range.len).await })
    }

    fn read_back(&self, range: ByteRange) -> BoxFuture<Result<Vec<u8>, Error>> {
        let disk = self.disk.clone();
        let (view, offset) = View::of(range.offset);
        Box::pin(async move {
            if view == View::Active {
                return disk.read(offset, range.len).await;
            }
            if disk.read(MARK, 512).await?[0] == 0 {
                let sectors = ByteRange::new(offset, range.len).units(512);
                return Ok(sectors
                    .flat_map(|sector| Origin::Nothing { sector }.content())
                    .collect());
            }
            disk.read(LEN + offset, range.len).await
        })
    }

    fn write(&self, offset: u64, data: Vec<u8>) -> BoxFuture<Result<(), Error>> {
        let (disk, wrong) = (self.disk.clone(), self.wrong);
        Box::pin(async move {
            if wrong == Wrong::WritesThrough {
                disk.write(LEN + offset, data.clone()).await?;
            }
            disk.write(offset, data).await
        })
    }

    fn flush(&self) -> BoxFuture<Result<(), Error>> {
        let disk = self.disk.clone();
        Box::pin(async move { disk.flush().await })
    }

    fn close(&self) -> BoxFuture<Result<(), Error>> {
        self.flush()
    }

    fn discard(&self, range: ByteRange) -> BoxFuture<Result<(), Error>> {
        let (disk, wrong) = (self.disk.clone(), self.wrong);
        Box::pin(async move {
            if wrong == Wrong::KeepsDiscarded {
                return Ok(());
            }
            disk.write(range.offset, vec![0; usize::try_from(range.len).unwrap()]).await
        })
    }

    fn snapshot(&self, _: SnapshotName) -> BoxFuture<Result<(), Error>> {
        let (disk, wrong) = (self.disk.clone(), self.wrong);
        Box::pin(async move {
            disk.copy(0, LEN).await?;
            if wrong != Wrong::MarkFirst {
                disk.flush().await?;
            }
            disk.set_mark(1).await?;
            if wrong == Wrong::NotDurable { Ok(()) } else { disk.flush().await }
        })
    }

    fn apply(&self, _: SnapshotName) -> BoxFuture<Result<(), Error>> {
        let (disk, wrong) = (self.disk.clone(), self.wrong);
        Box::pin(async move {
            disk.copy(LEN, 0).await?;
            if wrong == Wrong::AppliedInCache { Ok(()) } else { disk.flush().await }
        })
    }

    fn delete_snapshot(&self, _: SnapshotName) -> BoxFuture<Result<(), Error>> {
        let disk = self.disk.clone();
        Box::pin(async move {
            disk.set_mark(0).await?;
            disk.flush().await
        })
    }
}

fn ops(text: &str) -> Vec<GuestOp> {
    text.split(", ").map(|op| op.parse().unwrap()).collect()
}

#[test]
fn each_mistake_has_its_name() {
    let check = |wrong, text: &str, expected: Option<Invariant>| {
        let system: Arc<dyn System> = Arc::new(Toy::new(wrong));
        let exploration = Exploration::new([ops(text)]);
        let exploration = match expected {
            Some(invariant) => exploration.expecting(invariant),
            None => exploration,
        };
        let options = RunOptions { cross_check: true, ..RunOptions::default() };
        let result = run_system(&system, &exploration, &options, &|_| {});
        let found: Vec<_> = result.violations.iter().map(|found| found.invariant).collect();
        let verdict = if expected.is_some() { Verdict::Violated } else { Verdict::Holds };
        assert_eq!(result.verdict, verdict, "{wrong:?} {text}: {found:?} {:?}", result.broken);
        assert!(expected.is_none_or(|invariant| found.contains(&invariant)), "{found:?}");
    };
    let whole = "write 0 1K, snapshot s1, write 0 512, apply s1, write 512 512, flush, \
                 delete-snapshot s1, discard 0 1K, flush, snapshot s1";
    check(Wrong::Nothing, whole, None);
    check(Wrong::MarkFirst, "write 0 1K, snapshot s1", Some(Invariant::QSnap));
    check(Wrong::NotDurable, "write 0 1K, snapshot s1, flush", Some(Invariant::QSnap));
    check(Wrong::WritesThrough, "write 0 1K, snapshot s1, write 0 512", Some(Invariant::QSnap));
    let back = "write 0 1K, snapshot s1, write 0 512, flush, apply s1";
    check(Wrong::AppliedInCache, back, Some(Invariant::DDur));
    check(Wrong::KeepsDiscarded, "write 0 1K, flush, discard 0 1K", Some(Invariant::DRyw));
    check(Wrong::KeepsDiscarded, "write 0 1K, discard 0 1K, flush", Some(Invariant::DDur));
}

#[test]
fn snapshots_beside_writers_hold_in_every_order() {
    let system: Arc<dyn System> = Arc::new(Toy::new(Wrong::Nothing));
    for clients in
        [["snapshot s1", "write 0 512, write 0 512"], ["snapshot s1, apply s1", "write 0 512"]]
    {
        let options = RunOptions { cross_check: true, ..RunOptions::default() };
        let exploration = Exploration::new(clients.map(ops));
        let result = run_system(&system, &exploration, &options, &|_| {});
        let found: Vec<_> = result.violations.iter().map(|found| &found.message).collect();
        assert_eq!(result.verdict, Verdict::Holds, "{found:?} {:?}", result.broken);
    }
}
