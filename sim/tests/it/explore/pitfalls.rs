//! One test for each pitfall of the method that applies to the whole search.
//!
//! That a flush covers nothing that was acknowledged after it was issued, that FUA is no barrier, and
//! what a failed flush leaves, is in the truth table of the disk (`disk_truth_table`).

use num_bigint::BigUint;
use plugpull_engine::ByteRange;
use plugpull_sim::disk::{DiscardContent, DiskSpec, FailedFlush, Model, OpKind};
use plugpull_sim::explore::Exploration;
use plugpull_sim::oracle::Finding;
use plugpull_sim::scenario::{AnyFault, Schedules};
use plugpull_sim::system::{Purpose, ReadDisks};
use plugpull_sim::verdict::{Invariant, ScenarioResult, Verdict};

use crate::toys::blocks::{Blocks, Flaw, flawed, recovering};
use crate::toys::log::log;
use crate::toys::register::{self, register};
use crate::toys::{Toy, assert_holds, clients, cross_checked, explored, only_cut, violated};

/// A recovery that looks at every one of 14 sectors, and finds something wrong where `wrong` says so
/// of those that were kept.
fn scan_all(wrong: impl Fn(&[bool]) -> bool + Send + Sync + Copy + 'static) -> Toy {
    recovering(14, move |disk| async move {
        let mut kept = Vec::new();
        for sector in 0..14 {
            kept.push(disk.is_kept(sector).await?);
        }
        Ok(wrong(&kept).then_some(0))
    })
}

fn at_most_100_ways() -> Exploration {
    let mut exploration = clients(["write 0 7K"]);
    exploration.explore.paths_max = 100;
    exploration.explore.recovery_crashes = 0;
    exploration
}

/// 100 ways depth first, and as many again that are near an extreme.
#[test]
fn a_scan_of_everything_is_incomplete_and_says_how_much_was_seen() {
    let result = explored(scan_all(|_| false), &at_most_100_ways());
    assert_eq!(result.verdict, Verdict::Incomplete);
    assert_eq!(
        result.incomplete,
        [
            "1 of 1 crash points have more ways through recovery than paths_max; taken were paths_max \
             ways and, in full, those with up to 1 answers other than everything kept, or other than \
             everything lost: 200 of their 16384 states seen"
        ]
    );
    assert!(!result.crashes.complete);
    assert!(!result.crashes.certificate);
}

#[test]
fn a_scan_of_everything_finds_what_is_near_an_extreme() {
    let one_lost = scan_all(|kept| (0..14).all(|at| kept[at] != (at == 7)));
    let result = explored(one_lost, &at_most_100_ways());
    let options = only_cut(violated(&result, Invariant::DOldnew));
    assert_eq!(options, (0..14).map(|at| usize::from(at != 7)).collect::<Vec<_>>());
    // The first sector is the last that the ways in their order would try.
    let one_kept = scan_all(|kept| (0..14).all(|at| kept[at] == (at == 0)));
    let result = explored(one_kept, &at_most_100_ways());
    let options = only_cut(violated(&result, Invariant::DOldnew));
    assert_eq!(options, (0..14).map(|at| usize::from(at == 0)).collect::<Vec<_>>());
}

/// It may be there all the same: that is what the verdict says.
#[test]
fn a_scan_of_everything_may_miss_what_is_far_from_both() {
    let every_third = |kept: &[bool]| (0..14).all(|at| kept[at] == (at % 3 == 0));
    let result = explored(scan_all(every_third), &at_most_100_ways());
    assert_eq!(result.verdict, Verdict::Incomplete);
    let mut enough = at_most_100_ways();
    enough.explore.paths_max = 1 << 14;
    violated(&explored(scan_all(every_third), &enough), Invariant::DOldnew);
}

/// The same table, of which recovery needs one entry.
#[test]
fn a_whole_structure_costs_a_way_for_each_combination_and_a_slice_costs_two() {
    let ways = |first: u64, count: u64| {
        let toy = recovering(12, move |disk| async move {
            disk.read(first, count).await?;
            Ok(None)
        });
        let mut exploration = clients(["write 0 6K"]);
        exploration.explore.recovery_crashes = 0;
        let result = explored(toy, &exploration);
        assert_holds(&result);
        assert_eq!(result.crashes.states, BigUint::from(4096_u32));
        result.crashes.recovery_paths
    };
    assert_eq!(ways(0, 12), 4096);
    assert_eq!(ways(7, 1), 2);
}

