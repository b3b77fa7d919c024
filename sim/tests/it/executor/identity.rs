//! Identities do not depend on the schedule.

use std::collections::BTreeSet;

use super::{ANY, explore, write};

#[test]
fn background_tasks_are_the_same_tasks_in_every_schedule() {
    let executions = explore(ANY, |world| {
        let (disk, runtime) = (world.disk(0), world.runtime());
        world.spawn("c0", async move {
            let inner = runtime.clone();
            let task = async move {
                write(&disk, 3).await;
                inner.spawn("grandchild", Box::pin(async {}));
            };
            runtime.spawn("child", Box::pin(task));
            runtime.spawn("child", Box::pin(async {}));
        });
        let runtime = world.runtime();
        world.spawn("c1", async move { runtime.spawn("child", Box::pin(async {})) });
    });
    let expected = BTreeSet::from([
        "run c0",
        "run c0/0:child",
        "run c0/0/0:grandchild",
        "run c0/1:child",
        "run c1",
        "run c1/0:child",
    ]);
    assert!(executions.len() > 100);
    for execution in &executions {
        let runs = execution.steps.iter().map(String::as_str).filter(|s| s.starts_with("run "));
        assert_eq!(runs.collect::<BTreeSet<_>>(), expected);
    }
}
