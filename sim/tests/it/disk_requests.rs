//! Requests and their ends apart from crash images: rejection, faults, bad sectors; and what a
//! crash space says about itself.

use plugpull_engine::{DiskError, DiskErrorKind, WriteFlags};
use plugpull_sim::disk::{
    CrashSpace, DiskSpec, DiskState, Fault, FaultEffect, FaultPlan, Image, Model, Op, OpKind,
    Outcome, RequestId, Which,
};

use super::disk_histories::{Player, choices};

fn id(number: u32) -> RequestId {
    RequestId::new(0, number)
}

fn disk(faults: FaultPlan) -> DiskState {
    DiskState::new(DiskSpec::new("test"), Image::zeroed(2048)).with_faults(faults)
}

fn write(offset: u64) -> Op {
    Op::Write { offset, data: [7; 512].into(), flags: WriteFlags::NONE }
}

fn read(offset: u64) -> Op {
    Op::Read { offset, len: 512 }
}

/// The outcomes of each request as one letter each; every request ends with the outcome that is
/// chosen by its place in the list.
fn outcomes(disk: &mut DiskState, requests: &[(Op, usize)]) -> Vec<String> {
    let mut all = Vec::new();
    for (number, (op, choice)) in requests.iter().enumerate() {
        let id = id(u32::try_from(number).unwrap());
        disk.submit(id, op.clone());
        let mut outcomes = disk.outcomes(id);
        let letters = outcomes.iter().map(|outcome| match outcome {
            Outcome::Done => 'D',
            Outcome::Failed(error) if error.kind == DiskErrorKind::NoSpace => 'N',
            Outcome::Failed(_) => 'F',
            Outcome::Misdirected { .. } => 'M',
            Outcome::Corrupted => 'C',
        });
        all.push(letters.collect());
        let _ = disk.complete(id, outcomes.swap_remove(*choice));
    }
    all
}

fn fault(on: OpKind, which: Which, effect: FaultEffect, permanent: bool) -> Fault {
    Fault { on, which, effect, permanent }
}

const EIO: FaultEffect = FaultEffect::Fail(DiskErrorKind::Io);
const ENOSPC: FaultEffect = FaultEffect::Fail(DiskErrorKind::NoSpace);

#[test]
fn faults_hit_what_the_plan_says() {
    use OpKind::{Flush, Read, Resize, Write};
    use Which::{Any, Nth};
    let w = |choice| (write(0), choice);
    let r = |choice| (read(0), choice);
    let f = |choice| (Op::Flush, choice);
    type Case<'a> = (Vec<Fault>, u32, Vec<(Op, usize)>, &'a [&'a str]);
    let cases: Vec<Case<'_>> = vec![
        (vec![], 9, vec![w(0), r(0), f(0)], &["D", "D", "D"]),
        (
            vec![fault(Write, Nth(2), EIO, false)],
            0,
            vec![w(0), r(0), w(0), w(0)],
            &["D", "D", "F", "D"],
        ),
        (
            vec![fault(Write, Nth(2), EIO, true)],
            0,
            vec![w(0), w(0), f(0), w(0)],
            &["D", "F", "D", "F"],
        ),
        (vec![fault(Flush, Any, EIO, false)], 1, vec![f(0), f(1), f(0)], &["DF", "DF", "D"]),
        (vec![fault(Flush, Any, EIO, false)], 2, vec![f(1), f(1), f(0)], &["DF", "DF", "D"]),
        (
            vec![fault(Write, Any, ENOSPC, true)],
            1,
            vec![w(0), w(1), w(0), r(0)],
            &["DN", "DN", "N", "D"],
        ),
        (
            vec![
                fault(Write, Any, EIO, false),
                fault(Write, Any, ENOSPC, false),
                fault(Write, Any, FaultEffect::Corrupt, false),
                fault(Write, Any, FaultEffect::Misdirect { shift: 512 }, false),
                fault(Read, Any, FaultEffect::Corrupt, false),
                fault(Read, Any, FaultEffect::Misdirect { shift: 512 }, false),
                fault(Flush, Any, FaultEffect::Corrupt, false),
            ],
            1,
            vec![w(0), r(0), f(0), w(3), w(0)],
            &["DFNCM", "DC", "D", "DFNCM", "D"],
        ),
        (
            vec![fault(Resize, Nth(1), ENOSPC, false)],
            0,
            vec![(Op::Resize { len: 4096 }, 0), (Op::Resize { len: 4096 }, 0)],
            &["N", "D"],
        ),
    ];
    for (faults, budget, requests, expected) in cases {
        let plan = FaultPlan { faults, budget, bad_sectors: Vec::new() };
        assert_eq!(outcomes(&mut disk(plan.clone()), &requests), expected, "{plan:?}");
    }
}

