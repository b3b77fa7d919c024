//! Guest requests that their client gives up.

use plugpull_engine::{Disk, Runtime, WriteFlags};
use plugpull_sim::exec::{Step, WorldOptions};
use std::collections::BTreeSet;
use std::sync::Arc;

use super::{ANY, MACRO_STEP, explore, write};

const ONE_CANCEL: WorldOptions = WorldOptions { cancel_budget: 1, ..MACRO_STEP };

#[test]
fn a_guest_request_is_given_up_at_every_await_or_not_at_all() {
    let mut results = Vec::new();
    let executions = explore(ONE_CANCEL, |world| {
        let (handle, disk) = (world.handle(), world.disk(0));
        results.push(world.spawn_value("c0", async move {
            let request = async move {
                write(&disk, 0).await;
                write(&disk, 1).await;
                "done"
            };
            handle.cancellable("op0", request).await
        }));
    });
    let results: Vec<_> = results.iter().map(|result| result.take().unwrap()).collect();
    assert_eq!(results, [Some("done"), None, None]);
    let steps: Vec<_> = executions.iter().map(|execution| execution.steps.clone()).collect();
    let first = "complete c0.0 write image 0+512 ok";
    let second = "complete c0.1 write image 512+512 ok";
    let expected = [
        vec!["run c0", first, "run c0", second, "run c0"],
        // What was submitted completes all the same.
        vec!["run c0", first, "run c0", "cancel c0.op0", "run c0", second],
        vec!["run c0", "cancel c0.op0", "run c0", first],
    ];
    assert_eq!(steps, expected);
}

#[test]
fn the_budget_bounds_how_many_are_given_up() {
    let cancelled_counts = |cancel_budget, ready, clients| -> BTreeSet<usize> {
        explore(WorldOptions { cancel_budget, ready, ..MACRO_STEP }, |world| {
            for client in 0..clients {
                let (handle, disk) = (world.handle(), world.disk(0));
                world.spawn(&format!("c{client}"), async move {
                    handle.cancellable("op0", async move { write(&disk, 0).await }).await;
                });
            }
        })
        .iter()
        .map(|execution| execution.steps.iter().filter(|s| s.starts_with("cancel")).count())
        .collect()
    };
    assert_eq!(cancelled_counts(0, MACRO_STEP.ready, 3), BTreeSet::from([0]));
    assert_eq!(cancelled_counts(2, MACRO_STEP.ready, 3), BTreeSet::from([0, 1, 2]));
    assert_eq!(cancelled_counts(9, MACRO_STEP.ready, 2), BTreeSet::from([0, 1, 2]));
    // Nothing is given up twice, even if the client has not noticed yet.
    assert_eq!(cancelled_counts(9, ANY.ready, 2), BTreeSet::from([0, 1, 2]));
}

#[test]
fn giving_up_does_not_cure_a_hang() {
    let executions = explore(ONE_CANCEL, |world| {
        let (handle, disk) = (world.handle(), world.disk(0));
        world.spawn("c0", async move {
            let request = async move {
                write(&disk, 0).await;
                std::future::pending::<()>().await;
            };
            handle.cancellable("op0", request).await;
        });
    });
    let ends: Vec<_> = executions.iter().map(|execution| execution.end.to_string()).collect();
    let hang = "nothing can happen any more, and these wait: c0 in op0";
    assert_eq!(ends, [hang, "finished"]);
}

/// Does the rest of its work in the background when it is dropped.
struct FinishInBackground {
    disk: Arc<dyn Disk>,
    runtime: Arc<dyn Runtime>,
    armed: bool,
}

impl Drop for FinishInBackground {
    fn drop(&mut self) {
        if self.armed {
            let disk = Arc::clone(&self.disk);
            let rest = disk.write(512, vec![9; 512], WriteFlags::NONE);
            let task = async move {
                rest.await.unwrap();
                disk.flush().await.unwrap();
            };
            self.runtime.spawn("write-detached", Box::pin(task));
        }
    }
}

#[test]
fn a_destructor_spawns_below_the_task_whose_request_is_given_up() {
    let executions = explore(ONE_CANCEL, |world| {
        let (handle, disk, runtime) = (world.handle(), world.disk(0), world.runtime());
        world.spawn("c0", async move {
            let request = async move {
                let mut guard = FinishInBackground { disk, runtime, armed: true };
                write(&guard.disk, 0).await;
                guard.armed = false;
            };
            handle.cancellable("op0", request).await;
        });
    });
    assert_eq!(executions[0].steps.len(), 3);
    let given_up = executions.last().unwrap();
    assert_eq!(given_up.end, Step::Finished);
    assert_eq!(given_up.steps[1], "cancel c0.op0");
    let expected = [
        "complete c0.1 write image 512+512 ok",
        "run c0/0:write-detached",
        "complete c0/0:write-detached.0 flush image ok",
    ];
    for step in expected {
        assert!(given_up.steps.iter().any(|found| found == step), "{step}: {:?}", given_up.steps);
    }
}
