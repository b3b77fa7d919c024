//! Every history of a few requests: states with equal fingerprints are the same to whatever may
//! follow, and there are far fewer fingerprints than histories.

use std::collections::BTreeMap;

use super::*;
use crate::disk::{DiscardContent, FailedFlush};

/// How many histories with the same fingerprint are followed. The others are only compared with the
/// first, and so is what comes next after each. (All of them take minutes.)
const FOLLOWED: usize = 2;

/// What may happen: each request at most once, in any order.
struct Alphabet {
    spec: DiskSpec,
    faults: FaultPlan,
    units: u8,
    ops: Vec<Op>,
}

/// A state and how it was reached.
struct State {
    disk: DiskState,
    submitted: usize,
    path: Vec<Event>,
    /// What each event leads to: its reply and the fingerprint.
    next: Vec<(Option<Reply>, u128)>,
}

impl Alphabet {
    fn id(index: usize) -> RequestId {
        let index = u32::try_from(index).unwrap();
        RequestId::new(index, 0)
    }

    /// All events that may be next, in an order that depends on the requests alone.
    fn events(&self, state: &State) -> Vec<Event> {
        let mut events = Vec::new();
        for (index, op) in self.ops.iter().enumerate() {
            let id = Self::id(index);
            if state.submitted >> index & 1 == 0 {
                events.push(Event::Submit(id, op.clone()));
            } else if state.disk.in_flight().any(|(other, _)| other == id) {
                let outcomes = state.disk.outcomes(id);
                events.extend(outcomes.into_iter().map(|outcome| Event::Complete(id, outcome)));
            }
        }
        events
    }

    /// Visits histories, and compares each with the first that had the same fingerprint. Since the
    /// same is done with what follows, equality now and of all next fingerprints is enough. Histories
    /// are followed until there are [`FOLLOWED`] with the same fingerprint.
    ///
    /// Returns the numbers of histories and of fingerprints.
    fn explore(&self) -> (usize, usize) {
        let mut known: BTreeMap<u128, (State, usize)> = BTreeMap::new();
        let probes = self.probes();
        let disk = disk(&self.spec, &self.faults, self.units);
        let start = State { disk, submitted: 0, path: Vec::new(), next: Vec::new() };
        let mut waiting = vec![start];
        let mut histories = 0;
        while let Some(mut state) = waiting.pop() {
            histories += 1;
            let mut follow = Vec::new();
            for event in self.events(&state) {
                let mut next = state.disk.clone();
                let reply = event.happen(&mut next);
                state.next.push((reply, next.fingerprint()));
                let submitted = match event {
                    Event::Submit(id, _) => {
                        let index = self.ops.len();
                        let index = (0..index).find(|&index| Self::id(index) == id).unwrap();
                        state.submitted | 1 << index
                    }
                    Event::Complete(..) => state.submitted,
                };
                let path = [&state.path[..], &[event]].concat();
                follow.push(State { disk: next, submitted, path, next: Vec::new() });
            }
            // What is still to be submitted is no part of a disk.
            let key = state.disk.fingerprint().wrapping_add(state.submitted as u128);
            match known.get_mut(&key) {
                None => {
                    known.insert(key, (state, 1));
                    waiting.append(&mut follow);
                }
                Some((first, followed)) => {
                    self.compare(first, &state);
                    if *followed < FOLLOWED {
                        *followed += 1;
                        self.probe(first, &state, &probes);
                        waiting.append(&mut follow);
                    }
                }
            }
        }
        (histories, known.len())
    }

    fn compare(&self, one: &State, other: &State) {
        let context = || self.context(one, other);
        assert_same(&one.disk, &other.disk, &context);
        assert_eq!(one.next, other.next, "{}", context());
    }

    /// Lets requests from outside happen on both.
    fn probe(&self, one_state: &State, other_state: &State, probes: &[Vec<Event>]) {
        for probe in probes {
            let (mut one, mut other) = (one_state.disk.clone(), other_state.disk.clone());
            for event in probe {
                let context = || format!("{}\nthen {event}", self.context(one_state, other_state));
                assert_eq!(event.happen(&mut one), event.happen(&mut other), "{}", context());
                assert_same(&one, &other, &context);
                assert_eq!(one.fingerprint(), other.fingerprint(), "{}", context());
            }
        }
    }

    fn context(&self, one: &State, other: &State) -> String {
        format!("{}:\n{}\n  and\n{}", self.spec, told(&one.path), told(&other.path))
    }

