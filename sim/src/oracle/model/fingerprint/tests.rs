//! Fingerprints against what the model answers: events that commute leave equal ones, and models
//! with equal ones cannot be told apart.

mod exhaustive;

use std::ops::Range;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::*;
use crate::disk::Image;
use crate::oracle::Obligations;
use crate::oracle::model::{FlushInFlight, ReadInFlight, Value};

/// One event of a history; requests are named by number.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Event {
    Write(u64, Range<u64>),
    Read(u64),
    Flush(u64),
    End(u64, End),
}

/// What is asked for in a history.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Op {
    Write(Range<u64>),
    Read,
    Flush,
}

const SECTORS: u64 = 3;

/// A model with its requests in flight.
#[derive(Default)]
struct Run {
    model: SectorModel,
    writes: Vec<(u64, Range<u64>)>,
    reads: Vec<(u64, ReadInFlight)>,
    flushes: Vec<(u64, FlushInFlight)>,
}

fn take<T>(all: &mut Vec<(u64, T)>, id: u64) -> Option<T> {
    let place = all.iter().position(|(other, _)| *other == id)?;
    Some(all.remove(place).1)
}

impl Run {
    fn of(events: &[Event]) -> Self {
        let mut run = Self::default();
        events.iter().for_each(|event| run.happen(event));
        run
    }

    fn happen(&mut self, event: &Event) {
        let Self { model, writes, reads, flushes } = self;
        match event {
            Event::Write(id, sectors) => {
                model.submit_write(sectors.clone(), *id);
                writes.push((*id, sectors.clone()));
            }
            Event::Read(id) => reads.push((*id, model.submit_read(*id, 0..u64::MAX))),
            Event::Flush(id) => flushes.push((*id, model.submit_flush(*id))),
            Event::End(id, end) => {
                if let Some(sectors) = take(writes, *id) {
                    model.end_write(sectors, *id, *end);
                } else if let Some(read) = take(reads, *id) {
                    model.end_read(read);
                } else {
                    let flush = take(flushes, *id).unwrap();
                    match end {
                        End::Success => model.flush_succeeded(flush),
                        End::Failure => model.end_flush(flush),
                    }
                }
            }
        }
    }

    fn in_flight(&self) -> Vec<u64> {
        let writes = self.writes.iter().map(|(id, _)| *id);
        let reads = self.reads.iter().map(|(id, _)| *id);
        let flushes = self.flushes.iter().map(|(id, _)| *id);
        let mut all: Vec<u64> = writes.chain(reads).chain(flushes).collect();
        all.sort_unstable();
        all
    }

    /// Everything that the model can be asked, and the keys of the obligations that follow.
    fn answers(&self) -> (Vec<(u64, Vec<Value>)>, Vec<u128>) {
        let initial = Image::zeroed(SECTORS * 512);
        let mut answers = Vec::new();
        let mut keys = vec![
            Obligations::after_power_cut(&self.model, &initial).key(),
            Obligations::quiescent(&self.model, &initial, 0..SECTORS).key(),
        ];
        for sector in 0..SECTORS {
            answers.push((sector, self.model.after_power_cut().of(sector).to_vec()));
            answers.push((sector, self.model.readable_now(sector)));
        }
        let mut reads: Vec<&(u64, ReadInFlight)> = self.reads.iter().collect();
        reads.sort_by_key(|(id, _)| *id);
        for (id, read) in reads {
            answers.extend((0..SECTORS).map(|sector| (*id, self.model.readable(sector, read))));
            keys.push(Obligations::readable(&self.model, &initial, read, 0..SECTORS).key());
        }
        (answers, keys)
    }

    /// What a request in flight asks for.
    fn op(&self, id: u64) -> Op {
        let write = self.writes.iter().find(|(other, _)| *other == id);
        let is_read = self.reads.iter().any(|(other, _)| *other == id);
        match write {
            Some((_, sectors)) => Op::Write(sectors.clone()),
            None => {
                if is_read {
                    Op::Read
                } else {
                    Op::Flush
                }
            }
        }
    }
}

/// The table: which neighbours leave the same model in either order.
fn commute(one: (&Op, Option<End>), other: (&Op, Option<End>)) -> bool {
    let apart =
        |one: &Range<u64>, other: &Range<u64>| one.end <= other.start || other.end <= one.start;
    match (one, other) {
        // Values are listed by submission.
        ((Op::Write(one), None), (Op::Write(other), None)) => apart(one, other),
        ((_, None), (_, None)) => true,
        // Two ends with nothing between them: a read that ends asks about the moment before.
        ((_, Some(_)), (_, Some(_))) => true,
        ((submitted, None), (ended, Some(end))) | ((ended, Some(end)), (submitted, None)) => {
            match (submitted, ended) {
                (Op::Write(one), Op::Write(other)) => apart(one, other),
                // Only success counts at a later moment.
                (_, Op::Write(_)) => end == End::Failure,
                _ => true,
            }
        }
    }
}

