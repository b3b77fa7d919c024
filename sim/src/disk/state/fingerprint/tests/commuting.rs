//! Random histories in which neighbours that commute are swapped.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use plugpull_engine::ByteRange;

use super::*;
use crate::disk::{DiscardContent, FailedFlush};

/// Units of 512 bytes on the disk of a history at its start.
const UNITS: u64 = 16;

/// One event with what it is about.
struct Seen<'a> {
    op: &'a Op,
    /// None for a submission.
    outcome: Option<&'a Outcome>,
}

/// The table: which neighbours leave the same disk in either order. A length change commutes with
/// submissions of other kinds at most; where requests are counted, those of one kind are not swapped.
fn commute(spec: &DiskSpec, counted: bool, one: &Seen<'_>, other: &Seen<'_>) -> bool {
    let same_kind = one.op.kind() == other.op.kind();
    match (one.outcome, other.outcome) {
        (None, None) => !(same_kind && (counted || one.op.kind() == OpKind::Resize)),
        (None, Some(outcome)) => submission_commutes(spec, one.op, other.op, outcome),
        (Some(outcome), None) => submission_commutes(spec, other.op, one.op, outcome),
        (Some(first), Some(second)) => {
            completions_commute(spec, (one.op, first), (other.op, second))
        }
    }
}

fn submission_commutes(spec: &DiskSpec, submitted: &Op, ended: &Op, outcome: &Outcome) -> bool {
    match (submitted.kind(), ended.kind()) {
        (OpKind::Read, _) | (_, OpKind::Read) => true,
        (OpKind::Resize, _) | (_, OpKind::Resize) => false,
        (_, OpKind::Flush) => true,
        (OpKind::Flush, _) => false,
        _ if flags(submitted).preflush => false,
        _ => apart(spec, submitted, ended) && !matches!(outcome, Outcome::Misdirected { .. }),
    }
}

fn completions_commute(
    spec: &DiskSpec,
    (one, first): (&Op, &Outcome),
    (other, second): (&Op, &Outcome),
) -> bool {
    let strays = |outcome: &Outcome| matches!(outcome, Outcome::Misdirected { .. });
    let drops = |op: &Op, outcome: &Outcome| {
        let flushes = *op == Op::Flush || flags(op).preflush;
        flushes && *outcome != Outcome::Done && spec.failed_flush == FailedFlush::Drop
    };
    match (one.kind(), other.kind()) {
        (OpKind::Read, OpKind::Read | OpKind::Flush) | (OpKind::Flush, OpKind::Read) => true,
        (OpKind::Resize, _) | (_, OpKind::Resize) => false,
        (OpKind::Flush, OpKind::Flush) => drops(one, first) == drops(other, second),
        _ if strays(first) || strays(second) => false,
        _ if drops(one, first) || drops(other, second) => false,
        (OpKind::Flush, _) | (_, OpKind::Flush) => true,
        (OpKind::Read, _) | (_, OpKind::Read) => apart(spec, one, other),
        _ => spec.model != Model::Ordered && apart(spec, one, other),
    }
}

/// Whether no sector is in the ranges of both.
fn apart(spec: &DiskSpec, one: &Op, other: &Op) -> bool {
    let sectors = |op: &Op| {
        let range = match *op {
            Op::Read { offset, len } => ByteRange::new(offset, len as u64),
            Op::Write { offset, ref data, .. } => ByteRange::new(offset, data.len() as u64),
            Op::Discard { offset, len } => ByteRange::new(offset, len),
            Op::Flush | Op::Resize { .. } => ByteRange::new(0, 0),
        };
        range.units(spec.sector_len as u64)
    };
    let (one, other) = (sectors(one), sectors(other));
    one.end <= other.start || other.end <= one.start
}

fn draw(rng: &mut ChaCha8Rng, below: u64) -> u64 {
    rng.next_u64() % below
}

fn draw_spec(rng: &mut ChaCha8Rng) -> DiskSpec {
    let pick = |rng: &mut ChaCha8Rng, len: usize| usize::try_from(draw(rng, len as u64)).unwrap();
    let model = Model::ALL[pick(rng, Model::ALL.len())];
    DiskSpec {
        tear: [None, None, Some(256)][pick(rng, 3)],
        discard: DiscardContent::ALL[pick(rng, DiscardContent::ALL.len())],
        failed_flush: FailedFlush::ALL[pick(rng, FailedFlush::ALL.len())],
        ..spec(model, [512, 4096][pick(rng, 2)])
    }
}

/// No faults, some of any kind, or some on a certain request; and whether requests are counted.
fn draw_faults(rng: &mut ChaCha8Rng, sector_len: usize) -> (FaultPlan, bool) {
    let fault = |on, which, effect, permanent| Fault { on, which, effect, permanent };
    let fail = FaultEffect::Fail(DiskErrorKind::Io);
    let shift = sector_len as u64;
    let any = vec![
        fault(OpKind::Write, Which::Any, fail, false),
        fault(OpKind::Flush, Which::Any, fail, false),
        fault(OpKind::Write, Which::Any, FaultEffect::Misdirect { shift }, false),
        fault(OpKind::Write, Which::Any, FaultEffect::Corrupt, false),
        fault(OpKind::Resize, Which::Any, fail, false),
        fault(OpKind::Discard, Which::Any, fail, false),
    ];
    let certain = vec![
        fault(OpKind::Write, Which::Nth(3), fail, false),
        fault(OpKind::Flush, Which::Nth(2), fail, true),
    ];
    match draw(rng, 3) {
        0 => (FaultPlan::default(), false),
        1 => (FaultPlan { faults: any, budget: 3, bad_sectors: vec![0, 1] }, false),
        _ => (FaultPlan { faults: certain, budget: 0, bad_sectors: Vec::new() }, true),
    }
}