    /// Requests from outside, which end well.
    fn probes(&self) -> Vec<Vec<Event>> {
        let probe = |ops: &[Op]| {
            let ids = (0..).map(|index| RequestId::new(9, index));
            let submits = ids.clone().zip(ops).map(|(id, op)| Event::Submit(id, op.clone()));
            let ends = ids.zip(ops).filter_map(|(id, op)| {
                // Faults are for the alphabet; a request that is hit stays in flight.
                let faulty = self.faults.faults.iter().any(|fault| fault.on == op.kind());
                (!faulty).then_some(Event::Complete(id, Outcome::Done))
            });
            submits.chain(ends).collect()
        };
        let over = write(0, 1, b'X', false, false);
        vec![
            probe(&[Op::Flush]),
            probe(&[write(0, 1, b'Y', true, false)]),
            probe(&[over, Op::Resize { len: 512 }]),
        ]
    }
}

fn plain(unit: u64, units: usize, letter: u8) -> Op {
    write(unit, units, letter, false, false)
}

fn fua(unit: u64, units: usize, letter: u8) -> Op {
    write(unit, units, letter, false, true)
}

fn preflush(unit: u64, units: usize, letter: u8) -> Op {
    write(unit, units, letter, true, false)
}

/// Explores every history of some requests under each model. There are as many
/// fingerprints as expected, by model: fewer than histories by far.
fn check(
    units: u8,
    edit: impl Fn(&mut DiskSpec),
    faults: &FaultPlan,
    ops: &[Op],
    expected: [usize; 5],
) {
    let mut found = [0; 5];
    for (place, &model) in Model::ALL.iter().enumerate() {
        let mut spec = spec(model, 512);
        edit(&mut spec);
        let alphabet = Alphabet { spec, faults: faults.clone(), units, ops: ops.to_vec() };
        let (histories, fingerprints) = alphabet.explore();
        assert!(histories > fingerprints * 3 / 2, "{model}: {histories} histories");
        found[place] = fingerprints;
    }
    let ops: Vec<String> = ops.iter().map(Op::to_string).collect();
    assert_eq!(found, expected, "fingerprints of {ops:?}");
}

fn any(faults: &[(OpKind, FaultEffect)], budget: u32) -> FaultPlan {
    let fault = |&(on, effect)| Fault { on, which: Which::Any, effect, permanent: false };
    FaultPlan { faults: faults.iter().map(fault).collect(), budget, bad_sectors: Vec::new() }
}

const FAIL: FaultEffect = FaultEffect::Fail(DiskErrorKind::Io);

fn none() -> FaultPlan {
    FaultPlan::default()
}

#[test]
fn writes_to_different_sectors_and_flushes() {
    let ops = [plain(0, 1, b'A'), plain(1, 1, b'B'), Op::Flush, Op::Flush];
    check(2, |_| {}, &none(), &ops, [173, 81, 189, 173, 81]);
}

#[test]
fn writes_to_one_sector_and_a_flush() {
    let ops = [plain(0, 1, b'A'), plain(0, 1, b'B'), plain(0, 2, b'C'), Op::Flush];
    check(2, |_| {}, &none(), &ops, [795, 285, 219, 219, 357]);
}

#[test]
fn equal_writes_to_one_sector() {
    let ops = [plain(0, 1, b'A'), plain(0, 1, b'A'), plain(0, 1, b'B'), Op::Flush];
    check(1, |_| {}, &none(), &ops, [584, 231, 180, 180, 279]);
}

#[test]
fn parts_of_a_sector_and_tears() {
    let ops = [plain(0, 1, b'A'), plain(1, 1, b'B'), plain(0, 2, b'C'), Op::Flush];
    check(8, |spec| spec.sector_len = 4096, &none(), &ops, [794, 291, 217, 198, 357]);
    check(2, |spec| spec.tear = Some(256), &none(), &ops, [494, 222, 217, 198, 222]);
}

#[test]
fn flags() {
    let ops = [fua(0, 1, b'A'), plain(0, 2, b'B'), preflush(1, 1, b'C'), Op::Flush];
    check(2, |_| {}, &none(), &ops, [384, 222, 182, 190, 222]);
    let ops = [preflush(0, 1, b'A'), preflush(1, 1, b'B'), plain(0, 2, b'C'), fua(1, 1, b'D')];
    check(2, |_| {}, &none(), &ops, [984, 525, 269, 287, 693]);
}

