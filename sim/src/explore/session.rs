//! The workload: guest clients as tasks of one execution, and the log of what they were told.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use plugpull_engine::sync::Access::{Add, Read, Write};
use plugpull_engine::{ByteRange, Error, ErrorKind};
use xxhash_rust::xxh3::xxh3_128;

use crate::disk::OpKind;
use crate::exec::{Accessed, Cell, Label, Name, Object, OutcomeLabel, WorldHandle};
use crate::oracle::{End, Finding, Obligations, SectorModel, Value, View, stamp};
use crate::system::{BoxFuture, Device, System};
use crate::verdict::Invariant;
use crate::workload::{GuestOp, SnapshotName};

/// The guest's sectors: which writes and reads of each came before which.
const SECTORS: Object = Object::Guest(0);
/// Which writes have ended before which flush is submitted.
const ENDED: Object = Object::Guest(1);
/// Which disk requests have gone wrong.
const FAULTS: Object = Object::GUEST_FAULTS;
/// Whether the device was closed.
const CLOSED: Object = Object::GUEST_CLOSED;

/// What the guest side of one execution knows: the sector model, what it was told, which faults
/// have hit. Shared by all clients and read by the search between two steps.
#[derive(Debug, Default)]
pub(crate) struct Guest {
    pub(crate) model: SectorModel,
    /// One line per request: what was asked and how it ended.
    pub(crate) log: Vec<String>,
    /// The first broken promise that a client saw.
    pub(crate) finding: Option<Finding>,
    /// Whether the device was closed, successfully or not.
    pub(crate) closed: bool,
    /// What happened on this side of the disks and is a goal by name.
    pub(crate) events: BTreeSet<&'static str>,
    /// Which disk requests went wrong: whose, by the name of its harness task, and of which kind.
    faults: Vec<(Name, OpKind)>,
    flush_failed: bool,
    pub(crate) close_succeeded: bool,
}

pub(crate) type SharedGuest = Arc<Cell<Guest>>;

impl Guest {
    /// Before anything has happened.
    pub(crate) fn new(system: &dyn System) -> Self {
        let mut guest = Self::default();
        for missing in system.missing() {
            guest.model.start_without(missing.units(512));
        }
        guest
    }

    /// Notes an event of the execution: a fault may excuse a failing request, and no change of a
    /// disk may end after close has reported success (E-HONEST).
    pub(crate) fn observe(&mut self, label: &Label) {
        match label {
            Label::Complete { request, outcome } => {
                if *outcome != OutcomeLabel::Done {
                    self.faults.push((request.task.root_name(), request.kind));
                    self.flush_failed |= request.kind == OpKind::Flush;
                    self.events.insert(failed(request.kind));
                }
                // A read whose client has gone may still be on its way; it changes nothing.
                if self.close_succeeded && request.kind != OpKind::Read {
                    let message = format!("after close reported success: {label}");
                    self.report(Finding { invariant: Invariant::EHonest, message });
                }
            }
            Label::Cancel { .. } => _ = self.events.insert("request-cancelled"),
            Label::Poll(_) | Label::Timer { .. } | Label::Coin { .. } => {}
        }
    }

    /// Whether any request to a disk has failed or gone wrong so far.
    pub(crate) fn had_faults(&self) -> bool {
        !self.faults.is_empty()
    }

    /// Identifies everything that later judgements depend on.
    pub(crate) fn key(&self) -> u128 {
        let flags = [self.closed, self.close_succeeded, self.flush_failed];
        let flags = flags.iter().fold(0, |bits: u128, &flag| bits << 1 | u128::from(flag));
        // In any order: whoever looks at them asks only whether there is one of some kind since then.
        let faults = self.faults.iter().fold(flags, |key, (root, kind)| {
            let name = xxh3_128(root.as_str().as_bytes());
            key.wrapping_add(xxh3_128(&(name ^ *kind as u128).to_le_bytes()))
        });
        self.model.fingerprint().rotate_left(1).wrapping_add(faults)
    }

    /// Whether nobody knows if there is what the request is about: an earlier one has failed on it.
    /// Nobody else changes that.
    fn may_refuse(&self, op: &GuestOp) -> bool {
        let is_nothing = |value: &Value| *value == Value::Nothing;
        let values = |sector| self.model.readable_now(sector);
        match op.snapshot().map(|name| values(View::Snapshot(name).sector(0))) {
            Some(values) if matches!(op, GuestOp::Snapshot(_)) => !values.iter().all(is_nothing),
            Some(values) => values.iter().any(is_nothing),
            None => op.range().units(512).any(|sector| values(sector).iter().any(is_nothing)),
        }
    }

    fn report(&mut self, finding: Finding) {
        self.finding.get_or_insert(finding);
    }