/// A request on a disk that may have changed its length meanwhile. With 4096-byte sectors ranges are
/// often parts of a sector.
fn draw_op(rng: &mut ChaCha8Rng, spec: &DiskSpec) -> Op {
    let unit = draw(rng, UNITS);
    let units = usize::try_from(1 + draw(rng, 3)).unwrap();
    let sectors = spec.sector_len as u64 / 512;
    let unit = if draw(rng, 3) == 0 { unit / sectors * sectors } else { unit };
    match draw(rng, 20) {
        0..=9 => {
            let letter = b'A' + u8::try_from(draw(rng, 4)).unwrap();
            let whole = draw(rng, 3) > 0 && sectors > 1;
            let (unit, units) =
                if whole { (unit / sectors * sectors, 8) } else { (unit, units.min(2)) };
            write(unit, units, letter, draw(rng, 8) == 0, draw(rng, 6) == 0)
        }
        10 | 11 => Op::Read { offset: unit * 512, len: units * 512 },
        12 => Op::Discard { offset: unit * 512, len: units as u64 * 512 },
        13 => Op::Resize { len: 512 * (UNITS - 2 + draw(rng, 6)) },
        _ => Op::Flush,
    }
}

/// The next event of a random history. Few requests are in flight at a time: crash spaces grow fast
/// with their number.
fn draw_event(rng: &mut ChaCha8Rng, disk: &DiskState, next: &mut u32) -> Event {
    let in_flight: Vec<RequestId> = disk.in_flight().map(|(id, _)| id).collect();
    if in_flight.is_empty() || (in_flight.len() < 4 && draw(rng, 2) == 0) {
        *next += 1;
        return Event::Submit(RequestId::new(*next % 3, *next), draw_op(rng, disk.spec()));
    }
    let id = in_flight[usize::try_from(draw(rng, in_flight.len() as u64)).unwrap()];
    let outcomes = disk.outcomes(id);
    let other = usize::try_from(draw(rng, 2 * outcomes.len() as u64)).unwrap();
    Event::Complete(id, outcomes.get(other).unwrap_or(&outcomes[0]).clone())
}

/// Plays events on two disks, which must stay the same.
fn in_lockstep(one: &mut DiskState, other: &mut DiskState, event: &Event, context: &str) {
    let context = || format!("{context}, then {event}");
    assert_eq!(event.happen(one), event.happen(other), "{}", context());
    assert_eq!(one.fingerprint(), other.fingerprint(), "{}", context());
    assert_same(one, other, &context);
}

#[test]
fn neighbours_that_commute_leave_equal_fingerprints() {
    let mut swapped = [0; 5];
    for seed in 0..1500 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let spec = draw_spec(&mut rng);
        let (faults, counted) = draw_faults(&mut rng, spec.sector_len);
        let mut disks = vec![disk(&spec, &faults, u8::try_from(UNITS).unwrap())];
        let mut asked = disks[0].clone();
        let mut events: Vec<Event> = Vec::new();
        let mut next = 0;
        for _ in 0..6 + draw(&mut rng, 14) {
            let mut disk = disks.last().unwrap().clone();
            let event = draw_event(&mut rng, &disk, &mut next);
            event.happen(&mut disk);
            event.happen(&mut asked);
            events.push(event);
            // Asked after every event, it is the same as asked once.
            assert_eq!(asked.fingerprint(), disk.clone().fingerprint(), "{}", told(&events));
            disks.push(disk);
        }
        for at in 1..events.len() {
            swapped[spec.model as usize] +=
                usize::from(swap(&spec, counted, &disks, &events, at - 1));
        }
    }
    assert!(swapped.iter().all(|&count| count > 500), "{swapped:?} swaps");
}

/// What an event is about, which is in flight on one of the first two disks.
fn seen<'a>(event: &'a Event, disks: &'a [DiskState]) -> Seen<'a> {
    match event {
        Event::Submit(_, op) => Seen { op, outcome: None },
        Event::Complete(id, outcome) => {
            let there = disks[0].in_flight().any(|(other, _)| other == *id);
            let disk = if there { &disks[0] } else { &disks[1] };
            Seen { op: disk.op(*id), outcome: Some(outcome) }
        }
    }
}

/// Swaps the events at `at` and the next, if they commute, and compares what follows.
fn swap(spec: &DiskSpec, counted: bool, disks: &[DiskState], events: &[Event], at: usize) -> bool {
    let (one, other) = (&events[at], &events[at + 1]);
    if !commute(spec, counted, &seen(one, &disks[at..]), &seen(other, &disks[at..])) {
        return false;
    }
    let mut swapped = disks[at].clone();
    for event in [other, one] {
        if let Event::Complete(id, outcome) = event {
            let there = swapped.in_flight().any(|(other, _)| other == *id);
            // A request that ends right after its submission, or a fault that hits the first.
            if !there || !swapped.outcomes(*id).contains(outcome) {
                return false;
            }
        }
        event.happen(&mut swapped);
    }
    let mut straight = disks[at + 2].clone();
    let before = told(&events[..at]);
    let context = format!("{spec}: {before} || {one} <-> {other}");
    assert_eq!(straight.fingerprint(), swapped.fingerprint(), "{context}");
    assert_same(&straight, &swapped, &|| context.clone());
    for event in &events[at + 2..] {
        in_lockstep(&mut straight, &mut swapped, event, &context);
    }
    true
}
