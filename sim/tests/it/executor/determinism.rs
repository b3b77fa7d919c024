//! Running again gives the same, and anything else is noticed.

use futures_util::future::join;
use plugpull_engine::WriteFlags;
use plugpull_sim::exec::{ChoiceKind, Step, Trace, World, WorldOptions};
use plugpull_sim::schedule::{
    AfterTrace, Divergence, Exhaustive, Fifo, Mismatch, Random, Replay, Strategy,
};
use plugpull_sim::verdict::Share;

use super::{ANY, MACRO_STEP, run, world, write};

/// Two clients with something of everything: joined requests, a background task, coins, sleeps.
fn busy(options: WorldOptions) -> World {
    let mut world = world(options);
    for client in ["c0", "c1"] {
        let (handle, disk, runtime) = (world.handle(), world.disk(0), world.runtime());
        world.spawn(client, async move {
            let request = async {
                join(write(&disk, 0), write(&disk, 1)).await;
                if runtime.coin("flush") {
                    disk.flush().await.unwrap();
                }
            };
            request.await;
            let background = disk.clone();
            runtime.spawn("tidy", Box::pin(async move { write(&background, 4).await }));
            runtime.sleep(std::time::Duration::from_millis(3)).await;
            let last = async move { write(&disk, 2).await };
            if handle.cancellable("last", last).await.is_none() {
                runtime.event("gave-up");
            }
            handle.mark("acknowledged");
        });
    }
    world
}

const BUSY: WorldOptions = WorldOptions { cancel_budget: 1, ..ANY };

#[test]
fn replaying_any_random_execution_gives_the_same_execution() {
    let mut random: Box<dyn Strategy> = Box::new(Random::new(7, 0..200));
    let mut distinct = std::collections::BTreeSet::new();
    while random.begin() {
        let mut first = busy(BUSY);
        let execution = run(&mut first, &mut random);
        assert_eq!(execution.end, Step::Finished);
        let replay = Replay::new(execution.trace.clone(), AfterTrace::Stop);
        let mut replay: Box<dyn Strategy> = Box::new(replay);
        assert!(replay.begin());
        let mut second = busy(BUSY);
        let again = run(&mut second, &mut replay);
        assert_eq!(again.end, Step::Finished);
        assert_eq!(replay.end(), Ok(()));
        assert_eq!(again.trace, execution.trace);
        assert_eq!(again.steps, execution.steps);
        assert_eq!(first.past(), second.past());
        assert_eq!(first.history().events(), second.history().events());
        assert_eq!(first.event_log(), second.event_log());
        assert!(!replay.begin());
        distinct.insert(first.past());
    }
    assert!(distinct.len() > 190, "{} executions differ", distinct.len());
}

#[test]
fn an_iteration_of_a_campaign_can_be_run_alone() {
    let pasts = |seed, range| -> Vec<u64> {
        let mut random: Box<dyn Strategy> = Box::new(Random::new(seed, range));
        let mut pasts = Vec::new();
        while random.begin() {
            let mut world = busy(BUSY);
            world.run(&mut random);
            pasts.push(world.past());
        }
        pasts
    };
    let all = pasts(1, 0..20);
    assert_eq!(pasts(1, 13..14), all[13..14]);
    assert_ne!(pasts(2, 0..20), all);
}

#[test]
fn the_first_new_step_is_where_an_execution_leaves_the_one_before() {
    let mut strategy: Box<dyn Strategy> = Box::new(Exhaustive::new());
    let mut before: Vec<u64> = Vec::new();
    let mut progress = Share { part: 0, whole: 1 };
    for execution in 0..1000 {
        assert!(strategy.begin());
        let mut world = busy(WorldOptions { ready: MACRO_STEP.ready, ..BUSY });
        let mut pasts = Vec::new();
        while !world.step(&mut strategy).is_end() {
            pasts.push(world.past());
        }
        strategy.end().unwrap();
        let first_new = strategy.first_new_step();
        if execution > 0 {
            assert_eq!(pasts[..first_new], before[..first_new]);
            assert_ne!(pasts[first_new], before[first_new]);
            let now = strategy.progress().unwrap();
            assert!(
                now.part >= progress.part && now.part < now.whole,
                "{now:?} after {progress:?}"
            );
            progress = now;
        }
        before = pasts;
    }
}

#[test]
fn progress_ends_with_the_whole() {
    let mut strategy: Box<dyn Strategy> = Box::new(Exhaustive::new());
    assert_eq!(strategy.progress().unwrap().part, 0);
    while strategy.begin() {
        let mut world = world(MACRO_STEP);
        for name in ["c0", "c1", "c2"] {
            let disk = world.disk(0);
            world.spawn(name, async move { write(&disk, 0).await });
        }
        world.run(&mut strategy);
    }
    let Share { part, whole } = strategy.progress().unwrap();
    assert_eq!(part, whole);
    assert!(!strategy.begin());
}

/// Explores a world that `build` makes differently for each execution, up to a divergence.
fn divergence(mut build: impl FnMut(usize, &mut World)) -> Divergence {
    let mut strategy: Box<dyn Strategy> = Box::new(Exhaustive::new());
    for execution in 0.. {
        assert!(strategy.begin(), "the difference went unnoticed");
        let mut world = world(MACRO_STEP);
        build(execution, &mut world);
        if let Step::Diverged(divergence) = world.run(&mut strategy) {
            return *divergence;
        }
        if let Err(divergence) = strategy.end() {
            return *divergence;
        }
    }
    unreachable!("executions do not run out")
}

