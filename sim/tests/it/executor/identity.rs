//! Identities do not depend on the schedule.

use std::collections::BTreeSet;

use super::{ANY, explore, write};

#[test]
fn background_tasks_are_the_same_tasks_in_every_schedule() {
    let executions = explore(ANY, |world| {
        for client in ["c0", "c1"] {
            let (disk, runtime) = (world.disk(0), world.runtime());
            world.spawn(client, async move {
                let inner = runtime.clone();
                let task = async move {
                    write(&disk, 3).await;
                    inner.spawn("grandchild", Box::pin(async {}));
                };
                runtime.spawn("child", Box::pin(task));
                runtime.spawn("child", Box::pin(async {}));
            });
        }
    });
    let expected: BTreeSet<String> = ["c0", "c1"]
        .into_iter()
        .flat_map(|client| {
            ["", "/0:child", "/1:child", "/0/0:grandchild"]
                .map(|path| format!("run {client}{path}"))
        })
        .collect();
    assert!(executions.len() > 100);
    for execution in executions {
        let runs = execution.steps.into_iter().filter(|step| step.starts_with("run "));
        assert_eq!(runs.collect::<BTreeSet<_>>(), expected);
    }
}
