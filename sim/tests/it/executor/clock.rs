//! Virtual time: it moves only when nothing else can happen.

use std::time::Duration;

use futures_util::future::{join, select};
use plugpull_sim::disk::{DiskSpec, FaultPlan, Image};
use plugpull_sim::exec::{Step, World, WorldOptions};
use plugpull_sim::schedule::Fifo;

use super::{ANY, MACRO_STEP, explore, world, write};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn timers_fire_in_deadline_order_and_only_when_idle() {
    let mut worlds = explore(ANY, |world| {
        for (name, seconds) in [("late", 3), ("early", 1)] {
            let (disk, runtime) = (world.disk(0), world.runtime());
            world.spawn(name, async move {
                runtime.sleep(SECOND * seconds).await;
                assert_eq!(runtime.now(), SECOND * seconds);
                write(&disk, 0).await;
                assert_eq!(runtime.now(), SECOND * seconds, "requests take no time");
            });
        }
    });
    // The only freedom is which task runs first.
    assert_eq!(worlds.len(), 2);
    let first = worlds.remove(0);
    assert_eq!(first.end, Step::Finished);
    let expected = [
        "run late",
        "run early",
        "timer early.0",
        "run early",
        "complete early.0 write image 0+512 ok",
        "run early",
        "timer late.0",
        "run late",
        "complete late.0 write image 0+512 ok",
        "run late",
    ];
    assert_eq!(first.steps, expected);
}

#[test]
fn timers_with_one_deadline_fire_in_every_order() {
    let executions = explore(MACRO_STEP, |world| {
        for client in 0..3 {
            let runtime = world.runtime();
            world.spawn(&format!("c{client}"), async move { runtime.sleep(SECOND).await });
        }
    });
    assert_eq!(executions.len(), 6);
}

#[test]
fn a_dropped_sleep_does_not_move_the_clock_and_an_empty_one_is_over() {
    let mut world = world(MACRO_STEP);
    let runtime = world.runtime();
    let now = world.spawn_value("c0", async move {
        runtime.sleep(Duration::ZERO).await;
        let short = runtime.sleep(SECOND);
        let long = runtime.sleep(SECOND * 100);
        drop(select(short, long).await);
        join(runtime.sleep(SECOND), runtime.sleep(SECOND)).await;
        runtime.now()
    });
    assert_eq!(world.run(&mut Fifo::boxed()), Step::Finished);
    assert_eq!(now.take(), Some(SECOND * 2));
    assert_eq!(world.now(), SECOND * 2);
}

#[test]
fn a_daemon_neither_keeps_an_execution_going_nor_hides_a_hang() {
    let check = |stuck: bool| {
        let mut world = world(WorldOptions { step_cap: 100, ..MACRO_STEP });
        let runtime = world.runtime();
        world.spawn_daemon("ticker", async move {
            for _ in 0..5 {
                runtime.sleep(SECOND).await;
            }
            std::future::pending().await
        });
        world.spawn("c0", async move {
            if stuck {
                std::future::pending::<()>().await;
            }
        });
        (world.run(&mut Fifo::boxed()).to_string(), world.now())
    };
    assert_eq!(check(false), ("finished".to_owned(), Duration::ZERO));
    let hang = "nothing can happen any more, and these wait: c0".to_owned();
    assert_eq!(check(true), (hang, SECOND * 5));
}

#[test]
fn what_timers_of_one_moment_start_runs_together() {
    // Each client writes once after its sleep: any order of two sleeps and two completions in which
    // a completion follows its own sleep.
    let executions = explore(MACRO_STEP, |world| {
        for client in 0..2 {
            let (disk, runtime) = (world.disk(0), world.runtime());
            world.spawn(&format!("c{client}"), async move {
                runtime.sleep(SECOND).await;
                write(&disk, client).await;
                assert_eq!(runtime.now(), SECOND);
            });
        }
    });
    assert_eq!(executions.len(), 6);
}

#[test]
fn latency_moves_the_clock_when_nothing_else_can_happen() {
    let spec = DiskSpec { latency: SECOND * 3, ..DiskSpec::new("slow") };
    let disks = vec![(spec, Image::zeroed(4096), FaultPlan::default())];
    let mut world = World::new(disks, MACRO_STEP);
    let (disk, runtime) = (world.disk(0), world.runtime());
    let woke = world.spawn_value("sleeper", async move {
        runtime.sleep(SECOND).await;
        runtime.now()
    });
    let runtime = world.runtime();
    let wrote = world.spawn_value("writer", async move {
        write(&disk, 0).await;
        write(&disk, 0).await;
        runtime.now()
    });
    assert_eq!(world.run(&mut Fifo::boxed()), Step::Finished);
    assert_eq!(woke.take(), Some(SECOND));
    assert_eq!(wrote.take(), Some(SECOND * 6));
}

#[test]
fn a_calm_world_has_no_choices() {
    let mut world = world(ANY);
    world.calm();
    for client in 0..3 {
        let disk = world.disk(0);
        world.spawn(&format!("c{client}"), async move { write(&disk, client).await });
    }
    assert_eq!(world.run(&mut Fifo::boxed()), Step::Finished);
    assert!(world.trace().choices.is_empty());
}
