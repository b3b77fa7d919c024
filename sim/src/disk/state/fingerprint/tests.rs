//! Fingerprints against what disks do: events that commute leave equal ones, and disks with equal
//! ones cannot be told apart.

mod commuting;
mod exhaustive;

use std::fmt;

use plugpull_engine::{DiskErrorKind, WriteFlags};

use super::*;
use crate::disk::{
    DiskSpec, Fault, FaultEffect, FaultPlan, Image, Model, OpKind, Outcome, Reply, Which,
};

/// One event of a history.
#[derive(Clone)]
enum Event {
    Submit(RequestId, Op),
    Complete(RequestId, Outcome),
}

impl Event {
    fn happen(&self, disk: &mut DiskState) -> Option<Reply> {
        match self {
            Self::Submit(id, op) => {
                disk.submit(*id, op.clone());
                None
            }
            Self::Complete(id, outcome) => Some(disk.complete(*id, outcome.clone())),
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Submit(id, op) => write!(f, "{id} {op}"),
            Self::Complete(id, outcome) => write!(f, "{id} {outcome}"),
        }
    }
}

fn told(events: &[Event]) -> String {
    let lines: Vec<String> = events.iter().map(Event::to_string).collect();
    lines.join("; ")
}

/// A disk of a few units of 512 bytes, each filled with a number.
fn disk(spec: &DiskSpec, faults: &FaultPlan, units: u8) -> DiskState {
    let bytes: Vec<u8> = (0..units).flat_map(|unit| [b'a' + unit; 512]).collect();
    DiskState::new(spec.clone(), Image::from_bytes(&bytes))
        .with_faults(faults.clone())
        .with_fingerprints()
}

fn spec(model: Model, sector_len: usize) -> DiskSpec {
    DiskSpec { model, sector_len, ..DiskSpec::new("test") }
}

/// A write of units filled with one letter.
fn write(unit: u64, units: usize, letter: u8, preflush: bool, fua: bool) -> Op {
    let flags = WriteFlags { preflush, fua };
    Op::Write { offset: unit * 512, data: vec![letter; units * 512].into(), flags }
}

/// Fails unless two disks show the same at this moment, to readers and to a power cut.
fn assert_same(one: &DiskState, other: &DiskState, context: &dyn Fn() -> String) {
    assert_eq!(one.visible(), other.visible(), "{}", context());
    assert_eq!(one.bad_sectors(), other.bad_sectors(), "{}", context());
    assert_eq!(one.crash_space().key(), other.crash_space().key(), "{}", context());
    for (id, op) in one.in_flight() {
        assert_eq!(op, other.op(id), "{}", context());
        assert_eq!(one.outcomes(id), other.outcomes(id), "{id}: {}", context());
        assert_eq!(one.may_settle(id), other.may_settle(id), "{id}: {}", context());
    }
    assert_eq!(one.in_flight().count(), other.in_flight().count(), "{}", context());
}

#[test]
#[should_panic(expected = "no fingerprint")]
fn a_disk_after_a_power_cut_has_none() {
    let before = disk(&spec(Model::Writeback, 512), &FaultPlan::default(), 1);
    _ = DiskState::after_power_cut(before.spec().clone(), before.crash_space()).fingerprint();
}

#[test]
fn the_key_of_what_reads_see_is_the_same_if_it_is_not_kept() {
    let mut kept = disk(&spec(Model::Writeback, 512), &FaultPlan::default(), 2);
    let mut not_kept = kept.clone();
    not_kept.visible = not_kept.visible.without_key();
    for disk in [&mut kept, &mut not_kept] {
        let id = RequestId::new(0, 0);
        disk.submit(id, write(0, 1, b'A', false, false));
        disk.complete(id, Outcome::Done).unwrap();
    }
    assert_eq!(kept.fingerprint(), not_kept.fingerprint());
}

/// Plays writes of one sector, one after the other, with a flush that is submitted after the first
/// few and does not end.
fn written(spec: &DiskSpec, faults: &FaultPlan, letters: &str, before_flush: usize) -> DiskState {
    let mut disk = disk(spec, faults, 1);
    for (number, letter) in (0..).zip(letters.bytes()) {
        if number == before_flush {
            disk.submit(RequestId::new(1, 0), Op::Flush);
        }
        let id = RequestId::new(0, u32::try_from(number).unwrap());
        disk.submit(id, write(0, 1, letter, false, false));
        disk.complete(id, Outcome::Done).unwrap();
    }
    disk
}

#[test]
fn the_order_of_writes_counts_if_some_are_equal() {
    let spec = spec(Model::AtomicWrite, 512);
    let after = |letters| written(&spec, &FaultPlan::default(), letters, 2).fingerprint();
    assert_eq!(after("ABBAC"), after("ABBAC"));
    // As often one before the other, and the same letters before the flush.
    assert_ne!(after("ABBAC"), after("BAABC"));
}

#[test]
fn submissions_count_where_a_fault_waits_for_one() {
    let nth = |number| Fault {
        on: OpKind::Write,
        which: Which::Nth(number),
        effect: FaultEffect::Fail(DiskErrorKind::Io),
        permanent: false,
    };
    let plan = |number| FaultPlan { faults: vec![nth(number)], ..FaultPlan::default() };
    let spec = spec(Model::Writethrough, 512);
    let after = |letters, number| written(&spec, &plan(number), letters, 9).fingerprint();
    assert_ne!(after("A", 3), after("AA", 3));
    // Otherwise nobody counts.
    let no_faults = |letters| written(&spec, &FaultPlan::default(), letters, 9).fingerprint();
    assert_eq!(no_faults("A"), no_faults("AA"));
}
