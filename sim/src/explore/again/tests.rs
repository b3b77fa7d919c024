//! A bug that the order that happened hides, found in another one, and its counterexample.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::join;
use plugpull_engine::{ByteRange, Disk, DiskError, Error, Runtime, WriteFlags};

use super::*;
use crate::disk::{DiskSpec, Image};
use crate::explore::{Exploration, ReplayEnd, RunOptions, replay_system, run_plan};
use crate::scenario::Schedules;
use crate::system::{BoxFuture, Device, Purpose, System};
use crate::verdict::{Invariant, ScenarioResult, Verdict};

const LEN: u64 = 4096;

/// Two copies of everything, of which the second is the one that is read. It is not waited for until
/// both are flushed, so the flush may be on its way when the write is not done.
struct Mirror {
    disks: [DiskSpec; 2],
    start: [Image; 2],
    queries: [ByteRange; 1],
    /// Whether a write waits for both.
    waits: bool,
}

impl Mirror {
    fn new(waits: bool) -> Self {
        let disks = ["source", "target"].map(DiskSpec::new);
        let start = [0, 1].map(|_| Image::zeroed(LEN));
        Self { disks, start, queries: [ByteRange::new(0, LEN)], waits }
    }
}

impl System for Mirror {
    fn disks(&self) -> &[DiskSpec] {
        &self.disks
    }

    fn start(&self) -> &[Image] {
        &self.start
    }

    fn open(
        &self,
        disks: Vec<Arc<dyn Disk>>,
        _runtime: Arc<dyn Runtime>,
        _purpose: Purpose,
    ) -> BoxFuture<Result<Arc<dyn Device>, Error>> {
        let waits = self.waits;
        Box::pin(async move {
            let [source, target] = <[_; 2]>::try_from(disks).ok().expect("two disks");
            Ok(Arc::new(Copies { source, target, waits }) as Arc<dyn Device>)
        })
    }

    fn initial(&self) -> &Image {
        &self.start[0]
    }

    fn queries(&self) -> &[ByteRange] {
        &self.queries
    }
}

struct Copies {
    source: Arc<dyn Disk>,
    target: Arc<dyn Disk>,
    waits: bool,
}

fn failed(source: DiskError) -> Error {
    Error::Disk { doing: "mirror", source }
}

impl Device for Copies {
    fn read(&self, range: ByteRange) -> BoxFuture<Result<Vec<u8>, Error>> {
        let len = usize::try_from(range.len).expect("a short range");
        let read = self.target.read(range.offset, len);
        Box::pin(async move { read.await.map_err(failed) })
    }

    fn write(&self, offset: u64, data: Vec<u8>) -> BoxFuture<Result<(), Error>> {
        let second = self.target.write(offset, data.clone(), WriteFlags::NONE);
        let first = self.source.write(offset, data, WriteFlags::NONE);
        let waits = self.waits;
        Box::pin(async move {
            if waits {
                second.await.map_err(failed)?;
            }
            first.await.map_err(failed)
        })
    }

    fn flush(&self) -> BoxFuture<Result<(), Error>> {
        let both = join(self.source.flush(), self.target.flush());
        Box::pin(both.map(|(source, target)| source.and(target).map_err(failed)))
    }

    fn close(&self) -> BoxFuture<Result<(), Error>> {
        self.flush()
    }
}

fn exploration(ready: ReadyOrder) -> Exploration {
    let ops = ["write 0 512", "flush"].map(|op| op.parse().unwrap());
    let mut exploration = Exploration::new([ops.to_vec()]);
    exploration.explore.schedules = Schedules::Fifo;
    exploration.explore.ready = ready;
    exploration.explore.recovery_crashes = 0;
    exploration
}

/// Explores a mirror in one order, or in that and the latest.
fn explored(waits: bool, latest: bool, ready: ReadyOrder) -> ScenarioResult {
    let exploration = exploration(ready);
    let plan = Plan::new(Arc::new(Mirror::new(waits)), &exploration).unwrap();
    assert!(plan.latest, "one order is explored in another one, too");
    let plan = Plan { latest, ..plan };
    run_plan(&plan, &exploration, &RunOptions::default(), &|_| ())
}

const READY: [ReadyOrder; 2] = [ReadyOrder::Any, ReadyOrder::MacroStep];

#[test]
fn what_one_order_hides_is_found_in_the_latest() {
    let check = |waits, latest, expected| {
        for ready in READY {
            let result = explored(waits, latest, ready);
            assert_eq!((result.verdict, result.broken), (expected, None));
        }
    };
    check(true, false, Verdict::Holds);
    check(true, true, Verdict::Holds);
    check(false, false, Verdict::Holds);
    check(false, true, Verdict::Violated);
}

#[test]
fn a_counterexample_of_the_latest_order_replays() {
    for ready in READY {
        let result = explored(false, true, ready);
        let [violation] = &*result.violations else { panic!("{:?}", result.violations) };
        assert_eq!(violation.invariant, Invariant::DDur);
        // Completions follow each other while tasks are ready.
        assert_eq!(violation.ready, ReadyOrder::Any);
        let system: Arc<dyn System> = Arc::new(Mirror::new(false));
        let exploration = exploration(violation.ready);
        let end = replay_system(&system, &exploration, &violation.replay, &mut |_| ());
        let ReplayEnd::Reproduced(again) = end else { panic!("{end:?}") };
        assert_eq!(again.message, violation.message);
    }
}