/// A record counts only if all before it do: a way for each place of the hole, not one for each
/// combination of lost sectors.
#[test]
fn a_log_that_stops_at_the_first_hole_costs_a_way_for_each_record() {
    let mut exploration = clients(["write 0 512, write 512 512, write 1K 512, write 1536 512"]);
    exploration.explore.recovery_crashes = 0;
    let result = cross_checked(log(4), &exploration);
    assert_holds(&result);
    assert_eq!(result.crashes.states, BigUint::from(256_u32));
    // The header or the content of one of four records is the first hole, or there is none.
    assert_eq!(result.crashes.recovery_paths, 2 * 4 + 1);
}

/// Thirty entries, each with a count that must be there if it is.
const ENTRIES: u64 = 30;

fn entry_without_count(disks: &mut dyn ReadDisks, entry: u64) -> bool {
    let mut kept = |sector: u64| {
        let bytes = disks.read(0, ByteRange::new(sector * 512, 512));
        bytes.iter().any(|byte| *byte != 0)
    };
    kept(entry) && !kept(ENTRIES + entry)
}

fn finding() -> Option<Finding> {
    let message = "an entry without its count".to_owned();
    Some(Finding { invariant: Invariant::FBitmap, message })
}

fn joint_oracle(exploration: &Exploration) -> ScenarioResult {
    let toy = flawed(2 * ENTRIES, Flaw::None).asking(|disks| {
        // All of them are looked at, as a sum over all would.
        let wrong = (0..ENTRIES).filter(|entry| entry_without_count(disks, *entry)).count();
        (wrong == 1).then(finding).flatten()
    });
    explored(toy, exploration)
}

fn decomposed_oracle(exploration: &Exploration) -> ScenarioResult {
    let toy = (0..ENTRIES).fold(flawed(2 * ENTRIES, Flaw::None), |toy, entry| {
        toy.asking(move |disks| entry_without_count(disks, entry).then(finding).flatten())
    });
    explored(toy, exploration)
}

/// The counts are written, flushed, and then the entries: it holds. One question about all of them
/// has too many answers; one question for each entry has four at most.
#[test]
fn a_joint_oracle_is_decomposed_into_questions() {
    let mut exploration = clients(["write 15K 15K, flush, write 0 15K"]);
    exploration.explore.paths_max = 1000;
    let result = decomposed_oracle(&exploration);
    assert_holds(&result);
    assert!(result.crashes.states >= BigUint::from(1_u64 << ENTRIES));

    let result = joint_oracle(&exploration);
    assert_eq!(result.verdict, Verdict::Incomplete);
    let why = &result.incomplete[0];
    assert!(why.contains("have more ways through a query or a session than paths_max"), "{why}");

    // Entry 6 and its count: at the earliest, the count is not even on its way.
    let unordered = clients(["write 3K 512, write 18K 512"]);
    let result = decomposed_oracle(&unordered);
    assert_eq!(only_cut(violated(&result, Invariant::FBitmap)), [1]);
}

/// That a question has too many answers keeps nothing else from being looked at.
#[test]
fn a_joint_oracle_that_is_too_large_hides_no_content() {
    let damaged = recovering(60, |disk| async move { Ok((!disk.is_kept(9).await?).then_some(3)) });
    let toy = damaged.asking(|disks| {
        (0..ENTRIES).filter(|entry| entry_without_count(disks, *entry)).count();
        None
    });
    let mut exploration = clients(["write 0 30K"]);
    exploration.explore.paths_max = 1000;
    violated(&explored(toy, &exploration), Invariant::DOldnew);
}

