//! What the executor costs: executions and steps per second of toy clients.
//!
//! `cargo bench -p plugpull-sim --bench executor`. Every client writes one sector and flushes; the
//! search is exhaustive. Items are steps in `steps`, executions in `executions`.

use divan::Bencher;
use divan::counter::ItemsCount;
use plugpull_engine::WriteFlags;
use plugpull_sim::disk::{DiskSpec, FaultPlan, Image};
use plugpull_sim::exec::{ReadyOrder, World, WorldOptions};
use plugpull_sim::schedule::{Exhaustive, Strategy};

fn main() {
    divan::main();
}

/// Executions per measured sample; a search that is done begins again.
const EXECUTIONS: usize = 1000;

fn world(clients: u64, ready: ReadyOrder, image: &Image) -> World {
    let options = WorldOptions { ready, ..WorldOptions::default() };
    let disk = (DiskSpec::new("image"), image.clone(), FaultPlan::default());
    let mut world = World::new(vec![disk], options);
    for client in 0..clients {
        let disk = world.disk(0);
        world.spawn("client", async move {
            let stored = disk.write(client * 512, vec![1; 512], WriteFlags::NONE).await;
            stored.expect("no faults");
            disk.flush().await.expect("no faults");
        });
    }
    world
}

/// Runs `EXECUTIONS` executions; how many steps they had.
fn search(clients: u64, ready: ReadyOrder) -> usize {
    let image = Image::zeroed(65536);
    let mut strategy: Box<dyn Strategy> = Box::new(Exhaustive::new());
    let mut steps = 0;
    for _ in 0..EXECUTIONS {
        if !strategy.begin() {
            strategy = Box::new(Exhaustive::new());
            assert!(strategy.begin());
        }
        let mut world = world(clients, ready, &image);
        world.run(&mut strategy);
        steps += world.steps();
        strategy.end().expect("deterministic");
    }
    steps
}

#[divan::bench(args = [1, 2, 4, 8])]
fn steps(bencher: Bencher<'_, '_>, clients: u64) {
    let steps = search(clients, ReadyOrder::Any);
    bencher.counter(ItemsCount::new(steps)).bench(|| search(clients, ReadyOrder::Any));
}

#[divan::bench(args = [1, 2, 4, 8])]
fn executions(bencher: Bencher<'_, '_>, clients: u64) {
    bencher.counter(ItemsCount::new(EXECUTIONS)).bench(|| search(clients, ReadyOrder::MacroStep));
}

/// The executor alone: tasks that wake themselves, no disk.
#[divan::bench(args = [1, 8])]
fn yields(bencher: Bencher<'_, '_>, tasks: usize) {
    const YIELDS: usize = 10_000;
    bencher.counter(ItemsCount::new(YIELDS * tasks)).bench(|| {
        let mut world = World::new(Vec::new(), WorldOptions::default());
        for _ in 0..tasks {
            let mut left = YIELDS;
            world.spawn(
                "spinner",
                std::future::poll_fn(move |context| {
                    left -= 1;
                    if left == 0 {
                        return std::task::Poll::Ready(());
                    }
                    context.waker().wake_by_ref();
                    std::task::Poll::Pending
                }),
            );
        }
        let mut strategy = plugpull_sim::schedule::Fifo::boxed();
        world.run(&mut strategy)
    });
}
