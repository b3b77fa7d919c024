//! Recoveries that are no functions of the disks, never end, or panic.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use plugpull_sim::crash::{DirectWorld, LazyDisks, Watch};
use plugpull_sim::disk::{DiskSpec, Model};
use plugpull_sim::explore::Exploration;
use plugpull_sim::system::Purpose;
use plugpull_sim::verdict::Invariant;

use crate::toys::blocks::{Blocks, Damage, Flaw, recovering};
use crate::toys::{Sectors, Toy, broken, clients, explored, only_cut, violated};

/// A recovery that is told how many were run before it.
fn counting<F>(recovery: impl Fn(u64, Sectors) -> F + Send + Sync + 'static) -> Toy
where
    F: Future<Output = Result<Damage, plugpull_engine::Error>> + Send + 'static,
{
    let runs = Arc::new(AtomicU64::new(0));
    recovering(3, move |disk| recovery(runs.fetch_add(1, Ordering::Relaxed), disk))
}

/// Power is cut once, so that the recoveries that are run are the ways of one crash point.
fn cut_once(ops: &str) -> Exploration {
    let mut exploration = clients([ops]);
    exploration.explore.recovery_crashes = 0;
    exploration
}

#[test]
fn a_recovery_that_asks_something_else_is_not_deterministic() {
    let toy = counting(|run, disk| async move {
        disk.read(1 + run % 2, 1).await?;
        Ok(None)
    });
    let result = explored(toy, &cut_once("write 0 1536"));
    assert_eq!(
        broken(&result),
        "not deterministic: question 0 was about variable 1 of disk 0 with 2 answers, and now is \
         about variable 2 of disk 0 with 2"
    );
}

#[test]
fn a_recovery_that_asks_less_is_not_deterministic() {
    let toy = counting(|run, disk| async move {
        for sector in 0..3 - run.min(2) {
            disk.read(sector, 1).await?;
        }
        Ok(None)
    });
    let result = explored(toy, &cut_once("write 0 1536"));
    assert_eq!(broken(&result), "not deterministic: 3 questions were asked before, 2 now");
}

/// The same questions, and another end: what was found cannot be found again.
#[test]
fn a_recovery_that_does_something_else_finds_nothing() {
    let toy = counting(|run, disk| async move {
        disk.read(0, 1).await?;
        Ok((run == 1).then_some(2))
    });
    let result = explored(toy, &cut_once("write 0 1536"));
    let why = broken(&result);
    assert!(why.starts_with("a violation that was found on undecided disks is not there"), "{why}");
}

/// On a disk that keeps a prefix of its writes there is one question, how long it is; each of two
/// sectors tells whether it is shorter or not. Looking at the first sector once and then at the
/// second asks the same question: only the requests differ.
#[test]
fn a_recovery_that_reads_something_else_for_the_same_question_is_not_deterministic() {
    let toy = counting(|run, disk| async move {
        disk.read(run.min(1), 1).await?;
        Ok(None)
    });
    let toy = toy.on(DiskSpec { model: Model::Ordered, ..DiskSpec::new("disk") });
    let result = explored(toy, &cut_once("write 0 512, write 512 512"));
    let why = broken(&result);
    assert!(why.contains("other requests were made of the disks than the last time"), "{why}");
}

#[test]
fn a_recovery_that_reads_for_ever_does_not_end() {
    let toy = recovering(1, |disk| async move {
        loop {
            disk.read(0, 1).await?;
        }
    });
    let result = explored(toy, &clients([]));
    let violation = violated(&result, Invariant::LProg);
    assert_eq!(violation.message, "recovery does not end: no end after 1000000 disk requests");
}

#[test]
fn a_recovery_that_waits_for_nothing_does_not_end() {
    let toy = recovering(1, |_| std::future::pending());
    let result = explored(toy, &clients(["write 0 512"]));
    let violation = violated(&result, Invariant::LProg);
    let why = "recovery does not end: waits for something, with nothing in flight and nothing left \
               to run";
    assert_eq!(violation.message, why);
}

/// Neither asks anything of a disk, so that the bound on requests does not end them.
#[test]
fn a_recovery_that_sleeps_or_yields_for_ever_does_not_end() {
    let sleeps = Toy::new(1, 1, |disk, runtime, purpose| async move {
        if purpose == Purpose::Recovery {
            loop {
                runtime.sleep(Duration::from_millis(1)).await;
            }
        }
        Ok(Blocks::new(&runtime.tracker(), disk, Flaw::None, None))
    });
    let result = explored(sleeps, &clients([]));
    let violation = violated(&result, Invariant::LProg);
    assert_eq!(violation.message, "recovery does not end: no end after 1000000 turns");

    let yields = std::future::poll_fn(|context| {
        context.waker().wake_by_ref();
        Poll::<()>::Pending
    });
    let world = DirectWorld::new(LazyDisks::new([], Watch::Off));
    assert_eq!(world.run(yields).unwrap_err().reason, "no end after 1000000 turns");
}

#[test]
fn a_recovery_may_end_in_some_crash_states_only() {
    let toy = recovering(4, |disk| async move {
        if disk.is_kept(1).await? && !disk.is_kept(2).await? {
            std::future::pending::<()>().await;
        }
        Ok(None)
    });
    let result = explored(toy, &clients(["write 0 2K"]));
    assert_eq!(only_cut(violated(&result, Invariant::LProg)), [1, 1, 0, 1]);
}

#[test]
fn a_recovery_may_panic_in_some_crash_states_only() {
    let toy = recovering(4, |disk| async move {
        assert!(!disk.is_kept(3).await? || disk.is_kept(0).await?, "three before zero");
        Ok(None)
    });
    let result = explored(toy, &clients(["write 0 2K"]));
    let violation = violated(&result, Invariant::EPanic);
    assert_eq!(only_cut(violation), [0, 1, 1, 1]);
    assert!(violation.message.starts_with("recovery panics: three before zero"), "{violation:?}");
}
