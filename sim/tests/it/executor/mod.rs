//! The executor and the strategies, on toy tasks.

mod cancel;
mod clock;
mod counts;
mod determinism;
mod ends;
mod identity;
mod teardown;

use std::sync::Arc;

use plugpull_engine::{Disk, WriteFlags};
use plugpull_sim::disk::{DiskSpec, FaultPlan, Image};
use plugpull_sim::exec::{ReadyOrder, Step, Trace, World, WorldOptions};
use plugpull_sim::schedule::{Exhaustive, Strategy};

const MACRO_STEP: WorldOptions = WorldOptions {
    ready: ReadyOrder::MacroStep,
    cancel_budget: 0,
    step_cap: 10_000,
    ..WorldOptions::PLAIN
};
const ANY: WorldOptions = WorldOptions { ready: ReadyOrder::Any, ..MACRO_STEP };

/// A world with one disk of 64 KiB, `image`.
fn world(options: WorldOptions) -> World {
    world_with_faults(options, FaultPlan::default())
}

fn world_with_faults(options: WorldOptions, faults: FaultPlan) -> World {
    World::new(vec![(DiskSpec::new("image"), Image::zeroed(65536), faults)], options)
}

/// What one execution left behind.
struct Execution {
    end: Step,
    trace: Trace,
    /// The labels of all steps, in order.
    steps: Vec<String>,
}

/// Every execution of the world that `build` makes.
fn explore(options: WorldOptions, mut build: impl FnMut(&mut World)) -> Vec<Execution> {
    explore_worlds(|| {
        let mut world = world(options);
        build(&mut world);
        world
    })
}

fn explore_worlds(mut build: impl FnMut() -> World) -> Vec<Execution> {
    let mut strategy: Box<dyn Strategy> = Box::new(Exhaustive::new());
    let mut executions = Vec::new();
    while strategy.begin() {
        let mut world = build();
        executions.push(run(&mut world, &mut strategy));
        strategy.end().unwrap();
    }
    executions
}

fn run(world: &mut World, strategy: &mut Box<dyn Strategy>) -> Execution {
    let mut steps = Vec::new();
    loop {
        match world.step(strategy) {
            Step::Ran(label) => steps.push(label.to_string()),
            end => return Execution { end, trace: world.trace(), steps },
        }
    }
}

async fn write(disk: &Arc<dyn Disk>, sector: u64) {
    disk.write(sector * 512, vec![1; 512], WriteFlags::NONE).await.unwrap();
}
