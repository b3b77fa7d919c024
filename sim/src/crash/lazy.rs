//! Disks that a power cut left and whose sectors are undecided until somebody reads them.
//!
//! Whatever uses them asks no questions itself: before a request takes effect, everything that it
//! depends on is decided by the [`Path`] of this run. Engines use them through
//! [`super::direct::DirectWorld`], small programs directly.
//!
//! Power may be cut again while they are used. What counts then is not every moment: as long as
//! nothing becomes durable, what a power cut may leave only grows, so that the last moment of such
//! an *interval* stands for all of them.

use num_bigint::BigUint;
use plugpull_engine::{ByteRange, DiskError, DiskErrorKind};
use xxhash_rust::xxh3::xxh3_64;

use crate::crash::path::{About, Asked, Path};
use crate::crash::unreadable::Unreadable;
use crate::disk::{
    CrashSpace, DiskSpec, DiskState, Image, Op, OpKind, Outcome, Reply, RequestId, Undecided,
};

/// Identifies a request.
fn identity(disk: usize, op: &Op) -> u64 {
    let (offset, rest) = match op {
        Op::Read { offset, len } => (*offset, *len as u64),
        Op::Write { offset, data, .. } => (*offset, xxh3_64(data)),
        Op::Discard { offset, len } => (*offset, *len),
        Op::Resize { len } => (*len, 0),
        Op::Flush => (0, 0),
    };
    let kind = (disk as u64) << 8 | op.kind() as u64;
    offset.wrapping_mul(0xff51_afd7_ed55_8ccd) ^ rest.rotate_left(32) ^ kind
}

/// Which moments are noted as crash points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    /// None: power is not cut here, and the disks are simpler.
    Off,
    /// The last moment of each interval in which nothing becomes durable.
    Intervals,
    /// Every moment at which what a power cut may leave has changed.
    Every,
}

/// A moment at which power may be cut.
#[derive(Debug, Clone)]
pub struct CrashPoint {
    /// When: how many changes were submitted or had completed.
    pub at: u64,
    /// The phase that was set at that moment.
    pub phase: usize,
    /// What each disk may be left with.
    pub spaces: Vec<CrashSpace>,
    /// What was undecided then of what the last power cut left; none for a disk that began with an
    /// image.
    pub undecided: Vec<Option<Undecided>>,
    /// Which sectors may be unreadable, if any may.
    pub unreadable: Option<Unreadable>,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct LazyDisks {
    disks: Vec<DiskState>,
    /// What is answered.
    pub path: Path,
    watch: Watch,
    /// Changes submitted or completed so far.
    changes: u64,
    /// Whether there were any since the last crash point.
    unnoted: bool,
    phase: usize,
    points: Vec<CrashPoint>,
    next: u32,
    unreadable: Option<Unreadable>,
    /// How many reads have met an unreadable sector.
    failed_reads: u64,
}

impl LazyDisks {
    /// Disks with these durable contents.
    #[must_use]
    pub fn new(disks: impl IntoIterator<Item = (DiskSpec, Image)>, watch: Watch) -> Self {
        Self::of(disks.into_iter().map(|(spec, image)| DiskState::new(spec, image)), watch)
    }

    /// Disks that hold what a power cut left.
    #[must_use]
    pub fn after_power_cut(
        disks: impl IntoIterator<Item = (DiskSpec, CrashSpace)>,
        path: Path,
        watch: Watch,
    ) -> Self {
        let disks = disks.into_iter().map(|(spec, space)| DiskState::after_power_cut(spec, space));
        Self::of(disks, watch).on(path)
    }

    fn of(disks: impl Iterator<Item = DiskState>, watch: Watch) -> Self {
        let disk = |disk: DiskState| if watch == Watch::Off { disk.without_cuts() } else { disk };
        Self {
            disks: disks.map(disk).collect(),
            path: Path::new(),
            watch,
            changes: 0,
            unnoted: false,
            phase: 0,
            points: Vec::new(),
            next: 0,
            unreadable: None,
            failed_reads: 0,
        }
    }

    /// The same with other answers.
    #[must_use]
    pub fn on(mut self, path: Path) -> Self {
        self.path = path;
        self
    }

    /// The same with sectors that may be unreadable.
    #[must_use]
    pub fn with_unreadable(self, unreadable: Unreadable) -> Self {
        Self { unreadable: Some(unreadable), ..self }
    }

    /// How many reads have failed so far because a sector is unreadable.
    #[must_use]
    pub fn failed_reads(&self) -> u64 {
        self.failed_reads
    }

    /// The sectors that may be unreadable, if any may.
    #[must_use]
    pub fn unreadable(&self) -> Option<&Unreadable> {
        self.unreadable.as_ref()
    }

    /// How many disks there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.disks.len()
    }

    /// A disk, as far as it is decided.
    #[must_use]
    pub fn disk(&self, index: usize) -> &DiskState {
        &self.disks[index]
    }

    pub(super) fn disk_mut(&mut self, index: usize) -> &mut DiskState {
        &mut self.disks[index]
    }

    /// The length of a disk, which is decided if it was not.
    pub fn len_of(&mut self, disk: usize) -> u64 {
        self.decide(disk, None);
        self.disks[disk].len()
    }

    /// Takes a request in flight.
    pub fn submit(&mut self, disk: usize, id: RequestId, op: Op) {
        let changes = op.kind() != OpKind::Read;
        self.path.note(identity(disk, &op));
        // What a read sees is decided when it completes.
        self.decide(disk, changes.then_some(&op));
        self.disks[disk].submit(id, op);
        self.changed(changes);
    }

