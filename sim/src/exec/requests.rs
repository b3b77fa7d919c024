//! The disks of an execution and the requests in flight at them.

use std::task::{Poll, Waker};
use std::time::Duration;

use plugpull_engine::WriteFlags;
use plugpull_engine::sync::{Access, WHOLE};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::access::{Accessed, Object};
use super::disk_access::DiskAccess;
use super::identity::{Name, mix};
use super::label::{Label, OutcomeLabel, RequestLabel};
use super::tracking::{Tracking, fold};
use crate::disk::{
    CrashSpace, DiskSpec, DiskState, FaultPlan, History, Image, Op, OpKind, Outcome, Reply,
    RequestId,
};

/// Disks, recorder, requests in flight, and the replies that nobody has fetched yet.
#[derive(Debug, Default)]
pub(super) struct Requests {
    pub(super) disks: Vec<DiskSlot>,
    pub(super) history: History,
    /// In the order of submission.
    pending: Vec<Pending>,
    slots: Vec<Slot>,
    free: Vec<usize>,
    /// Whether it is to be noted what a power cut may leave before something becomes impossible.
    pub(super) notes_settling: bool,
    /// What was noted.
    pub(super) before_settling: Option<Vec<CrashSpace>>,
    /// What the step under way has learned of completions: the steps in which they happened.
    pub(super) relied_on: Vec<usize>,
}

#[derive(Debug)]
pub(super) struct DiskSlot {
    pub(super) state: DiskState,
    name: Name,
    access: DiskAccess,
    /// Whether a request may ever end otherwise than as asked.
    faults: bool,
    /// The step in which its length was changed last.
    resized_in: Option<usize>,
}

#[derive(Debug)]
struct Pending {
    label: RequestLabel,
    id: RequestId,
    slot: usize,
    /// Empty: only [`Outcome::Done`], the usual case, without asking the disk.
    outcomes: Vec<Outcome>,
    /// The clock when it can end.
    due: Duration,
    /// The step in which it was submitted.
    since: Option<usize>,
}

/// Where a request's reply waits for its future, and its future for the reply.
#[derive(Debug, Default)]
struct Slot {
    /// Whose reply.
    object: u64,
    reply: Option<Reply>,
    waker: Option<Waker>,
    /// The task that waits for it.
    waiter: u64,
    /// The step in which the request completed.
    completed_in: Option<usize>,
    /// The future was dropped: nobody fetches the reply.
    abandoned: bool,
}

impl Slot {
    /// Identifies the reply that waits, and who waits for it.
    fn key(&self) -> u128 {
        let reply = self.reply.as_ref().map_or(0, reply_key);
        fold(reply, self.object, u128::from(self.waiter))
    }
}

/// Identifies a reply.
pub(super) fn reply_key(reply: &Reply) -> u128 {
    match reply {
        Ok(data) => xxh3_128(data).max(1),
        Err(error) => fold(7, error.kind as u64, xxh3_128(error.to_string().as_bytes())),
    }
}

impl Requests {
    pub(super) fn new(disks: Vec<(DiskSpec, Image, FaultPlan)>) -> Self {
        let disks = disks
            .into_iter()
            .enumerate()
            .map(|(disk, (spec, image, plan))| DiskSlot {
                name: Name::new(&spec.name),
                access: DiskAccess::new(disk, &spec, &plan),
                faults: plan != FaultPlan::default(),
                resized_in: None,
                state: DiskState::new(spec, image).with_faults(plan),
            })
            .collect();
        Self { disks, ..Self::default() }
    }