/// A mark is set and cleared again before anything is durable: that the last content is the first
/// one does not mean that nothing else may be there.
#[test]
fn a_content_that_comes_back_is_one_option_and_hides_no_other() {
    let toy = |flawed: bool| {
        Toy::new(1, 2, move |disk, runtime, purpose| async move {
            let marked = disk.number(1).await? == 1;
            if purpose == Purpose::Workload {
                for mark in [1, 0, 1, 0] {
                    disk.set_number(1, mark).await?;
                }
            }
            let damage = (flawed && marked).then_some(0);
            Ok(Blocks::new(&runtime.tracker(), disk, Flaw::None, damage))
        })
    };
    let mut exploration = clients(["read 0 512"]);
    exploration.explore.recovery_crashes = 0;
    let result = cross_checked(toy(false), &exploration);
    assert_holds(&result);
    assert_eq!(result.crashes.states, BigUint::from(2_u32));
    let result = cross_checked(toy(true), &exploration);
    assert_eq!(only_cut(violated(&result, Invariant::DOldnew)).len(), 1);
}

/// Two writes of the same sector by the guest are never the same content.
#[test]
fn guest_contents_do_not_come_back() {
    let mut exploration = clients(["write 0 512, write 0 512, write 0 512"]);
    exploration.explore.recovery_crashes = 0;
    let result = cross_checked(flawed(1, Flaw::None), &exploration);
    assert_holds(&result);
    assert_eq!(result.crashes.states, BigUint::from(4_u32));
}

/// What a discard leaves is up to the disk, and the search is exact for what it is said to leave.
#[test]
fn a_discard_leaves_what_the_disk_is_said_to_leave() {
    let result = |discard| {
        let toy = register(register::Flaw::DiscardsEarly);
        let toy = toy.on(DiskSpec { discard, ..DiskSpec::new("disk") });
        cross_checked(toy, &clients(["write 0 512, flush, write 0 512"]))
    };
    for &model in Model::ALL.iter().filter(|model| **model != Model::LyingFlush) {
        let toy = register(register::Flaw::DiscardsEarly);
        let disk = DiskSpec { model, discard: DiscardContent::Old, ..DiskSpec::new("disk") };
        let exploration = clients(["write 0 512, flush, write 0 512"]);
        assert_holds(&cross_checked(toy.on(disk), &exploration));
    }
    let zeros = result(DiscardContent::Zeros);
    assert!(violated(&zeros, Invariant::DDur).message.contains("reads as zeros"));
    let garbage = result(DiscardContent::Garbage);
    let message = &violated(&garbage, Invariant::DOldnew).message;
    assert!(message.contains("reads as unknown content starting db db"), "{message}");
}

/// Zeros and data in flight together: whichever completes last is what reads see, and either is what
/// a covering flush has made durable.
#[test]
fn a_covering_flush_leaves_either_of_two_overlapping_writes() {
    let mut exploration = clients(["write 0 512, flush"]);
    exploration.explore.schedules = Schedules::Fifo;
    let result = cross_checked(flawed(1, Flaw::ErasesWhileWriting), &exploration);
    let violation = violated(&result, Invariant::DDur);
    assert!(violation.message.contains("reads as zeros"), "{violation:?}");
    // With every order of completions it shows without a power cut.
    let live = clients(["write 0 512, read 0 512"]).expecting(Invariant::DRyw);
    let result = explored(flawed(1, Flaw::ErasesWhileWriting), &live);
    assert!(result.violations.iter().any(|found| found.invariant == Invariant::DRyw));
}

/// The same between two clients is what guests have to expect.
#[test]
fn either_of_two_overlapping_guest_writes_may_win() {
    let exploration = clients(["write 0 512, flush, read 0 512", "write 0 512, flush"]);
    assert_holds(&cross_checked(flawed(1, Flaw::None), &exploration));
}

/// A store that takes a flush for repaired because the next one succeeds.
#[test]
fn a_failed_flush_may_drop_what_it_did_not_cover() {
    let result = |failed_flush| {
        let toy = flawed(1, Flaw::None).on(DiskSpec { failed_flush, ..DiskSpec::new("disk") });
        let mut exploration = clients(["write 0 512, flush, flush"]);
        exploration.explore.faults.any =
            AnyFault { errors: 1, kinds: vec![OpKind::Flush], ..AnyFault::default() };
        cross_checked(toy, &exploration)
    };
    assert_holds(&result(FailedFlush::Keep));
    violated(&result(FailedFlush::Drop), Invariant::DDur);
}