#[test]
fn a_task_that_behaves_differently_the_next_time_is_noticed_at_the_step() {
    // Another number of requests.
    let found = divergence(|execution, world| {
        for name in ["c0", "c1"] {
            let disk = world.disk(0);
            world.spawn(name, async move {
                write(&disk, 0).await;
                if execution > 0 {
                    join(write(&disk, 1), write(&disk, 2)).await;
                } else {
                    write(&disk, 1).await;
                }
            });
        }
    });
    assert_eq!((found.choice, found.step), (1, Some(4)));
    assert!(matches!(found.mismatch, Mismatch::Count { expected: 2, .. }), "{found}");

    // Another address.
    let found = divergence(|execution, world| {
        for name in ["c0", "c1"] {
            let disk = world.disk(0);
            world.spawn(name, async move { write(&disk, execution as u64).await });
        }
    });
    let expected = "choice 0 at step 2: expected to take \"complete c0.0 write image 0+512 ok\", \
                    found 2 options: \"complete c0.0 write image 512+512 ok\", \
                    \"complete c1.0 write image 512+512 ok\"";
    assert_eq!(found.to_string(), expected);

    // The same requests with other bytes.
    let found = divergence(|execution, world| {
        for (name, base) in [("c0", 0), ("c1", 4096)] {
            let disk = world.disk(0);
            let byte = u8::try_from(execution % 256).unwrap();
            world.spawn(name, async move {
                disk.write(base, vec![byte; 512], WriteFlags::NONE).await.unwrap();
            });
        }
    });
    assert_eq!(found.choice, 0);
    assert!(matches!(found.mismatch, Mismatch::Options { .. }), "{found}");

    // Something else reported between two choices.
    let found = divergence(|execution, world| {
        let runtime = world.runtime();
        world.spawn("c0", async move { runtime.event(["one", "two"][execution % 2]) });
        for name in ["c1", "c2"] {
            let disk = world.disk(0);
            world.spawn(name, async move { write(&disk, 0).await });
        }
    });
    assert_eq!((found.choice, found.mismatch), (0, Mismatch::Past));

    // A coin where there was a request.
    let found = divergence(|execution, world| {
        let runtime = world.runtime();
        world.spawn("c0", async move {
            if execution > 0 {
                runtime.coin("new");
            }
        });
        for name in ["c1", "c2"] {
            let disk = world.disk(0);
            world.spawn(name, async move { write(&disk, 0).await });
        }
    });
    let expected = Mismatch::Kind { expected: ChoiceKind::Event, found: ChoiceKind::Coin };
    assert_eq!((found.choice, found.mismatch), (0, expected));

    // Nothing where there was something.
    let found = divergence(|execution, world| {
        for name in ["c0", "c1"] {
            let disk = world.disk(0);
            world.spawn(name, async move {
                if execution == 0 {
                    write(&disk, 0).await;
                }
            });
        }
    });
    assert!(matches!(found.mismatch, Mismatch::EndedEarly { .. }), "{found}");
}

#[test]
fn a_trace_that_does_not_fit_says_where_and_why() {
    let model = || {
        let mut world = world(MACRO_STEP);
        for name in ["c0", "c1"] {
            let disk = world.disk(0);
            world.spawn(name, async move {
                write(&disk, 0).await;
                write(&disk, 1).await;
            });
        }
        world
    };
    let mut random: Box<dyn Strategy> = Box::new(Random::new(3, 0..1));
    random.begin();
    let mut first = model();
    first.run(&mut random);
    let good = first.trace();
    assert!(good.choices.len() >= 2);

    let replay = |trace: Trace, after| {
        let mut replay: Box<dyn Strategy> = Box::new(Replay::new(trace, after));
        replay.begin();
        let end = model().run(&mut replay);
        (end.to_string(), replay.end().err().map(|divergence| divergence.to_string()))
    };
    assert_eq!(replay(good.clone(), AfterTrace::Stop), ("finished".to_owned(), None));

    let mut wrong_label = good.clone();
    wrong_label.choices[1].label = "complete c7.0 flush image ok".to_owned();
    let (end, _) = replay(wrong_label, AfterTrace::Stop);
    assert!(end.starts_with("choice 1 at step 4: expected to take \"complete c7.0"), "{end}");

    let mut wrong_index = good.clone();
    wrong_index.choices[0].index = 5;
    let (end, _) = replay(wrong_index, AfterTrace::Stop);
    assert!(end.starts_with("choice 0 at step 2: expected 6 options, found 2 options: "), "{end}");

    let mut short = good.clone();
    short.choices.truncate(1);
    let (end, _) = replay(short.clone(), AfterTrace::Stop);
    assert!(end.starts_with("choice 1 at step 4: the trace has no more choices"), "{end}");
    assert_eq!(replay(short, AfterTrace::Fifo), ("finished".to_owned(), None));

    let mut long = good.clone();
    long.choices.push(long.choices[0].clone());
    let (end, rest) = replay(long, AfterTrace::Stop);
    assert_eq!(end, "finished");
    assert!(rest.unwrap().ends_with("but the execution ended before"));
}

#[test]
fn fifo_is_the_first_execution_of_the_exhaustive_search() {
    let check = |options| {
        let mut by_fifo = busy(options);
        let mut fifo = Fifo::boxed();
        assert!(fifo.begin());
        by_fifo.run(&mut fifo);
        let mut by_search = busy(options);
        let mut exhaustive: Box<dyn Strategy> = Box::new(Exhaustive::new());
        assert!(exhaustive.begin());
        by_search.run(&mut exhaustive);
        assert_eq!(by_fifo.trace(), by_search.trace());
        assert!(by_fifo.trace().choices.iter().all(|choice| choice.index == 0));
        assert!(!fifo.begin());
    };
    check(BUSY);
    check(MACRO_STEP);
}
