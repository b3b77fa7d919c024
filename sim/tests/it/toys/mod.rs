//! Toy systems: each as small as the promise that it tests allows, and what tests of the whole
//! search share.
//!
//! | toy | what it is |
//! |---|---|
//! | [`blocks`] | guest sectors in place, and a recovery that a test supplies |
//! | [`commit`] | one pending write beside a commit record |
//! | [`first`] | blocks of which the first writer does more than the others |
//! | [`log`] | records in a row, of which recovery believes those before the first hole |
//! | [`register`] | one guest sector in two slots, the newer of which counts |
//! | [`stages`] | an opening in steps, each of which is marked on the disk |

pub(crate) mod blocks;
pub(crate) mod commit;
pub(crate) mod first;
pub(crate) mod log;
pub(crate) mod register;
pub(crate) mod stages;

use std::future::Future;
use std::sync::Arc;

use plugpull_engine::{ByteRange, Disk, DiskError, Error, Runtime, WriteFlags};
use plugpull_sim::disk::{DiskSpec, Image};
use plugpull_sim::explore::{Exploration, ReplayEnd, RunOptions, replay_system, run_system};
use plugpull_sim::oracle::Finding;
use plugpull_sim::system::{BoxFuture, Device, Purpose, ReadDisks, System};
use plugpull_sim::verdict::{Invariant, ScenarioResult, Verdict, Violation};
use plugpull_sim::workload::GuestOp;

/// An opened toy.
pub(crate) trait Store: Send + Sync + 'static {
    /// Reads a guest range.
    fn read(&self, range: ByteRange) -> impl Future<Output = Result<Vec<u8>, Error>> + Send;

    /// Writes guest data.
    fn write(&self, offset: u64, data: Vec<u8>) -> impl Future<Output = Result<(), Error>> + Send;

    /// Makes durable what completed before.
    fn flush(&self) -> impl Future<Output = Result<(), Error>> + Send;
}

struct Opened<S>(Arc<S>);

impl<S: Store> Device for Opened<S> {
    fn read(&self, range: ByteRange) -> BoxFuture<Result<Vec<u8>, Error>> {
        let store = Arc::clone(&self.0);
        Box::pin(async move { store.read(range).await })
    }

    fn write(&self, offset: u64, data: Vec<u8>) -> BoxFuture<Result<(), Error>> {
        let store = Arc::clone(&self.0);
        Box::pin(async move { store.write(offset, data).await })
    }

    fn flush(&self) -> BoxFuture<Result<(), Error>> {
        let store = Arc::clone(&self.0);
        Box::pin(async move { store.flush().await })
    }

    fn close(&self) -> BoxFuture<Result<(), Error>> {
        self.flush()
    }
}

/// The disk of a toy, in sectors of 512 bytes.
#[derive(Clone)]
pub(crate) struct Sectors(Arc<dyn Disk>);

impl Sectors {
    pub(crate) async fn read(&self, sector: u64, count: u64) -> Result<Vec<u8>, Error> {
        let len = usize::try_from(count * 512).unwrap();
        self.0.read(sector * 512, len).await.map_err(failed)
    }

    /// Submits at once.
    pub(crate) fn write(
        &self,
        sector: u64,
        data: Vec<u8>,
    ) -> impl Future<Output = Result<(), Error>> + Send + use<> {
        let write = self.0.write(sector * 512, data, WriteFlags::NONE);
        async { write.await.map_err(failed) }
    }

    pub(crate) async fn discard(&self, sector: u64) -> Result<(), Error> {
        self.0.discard(sector * 512, 512).await.map_err(failed)
    }

    pub(crate) async fn flush(&self) -> Result<(), Error> {
        self.0.flush().await.map_err(failed)
    }

    /// The number at the start of a sector.
    pub(crate) async fn number(&self, sector: u64) -> Result<u64, Error> {
        let bytes = self.read(sector, 1).await?;
        Ok(u64::from_le_bytes(bytes[..8].try_into().unwrap()))
    }

    /// Writes a sector that starts with a number.
    pub(crate) async fn set_number(&self, sector: u64, number: u64) -> Result<(), Error> {
        let mut bytes = vec![0; 512];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        self.write(sector, bytes).await
    }

    /// Whether a sector was written: the disks of toys start as zeros, and stamps are none.
    pub(crate) async fn is_kept(&self, sector: u64) -> Result<bool, Error> {
        Ok(self.read(sector, 1).await?.iter().any(|byte| *byte != 0))
    }
}

fn failed(error: DiskError) -> Error {
    Error::disk("use the disk", error)
}

type Open = dyn Fn(Sectors, Arc<dyn Runtime>, Purpose) -> BoxFuture<Result<Arc<dyn Device>, Error>>
    + Send
    + Sync;
type Question = dyn Fn(&mut dyn ReadDisks) -> Option<Finding> + Send + Sync;

