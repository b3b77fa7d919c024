//! Hand-written histories, every small one against the rule word by word, and random ones against
//! a model that forgets nothing.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::*;

/// One step of a history on sector 0: submit or end write `n`, submit or end a flush.
#[derive(Clone, Copy, Debug)]
enum Step {
    W(u64),
    Ok(u64),
    Fail(u64),
    Flush,
    Flushed,
}
use Step::{Fail, Flush, Flushed, Ok, W};

fn run(steps: &[Step]) -> SectorModel {
    let mut model = SectorModel::new();
    let mut flush = None;
    for &step in steps {
        match step {
            W(serial) => _ = model.submit_write(0..1, serial),
            Ok(serial) => model.end_write(0..1, serial, End::Success),
            Fail(serial) => model.end_write(0..1, serial, End::Failure),
            Flush => flush = Some(model.submit_flush(0)),
            Flushed => model.flush_succeeded(flush.take().unwrap()),
        }
    }
    model
}

#[test]
fn after_a_power_cut_only_superseded_values_are_gone() {
    let check = |steps: &[Step], expected: &[u64]| {
        let values: Vec<u64> = run(steps)
            .after_power_cut()
            .of(0)
            .iter()
            .map(|value| match *value {
                Value::Initial => 0,
                Value::Write(serial) => serial,
                other => unreachable!("{other:?} of plain writes"),
            })
            .collect();
        assert_eq!(values, expected, "{steps:?}");
    };
    check(&[], &[0]);
    check(&[W(1)], &[0, 1]);
    check(&[W(1), Ok(1)], &[0, 1]);
    check(&[W(1), Ok(1), Flush], &[0, 1]);
    check(&[W(1), Ok(1), Flush, Flushed], &[1]);
    // A write that completes after the flush was submitted is not covered.
    check(&[W(1), Flush, Ok(1), Flushed], &[0, 1]);
    // Unflushed overwrites may be lost in any number.
    check(&[W(1), Ok(1), Flush, Flushed, W(2), Ok(2), W(3)], &[1, 2, 3]);
    check(&[W(1), Ok(1), W(2), Ok(2), Flush, Flushed], &[2]);
    // Writes in flight together are unordered, flushed or not.
    check(&[W(1), W(2), Ok(2), Ok(1), Flush, Flushed], &[1, 2]);
    // Write 2 is still in flight at the flush, so only write 1 is certain to be over.
    check(&[W(1), W(2), Ok(1), Flush, Flushed, Ok(2)], &[1, 2]);
    // A failed write promises nothing and supersedes nothing.
    check(&[W(1), Fail(1), Flush, Flushed], &[0, 1]);
    check(&[W(1), Fail(1), W(2), Ok(2), Flush, Flushed], &[2]);
}

#[test]
fn a_read_sees_the_last_write_or_a_concurrent_one() {
    let read_now = |steps: &[Step]| {
        let mut model = run(steps);
        let read = model.submit_read(0, 0..u64::MAX);
        model.readable(0, &read)
    };
    assert_eq!(read_now(&[W(1), Ok(1)]), [Value::Write(1)]);
    assert_eq!(read_now(&[W(1)]), [Value::Initial, Value::Write(1)]);
    assert_eq!(read_now(&[W(1), Fail(1)]), [Value::Initial, Value::Write(1)]);
    assert_eq!(read_now(&[W(1), Ok(1), W(2), W(3), Ok(3)]), [Value::Write(2), Value::Write(3)]);
}

/// The rule of INVARIANTS D-DUR, word by word, as the reference.
fn reference(steps: &[Step]) -> Vec<Value> {
    let at =
        |wanted: fn(&Step, u64) -> bool, serial| steps.iter().position(|step| wanted(step, serial));
    let submitted = |n| at(|s, n| matches!(s, W(m) if *m == n), n);
    let ended = |n| at(|s, n| matches!(s, Ok(m) | Fail(m) if *m == n), n);
    let succeeded = |n| at(|s, n| matches!(s, Ok(m) if *m == n), n);
    let flush = match steps.iter().rposition(|s| matches!(s, Flushed)) {
        Some(end) => steps[..end].iter().rposition(|s| matches!(s, Flush)),
        None => None,
    };
    let writes: Vec<u64> = (1..=3).filter(|&n| submitted(n).is_some()).collect();
    let before_flush = |n: u64| succeeded(n).zip(flush).is_some_and(|(s, f)| s < f);
    let excluded = |n: u64| {
        writes.iter().any(|&other| {
            before_flush(other) && ended(n).is_some_and(|end| submitted(other).unwrap() > end)
        })
    };
    let initial = (!writes.iter().any(|&n| before_flush(n))).then_some(Value::Initial);
    let mut rest: Vec<u64> = writes.iter().copied().filter(|&n| !excluded(n)).collect();
    rest.sort_by_key(|&n| submitted(n));
    initial.into_iter().chain(rest.into_iter().map(Value::Write)).collect()
}

