//! Each promise of the search with a bug that nothing else finds: without the check that the name
//! of a test speaks of, its search comes to another verdict. That was tried, check by check.

use plugpull_engine::{DiskErrorKind, Error};
use plugpull_sim::disk::OpKind;
use plugpull_sim::exec::ReadyOrder;
use plugpull_sim::explore::Exploration;
use plugpull_sim::scenario::{AnyFault, Crashes, Schedules};
use plugpull_sim::system::Purpose;
use plugpull_sim::verdict::{Invariant, Verdict};

use crate::toys::blocks::{Blocks, Flaw, flawed, flawed_after_recovery};
use crate::toys::commit::{self, commit};
use crate::toys::register::{self, register};
use crate::toys::stages::stages;
use crate::toys::{Toy, assert_holds, broken, clients, cross_checked, explored, ops, violated};

fn with_session(exploration: Exploration, session: &str) -> Exploration {
    Exploration { after: vec![ops(session)], ..exploration }
}

fn with_one_fault(mut exploration: Exploration, kind: OpKind) -> Exploration {
    exploration.explore.faults.any = AnyFault {
        errors: 1,
        kinds: vec![kind],
        error: vec![DiskErrorKind::Io],
        ..AnyFault::default()
    };
    exploration.explore.crashes = Crashes::None;
    exploration
}

#[test]
fn toys_without_flaws_hold() {
    let one = clients(["write 0 512, flush, write 0 512"]);
    let two = clients(["write 0 512, flush, write 512 512, flush", "write 512 512"]);
    let session = "write 0 512, read 0 512, flush, write 0 512";
    for exploration in [one.clone(), with_session(one, session)] {
        assert_holds(&cross_checked(flawed(1, Flaw::None), &exploration));
        assert_holds(&cross_checked(register(register::Flaw::None), &exploration));
        assert_holds(&cross_checked(commit(commit::Flaw::None), &exploration));
    }
    assert_holds(&cross_checked(flawed(2, Flaw::None), &two));
}

/// The first cut has to hit the second step, and the next one its resumption. That the second step
/// was seen before, from where no more than one cut was left, must not keep it from being seen.
#[test]
fn a_crash_point_is_visited_again_where_more_cuts_may_follow() {
    let result = cross_checked(stages(), &clients(["read 0 512"]));
    let violation = violated(&result, Invariant::DDur);
    assert!(violation.message.contains("refuses to open"), "{violation:?}");
    assert_eq!(violation.replay.crashes.len(), 2);

    let mut shallow = clients(["read 0 512"]);
    shallow.explore.recovery_crashes = 0;
    assert_holds(&cross_checked(stages(), &shallow));
}

#[test]
fn power_is_cut_inside_later_sessions() {
    let first = clients(["write 0 512, flush"]);
    let toy = || register(register::Flaw::ErasesAfterRecovery);
    assert_holds(&cross_checked(toy(), &first));
    let result = cross_checked(toy(), &with_session(first, "write 0 512, flush"));
    let violation = violated(&result, Invariant::DOldnew);
    assert_eq!(violation.replay.crashes.last().map(|cut| cut.session), Some(2));
}

#[test]
fn power_is_cut_inside_recovery() {
    let toy = || commit(commit::Flaw::ClearsFirst);
    let mut exploration = clients(["write 0 512, flush"]);
    for invariant in [Invariant::DDur, Invariant::FReplay] {
        let result = cross_checked(toy(), &exploration.clone().expecting(invariant));
        let found = result.violations.iter().find(|found| found.invariant == invariant);
        assert_eq!(found.expect("it is found").replay.crashes.len(), 2);
    }
    exploration.explore.recovery_crashes = 0;
    assert_holds(&cross_checked(toy(), &exploration));
}

/// An opening that gives up after three attempts that did not come to their end.
#[test]
fn recovery_is_cut_as_often_as_asked_for() {
    let attempts = || {
        Toy::new(1, 2, |disk, runtime, _| async move {
            let attempts = disk.number(1).await?;
            if attempts == 3 {
                return Err(Error::corrupt("attempts", "are fewer than three", attempts));
            }
            for attempts in [attempts + 1, 0] {
                disk.set_number(1, attempts).await?;
                disk.flush().await?;
            }
            Ok(Blocks::new(&runtime.tracker(), disk, Flaw::None, None))
        })
    };
    let mut exploration = clients(["read 0 512"]);
    assert_holds(&cross_checked(attempts(), &exploration));
    exploration.explore.recovery_crashes = 2;
    let result = cross_checked(attempts(), &exploration);
    assert_eq!(violated(&result, Invariant::DDur).replay.crashes.len(), 3);
}