    /// Submits a request; says where its reply will be, and the hash of all of it.
    pub(super) fn submit(
        &mut self,
        id: RequestId,
        disk: usize,
        op: Op,
        now: Duration,
        since: Option<usize>,
        tracking: &mut Tracking,
    ) -> (usize, u64) {
        let label = self.label(id, disk, &op);
        self.disks[disk].access.submit(&label, &mut |accessed| tracking.touch(accessed));
        // Whether a range is past the end shows in the reply.
        if !matches!(op.kind(), OpKind::Read | OpKind::Flush) {
            self.relied_on.extend(self.disks[disk].resized_in);
        }
        self.history.submit(disk, id, op.clone());
        self.disks[disk].state.submit(id, op);
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() - 1
        });
        self.slots[slot].object = Object::Reply(id.key).name();
        let due = now.saturating_add(self.disks[disk].state.spec().latency);
        self.pending.push(Pending { label, id, slot, outcomes: Vec::new(), due, since });
        self.refresh_outcomes(disk);
        (slot, label.key)
    }

    /// When the first of the requests in flight can end.
    pub(super) fn earliest(&self) -> Option<Duration> {
        self.pending.iter().map(|pending| pending.due).min()
    }

    /// Every way in which a request may complete at `now`: its place, which outcome, and the label.
    pub(super) fn completions(&self, now: Duration) -> impl Iterator<Item = (usize, usize, Label)> {
        let pending = self.pending.iter().enumerate();
        pending.filter(move |(_, pending)| pending.due <= now).flat_map(|(place, pending)| {
            (0..pending.outcomes.len().max(1)).map(move |index| {
                let outcome = match pending.outcomes.get(index) {
                    None => OutcomeLabel::Done,
                    Some(outcome) => OutcomeLabel::from(outcome),
                };
                (place, index, Label::Complete { request: pending.label, outcome })
            })
        })
    }

    /// The step in which the request at `place` was submitted.
    pub(super) fn since(&self, place: usize) -> Option<usize> {
        self.pending[place].since
    }

    /// Identifies the disks, the requests in flight and the replies that wait.
    pub(super) fn key(&self) -> u128 {
        let disks =
            (0..).zip(&self.disks).map(|(disk, slot)| fold(5, disk, slot.state.fingerprint()));
        let pending = self.pending.iter().map(|pending| {
            let abandoned = u128::from(self.slots[pending.slot].abandoned);
            fold(6, pending.id.key, pending.due.as_nanos() << 1 | abandoned)
        });
        let slots = self.slots.iter().filter(|slot| slot.object != 0).map(Slot::key);
        disks.chain(pending).chain(slots).fold(0, u128::wrapping_add)
    }

    /// When the request at `place` can end.
    pub(super) fn due(&self, place: usize) -> Duration {
        self.pending[place].due
    }

    /// Completes the request at `place` in this step; whom to wake.
    pub(super) fn complete(
        &mut self,
        step: usize,
        place: usize,
        outcome: usize,
        tracking: &mut Tracking,
    ) -> Option<Waker> {
        let mut pending = self.pending.remove(place);
        let disk = pending.label.disk as usize;
        let outcome = match pending.outcomes.len() {
            0 => Outcome::Done,
            _ => pending.outcomes.swap_remove(outcome),
        };
        let changes = pending.label.kind != OpKind::Read;
        if self.notes_settling
            && changes
            && (outcome != Outcome::Done || self.disks[disk].state.may_settle(pending.id))
        {
            let spaces = self.disks.iter().map(|disk| disk.state.crash_space());
            self.before_settling = Some(spaces.collect());
        }
        let touch = &mut |accessed| tracking.touch(accessed);
        self.disks[disk].access.complete(&pending.label, &outcome, touch);
        tracking.touch(Accessed::new(self.slots[pending.slot].object, WHOLE, Access::Write));
        if outcome != Outcome::Done {
            tracking.touch(Object::GUEST_FAULTS.whole(Access::Add));
        }
        if changes {
            tracking.touch(Object::GUEST_CLOSED.whole(Access::Read));
        }
        self.history.complete(disk, pending.id, outcome.clone());
        let reply = self.disks[disk].state.complete(pending.id, outcome);
        if pending.label.kind == OpKind::Resize {
            self.disks[disk].resized_in = Some(step);
        }
        self.refresh_outcomes(disk);
        let slot = &mut self.slots[pending.slot];
        if slot.abandoned {
            self.release(pending.slot);
            return None;
        }
        slot.completed_in = Some(step);
        slot.reply = Some(reply);
        slot.waker.take()
    }

    /// The reply, if it is there; otherwise `waker` is kept. Also gives back a waker to drop.
    pub(super) fn fetch(
        &mut self,
        slot: usize,
        task: u64,
        waker: &Waker,
    ) -> (Poll<Reply>, Option<Waker>) {
        let kept = &mut self.slots[slot];
        kept.waiter = task;
        if let Some(reply) = kept.reply.take() {
            self.relied_on.extend(kept.completed_in);
            return (Poll::Ready(reply), kept.waker.take());
        }
        let dropped = match &kept.waker {
            Some(old) if old.will_wake(waker) => None,
            _ => kept.waker.replace(waker.clone()),
        };
        (Poll::Pending, dropped)
    }

    /// What the reply in a slot is to dependence.
    pub(super) fn object(&self, slot: usize) -> u64 {
        self.slots.get(slot).map_or(0, |slot| slot.object)
    }

    /// The length of a disk, as requests see it.
    pub(super) fn disk_len(&mut self, disk: usize) -> u64 {
        let slot = &self.disks[disk];
        self.relied_on.extend(slot.resized_in);
        slot.state.len()
    }

    /// The request's future is gone, with its reply fetched or not. Gives back what to drop.
    pub(super) fn abandon(&mut self, slot: usize) -> Option<(Option<Reply>, Option<Waker>)> {
        let kept = self.slots.get_mut(slot)?;
        let dropped = (kept.reply.take(), kept.waker.take());
        if kept.completed_in.is_some() {
            self.release(slot);
        } else {
            kept.abandoned = true;
        }
        Some(dropped)
    }

    /// Forgets all requests and hands out what waits for them.
    pub(super) fn clear(&mut self) -> Vec<Option<Waker>> {
        self.pending.clear();
        self.free.clear();
        self.slots.drain(..).map(|slot| slot.waker).collect()
    }

    fn release(&mut self, slot: usize) {
        self.slots[slot] = Slot::default();
        self.free.push(slot);
    }

    /// A completion or submission may use up, or bring about, faults of other requests.
    fn refresh_outcomes(&mut self, disk: usize) {
        let slot = &self.disks[disk];
        if !slot.faults {
            return;
        }
        for pending in self.pending.iter_mut().filter(|p| p.label.disk as usize == disk) {
            pending.outcomes = slot.state.outcomes(pending.id);
        }
    }

    fn label(&self, id: RequestId, disk: usize, op: &Op) -> RequestLabel {
        let RequestId { task, number, key: id } = id;
        let (offset, len, flags, data) = match op {
            Op::Read { offset, len } => (*offset, *len as u64, WriteFlags::NONE, 0),
            Op::Write { offset, data, flags } => {
                (*offset, data.len() as u64, *flags, xxh3_64(data))
            }
            Op::Flush => (0, 0, WriteFlags::NONE, 0),
            Op::Discard { offset, len } => (*offset, *len, WriteFlags::NONE, 0),
            Op::Resize { len } => (0, *len, WriteFlags::NONE, 0),
        };
        let kind = op.kind();
        let small = u64::from(number) << 32
            | (disk as u64) << 8
            | (kind as u64) << 2
            | u64::from(flags.preflush) << 1
            | u64::from(flags.fua);
        let key = [small, offset, len, data].into_iter().fold(task.key(), mix);
        let disk_name = self.disks[disk].name;
        let disk = u32::try_from(disk).expect("few disks");
        RequestLabel { task, number, id, disk, disk_name, kind, flags, offset, len, key }
    }
}