    /// Ends a request in flight well.
    ///
    /// # Errors
    /// What the disk says, which is part of the simulation.
    pub fn complete(&mut self, disk: usize, id: RequestId) -> Reply {
        let op = self.disks[disk].op(id).clone();
        let changes = op.kind() != OpKind::Read;
        if !changes {
            if self.is_unreadable(disk, &op) {
                self.failed_reads += 1;
                let error = DiskError::new(DiskErrorKind::Io, "unreadable after a power cut");
                return self.disks[disk].complete(id, Outcome::Failed(error));
            }
            self.decide(disk, Some(&op));
        }
        if self.watch == Watch::Intervals && self.disks[disk].may_settle(id) {
            self.note();
        }
        let reply = self.disks[disk].complete(id, Outcome::Done);
        if let (Op::Write { offset, data, .. }, Some(unreadable)) = (&op, &mut self.unreadable) {
            let unit = self.disks[disk].spec().sector_len as u64;
            let end = (offset + data.len() as u64) / unit;
            unreadable.rewritten(disk, offset.div_ceil(unit)..end);
        }
        self.changed(changes);
        reply
    }

    /// Whether a read meets a sector that is unreadable.
    fn is_unreadable(&mut self, disk: usize, op: &Op) -> bool {
        let (Some(unreadable), &Op::Read { offset, len }) = (&mut self.unreadable, op) else {
            return false;
        };
        let unit = self.disks[disk].spec().sector_len as u64;
        let sectors = ByteRange::new(offset, len as u64).units(unit);
        while !unreadable.hits(disk, sectors.clone()) {
            let Some(sector) = unreadable.unasked(disk, sectors.clone()) else { return false };
            let about = Asked { disk, about: About::Unreadable(sector) };
            let readable = self.path.answer(about, 2, 0) == 0;
            unreadable.decide(disk, sector, readable);
        }
        true
    }

    /// Submits a request and completes it at once.
    ///
    /// # Errors
    /// What the disk says.
    pub fn request(&mut self, disk: usize, op: Op) -> Reply {
        let id = RequestId::new(0, self.next);
        self.next += 1;
        self.submit(disk, id, op);
        self.complete(disk, id)
    }

    /// Whether no request can ask anything.
    #[must_use]
    pub fn is_all_known(&self) -> bool {
        self.unreadable.is_none() && self.disks.iter().all(DiskState::is_all_known)
    }

    /// What a read of one sector sees: the same as a request, without a copy.
    ///
    /// # Panics
    /// If sectors may be unreadable: then a read may fail.
    pub fn read_sector(&mut self, disk: usize, sector: u64) -> &[u8] {
        assert!(self.unreadable.is_none(), "a read may fail");
        let len = self.disks[disk].spec().sector_len;
        let op = Op::Read { offset: sector * len as u64, len };
        self.decide(disk, None);
        self.decide(disk, Some(&op));
        &self.disks[disk].visible().part(sector * len as u64)[..len]
    }

    /// Whether a request's answer is known without deciding anything.
    #[must_use]
    pub fn is_known(&self, disk: usize, range: ByteRange) -> bool {
        self.disks[disk].is_known(range)
    }

    /// Crash points noted from now on carry this number.
    pub fn set_phase(&mut self, phase: usize) {
        self.phase = phase;
    }

    /// The crash points noted so far, in order; with [`Watch::Intervals`] the present moment is the
    /// last one, if anything has changed since the one before.
    pub fn take_points(&mut self) -> Vec<CrashPoint> {
        if self.watch == Watch::Intervals {
            self.note();
        }
        std::mem::take(&mut self.points)
    }

    /// The present moment as a crash point.
    ///
    /// # Panics
    /// If nothing is watched.
    #[must_use]
    pub fn point(&self) -> CrashPoint {
        CrashPoint {
            at: self.changes,
            phase: self.phase,
            spaces: self.disks.iter().map(DiskState::crash_space).collect(),
            undecided: self.disks.iter().map(|disk| disk.undecided().cloned()).collect(),
            unreadable: self.unreadable.clone(),
        }
    }

    /// The number of states of the last power cut that agree with everything that was decided.
    #[must_use]
    pub fn states(&self) -> BigUint {
        let left = self.disks.iter().filter_map(DiskState::undecided);
        let images: BigUint = left.map(Undecided::states).product();
        self.unreadable.iter().fold(images, |states, unreadable| states * unreadable.ways())
    }

    /// How many requests were submitted that change a disk.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Whether anything was submitted that changes a disk.
    #[must_use]
    pub fn changed_anything(&self) -> bool {
        self.changes > 0
    }

    fn decide(&mut self, disk: usize, op: Option<&Op>) {
        while let Some(question) = self.disks[disk].question(op) {
            let about = Asked { disk, about: About::Variable(question.variable) };
            let first = self.path.preference().map_or(0, |extreme| {
                let undecided = self.disks[disk].undecided().expect("it is asked about");
                undecided.group_of(&question, extreme)
            });
            let answer = self.path.answer(about, question.groups.len(), first);
            self.disks[disk].answer(&question, answer);
        }
    }

    fn changed(&mut self, changes: bool) {
        if !changes {
            return;
        }
        self.changes += 1;
        self.unnoted = true;
        if self.watch == Watch::Every {
            self.note();
        }
    }

    fn note(&mut self) {
        if self.unnoted {
            self.points.push(self.point());
            self.unnoted = false;
        }
    }
}
