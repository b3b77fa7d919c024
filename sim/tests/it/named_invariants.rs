//! What a violation is called, and that one does not hide another: systems that are wrong in a known
//! way, searched for an invariant by name.

use std::sync::Arc;

use plugpull_engine::{ByteRange, Disk, Error, Runtime, WriteFlags};
use plugpull_sim::disk::{DiskSpec, Image};
use plugpull_sim::explore::{Exploration, RunOptions, run_system};
use plugpull_sim::system::{BoxFuture, Device, Purpose, System};
use plugpull_sim::verdict::{Invariant, ScenarioResult};

/// Where recovery writes; the guest has the sectors before.
const MARK: u64 = 2 * 512;

/// A disk of two sectors for the guest, and a mark that recovery writes and flushes.
struct Marked {
    disks: [DiskSpec; 1],
    start: [Image; 1],
    initial: Image,
    whole: [ByteRange; 1],
    wrong: How,
}

/// What is wrong with it.
#[derive(Clone, Copy)]
enum How {
    /// Reads show zeros.
    ReadsZeros,
    /// Flush flushes nothing, and the write after it panics.
    PanicsAfterFlush,
    /// Nothing, if what recovery writes were no repair.
    RepairsAgain,
}

impl System for Marked {
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
        &self.whole
    }

    fn repairs(&self) -> bool {
        matches!(self.wrong, How::RepairsAgain)
    }

    fn open(
        &self,
        disks: Vec<Arc<dyn Disk>>,
        _: Arc<dyn Runtime>,
        _: Purpose,
    ) -> BoxFuture<Result<Arc<dyn Device>, Error>> {
        let (disk, wrong) = (Arc::clone(&disks[0]), self.wrong);
        Box::pin(async move {
            let mark = disk.write(MARK, vec![1; 512], WriteFlags::NONE);
            mark.await.map_err(|error| Error::disk("write", error))?;
            disk.flush().await.map_err(|error| Error::disk("flush", error))?;
            Ok(Arc::new(Opened { disk, wrong }) as Arc<dyn Device>)
        })
    }
}

struct Opened {
    disk: Arc<dyn Disk>,
    wrong: How,
}

impl Device for Opened {
    fn read(&self, range: ByteRange) -> BoxFuture<Result<Vec<u8>, Error>> {
        let len = usize::try_from(range.len).unwrap();
        if matches!(self.wrong, How::ReadsZeros) {
            return Box::pin(async move { Ok(vec![0; len]) });
        }
        let read = self.disk.read(range.offset, len);
        Box::pin(async { read.await.map_err(|error| Error::disk("read", error)) })
    }

    fn write(&self, offset: u64, data: Vec<u8>) -> BoxFuture<Result<(), Error>> {
        let panics = matches!(self.wrong, How::PanicsAfterFlush);
        assert!(offset == 0 || !panics, "a bug of the device");
        let write = self.disk.write(offset, data, WriteFlags::NONE);
        Box::pin(async { write.await.map_err(|error| Error::disk("write", error)) })
    }

    fn flush(&self) -> BoxFuture<Result<(), Error>> {
        if matches!(self.wrong, How::PanicsAfterFlush) {
            return Box::pin(std::future::ready(Ok(())));
        }
        let flush = self.disk.flush();
        Box::pin(async { flush.await.map_err(|error| Error::disk("flush", error)) })
    }

    fn close(&self) -> BoxFuture<Result<(), Error>> {
        self.flush()
    }
}

fn search(wrong: How, ops: &[&str], wanted: Invariant) -> ScenarioResult {
    let system: Arc<dyn System> = Arc::new(Marked {
        disks: [DiskSpec::new("disk")],
        start: [Image::zeroed(MARK + 512)],
        initial: Image::zeroed(MARK),
        whole: [ByteRange::new(0, MARK)],
        wrong,
    });
    let client = ops.iter().map(|op| op.parse().unwrap()).collect();
    let exploration = Exploration::new([client]).expecting(wanted);
    let options = RunOptions { cross_check: true, ..RunOptions::default() };
    run_system(&system, &exploration, &options, &|_| ())
}

fn found(result: &ScenarioResult) -> Vec<Invariant> {
    assert_eq!(result.broken, None);
    result.violations.iter().map(|violation| violation.invariant).collect()
}

#[test]
fn what_is_wrong_without_a_second_cut_breaks_no_replay() {
    let result = search(How::ReadsZeros, &["write 0 512", "flush"], Invariant::FReplay);
    let found = found(&result);
    assert!(found.contains(&Invariant::DDur), "{found:?}");
    assert!(!found.contains(&Invariant::FReplay), "{found:?}");
}

#[test]
fn a_panic_does_not_hide_what_a_power_cut_before_it_shows() {
    let ops = ["write 0 512", "flush", "write 512 512"];
    let result = search(How::PanicsAfterFlush, &ops, Invariant::DDur);
    let found = found(&result);
    assert!(found.contains(&Invariant::DDur), "{found:?}");
}

#[test]
fn a_repair_leaves_nothing_to_be_written() {
    let result = search(How::RepairsAgain, &["write 0 512", "flush"], Invariant::QRepair);
    assert_eq!(found(&result), [Invariant::QRepair]);
    let message = &result.violations[0].message;
    assert_eq!(message, "after a repair another opening writes");
}