#[test]
fn a_bad_sector_cannot_be_read_until_it_is_rewritten() {
    let plan = FaultPlan { bad_sectors: vec![1, 2], ..FaultPlan::default() };
    let mut disk = disk(plan);
    let all = Op::Read { offset: 0, len: 2048 };
    let requests = [
        (read(0), 0),
        (read(512), 0),
        (all.clone(), 0),
        (write(512), 0),
        (read(512), 0),
        (all.clone(), 0),
        (Op::Discard { offset: 1024, len: 512 }, 0),
        (all, 0),
    ];
    assert_eq!(outcomes(&mut disk, &requests), ["D", "F", "F", "D", "D", "F", "D", "D"]);
    assert!(disk.bad_sectors().is_empty());
}

#[test]
fn a_request_that_is_out_of_range_changes_nothing() {
    let mut disk = disk(FaultPlan { budget: 1, ..FaultPlan::default() });
    for (number, op) in
        [write(2048), Op::Discard { offset: 1536, len: 1024 }].into_iter().enumerate()
    {
        let id = id(u32::try_from(number).unwrap());
        disk.submit(id, op);
        assert_eq!(disk.outcomes(id), [Outcome::Done]);
        let error = disk.complete(id, Outcome::Done).unwrap_err();
        assert_eq!(error.kind, DiskErrorKind::OutOfRange);
    }
    let mut spec = DiskSpec::new("fixed");
    spec.resizable = false;
    let mut disk = DiskState::new(spec, Image::zeroed(512));
    disk.submit(id(0), Op::Resize { len: 1024 });
    let error = disk.complete(id(0), Outcome::Done).unwrap_err();
    assert_eq!(error.kind, DiskErrorKind::OutOfRange);
    assert_eq!(disk.len(), 512);
    assert_eq!(disk.crash_space().raw_states(), 1_u32.into());
}

#[test]
fn a_read_sees_the_cache_at_the_moment_it_completes_and_zeros_past_the_end() {
    let mut disk = disk(FaultPlan::default());
    disk.submit(id(0), Op::Read { offset: 1536, len: 1024 });
    disk.submit(id(1), write(1536));
    assert_eq!(disk.in_flight().map(|(id, _)| id).collect::<Vec<_>>(), [id(0), id(1)]);
    disk.complete(id(1), Outcome::Done).unwrap();
    let data = disk.complete(id(0), Outcome::Done).unwrap();
    assert_eq!(data, [[7; 512], [0; 512]].concat());
    disk.submit(id(2), Op::Read { offset: 1536, len: 2 });
    assert_eq!(disk.complete(id(2), Outcome::Corrupted).unwrap(), [!7, 7]);
}

/// Every variable with its options, as reports print them.
fn described(space: &CrashSpace) -> Vec<String> {
    let variables = (0..space.variables()).map(|variable| {
        let options = (0..space.options(variable)).map(|option| space.describe(variable, option));
        format!("{}: {}", space.label(variable), options.collect::<Vec<_>>().join(" | "))
    });
    variables.collect()
}

#[test]
fn a_crash_space_says_what_each_option_loses() {
    let cases: &[(&str, &str, &str, &[&str])] = &[
        (
            "writeback",
            "ABC",
            "write 0 XY; write 1 Z; submit f flush",
            &[
                "sector 0: c0.0 lost | c0.0 kept",
                "sector 1: c0.0 lost, c0.1 lost | c0.0 kept, c0.1 lost | c0.1 kept",
            ],
        ),
        (
            "writeback",
            "A",
            "write 0 X; write 0 A",
            &["sector 0: c0.0 lost, c0.1 lost | c0.0 kept, c0.1 lost"],
        ),
        (
            "writeback",
            "A",
            "resize 2; write 1 X",
            &[
                "length: 512 bytes, durable | 1024 bytes, set by c0.0",
                "sector 1: c0.1 lost | c0.1 kept",
            ],
        ),
        (
            "writeback",
            "AB",
            "write 0 X; submit p write 1 Y preflush",
            &[
                "preflush of c0.1: not done | done",
                "sector 0: c0.0 lost | c0.0 kept",
                "sector 1: c0.1 lost | c0.1 kept",
            ],
        ),
        (
            "writeback tear=256",
            "AA",
            "write 0 XX",
            &["sector 0: c0.0 lost | c0.0 kept | c0.0 kept, torn inside | c0.0 kept, torn inside"],
        ),
        (
            "ordered",
            "AB",
            "write 0 XY; write 1 Z",
            &[
                "cut: cut before sector 0 of c0.0 | cut before sector 1 of c0.0 | cut before sector 1 of c0.1 | everything kept",
            ],
        ),
        (
            "atomic-write",
            "A",
            "write 0 X; submit a write 0 Y; submit b write 0 Z",
            &[
                "write c0.0: lost | kept",
                "write c0.1: lost | kept",
                "write c0.2: lost | kept",
                "order of c0.1, c0.2: c0.1, c0.2 | c0.2, c0.1",
            ],
        ),
    ];
    for &(spec, start, steps, expected) in cases {
        let mut player = Player::new(spec, start);
        player.play(steps);
        let space = player.disk.crash_space();
        assert_eq!(described(&space), expected, "{spec}: {steps}");
        let states = choices(&space).count();
        assert_eq!(space.raw_states(), states.into(), "{spec}: {steps}");
    }
}