#[test]
fn length_changes() {
    let [short, start, long] = [512, 1024, 1536].map(|len| Op::Resize { len });
    check(2, |_| {}, &none(), &[short, long, start, Op::Flush], [1836, 696, 219, 219, 813]);
    let ops = [plain(0, 2, b'A'), Op::Resize { len: 512 }, Op::Resize { len: 1536 }, Op::Flush];
    check(2, |_| {}, &none(), &ops, [742, 336, 266, 253, 336]);
    let ops = [plain(0, 2, b'A'), plain(1, 1, b'B'), Op::Resize { len: 512 }, Op::Flush];
    check(2, |_| {}, &none(), &ops, [679, 264, 327, 327, 324]);
    let fails = any(&[(OpKind::Resize, FAIL), (OpKind::Flush, FAIL)], 2);
    let ops = [plain(1, 1, b'A'), Op::Resize { len: 2048 }, Op::Resize { len: 1024 }, Op::Flush];
    check(2, |spec| spec.failed_flush = FailedFlush::Drop, &fails, &ops, [868, 414, 608, 451, 426]);
}

#[test]
fn discards_and_reads() {
    let discard = Op::Discard { offset: 0, len: 1024 };
    let read = Op::Read { offset: 0, len: 1024 };
    let ops = [discard, plain(0, 1, b'A'), read, Op::Flush];
    check(
        2,
        |spec| spec.discard = DiscardContent::Garbage,
        &none(),
        &ops,
        [210, 126, 138, 138, 126],
    );
    check(2, |spec| spec.discard = DiscardContent::Old, &none(), &ops, [99, 81, 99, 99, 81]);
}

#[test]
fn failing_writes_and_flushes() {
    let faults = any(&[(OpKind::Write, FAIL), (OpKind::Flush, FAIL)], 2);
    let ops = [plain(0, 1, b'A'), plain(0, 2, b'B'), Op::Flush, Op::Flush];
    check(2, |_| {}, &faults, &ops, [735, 347, 467, 467, 415]);
    check(
        2,
        |spec| spec.failed_flush = FailedFlush::Drop,
        &faults,
        &ops,
        [874, 347, 542, 542, 415],
    );
}

#[test]
fn writes_that_go_astray_or_are_damaged() {
    let astray = FaultEffect::Misdirect { shift: 512 };
    let faults = any(&[(OpKind::Write, astray), (OpKind::Write, FaultEffect::Corrupt)], 1);
    let ops = [plain(0, 1, b'A'), plain(0, 2, b'B'), Op::Flush];
    check(2, |_| {}, &faults, &ops, [225, 111, 139, 139, 120]);
}

#[test]
fn faults_on_certain_requests_and_bad_sectors() {
    let nth =
        |on, number, permanent| Fault { on, which: Which::Nth(number), effect: FAIL, permanent };
    let faults = vec![nth(OpKind::Write, 2, true), nth(OpKind::Flush, 1, false)];
    let faults = FaultPlan { faults, budget: 0, bad_sectors: vec![0, 1] };
    let read = Op::Read { offset: 0, len: 512 };
    let ops = [plain(0, 1, b'A'), plain(1, 1, b'B'), read, Op::Flush];
    check(2, |_| {}, &faults, &ops, [144, 126, 153, 144, 126]);
}

#[test]
fn bad_sectors_that_are_rewritten_as_they_were() {
    let first = Fault { on: OpKind::Write, which: Which::Nth(1), effect: FAIL, permanent: false };
    let faults = FaultPlan { faults: vec![first], budget: 0, bad_sectors: vec![0, 1] };
    let read = Op::Read { offset: 0, len: 512 };
    let ops = [plain(0, 1, b'a'), plain(1, 1, b'b'), read, Op::Flush];
    check(2, |_| {}, &faults, &ops, [141, 117, 171, 141, 117]);
}

#[test]
fn errors_that_stay_and_errors_that_do_not() {
    let full = FaultEffect::Fail(DiskErrorKind::NoSpace);
    let mut faults = any(&[(OpKind::Write, FAIL), (OpKind::Write, full)], 1);
    faults.faults[0].permanent = true;
    let ops = [plain(0, 1, b'A'), plain(1, 1, b'B'), plain(0, 2, b'C')];
    check(2, |_| {}, &faults, &ops, [294, 208, 146, 126, 294]);
}
