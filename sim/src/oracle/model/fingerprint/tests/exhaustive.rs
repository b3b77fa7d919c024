//! Every history of a few requests.

use std::collections::BTreeMap;

use super::*;

/// How many histories with the same fingerprint are followed. The others are only compared with the
/// first, and so is what comes next after each. (All of them take half a minute.)
const FOLLOWED: usize = 3;

/// A history and what each next event leads to.
struct State {
    path: Vec<Event>,
    next: Vec<u128>,
    followed: usize,
}

/// All events that may be next when each of `ops` is asked for at most once.
fn next_events(ops: &[Op], path: &[Event]) -> Vec<Event> {
    let mut events = Vec::new();
    for (id, op) in (0..).zip(ops) {
        let submit = match op {
            Op::Write(sectors) => Event::Write(id, sectors.clone()),
            Op::Read => Event::Read(id),
            Op::Flush => Event::Flush(id),
        };
        if !path.contains(&submit) {
            events.push(submit);
        } else if !path.iter().any(|event| matches!(event, Event::End(over, _) if *over == id)) {
            events.push(Event::End(id, End::Success));
            if *op != Op::Read {
                events.push(Event::End(id, End::Failure));
            }
        }
    }
    events
}

/// Which requests were submitted, and which are over: what of a history is no part of the model.
fn progress(path: &[Event]) -> u128 {
    path.iter().fold(0, |progress, event| match event {
        Event::Write(id, _) | Event::Read(id) | Event::Flush(id) => progress | 1 << id,
        Event::End(id, _) => progress | 1 << (id + 32),
    })
}

/// Visits histories of `ops`, and compares each with the first that had the same fingerprint. Since
/// the same is done with what follows, equality now and of all next fingerprints is enough. Histories
/// are followed until there are [`FOLLOWED`] with the same fingerprint. Returns how many fingerprints
/// there are.
fn explore(ops: &[Op]) -> usize {
    let mut known: BTreeMap<u128, State> = BTreeMap::new();
    let mut waiting = vec![Vec::new()];
    while let Some(path) = waiting.pop() {
        let mut state = State { path, next: Vec::new(), followed: 1 };
        let mut longer_ones = Vec::new();
        for event in next_events(ops, &state.path) {
            let longer = [&state.path[..], &[event]].concat();
            state.next.push(Run::of(&longer).model.fingerprint());
            longer_ones.push(longer);
        }
        let fingerprint = Run::of(&state.path).model.fingerprint();
        let key = fingerprint.wrapping_add(progress(&state.path));
        match known.get_mut(&key) {
            None => _ = known.insert(key, state),
            Some(first) => {
                compare(first, &state);
                first.followed += 1;
                if first.followed > FOLLOWED {
                    continue;
                }
            }
        }
        waiting.append(&mut longer_ones);
    }
    known.len()
}

fn compare(one: &State, other: &State) {
    let context = || format!("{:?}\n  and\n{:?}", one.path, other.path);
    let [one_run, other_run] = [one, other].map(|state| Run::of(&state.path));
    assert_eq!(one_run.in_flight(), other_run.in_flight(), "{}", context());
    assert_eq!(one_run.answers(), other_run.answers(), "{}", context());
    assert_eq!(one.next, other.next, "{}", context());
}

/// There are as many fingerprints as expected: fewer than `histories`, which is what orders make of
/// these requests, by far.
fn check(ops: &[Op], histories: usize, expected: usize) {
    let found = explore(ops);
    assert!(found * 8 < histories, "{found} fingerprints of {histories} histories");
    assert_eq!(found, expected, "fingerprints of {ops:?}");
}

const BOTH: Op = Op::Write(0..2);
const LEFT: Op = Op::Write(0..1);
const RIGHT: Op = Op::Write(1..2);

#[test]
fn writes_and_a_flush() {
    check(&[LEFT, RIGHT, Op::Flush], 1282, 66);
    check(&[LEFT, LEFT, Op::Flush], 1282, 153);
    check(&[BOTH, LEFT, Op::Flush], 1282, 158);
    check(&[LEFT, LEFT, LEFT, Op::Flush], 70177, 3381);
}

#[test]
fn writes_and_two_flushes() {
    check(&[LEFT, LEFT, Op::Flush, Op::Flush], 70177, 595);
    check(&[BOTH, RIGHT, Op::Flush, Op::Flush], 70177, 632);
}

#[test]
fn reads() {
    check(&[LEFT, LEFT, Op::Read, Op::Read], 22619, 491);
    check(&[LEFT, LEFT, Op::Read, Op::Flush], 39795, 577);
    check(&[BOTH, RIGHT, Op::Flush, Op::Read], 39795, 610);
}