#[test]
fn a_complete_choice_is_described_in_its_own_context() {
    let mut player = Player::new("writeback", "AB");
    player.play("write 0 X; submit p write 1 Y preflush");
    let space = player.disk.crash_space();
    let lost = space.describe_choice(&space.all_lost());
    assert_eq!(
        lost,
        ["preflush of c0.1: not done", "sector 0: c0.0 lost", "sector 1: durable content"]
    );
    assert_eq!(space.sector(0), None);
    assert_eq!(space.sector(1), Some(0));
}

#[test]
fn the_key_of_a_crash_space_is_that_of_its_images_and_not_of_their_history() {
    let key = |steps: &str| {
        let mut player = Player::new("writeback", "AB");
        player.play(steps);
        player.disk.crash_space().key()
    };
    assert_eq!(key(""), key("write 0 A; flush; write 1 B"));
    assert_eq!(key("write 0 X"), key("submit a write 0 X"));
    assert_eq!(key("write 0 X; write 0 Y"), key("write 0 Y; write 0 X"));
    assert_ne!(key("write 0 X"), key("write 1 X"));
    assert_ne!(key("write 0 X"), key("write 0 X; flush"));
    assert_ne!(key(""), key("resize 3"));
}

#[test]
fn names_of_disks_round_trip() {
    for &model in Model::ALL {
        assert_eq!(model.to_string().parse(), Ok(model));
    }
    let error = "writeboth".parse::<Model>().unwrap_err();
    let expected =
        "`writeboth` is not one of writeback, writethrough, ordered, atomic-write, lying-flush";
    assert_eq!(error.to_string(), expected);
    assert_eq!(DiskSpec::new("image").to_string(), "writeback/512");
}

#[test]
fn disks_and_crash_spaces_can_go_to_worker_threads() {
    fn send<T: Send>() {}
    fn shared<T: Send + Sync>() {}
    send::<DiskState>();
    shared::<CrashSpace>();
}

#[test]
fn a_disk_without_cuts_has_the_same_replies() {
    let done = |op| (op, Outcome::Done);
    let steps = [
        done(write(0)),
        done(Op::Flush),
        (write(512), Outcome::Misdirected { shift: 512 }),
        (write(1536), Outcome::Corrupted),
        done(Op::Discard { offset: 0, len: 512 }),
        done(Op::Resize { len: 4096 }),
        done(write(3584)),
        (write(0), Outcome::Failed(DiskError::new(DiskErrorKind::Io, "fault"))),
        done(Op::Resize { len: 1024 }),
        done(write(3584)),
        done(Op::Read { offset: 0, len: 4096 }),
    ];
    let models = [Model::Writeback, Model::Writethrough, Model::Ordered, Model::AtomicWrite];
    for model in models.into_iter().chain([Model::LyingFlush]) {
        let spec = DiskSpec { model, resizable: true, ..DiskSpec::new("test") };
        let mut full = DiskState::new(spec, Image::zeroed(2048));
        let mut plain = full.clone().without_cuts();
        for (number, (op, outcome)) in (0..).zip(&steps) {
            full.submit(id(number), op.clone());
            plain.submit(id(number), op.clone());
            let reply = full.complete(id(number), outcome.clone());
            assert_eq!(plain.complete(id(number), outcome.clone()), reply, "{model:?}: {op:?}");
            assert_eq!(plain.visible(), full.visible(), "{model:?}: {op:?}");
        }
    }
}