fn draw_event(rng: &mut ChaCha8Rng, run: &Run, next: &mut u64) -> Event {
    let in_flight = run.in_flight();
    if in_flight.is_empty() || (in_flight.len() < 5 && rng.next_u32().is_multiple_of(2)) {
        *next += 1;
        return match rng.next_u32() % 7 {
            0..=3 => {
                let first = rng.next_u64() % SECTORS;
                let len = 1 + rng.next_u64() % 2;
                Event::Write(*next, first..(first + len).min(SECTORS))
            }
            4 => Event::Read(*next),
            _ => Event::Flush(*next),
        };
    }
    let place = rng.next_u64() % in_flight.len() as u64;
    let end = if rng.next_u32().is_multiple_of(4) { End::Failure } else { End::Success };
    Event::End(in_flight[usize::try_from(place).unwrap()], end)
}

fn named(event: &Event, run: &Run) -> (Op, Option<End>) {
    match event {
        Event::Write(_, sectors) => (Op::Write(sectors.clone()), None),
        Event::Read(_) => (Op::Read, None),
        Event::Flush(_) => (Op::Flush, None),
        Event::End(id, end) => (run.op(*id), Some(*end)),
    }
}

#[test]
fn neighbours_that_commute_leave_equal_fingerprints() {
    let mut swapped = 0;
    for seed in 0..2000 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let (mut run, mut events, mut next) = (Run::default(), Vec::new(), 0);
        let mut names = Vec::new();
        for _ in 0..6 + rng.next_u32() % 14 {
            let event = draw_event(&mut rng, &run, &mut next);
            names.push(named(&event, &run));
            run.happen(&event);
            events.push(event);
            // Asked after every event, it is the same as asked once.
            let fingerprint = Run::of(&events).model.fingerprint();
            assert_eq!(run.model.fingerprint(), fingerprint, "{events:?}");
        }
        for at in 1..events.len() {
            let ((one, first), (other, second)) = (&names[at - 1], &names[at]);
            let together = matches!((&events[at - 1], &events[at]),
                (Event::Write(id, _) | Event::Read(id) | Event::Flush(id), Event::End(ended, _))
                if id == ended);
            if !together && commute((one, *first), (other, *second)) {
                swap(&events, at - 1);
                swapped += 1;
            }
        }
    }
    assert!(swapped > 5000, "{swapped} swaps");
}

/// Swaps the events at `at` and the next and compares what follows.
fn swap(events: &[Event], at: usize) {
    let mut straight = Run::of(&events[..at + 2]);
    let mut swapped = Run::of(&events[..at]);
    swapped.happen(&events[at + 1]);
    swapped.happen(&events[at]);
    for (place, event) in (0..).zip(&events[at + 2..]) {
        let fingerprints = (straight.model.fingerprint(), swapped.model.fingerprint());
        assert_eq!(fingerprints.0, fingerprints.1, "{events:?}, swapped at {at}, after {place}");
        assert_eq!(straight.answers(), swapped.answers(), "{events:?}, swapped at {at}");
        straight.happen(event);
        swapped.happen(event);
    }
    assert_eq!(straight.model.fingerprint(), swapped.model.fingerprint(), "{events:?} at {at}");
}

#[test]
fn a_read_that_has_ended_leaves_no_mark() {
    let flushed_write = |id| {
        let write = Event::Write(id, 0..1);
        [
            write,
            Event::End(id, End::Success),
            Event::Flush(100 + id),
            Event::End(100 + id, End::Success),
        ]
    };
    let [one, two] = [1, 2].map(flushed_write);
    let without = [&one[..], &two].concat();
    let read = [&one[..], &[Event::Read(9)], &two, &[Event::End(9, End::Success)]].concat();
    assert_eq!(Run::of(&without).model.fingerprint(), Run::of(&read).model.fingerprint());
    let first_in_flight = [&one[..], &[Event::Read(9)], &two].concat();
    let second_in_flight = [&one[..], &two, &[Event::Read(9)]].concat();
    assert_ne!(
        Run::of(&first_in_flight).model.fingerprint(),
        Run::of(&second_in_flight).model.fingerprint()
    );
}