    /// A request may fail (E-LOCAL) if a fault hit a disk request of its own client while it was
    /// running, or a flush, which clients share. From the first failed flush on nothing can be
    /// promised until the device is opened again, but reads go on. A closed device refuses all.
    fn excuses(&mut self, error: &Error, op: &GuestOp, client: Name, faults_before: usize) -> bool {
        match error.kind() {
            ErrorKind::Closed if self.closed => {
                self.events.insert("request-refused");
                return true;
            }
            ErrorKind::BarrierLost if self.flush_failed => {
                return !matches!(op, GuestOp::Read { .. });
            }
            _ => {}
        }
        let mut own = self.faults[faults_before..].iter();
        own.any(|(root, kind)| *root == client || *kind == OpKind::Flush)
    }
}

fn failed(kind: OpKind) -> &'static str {
    match kind {
        OpKind::Read => "read-failed",
        OpKind::Write => "write-failed",
        OpKind::Flush => "flush-failed",
        OpKind::Discard => "discard-failed",
        OpKind::Resize => "resize-failed",
    }
}

/// One guest client.
pub(crate) struct Client {
    pub(crate) number: u64,
    pub(crate) ops: Vec<GuestOp>,
    pub(crate) device: Arc<dyn Device>,
    pub(crate) guest: SharedGuest,
    pub(crate) system: Arc<dyn System>,
    pub(crate) world: WorldHandle,
}

/// What a write puts in its sectors.
#[derive(Clone, Copy)]
enum Content {
    Data,
    Zeros,
}

fn end(result: &Option<Result<(), Error>>) -> End {
    if matches!(result, Some(Ok(()))) { End::Success } else { End::Failure }
}

impl Client {
    /// Issues the client's requests in order.
    pub(crate) async fn run(self) {
        let tracker = self.world.runtime().tracker();
        for (index, op) in (0..).zip(&self.ops) {
            tracker.forget(&index);
            self.op(index, op).await;
        }
    }

    async fn op(&self, index: u64, op: &GuestOp) {
        let faults = self.know(&[FAULTS.whole(Read)], |guest| guest.faults.len());
        let may_be_refused = self.know(&[], |guest| guest.may_refuse(op));
        self.world.saw_faults(faults);
        let result = match *op {
            GuestOp::Write { offset, len } => {
                let data = stamp::write_content(offset / 512, len / 512, self.serial(index));
                self.write(index, op.range(), Content::Data, self.device.write(offset, data)).await
            }
            GuestOp::WriteCompressed { offset, len } => {
                let data = stamp::packed_content(offset / 512, len / 512, self.serial(index));
                let request = self.device.write_compressed(offset, data);
                self.write(index, op.range(), Content::Data, request).await
            }
            GuestOp::WriteZeroes { unmap, .. } => {
                let request = self.device.write_zeroes(op.range(), unmap);
                self.write(index, op.range(), Content::Zeros, request).await
            }
            GuestOp::Discard { .. } => {
                let request = self.device.discard(op.range());
                self.write(index, op.range(), Content::Zeros, request).await
            }
            GuestOp::Snapshot(name) => {
                let to = View::Snapshot(name);
                self.copy(index, View::Active, to, self.device.snapshot(name)).await
            }
            GuestOp::Apply(name) => {
                let from = View::Snapshot(name);
                self.copy(index, from, View::Active, self.device.apply(name)).await
            }
            GuestOp::DeleteSnapshot(name) => {
                self.remove(index, name, self.device.delete_snapshot(name)).await
            }
            GuestOp::Resize(len) => self.resize(index, len, self.device.resize(len)).await,
            GuestOp::Read { offset, len } => self.read(index, offset, len).await,
            GuestOp::Flush => self.barrier(index, self.device.flush()).await,
            GuestOp::Close => {
                self.know(&[CLOSED.whole(Write)], |guest| guest.closed = true);
                let closed = self.barrier(index, self.device.close()).await;
                let succeeded = matches!(closed, Some(Ok(())));
                self.know(&[CLOSED.whole(Write)], |guest| guest.close_succeeded |= succeeded);
                closed
            }
            GuestOp::WaitForJobs => {
                self.device.wait_for_jobs().await;
                Some(Ok(()))
            }
            GuestOp::Sleep(time) => {
                self.world.runtime().sleep(time).await;
                Some(Ok(()))
            }
        };
        // An error may be excused by what happened elsewhere.
        let failed = matches!(result, Some(Err(_)));
        let excuses = [FAULTS.whole(Read), CLOSED.whole(Read)];
        self.know(if failed { &excuses } else { &[] }, |guest| {
            let end = match &result {
                None => "cancelled".to_owned(),
                Some(Ok(())) => "ok".to_owned(),
                Some(Err(error)) => format!("failed: {error}"),
            };
            guest.log.push(format!("c{}.{index} {op}: {end}", self.number));
            let Some(Err(error)) = result else { return };
            let client = Name::new(&format!("c{}", self.number));
            if !may_be_refused && !guest.excuses(&error, op, client, faults) {
                let message = format!(
                    "c{}.{index} {op} fails although no fault hit it: {error}",
                    self.number
                );
                guest.report(Finding { invariant: Invariant::ELocal, message });
            }
        });
    }

    fn serial(&self, index: u64) -> u64 {
        stamp::serial(1, self.number, index)
    }

    /// The sectors of a view, as many as it may have.
    fn sectors(&self, view: View) -> Range<u64> {
        view.sector(0)..view.sector(self.system.extent(view) / 512)
    }

