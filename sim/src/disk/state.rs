//! One simulated disk as a pure state machine: requests are submitted and completed, and at any
//! moment it can say which crash images a power cut may leave.
//!
//! What the five models share is here: what reads see, what each request means, which requests are
//! rejected. What is durable when is asked of the model's `Rules`; how crash images follow from
//! that is the business of the cache behind.

mod after_cut;
mod fingerprint;

use std::cell::OnceCell;
use std::sync::Arc;

use plugpull_engine::units::SECTOR;
use plugpull_engine::{ByteRange, DiskError, DiskErrorKind, WriteFlags};

use super::bytes::{Change, Extent, Slice, in_memory};
use super::cache::Cache;
use super::crash_space::CrashSpace;
use super::faults::{FaultPlan, Faults};
use super::image::Image;
use super::request::{Op, OpKind, Outcome, Reply, RequestId};
use super::rules::Rules;
use super::spec::{DiscardContent, DiskSpec, FailedFlush, GARBAGE};
use super::start::Start;

/// A disk: durable image, volatile cache, requests in flight.
#[derive(Debug, Clone)]
pub struct DiskState {
    spec: Arc<DiskSpec>,
    rules: Rules,
    faults: Faults,
    /// Counts submissions and completions.
    moment: u64,
    visible: Image,
    cache: Cache,
    /// In submission order.
    in_flight: Vec<Pending>,
    /// What discards write, one sector of it; none if they write nothing.
    discard: Option<Slice>,
    space: OnceCell<CrashSpace>,
    /// What an earlier power cut has left undecided.
    start: Option<Box<Start>>,
    /// Whether nobody has asked the disk anything since that power cut: not even its length is
    /// known.
    untouched: bool,
    watched: bool,
}

/// A request in flight.
#[derive(Debug, Clone)]
struct Pending {
    id: RequestId,
    op: Op,
    submitted: u64,
    /// Its place among the requests of its kind, from 1.
    number: u32,
    rejected: Option<DiskError>,
    /// See [`Pending::fingerprint`].
    fingerprint: OnceCell<u128>,
}

impl DiskState {
    /// A disk that holds `durable` and nothing else.
    ///
    /// # Panics
    /// If the sector length is not 512 or 4096, or the tear granularity does not divide 512.
    #[must_use]
    pub fn new(spec: DiskSpec, durable: Image) -> Self {
        let sector_len = spec.sector_len;
        assert!(matches!(sector_len, 512 | 4096), "sectors of {sector_len} bytes");
        if let Some(tear) = spec.tear {
            assert!(tear > 0 && 512 % tear == 0, "tears at {tear} bytes");
        }
        let durable = durable.with_key();
        let fill = |byte| Some(Slice::new(Arc::from(vec![byte; sector_len])));
        let discard = match spec.discard {
            DiscardContent::Zeros => fill(0),
            DiscardContent::Garbage => fill(GARBAGE),
            DiscardContent::Old => None,
        };
        Self {
            rules: Rules::of(spec.model),
            faults: Faults::default(),
            moment: 0,
            visible: durable.clone().without_key(),
            cache: Cache::new(&spec, durable, false),
            in_flight: Vec::new(),
            discard,
            space: OnceCell::new(),
            start: None,
            untouched: false,
            watched: true,
            spec: Arc::new(spec),
        }
    }

    /// The same for a time in which power is not cut: requests have the same replies, and
    /// [`DiskState::crash_space`] must not be called.
    #[must_use]
    pub fn without_cuts(mut self) -> Self {
        self.cache = Cache::Off;
        self.watched = false;
        self
    }

    /// The same with faults.
    #[must_use]
    pub fn with_faults(mut self, faults: FaultPlan) -> Self {
        self.faults = Faults::new(faults);
        self
    }

    /// What kind of disk it is.
    #[must_use]
    pub fn spec(&self) -> &DiskSpec {
        &self.spec
    }

