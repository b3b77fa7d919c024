//! Hand-written histories, and every small one against the rule word by word.

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
    let mut flush = 0;
    for &step in steps {
        match step {
            W(serial) => _ = model.submit_write(0..1, serial),
            Ok(serial) => model.end_write(0..1, serial, End::Success),
            Fail(serial) => model.end_write(0..1, serial, End::Failure),
            Flush => flush = model.submit(),
            Flushed => model.flush_succeeded(flush),
        }
    }
    model
}

#[test]
fn after_a_power_cut_only_superseded_values_are_gone() {
    let check = |steps: &[Step], expected: &[u64]| {
        let values: Vec<u64> = run(steps)
            .after_power_cut(0)
            .into_iter()
            .map(|value| match value {
                Value::Initial => 0,
                Value::Write(serial) => serial,
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
        let submitted = model.submit();
        model.readable(0, submitted)
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
        assert_eq!(run(steps).after_power_cut(0), reference(steps), "{steps:?}");
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
