//! How executions end when something is wrong.

use std::future::{pending, poll_fn};
use std::task::Poll;

use plugpull_engine::{DiskErrorKind, WriteFlags};
use plugpull_sim::exec::{Step, WorldOptions};
use plugpull_sim::schedule::Fifo;

use super::{ANY, MACRO_STEP, explore, world, write};

#[test]
fn a_task_that_nobody_wakes_is_a_hang_and_the_report_names_it() {
    let mut world = world(MACRO_STEP);
    let (handle, disk, runtime) = (world.handle(), world.disk(0), world.runtime());
    world.spawn_daemon("daemon", pending());
    world.spawn("c0", async move { write(&disk, 0).await });
    world.spawn("c1", async move {
        runtime.spawn("copy-on-read", Box::pin(pending()));
        handle.cancellable("op3", pending::<()>()).await;
    });
    let end = world.run(&mut Fifo::boxed());
    let expected = "nothing can happen any more, and these wait: c1 in op3, c1/0:copy-on-read";
    assert_eq!(end.to_string(), expected);
    assert!(matches!(end, Step::Hang(_)));
    assert_eq!(world.step(&mut Fifo::boxed()), end, "an end stays the end");
}

#[test]
fn a_panic_ends_the_execution_with_task_message_and_place() {
    let executions = explore(ANY, |world| {
        let disk = world.disk(0);
        world.spawn("c0", async move { write(&disk, 0).await });
        let disk = world.disk(0);
        world.spawn("c1", async move {
            let found = disk.read(0, 1).await.unwrap();
            assert_eq!(found, [0], "sector 0 was written early");
        });
    });
    let (fine, wrong): (Vec<_>, Vec<_>) =
        executions.into_iter().partition(|execution| execution.end == Step::Finished);
    assert!(!fine.is_empty() && !wrong.is_empty(), "whether the read is late is a choice");
    let Step::Panicked(panicked) = wrong[0].end.clone() else { panic!("{}", wrong[0].end) };
    assert_eq!(panicked.task.to_string(), "c1");
    assert!(panicked.message.contains("sector 0 was written early"), "{}", panicked.message);
    assert!(panicked.location.unwrap().contains("ends.rs:"));
}

#[test]
fn an_execution_without_end_reaches_the_step_cap_and_says_so() {
    let mut world = world(WorldOptions { step_cap: 77, ..ANY });
    world.spawn(
        "spinner",
        poll_fn(|context| -> Poll<()> {
            context.waker().wake_by_ref();
            Poll::Pending
        }),
    );
    assert_eq!(world.run(&mut Fifo::boxed()), Step::StepCap);
    assert_eq!(world.steps(), 77);
}

#[test]
fn an_execution_of_exactly_the_step_cap_finishes() {
    let mut world = world(WorldOptions { step_cap: 3, ..ANY });
    let disk = world.disk(0);
    world.spawn("c0", async move { write(&disk, 0).await });
    assert_eq!(world.run(&mut Fifo::boxed()), Step::Finished);
}

#[test]
fn a_request_past_the_end_is_an_error_of_the_request() {
    let mut world = world(ANY);
    let disk = world.disk(0);
    let answer = world.spawn_value("c0", async move {
        disk.write(disk.len(), vec![0; 512], WriteFlags::NONE).await
    });
    assert_eq!(world.run(&mut Fifo::boxed()), Step::Finished);
    assert_eq!(answer.take().unwrap().unwrap_err().kind, DiskErrorKind::OutOfRange);
}

#[test]
fn detached_requests_complete_before_the_execution_is_over() {
    let mut world = world(MACRO_STEP);
    let disk = world.disk(0);
    world.spawn("c0", async move {
        drop(disk.write(0, vec![7; 512], WriteFlags::NONE));
    });
    assert_eq!(world.run(&mut Fifo::boxed()), Step::Finished);
    assert_eq!(world.steps(), 2);
    let mut found = [0; 1];
    world.with_disk(0, |disk| disk.visible().read(511, &mut found));
    assert_eq!(found, [7]);
}
