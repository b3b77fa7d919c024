//! How many executions small models have: closed formulas, and an obvious enumerator.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use plugpull_engine::DiskErrorKind;
use plugpull_sim::disk::{Fault, FaultEffect, FaultPlan, OpKind, Which};
use plugpull_sim::exec::{Step, WorldOptions};

use plugpull_sim::schedule::{Random, Strategy};

use super::{ANY, Execution, MACRO_STEP, explore, explore_worlds, world, world_with_faults, write};

/// (a + b + ...)! / (a! b! ...)
fn multinomial(parts: &[usize]) -> usize {
    let mut product = 1;
    let mut total = 0;
    for &part in parts {
        for chosen in 1..=part {
            total += 1;
            product = product * total / chosen;
        }
    }
    product
}

fn check_complete(executions: &[Execution], expected: usize) {
    assert_eq!(executions.len(), expected);
    let distinct: BTreeSet<_> = executions.iter().map(|execution| &execution.steps).collect();
    assert_eq!(distinct.len(), expected, "every execution is a different one");
    assert!(executions.iter().all(|execution| execution.end == Step::Finished));
}

/// One task per entry, doing so many requests one after the other.
fn sequential(options: WorldOptions, requests: &[usize]) -> Vec<Execution> {
    explore(options, |world| {
        for (client, &count) in requests.iter().enumerate() {
            let disk = world.disk(0);
            world.spawn(&format!("c{client}"), async move {
                for request in 0..count {
                    write(&disk, (client * 8 + request) as u64).await;
                }
            });
        }
    })
}

#[test]
fn completions_of_sequential_tasks_interleave_in_every_order() {
    let check = |requests: &[usize]| {
        check_complete(&sequential(MACRO_STEP, requests), multinomial(requests));
    };
    check(&[0]);
    check(&[5]);
    check(&[1, 1]);
    check(&[3, 2]);
    check(&[4, 4]);
    check(&[2, 1, 3]);
    // k clients that each write, flush and acknowledge: (3k)! / 6^k.
    assert_eq!(multinomial(&[3, 3, 3]), 1680);
    check(&[3, 3]);
    check(&[3, 3, 3]);
}

#[test]
fn with_any_ready_order_task_runs_are_events_like_completions() {
    // A task with n requests runs n + 1 times, and its events are in sequence.
    let check = |requests: &[usize]| {
        let events: Vec<usize> = requests.iter().map(|count| 2 * count + 1).collect();
        check_complete(&sequential(ANY, requests), multinomial(&events));
    };
    check(&[3]);
    check(&[0, 0]);
    check(&[1, 1]);
    check(&[2, 1]);
    check(&[2, 2]);
    check(&[1, 0, 1]);
}

/// Tasks that each do `width` writes at once, then a flush, then an acknowledgement.
fn joined(options: WorldOptions, tasks: usize, width: u64) -> Vec<Execution> {
    explore(options, |world| {
        for client in 0..tasks {
            let disk = world.disk(0);
            world.spawn(&format!("c{client}"), async move {
                join_all((0..width).map(|sector| write(&disk, sector))).await;
                disk.flush().await.unwrap();
                disk.read(0, 512).await.unwrap();
            });
        }
    })
}

#[test]
fn requests_of_one_task_in_flight_together_complete_in_every_order() {
    check_complete(&joined(MACRO_STEP, 1, 3), 6);
    check_complete(&joined(MACRO_STEP, 2, 2), multinomial(&[4, 4]) * 4);
    // Between the two completions the task may run, or not.
    check_complete(&joined(ANY, 1, 2), 4);
}

#[test]
fn combinators_that_bring_their_own_wakers_work() {
    // From 31 futures on, join_all wakes them one by one.
    let mut world = world(ANY);
    let disk = world.disk(0);
    world.spawn("c0", async move {
        join_all((0..40).map(|sector| write(&disk, sector))).await;
    });
    let mut random: Box<dyn Strategy> = Box::new(Random::new(0, 0..1));
    assert!(random.begin());
    assert_eq!(world.run(&mut random), Step::Finished);
}

#[test]
fn executions_are_exactly_those_of_the_obvious_enumerator() {
    /// Every order of the requests `0..counts[c]` of each client `c`.
    fn interleavings(
        next: &mut [usize],
        counts: &[usize],
        path: &mut Vec<String>,
        all: &mut BTreeSet<Vec<String>>,
    ) {
        let mut stuck = true;
        for client in 0..counts.len() {
            if next[client] < counts[client] {
                stuck = false;
                path.push(format!("c{client}.{}", next[client]));
                next[client] += 1;
                interleavings(next, counts, path, all);
                next[client] -= 1;
                path.pop();
            }
        }
        if stuck {
            all.insert(path.clone());
        }
    }
    let counts = [2, 3, 1];
    let mut expected = BTreeSet::new();
    interleavings(&mut [0; 3], &counts, &mut Vec::new(), &mut expected);
    let completions = |execution: &Execution| -> Vec<String> {
        let words = execution.steps.iter().filter_map(|step| step.strip_prefix("complete "));
        words.map(|step| step.split(' ').next().unwrap().to_owned()).collect()
    };
    let found: BTreeSet<_> = sequential(MACRO_STEP, &counts).iter().map(completions).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_fault_budget_of_one_hits_every_request_or_none() {
    let any_write_fails = FaultPlan {
        faults: vec![Fault {
            on: OpKind::Write,
            which: Which::Any,
            effect: FaultEffect::Fail(DiskErrorKind::Io),
            permanent: false,
        }],
        budget: 1,
        ..FaultPlan::default()
    };
    let executions = explore_worlds(|| {
        let mut world = world_with_faults(MACRO_STEP, any_write_fails.clone());
        let disk = world.disk(0);
        world.spawn("c0", async move {
            for sector in 0..5 {
                let flags = plugpull_engine::WriteFlags::NONE;
                let _either = disk.write(sector * 512, vec![1; 512], flags).await;
            }
        });
        world
    });
    check_complete(&executions, 6);
    let last = &executions[1];
    assert_eq!(last.trace.choices[4].label, "complete c0.4 write image 2048+512 eio");
}

#[test]
fn a_coin_doubles_the_executions_and_true_comes_first() {
    let mut sides = Vec::new();
    let executions = explore(MACRO_STEP, |world| {
        let runtime = world.runtime();
        sides.push(world.spawn_value("c0", async move {
            [runtime.coin("first"), runtime.coin("second"), runtime.coin("third")]
        }));
    });
    assert_eq!(executions.len(), 8);
    let sides: Vec<_> = sides.iter().map(|output| output.take().unwrap()).collect();
    let expected: Vec<_> = (0..8).map(|n| [n & 4 == 0, n & 2 == 0, n & 1 == 0]).collect();
    assert_eq!(sides, expected);
    assert_eq!(executions[7].trace.choices[1].label, "coin c0 second false");
}