    async fn write(
        &self,
        index: u64,
        range: ByteRange,
        content: Content,
        request: BoxFuture<Result<(), Error>>,
    ) -> Option<Result<(), Error>> {
        let serial = self.serial(index);
        let sectors = range.units(512);
        let written = SECTORS.part(sectors.clone(), Write);
        let submitted = [written.clone()];
        self.know(&submitted, |guest| match content {
            Content::Data => _ = guest.model.submit_write(sectors.clone(), serial),
            Content::Zeros => guest.model.submit_zeros(sectors.clone(), serial),
        });
        let result = self.cancellable(index, request).await;
        let ended = [written, ENDED.whole(Add)];
        self.know(&ended, |guest| guest.model.end_write(sectors, serial, end(&result)));
        result
    }

    /// A snapshot, or going back to one.
    async fn copy(
        &self,
        index: u64,
        from: View,
        to: View,
        request: BoxFuture<Result<(), Error>>,
    ) -> Option<Result<(), Error>> {
        let count = self.system.extent(to) / 512;
        let (first, target) = (from.sector(0), to.sector(0));
        let (source, targets) = (first..first + count, target..target + count);
        let touched = [SECTORS.part(source.clone(), Read), SECTORS.part(targets, Write)];
        let copy = self
            .know(&touched, |guest| guest.model.submit_copy(self.serial(index), source, target));
        let result = self.cancellable(index, request).await;
        let [read, written] = touched;
        let ended = [read, written, ENDED.whole(Add)];
        self.know(&ended, |guest| guest.model.end_copy(copy, end(&result)));
        result
    }

    async fn remove(
        &self,
        index: u64,
        name: SnapshotName,
        request: BoxFuture<Result<(), Error>>,
    ) -> Option<Result<(), Error>> {
        let (serial, sectors) = (self.serial(index), self.sectors(View::Snapshot(name)));
        let written = SECTORS.part(sectors.clone(), Write);
        let submitted = [written.clone()];
        self.know(&submitted, |guest| guest.model.submit_removal(sectors.clone(), serial));
        let result = self.cancellable(index, request).await;
        let ended = [written, ENDED.whole(Add)];
        self.know(&ended, |guest| guest.model.end_removal(sectors, serial, end(&result)));
        result
    }

    async fn resize(
        &self,
        index: u64,
        len: u64,
        request: BoxFuture<Result<(), Error>>,
    ) -> Option<Result<(), Error>> {
        let (serial, sectors) = (self.serial(index), self.sectors(View::Active));
        let len = len / 512;
        let written = SECTORS.part(sectors.clone(), Write);
        let submitted = [written.clone()];
        self.know(&submitted, |guest| guest.model.submit_resize(sectors.clone(), len, serial));
        let result = self.cancellable(index, request).await;
        let ended = [written, ENDED.whole(Add)];
        self.know(&ended, |guest| guest.model.end_resize(sectors, len, serial, end(&result)));
        result
    }

    async fn read(&self, index: u64, offset: u64, len: u64) -> Option<Result<(), Error>> {
        let serial = self.serial(index);
        let sectors = offset / 512..(offset + len) / 512;
        let touched = [SECTORS.part(sectors.clone(), Read)];
        let in_flight = self.know(&touched, |guest| guest.model.submit_read(serial, sectors));
        let read = self.device.read(ByteRange::new(offset, len));
        let result = self.cancellable(index, read).await;
        self.know(&touched, |guest| {
            if let Some(Ok(bytes)) = &result {
                let sectors = stamp::sectors_of(offset, bytes);
                let model = &guest.model;
                let readable =
                    Obligations::readable(model, self.system.initial(), &in_flight, sectors);
                if let Some(finding) = readable.judge(offset / 512, bytes) {
                    guest.report(finding);
                }
            }
            guest.model.end_read(in_flight);
        });
        Some(result?.map(|_read| ()))
    }

    async fn barrier(
        &self,
        index: u64,
        request: impl Future<Output = Result<(), Error>> + Send + 'static,
    ) -> Option<Result<(), Error>> {
        let serial = self.serial(index);
        let covering = [ENDED.whole(Read)];
        let in_flight = self.know(&covering, |guest| guest.model.submit_flush(serial));
        let result = self.cancellable(index, request).await;
        self.know(&[], |guest| match result {
            Some(Ok(())) => guest.model.flush_succeeded(in_flight),
            Some(Err(_)) | None => guest.model.end_flush(in_flight),
        });
        result
    }

    /// Changes what is known, or looks at it: `touched` is what of it the order of events decides.
    fn know<R>(&self, touched: &[Accessed], change: impl FnOnce(&mut Guest) -> R) -> R {
        let (result, key) = self.guest.with(|guest| {
            let result = change(guest);
            (result, self.world.identifies_states().then(|| guest.key()))
        });
        self.world.guest_changed(touched, key);
        result
    }

    async fn cancellable<T: Send + 'static>(
        &self,
        index: u64,
        request: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        self.world.cancellable(&format!("op{index}"), request).await
    }
}
