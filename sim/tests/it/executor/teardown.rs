//! Dropping a world in the middle.

use std::sync::Arc;
use std::time::Duration;

use plugpull_engine::{Disk, Runtime, WriteFlags};
use plugpull_sim::exec::{World, WorldHandle, WorldOptions};
use plugpull_sim::schedule::{Fifo, Strategy};

use super::{ANY, world, write};

/// Tries everything that a destructor may try, then says that it ran, then panics if told to.
struct Stubborn {
    disk: Arc<dyn Disk>,
    runtime: Arc<dyn Runtime>,
    dropped: Arc<()>,
    panics: bool,
}

impl Drop for Stubborn {
    fn drop(&mut self) {
        let nested = Arc::clone(&self.dropped);
        let disk = Arc::clone(&self.disk);
        self.runtime.spawn(
            "rest",
            Box::pin(async move {
                write(&disk, 0).await;
                drop(nested);
            }),
        );
        drop(self.disk.write(0, vec![0; 512], WriteFlags::NONE));
        drop(self.runtime.sleep(Duration::from_secs(1)));
        self.runtime.event("dropped");
        assert!(!self.panics, "a destructor that panics");
    }
}

#[test]
fn dropping_a_world_drops_every_task_wherever_it_stands() {
    for steps in 0..8 {
        for panics in [false, true] {
            let alive = Arc::new(());
            let mut world = world(WorldOptions { cancel_budget: 1, ..ANY });
            for name in ["c0", "c1"] {
                let (handle, disk, runtime) = (world.handle(), world.disk(0), world.runtime());
                let dropped = Arc::clone(&alive);
                world.spawn(name, async move {
                    let request = async move {
                        let guard = Stubborn { disk, runtime, dropped, panics };
                        write(&guard.disk, 0).await;
                        guard.runtime.sleep(Duration::from_secs(1)).await;
                        std::future::pending::<()>().await;
                    };
                    handle.cancellable("op0", request).await;
                });
            }
            for _ in 0..steps {
                world.step(&mut Fifo::boxed());
            }
            let (disk, runtime) = (world.disk(0), world.runtime());
            drop(world);
            assert_eq!(Arc::strong_count(&alive), 1, "after {steps} steps");
            // What is left of the handles does nothing and does not panic.
            drop(disk.flush());
            runtime.spawn("late", Box::pin(async {}));
            runtime.event("late");
            assert!(runtime.coin("late"));
        }
    }
}

#[test]
fn executions_may_run_on_any_thread() {
    fn movable<T: Send>() {}
    fn shared<T: Send + Sync>() {}
    movable::<World>();
    movable::<Box<dyn Strategy>>();
    shared::<WorldHandle>();
}