/// Nothing is flushed, so the content after each recovery is fine by itself.
#[test]
fn what_was_read_after_recovery_is_there_at_the_next_opening() {
    let result = cross_checked(commit(commit::Flaw::AppliesInMemory), &clients(["write 0 512"]));
    let violation = violated(&result, Invariant::DStable);
    assert_eq!(violation.replay.crashes.len(), 2);
}

#[test]
fn a_failing_request_is_excused_by_a_fault_of_its_own_client_only() {
    let mut two = with_one_fault(clients(["write 0 512", "write 512 512"]), OpKind::Write);
    // Both are under way when the fault hits one of them.
    two.explore.ready = ReadyOrder::MacroStep;
    assert_holds(&explored(flawed(2, Flaw::None), &two));
    violated(&explored(flawed(2, Flaw::FailureSpreads), &two), Invariant::ELocal);
}

#[test]
fn a_failing_request_is_not_excused_by_a_fault_before_it() {
    let one = with_one_fault(clients(["write 0 512, write 512 512"]), OpKind::Write);
    assert_holds(&explored(flawed(2, Flaw::None), &one));
    violated(&explored(flawed(2, Flaw::FailureLasts), &one), Invariant::ELocal);
}

/// A fault excuses the refusal, not the mark that was left behind.
#[test]
fn a_refused_open_has_changed_nothing() {
    let open = |marks_first: bool| {
        Toy::new(1, 2, move |disk, runtime, _| async move {
            if marks_first {
                disk.set_number(1, 1).await?;
            }
            disk.number(0).await?;
            disk.set_number(1, 1).await?;
            Ok(Blocks::new(&runtime.tracker(), disk, Flaw::None, None))
        })
    };
    let exploration = with_one_fault(clients(["read 0 512"]), OpKind::Read);
    assert_holds(&explored(open(false), &exploration));
    violated(&explored(open(true), &exploration), Invariant::EOpen);
}

#[test]
fn opening_must_not_be_refused_without_a_reason() {
    let toy = Toy::new(1, 1, |disk, runtime, purpose| async move {
        if purpose == Purpose::Workload {
            return Err(Error::Unsupported("anything".to_owned()));
        }
        Ok(Blocks::new(&runtime.tracker(), disk, Flaw::None, None))
    });
    violated(&explored(toy, &clients(["read 0 512"])), Invariant::DDur);
}

#[test]
fn a_flush_of_a_later_session_counts() {
    let first = clients(["write 0 512, flush"]);
    let toy = || flawed_after_recovery(1, Flaw::ForgetsFlush);
    assert_holds(&cross_checked(toy(), &with_session(first.clone(), "write 0 512")));
    for session in ["write 0 512, flush", "write 0 512, close"] {
        let result = cross_checked(toy(), &with_session(first.clone(), session));
        let violation = violated(&result, Invariant::DDur);
        assert_eq!(violation.replay.crashes.last().map(|cut| cut.session), Some(2));
    }
}

/// The flush at the end makes good what was read before it.
#[test]
fn what_clients_read_is_judged_while_they_run() {
    let result = explored(flawed(1, Flaw::ReadsLate), &clients(["write 0 512, flush"]));
    assert_holds(&result);
    let reads = clients(["write 0 512, read 0 512, flush"]);
    let violation = explored(flawed(1, Flaw::ReadsLate), &reads);
    assert!(violated(&violation, Invariant::DRyw).replay.crashes.is_empty());
}

#[test]
fn what_later_sessions_read_is_judged_while_they_run() {
    let first = clients(["write 0 512, read 0 512, flush"]);
    let toy = || flawed_after_recovery(1, Flaw::ReadsLate);
    assert_holds(&cross_checked(toy(), &with_session(first.clone(), "write 0 512, flush")));
    let reads = with_session(first, "write 0 512, read 0 512, flush");
    violated(&cross_checked(toy(), &reads), Invariant::DRyw);
}

/// What was expected, and was not there to be found.
#[test]
fn an_unmet_goal_is_incomplete() {
    let mut exploration = clients(["write 0 512"]);
    exploration.explore.schedules = Schedules::Fifo;
    exploration.expect.reach = vec!["never-happens".to_owned()];
    let result = explored(flawed(1, Flaw::None), &exploration);
    assert_eq!(result.verdict, Verdict::Incomplete);
    assert_eq!(result.incomplete, ["goal not met: never-happens"]);
}

#[test]
fn what_does_not_fit_the_system_is_said() {
    let cases = [
        ("write 512 512", "`write 512 512` is outside the 512 bytes of the guest"),
        ("read 0 1K", "`read 0 1K` is outside the 512 bytes of the guest"),
    ];
    for (op, why) in cases {
        let result = explored(flawed(1, Flaw::None), &clients([op]));
        let reason = broken(&result);
        assert_eq!(reason, format!("the exploration does not fit the system: {why}"));
    }
}