#[test]
fn every_history_of_three_writes_and_two_flushes_agrees_with_the_rule() {
    let mut count = 0;
    extend(&mut Vec::new(), &mut |steps| {
        count += 1;
        assert_eq!(run(steps).after_power_cut().of(0), reference(steps), "{steps:?}");
    });
    assert!(count > 10_000, "only {count} histories");
}

/// Calls `visit` for every well-formed history of at most seven steps.
fn extend(steps: &mut Vec<Step>, visit: &mut impl FnMut(&[Step])) {
    visit(steps);
    if steps.len() == 7 {
        return;
    }
    let flushing = steps.iter().filter(|s| matches!(s, Flush)).count()
        > steps.iter().filter(|s| matches!(s, Flushed)).count();
    let mut next = vec![if flushing { Flushed } else { Flush }];
    for n in 1..=3 {
        let submitted = steps.iter().any(|s| matches!(s, W(m) if *m == n));
        let over = steps.iter().any(|s| matches!(s, Ok(m) | Fail(m) if *m == n));
        if !submitted {
            next.push(W(n));
        } else if !over {
            next.extend([Ok(n), Fail(n)]);
        }
    }
    for step in next {
        steps.push(step);
        extend(steps, visit);
        steps.pop();
    }
}

/// The model without forgetting and without anything known in advance: the rules of the module, one
/// list of writes, one look at all of them for every question.
#[derive(Default)]
struct Unpruned {
    now: Moment,
    flushed: Moment,
    writes: Vec<(Range<u64>, SectorWrite)>,
}

impl Unpruned {
    fn submit(&mut self) -> Moment {
        self.now += 1;
        self.now
    }

    fn submit_write(&mut self, sectors: Range<u64>, serial: u64) {
        let submitted = self.submit();
        self.writes.push((
            sectors,
            SectorWrite { serial, submitted, ended: None, puts: Puts::Data, durable: false },
        ));
    }

    fn end_write(&mut self, serial: u64, end: End) {
        self.now += 1;
        let write = self.writes.iter_mut().find(|(_, write)| write.serial == serial).unwrap();
        write.1.ended = Some((self.now, end));
    }

    fn flush_succeeded(&mut self, submitted: Moment) {
        self.now += 1;
        self.flushed = self.flushed.max(submitted);
    }

    fn not_superseded(&self, sector: u64, before: Moment) -> Vec<Value> {
        let here = || {
            let here = self.writes.iter().filter(|(sectors, _)| sectors.contains(&sector));
            here.map(|(_, write)| write)
        };
        let superseded = |ended: Moment| {
            here().any(|other| {
                let over = matches!(other.ended, Some((at, End::Success)) if at < before);
                over && other.submitted > ended
            })
        };
        let initial = (!superseded(0)).then_some(Value::Initial);
        let rest = here().filter(|write| write.ended.is_none_or(|(ended, _)| !superseded(ended)));
        initial.into_iter().chain(rest.map(|write| Value::Write(write.serial))).collect()
    }
}

const SECTORS: u64 = 3;

/// Both models, and what is in flight.
#[derive(Default)]
struct Pair {
    model: SectorModel,
    reference: Unpruned,
    writes: Vec<(Range<u64>, u64)>,
    flushes: Vec<FlushInFlight>,
    reads: Vec<ReadInFlight>,
    writes_count: u64,
}

impl Pair {
    /// One random event.
    fn step(&mut self, rng: &mut ChaCha8Rng) {
        match rng.next_u32() % 16 {
            0..=2 => self.submit_write(rng),
            3..=6 => self.end_write(rng),
            7 | 8 => {
                self.flushes.push(self.model.submit_flush(0));
                self.reference.submit();
            }
            9..=11 => {
                let Some(flush) = take(&mut self.flushes, rng) else { return };
                if rng.next_u32().is_multiple_of(4) {
                    self.model.end_flush(flush);
                } else {
                    self.reference.flush_succeeded(flush.submitted);
                    self.model.flush_succeeded(flush);
                }
            }
            12 => {
                self.reads.push(self.model.submit_read(0, 0..u64::MAX));
                self.reference.submit();
            }
            _ => {
                let Some(read) = take(&mut self.reads, rng) else { return };
                self.model.end_read(read);
            }
        }
    }