/// A system on one disk that starts as zeros, and whose guest reads zeros at first.
pub(crate) struct Toy {
    disks: [DiskSpec; 1],
    start: [Image; 1],
    initial: Image,
    queries: [ByteRange; 1],
    open: Box<Open>,
    questions: Vec<Box<Question>>,
    tells: bool,
}

impl Toy {
    /// A toy that shows `guest` sectors and keeps them on a disk of `disk` sectors.
    pub(crate) fn new<S: Store, F>(
        guest: u64,
        disk: u64,
        open: impl Fn(Sectors, Arc<dyn Runtime>, Purpose) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<S, Error>> + Send + 'static,
    {
        Self {
            disks: [DiskSpec::new("disk")],
            start: [Image::zeroed(disk * 512)],
            initial: Image::zeroed(guest * 512),
            queries: [ByteRange::new(0, guest * 512)],
            open: Box::new(move |disk, runtime, purpose| {
                let opening = open(disk, runtime, purpose);
                Box::pin(async { Ok(Arc::new(Opened(Arc::new(opening.await?))) as _) })
            }),
            questions: Vec::new(),
            tells: false,
        }
    }

    /// That claims to share nothing that it does not tell.
    pub(crate) fn telling(mut self) -> Self {
        self.tells = true;
        self
    }

    /// On another kind of disk.
    pub(crate) fn on(mut self, disk: DiskSpec) -> Self {
        self.disks = [disk];
        self
    }

    /// Asks one more question about every image that a power cut leaves.
    pub(crate) fn asking(
        mut self,
        question: impl Fn(&mut dyn ReadDisks) -> Option<Finding> + Send + Sync + 'static,
    ) -> Self {
        self.questions.push(Box::new(question));
        self
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

    fn is_tracked(&self) -> bool {
        self.tells
    }

    fn open(
        &self,
        disks: Vec<Arc<dyn Disk>>,
        runtime: Arc<dyn Runtime>,
        purpose: Purpose,
    ) -> BoxFuture<Result<Arc<dyn Device>, Error>> {
        (self.open)(Sectors(Arc::clone(&disks[0])), runtime, purpose)
    }

    fn image_questions(&self) -> usize {
        self.questions.len()
    }

    fn check_image(&self, question: usize, disks: &mut dyn ReadDisks) -> Option<Finding> {
        self.questions[question](disks)
    }
}

/// The exploration with one client for each text: operations, separated by commas.
pub(crate) fn clients<const N: usize>(clients: [&str; N]) -> Exploration {
    Exploration::new(clients.map(ops))
}

/// Operations, separated by commas.
pub(crate) fn ops(text: &str) -> Vec<GuestOp> {
    text.split(',').map(|op| op.trim().parse().unwrap()).collect()
}

/// What comes out; every violation replays.
pub(crate) fn explored(toy: Toy, exploration: &Exploration) -> ScenarioResult {
    explored_with(toy, exploration, RunOptions::default())
}

/// The same, compared with the enumerator and with the search at every step.
pub(crate) fn cross_checked(toy: Toy, exploration: &Exploration) -> ScenarioResult {
    explored_with(toy, exploration, RunOptions { cross_check: true, ..RunOptions::default() })
}

/// The same with these options.
pub(crate) fn explored_with(
    toy: Toy,
    exploration: &Exploration,
    options: RunOptions,
) -> ScenarioResult {
    let system: Arc<dyn System> = Arc::new(toy);
    let result = run_system(&system, exploration, &options, &|_| ());
    for violation in &result.violations {
        let end = replay_system(&system, exploration, &violation.replay, &mut |_| ());
        assert_eq!(end, ReplayEnd::Reproduced(violation.clone()));
    }
    result
}

/// The claim holds, and everything was seen.
#[track_caller]
pub(crate) fn assert_holds(result: &ScenarioResult) {
    assert_eq!(result.verdict, Verdict::Holds, "{result:?}");
    assert!(result.crashes.certificate, "{result:?}");
    assert!(result.crashes.complete, "{result:?}");
}

/// This invariant is the first to be violated; how.
#[track_caller]
pub(crate) fn violated(result: &ScenarioResult, invariant: Invariant) -> &Violation {
    assert_eq!(result.verdict, Verdict::Violated, "{result:?}");
    let violation = &result.violations[0];
    assert_eq!(violation.invariant, invariant, "{result:?}");
    violation
}

/// Why the harness is broken.
#[track_caller]
pub(crate) fn broken(result: &ScenarioResult) -> &str {
    assert_eq!(result.verdict, Verdict::HarnessBroken, "{result:?}");
    result.broken.as_deref().expect("a reason")
}

/// The options that the only power cut of a violation took on the toy's disk.
#[track_caller]
pub(crate) fn only_cut(violation: &Violation) -> Vec<usize> {
    let [cut] = &violation.replay.crashes[..] else { panic!("one power cut: {violation:?}") };
    cut.disks[0].left.iter().map(|left| left.option).collect()
}
