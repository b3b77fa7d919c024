//! A watcher that writes down what it is told, for tests.

use std::collections::BTreeMap;
use std::hash::Hasher;
use std::ops::Range;
use std::sync::Arc;

use super::cell::Cell;
use super::track::{Access, Tracker, Watch};

/// Writes down what one step after the other is told of.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    log: Cell<Log>,
}

#[derive(Debug, Default)]
struct Log {
    task: u64,
    objects: u64,
    step: Recorded,
    contents: BTreeMap<u64, Vec<u8>>,
}

/// What was told of one step.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Recorded {
    /// Objects, parts, and what was done with them.
    pub(crate) accesses: Vec<(u64, Range<u64>, Access)>,
    /// What was learned, as it was hashed.
    pub(crate) learned: Vec<(u64, Vec<u8>)>,
}

impl Recorded {
    /// Whether the order of the two steps may matter.
    pub(crate) fn conflicts(&self, other: &Self) -> bool {
        self.accesses.iter().any(|(object, part, access)| {
            other.accesses.iter().any(|(its_object, its_part, its_access)| {
                let overlap = part.start.max(its_part.start) < part.end.min(its_part.end);
                object == its_object && overlap && access.conflicts(*its_access)
            })
        })
    }
}

impl Recorder {
    /// A recorder, and the tracker that tells it.
    pub(crate) fn new() -> (Arc<Self>, Tracker) {
        let recorder = Arc::new(Self::default());
        let tracker = Tracker::new(Arc::clone(&recorder) as Arc<dyn Watch>);
        (recorder, tracker)
    }

    /// Runs a step of a task, and returns what was told of it.
    pub(crate) fn step<R>(&self, task: u64, step: impl FnOnce() -> R) -> (R, Recorded) {
        self.log.with(|log| {
            log.task = task;
            log.step = Recorded::default();
        });
        let result = step();
        (result, self.log.with(|log| std::mem::take(&mut log.step)))
    }

    /// What the objects hold, as it was hashed.
    pub(crate) fn contents(&self) -> BTreeMap<u64, Vec<u8>> {
        self.log.with(|log| log.contents.clone())
    }
}

impl Watch for Recorder {
    fn object(&self, _kind: &'static str) -> u64 {
        self.log.with(|log| {
            log.objects += 1;
            log.objects
        })
    }

    fn access(&self, object: u64, part: Range<u64>, access: Access) {
        self.log.with(|log| log.step.accesses.push((object, part, access)));
    }

    fn learned(&self, object: u64, told: &dyn Fn(&mut dyn Hasher)) {
        let bytes = Bytes::of(told);
        self.log.with(|log| log.step.learned.push((object, bytes)));
    }

    fn forgets(&self, _live: &dyn Fn(&mut dyn Hasher)) {}

    fn waits(&self, object: u64) {
        self.log.with(|log| log.step.learned.push((object, b"waits".to_vec())));
    }

    fn holds(&self, object: u64, content: &dyn Fn(&mut dyn Hasher)) {
        let bytes = Bytes::of(content);
        self.log.with(|log| _ = log.contents.insert(object, bytes));
    }

    fn gone(&self, object: u64) {
        self.log.with(|log| _ = log.contents.remove(&object));
    }

    fn task(&self) -> u64 {
        self.log.with(|log| log.task)
    }
}

/// A hasher that keeps everything, so that nothing collides.
#[derive(Default)]
struct Bytes(Vec<u8>);

impl Bytes {
    fn of(told: &dyn Fn(&mut dyn Hasher)) -> Vec<u8> {
        let mut bytes = Self::default();
        told(&mut bytes);
        bytes.0
    }
}

impl Hasher for Bytes {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn finish(&self) -> u64 {
        unreachable!("nobody asks for a number")
    }
}