    fn submit_write(&mut self, rng: &mut ChaCha8Rng) {
        let first = rng.next_u64() % SECTORS;
        let sectors = first..first + 1 + rng.next_u64() % (SECTORS - first);
        self.writes_count += 1;
        self.model.submit_write(sectors.clone(), self.writes_count);
        self.reference.submit_write(sectors.clone(), self.writes_count);
        self.writes.push((sectors, self.writes_count));
    }

    fn end_write(&mut self, rng: &mut ChaCha8Rng) {
        let Some((sectors, serial)) = take(&mut self.writes, rng) else { return };
        let end = if rng.next_u32().is_multiple_of(4) { End::Failure } else { End::Success };
        self.model.end_write(sectors, serial, end);
        self.reference.end_write(serial, end);
    }

    /// Asks everything that can be asked.
    fn compare(&self) {
        let Self { model, reference, .. } = self;
        assert_eq!(model.now(), reference.now);
        let mut allowed = Allowed::default();
        for sector in (0..SECTORS).rev() {
            let left = reference.not_superseded(sector, reference.flushed);
            assert_eq!(model.after_power_cut().of(sector), left);
            if left != [Value::Initial] {
                allowed.set(sector, left);
            }
            assert_eq!(model.readable_now(sector), reference.not_superseded(sector, Moment::MAX));
            for read in &self.reads {
                let expected = reference.not_superseded(sector, read.submitted);
                assert_eq!(model.readable(sector, read), expected, "{read:?}");
            }
        }
        // The same key as if it were computed for this moment alone.
        assert_eq!(model.after_power_cut().key(), allowed.key());
    }
}

/// One of `all`, often the oldest.
fn take<T>(all: &mut Vec<T>, rng: &mut ChaCha8Rng) -> Option<T> {
    if all.is_empty() {
        return None;
    }
    let index = (rng.next_u64() % all.len() as u64) * (rng.next_u64() % 2);
    Some(all.remove(usize::try_from(index).unwrap()))
}

#[test]
fn forgetting_changes_no_answer() {
    let mut rng = ChaCha8Rng::seed_from_u64(0x5ec7);
    let (mut made, mut kept) = (0, 0);
    for _ in 0..3_000 {
        let mut pair = Pair::default();
        for _ in 0..rng.next_u32() % 120 {
            pair.step(&mut rng);
            pair.compare();
        }
        let sectors = |(sectors, _): &(Range<u64>, SectorWrite)| sectors.clone().count();
        made += pair.reference.writes.iter().map(sectors).sum::<usize>();
        kept += pair.model.sectors.values().map(|writes| writes.list.len()).sum::<usize>();
    }
    assert!(kept * 4 < made * 3, "{kept} of {made} writes are kept");
}

#[test]
fn a_write_that_is_flushed_over_is_kept_for_a_read_in_flight_only() {
    let mut model = SectorModel::new();
    let flushed_write = |model: &mut SectorModel, serial| {
        model.submit_write(0..1, serial);
        model.end_write(0..1, serial, End::Success);
        let flush = model.submit_flush(0);
        model.flush_succeeded(flush);
    };
    flushed_write(&mut model, 1);
    let read = model.submit_read(0, 0..u64::MAX);
    flushed_write(&mut model, 2);
    flushed_write(&mut model, 3);
    assert_eq!(model.after_power_cut().of(0), [Value::Write(3)]);
    assert_eq!(model.readable(0, &read), [1, 2, 3].map(Value::Write));
    model.end_read(read);
    flushed_write(&mut model, 4);
    assert_eq!(model.sectors[&0].list.len(), 1);
}

/// Each of these moments looks at what changed: with a look at all that was ever written, or at
/// every sector, this would not end.
#[test]
fn a_hundred_thousand_flushed_writes_are_followed() {
    let mut model = SectorModel::new();
    let mut moments = Vec::new();
    for serial in 0..100_000_u64 {
        // The first half goes to one place, the second half everywhere.
        let first = serial.saturating_sub(50_000);
        model.submit_write(first..first + 2, serial);
        model.end_write(first..first + 2, serial, End::Success);
        let flush = model.submit_flush(0);
        model.flush_succeeded(flush);
        moments.push(model.after_power_cut().clone());
    }
    assert_eq!(moments[49_999].of(1), [Value::Write(49_999)]);
    assert_eq!(moments[99_999].of(49_999), [Value::Write(99_999)]);
    assert!(model.sectors.values().all(|writes| writes.list.len() == 1));
}