    /// Length in bytes, as requests see it: it changes when a resize completes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.visible.len()
    }

    /// Whether the length is zero.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What reads see.
    #[must_use]
    pub fn visible(&self) -> &Image {
        &self.visible
    }

    /// The sectors that cannot be read until they are rewritten as a whole. A power cut does not
    /// heal them.
    #[must_use]
    pub fn bad_sectors(&self) -> &[u64] {
        self.faults.bad_sectors()
    }

    /// Requests in flight with what they ask for, in submission order.
    pub fn in_flight(&self) -> impl Iterator<Item = (RequestId, &Op)> {
        self.in_flight.iter().map(|pending| (pending.id, &pending.op))
    }

    /// What a request in flight asks for.
    ///
    /// # Panics
    /// If it is not in flight.
    #[must_use]
    pub fn op(&self, id: RequestId) -> &Op {
        &self.in_flight[self.position(id)].op
    }

    /// Whether something may become impossible for a power cut when a request in flight ends well.
    /// False means that afterwards it may leave everything that it may leave now. An end in an
    /// error may always settle something.
    ///
    /// # Panics
    /// If the request is not in flight.
    #[must_use]
    pub fn may_settle(&self, id: RequestId) -> bool {
        let pending = &self.in_flight[self.position(id)];
        if pending.rejected.is_some() {
            return false;
        }
        let flags = flags(&pending.op);
        let flushes = flags.preflush || flags.fua || pending.op == Op::Flush;
        match pending.op.kind() {
            OpKind::Read => false,
            _ if flushes && self.rules.flush_counts => true,
            OpKind::Flush => false,
            // A discard after which everything reads as before is nothing to the cache.
            OpKind::Discard if self.discard.is_none() => false,
            OpKind::Write | OpKind::Discard | OpKind::Resize => {
                self.rules.durable_when_complete || self.cache.may_settle(id)
            }
        }
    }

    /// Takes a request in flight. A request that the disk rejects (range past the end, fixed
    /// length) is taken too: its only outcome is `Done`, and its reply is the error.
    ///
    /// # Panics
    /// If the id is in flight already, or the offset or length of a write or discard is not a
    /// multiple of 512.
    pub fn submit(&mut self, id: RequestId, op: Op) {
        assert!(self.in_flight.iter().all(|pending| pending.id != id), "{id} is in flight");
        self.moment += 1;
        let rejected = self.rejection(&op);
        if rejected.is_none()
            && let Some(change) = self.change(&op)
        {
            let preflush = self.rules.flush_counts && flags(&op).preflush;
            let beneath = self.start.as_deref();
            self.cache.begin(id, self.moment, change, preflush, beneath);
            self.space.take();
        }
        let number = self.faults.count(op.kind());
        let submitted = self.moment;
        let fingerprint = OnceCell::new();
        self.in_flight.push(Pending { id, op, submitted, number, rejected, fingerprint });
    }

    /// The ways in which a request in flight may end now, in a fixed order, [`Outcome::Done`] first
    /// if it is among them. Never empty.
    ///
    /// # Panics
    /// If the request is not in flight.
    #[must_use]
    pub fn outcomes(&self, id: RequestId) -> Vec<Outcome> {
        let pending = &self.in_flight[self.position(id)];
        if pending.rejected.is_some() {
            return vec![Outcome::Done];
        }
        let unit = self.spec.sector_len as u64;
        let range = match pending.op {
            Op::Read { offset, len } => ByteRange::new(offset, len as u64),
            _ => ByteRange::new(0, 0),
        };
        let touches = |sector| range.units(unit).contains(&sector);
        self.faults.outcomes(pending.op.kind(), pending.number, touches)
    }

    /// Ends a request in flight.
    ///
    /// # Errors
    /// The error that the request completes with, which is part of the simulation.
    ///
    /// # Panics
    /// If the request is not in flight, or the outcome makes no sense for it.
    pub fn complete(&mut self, id: RequestId, outcome: Outcome) -> Reply {
        let pending = self.in_flight.remove(self.position(id));
        self.moment += 1;
        if let Some(error) = pending.rejected {
            assert_eq!(outcome, Outcome::Done, "{id} is rejected");
            return Err(error);
        }
        let kind = pending.op.kind();
        self.faults.took(kind, pending.number, &outcome);
        if kind != OpKind::Read && outcome != Outcome::Done {
            self.space.take();
        }
        match outcome {
            Outcome::Failed(error) => {
                self.fail(&pending);
                return Err(error);
            }
            Outcome::Misdirected { shift } => self.misdirect(&pending, shift),
            Outcome::Corrupted => self.corrupt(&pending),
            Outcome::Done => self.succeed(&pending, self.change(&pending.op)),
        }
        let mut data = self.read(&pending.op);
        if let (Outcome::Corrupted, Some(first)) = (outcome, data.first_mut()) {
            *first = !*first;
        }
        Ok(data)
    }

    /// What a power cut at this moment may leave.
    ///
    /// # Panics
    /// On a disk [without cuts](DiskState::without_cuts).
    #[must_use]
    pub fn crash_space(&self) -> CrashSpace {
        let beneath = self.start.as_deref();
        if let (true, Some(start)) = (self.untouched, beneath) {
            return start.undecided.space().clone();
        }
        self.space.get_or_init(|| self.cache.space(beneath)).clone()
    }

    fn position(&self, id: RequestId) -> usize {
        let position = self.in_flight.iter().position(|pending| pending.id == id);
        position.unwrap_or_else(|| panic!("{id} is not in flight"))
    }

    /// Why the disk does not carry out a request.
    fn rejection(&self, op: &Op) -> Option<DiskError> {
        let range = match *op {
            Op::Read { .. } | Op::Flush => return None,
            Op::Resize { .. } => {
                let fixed = || DiskError::new(DiskErrorKind::OutOfRange, "the length is fixed");
                return (!self.spec.resizable).then(fixed);
            }
            Op::Write { offset, ref data, .. } => ByteRange::new(offset, data.len() as u64),
            Op::Discard { offset, len } => ByteRange::new(offset, len),
        };
        let aligned = range.offset.is_multiple_of(SECTOR) && range.len.is_multiple_of(SECTOR);
        assert!(aligned, "{range} is not in units of {SECTOR} bytes");
        (range.end() > self.len()).then(|| {
            let detail = format!("{range} is past the end, {}", self.len());
            DiskError::new(DiskErrorKind::OutOfRange, detail)
        })
    }

    /// What a request changes if all goes well; none if it changes nothing.
    fn change(&self, op: &Op) -> Option<Change> {
        match op {
            Op::Read { .. } | Op::Flush => None,
            Op::Write { offset, data, .. } => {
                Some(Change::Write(vec![Extent::data(*offset, Slice::new(Arc::clone(data)))]))
            }
            Op::Discard { offset, len } => {
                let fill = self.discard.clone()?;
                Some(Change::Write(vec![Extent::fill(ByteRange::new(*offset, *len), fill)]))
            }
            Op::Resize { len } => Some(Change::Resize(*len)),
        }
    }

    /// Ends a request well; `change` is what it has done.
    fn succeed(&mut self, pending: &Pending, change: Option<Change>) {
        let flags = flags(&pending.op);
        let flushes = flags.preflush || pending.op == Op::Flush;
        if flushes && self.rules.flush_counts {
            self.cache.cover(pending.submitted);
            self.space.take();
        }
        let Some(change) = change else { return };
        let durable = self.rules.durable_when_complete || (flags.fua && self.rules.flush_counts);
        if self.cache.finish(pending.id, self.moment, durable) {
            self.space.take();
        }
        if let Change::Write(extents) = &change {
            let unit = self.spec.sector_len as u64;
            self.faults.rewritten(|sector| {
                let sector = ByteRange::new(sector * unit, unit);
                extents.iter().any(|extent| extent.range().contains(sector))
            });
        }
        change.apply(&mut self.visible, self.spec.sector_len);
        if let Some(start) = &mut self.start {
            let unit = self.spec.sector_len as u64;
            match &change {
                Change::Write(extents) => {
                    extents.iter().for_each(|extent| start.know(extent.range().units(unit)));
                }
                Change::Resize(_) => {}
            }
        }
    }

    /// Ends a request in an error. A failed PREFLUSH write counts as a failed flush too.
    fn fail(&mut self, pending: &Pending) {
        let flushes = flags(&pending.op).preflush || pending.op == Op::Flush;
        if flushes && self.rules.flush_counts && self.spec.failed_flush == FailedFlush::Drop {
            self.cache.drop_dirty(pending.submitted);
        }
        if self.change(&pending.op).is_some() {
            assert!(!self.has_unknown(), "no change fails on a disk that is not known yet");
            self.cache.fail(pending.id, self.moment);
        }
    }

    /// Ends a write well that has gone to the wrong place.
    fn misdirect(&mut self, pending: &Pending, shift: u64) {
        let unit = self.spec.sector_len as u64;
        assert!(shift.is_multiple_of(unit), "misdirected by {shift}");
        let Op::Write { offset, data, .. } = &pending.op else {
            panic!("{} is not a write: it cannot be misdirected", pending.id)
        };
        let room = (self.len() / unit * unit).max(unit);
        let data = Slice::new(Arc::clone(data));
        let mut extents = Vec::new();
        let mut done = 0;
        while done < data.len() {
            let at = (offset + done as u64 + shift) % room;
            let len = in_memory(room - at).min(data.len() - done);
            extents.push(Extent::data(at, data.part(done, len)));
            done += len;
        }
        self.cache.misdirect(pending.id, self.moment, extents.clone());
        self.succeed(pending, Some(Change::Write(extents)));
    }

    /// Ends a write or read well whose data is damaged.
    fn corrupt(&mut self, pending: &Pending) {
        match &pending.op {
            Op::Read { .. } => {}
            Op::Write { offset, data, .. } => {
                let mut damaged = data.to_vec();
                if let Some(first) = damaged.first_mut() {
                    *first = !*first;
                }
                let extents = vec![Extent::data(*offset, Slice::new(damaged.into()))];
                self.cache.damage(pending.id, extents.clone());
                self.succeed(pending, Some(Change::Write(extents)));
            }
            Op::Flush | Op::Discard { .. } | Op::Resize { .. } => {
                panic!("{} carries no data: it cannot be corrupted", pending.id)
            }
        }
    }

    /// The bytes that a read gives now; none for other requests.
    fn read(&self, op: &Op) -> Vec<u8> {
        let &Op::Read { offset, len } = op else { return Vec::new() };
        self.visible.bytes(offset, len)
    }
}

/// The flags of a write; none for other requests.
fn flags(op: &Op) -> WriteFlags {
    match op {
        Op::Write { flags, .. } => *flags,
        _ => WriteFlags::NONE,
    }
}
