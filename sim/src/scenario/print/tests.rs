use std::time::Duration;

use plugpull_engine::DiskErrorKind;
use plugpull_engine::fvd::planted::Bug;
use plugpull_engine::qcow2;
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::*;
use crate::disk::{Fault, Model, OpKind};
use crate::exec::{ChoiceKind, Trace, TracedChoice};
use crate::scenario::{CompactSpec, DiskLeft, Expect, Faults, Left};
use crate::verdict::Invariant;
use crate::workload::SetupOp;

const SIZE: u64 = 1 << 20;

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-zA-Z ,.'\"\\\\]{1,40}", "\\PC{1,20}", Just("tab\tline\nbell\u{7}".to_owned())]
        .prop_filter("not blank", |text| !text.trim().is_empty())
}

fn sectors(max: u64) -> impl Strategy<Value = u64> {
    (1..=max / 512).prop_map(|sectors| sectors * 512)
}

fn place() -> impl Strategy<Value = (u64, u64)> {
    (0..SIZE / 1024, 1..=SIZE / 1024).prop_map(|(first, count)| (first * 512, count * 512))
}

fn guest_op() -> impl Strategy<Value = GuestOp> {
    prop_oneof![
        place().prop_map(|(offset, len)| GuestOp::Write { offset, len }),
        place().prop_map(|(offset, len)| GuestOp::Read { offset, len }),
        Just(GuestOp::Flush),
        Just(GuestOp::Close),
        Just(GuestOp::WaitForJobs),
        (0..5_000_000u64).prop_map(|micros| GuestOp::Sleep(Duration::from_micros(micros))),
    ]
}

fn setup_op() -> impl Strategy<Value = SetupOp> {
    prop_oneof![
        guest_op().prop_map(SetupOp::Guest),
        Just(SetupOp::Reopen),
        Just(SetupOp::ReopenReadonly),
        Just(SetupOp::Kill),
        (1..100_000u64).prop_map(|sectors| SetupOp::Grow(sectors * 512)),
        (0..1_u32 << 25, vec(any::<u8>(), 1..20)).prop_map(|(offset, bytes)| {
            SetupOp::Poke { disk: "image".to_owned(), offset: offset.into(), bytes }
        }),
    ]
}

fn milliseconds() -> impl Strategy<Value = Duration> {
    (1..100_000u64).prop_map(Duration::from_millis)
}

fn prefetch() -> impl Strategy<Value = PrefetchSpec> {
    let throttle =
        (milliseconds(), milliseconds(), 0..=100u32, any::<u32>(), any::<u32>(), milliseconds())
            .prop_map(|(read_measure, write_measure, alpha, min_read, min_write, pause)| {
                ThrottleSpec { read_measure, write_measure, alpha, min_read, min_write, pause }
            });
    (1..1000u32, 1..9u32, sectors(SIZE), of(throttle)).prop_map(
        |(start_delay, slots, bytes, throttle)| PrefetchSpec {
            start_delay,
            slots,
            bytes,
            throttle,
        },
    )
}

fn base(compact: bool) -> impl Strategy<Value = BaseSpec> {
    let rest = (any::<bool>(), 0..4_000_000u64, of(prefetch()), of(sectors(SIZE)));
    let hole = (0..100u64, 1..100u64).prop_map(|(a, b)| ByteRange::new(a * 512, b * 512));
    let len = prop_oneof![Just(SIZE), (200..4000u64).prop_map(|sectors| sectors * 512)];
    (len, vec(hole, 0..3), sectors(SIZE), rest).prop_map(move |(len, holes, block, rest)| {
        let (copy_on_read, max_copy_on_read, prefetch, detect_holes) = rest;
        let detect_holes = detect_holes.filter(|_| !compact);
        let pattern = PatternSpec { len, holes };
        BaseSpec { pattern, block, copy_on_read, max_copy_on_read, prefetch, detect_holes }
    })
}

fn fvd(access: Access) -> impl Strategy<Value = FvdSpec> {
    let compact = (1..9u64, 0..3u64).prop_map(|(pages, more)| {
        let chunk = pages * 4096;
        CompactSpec { chunk, grow_unit: chunk + more * 512 }
    });
    let maps = of(compact)
        .prop_flat_map(|compact| (Just(compact), of(base(compact.is_some())), of(1..9u64)));
    let rest = (
        (any::<bool>(), any::<bool>()),
        select(vec![StorageContent::Zero, StorageContent::OldContent]),
        vec(setup_op(), 0..12),
        subsequence(Bug::ALL, 0..3).prop_shuffle(),
    );
    (maps, rest).prop_map(move |((compact, base, journal), rest)| {
        let ((data_file, damaged), storage, setup, planted) = rest;
        let has_map = compact.is_some() || base.is_some();
        let journal = journal.filter(|_| has_map).map(|pages| pages * 4096);
        FvdSpec {
            size: SIZE,
            compact,
            base,
            journal,
            data_file,
            storage,
            access,
            setup,
            damaged,
            planted,
        }
    })
}

fn disk() -> impl Strategy<Value = DiskSpec> {
    let sector = (select(vec![512usize, 4096]), of(select(vec![1usize, 64, 256])));
    (
        select(Model::ALL),
        sector,
        select(DiscardContent::ALL),
        select(FailedFlush::ALL),
        (any::<bool>(), 0..5_000_000u64),
    )
        .prop_map(|(model, (sector_len, tear), discard, failed_flush, rest)| DiskSpec {
            model,
            sector_len,
            tear,
            discard,
            failed_flush,
            resizable: rest.0,
            latency: Duration::from_micros(rest.1),
            ..DiskSpec::new("")
        })
}

/// An image with requests that its clusters of 4 KiB allow.
fn qcow2(access: Access) -> impl Strategy<Value = Qcow2Spec> {
    let hole = (0..100u64, 1..100u64).prop_map(|(a, b)| ByteRange::new(a * 512, b * 512));
    let len = prop_oneof![Just(SIZE), (200..4000u64).prop_map(|sectors| sectors * 512)];
    let backing = (len, vec(hole, 0..3)).prop_map(|(len, holes)| PatternSpec { len, holes });
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    let tables = (0..3u32, 0..7u32, 9..22u32, 1..9999u32, of(9..27u32));
    let rest = (
        select(vec![StorageContent::Zero, StorageContent::OldContent]),
        vec(setup_op(), 0..12),
        subsequence(qcow2::planted::Bug::ALL, 0..3).prop_shuffle(),
    );
    (of(backing), flags, tables, rest).prop_map(move |(backing, flags, tables, rest)| {
        let (lazy_refcounts, data_file, discards, damaged) = flags;
        let (kind, refcount_order, slice_bits, cache, granularity_bits) = tables;
        let (storage, mut setup, planted) = rest;
        setup.retain(|op| !matches!(op, SetupOp::Grow(_)));
        let new = kind > 0;
        Qcow2Spec {
            size: SIZE,
            version: if new { 3 } else { 2 },
            cluster: if kind == 2 { 64 << 10 } else { 4 << 10 },
            refcount_bits: if new { 1 << refcount_order } else { 16 },
            backing,
            lazy_refcounts: lazy_refcounts && new,
            compression: if kind == 2 { Compression::Zstd } else { Compression::Deflate },
            extended_l2: kind == 2,
            data_file: data_file && new,
            discards,
            bitmap: granularity_bits.filter(|_| new).map(|bits| 1 << bits),
            slice: 1 << slice_bits,
            cache,
            storage,
            access,
            setup,
            damaged,
            planted,
        }
    })
}

fn system(access: Access) -> impl Strategy<Value = SystemSpec> {
    prop_oneof![fvd(access).prop_map(SystemSpec::Fvd), qcow2(access).prop_map(SystemSpec::Qcow2),]
}

/// The disks of a system: its names and promises, and otherwise anything.
fn disks(system: &SystemSpec) -> impl Strategy<Value = Vec<DiskSpec>> + use<> {
    let names = system.disk_names();
    let storage = system.data_disk();
    let zero = system.storage() == StorageContent::Zero;
    vec(disk(), names.len()).prop_map(move |mut disks| {
        for (disk, name) in disks.iter_mut().zip(&names) {
            (*name).clone_into(&mut disk.name);
            disk.zero_init = *name != storage || zero;
        }
        disks
    })
}

fn any_faults(disks: Vec<String>) -> impl Strategy<Value = AnyFault> {
    let kinds = KINDS.map(|(_, kind)| kind).to_vec();
    let errors = ERRORS.map(|(_, error)| error).to_vec();
    let count = disks.len();
    let lists =
        (subsequence(kinds, 1..=5), subsequence(errors, 1..=2), subsequence(disks, 0..=count));
    (0..3u32, lists, any::<bool>()).prop_map(|(errors, (kinds, error, disks), permanent)| {
        if errors == 0 {
            AnyFault::default()
        } else {
            AnyFault { errors, kinds, error, permanent, disks }
        }
    })
}

fn placed(disks: Vec<String>, budget: u32) -> impl Strategy<Value = PlacedFault> {
    let fail = select(vec![DiskErrorKind::Io, DiskErrorKind::NoSpace]).prop_map(FaultEffect::Fail);
    let case = prop_oneof![
        (select(KINDS.map(|(_, kind)| kind).to_vec()), fail),
        (select(vec![OpKind::Read, OpKind::Write]), Just(FaultEffect::Corrupt)),
        // A multiple of any disk's sector.
        sectors(SIZE)
            .prop_map(|shift| (OpKind::Write, FaultEffect::Misdirect { shift: shift * 8 })),
    ];
    let which = (1..9u32, any::<bool>())
        .prop_map(move |(nth, any)| if any && budget > 0 { Which::Any } else { Which::Nth(nth) });
    let request = (case, which, any::<bool>()).prop_map(|((on, effect), which, permanent)| {
        PlacedFaultKind::Request(Fault { on, which, effect, permanent })
    });
    let kind = prop_oneof![request, (0..2000u64).prop_map(PlacedFaultKind::BadSector)];
    (select(disks), kind).prop_map(|(disk, kind)| PlacedFault { disk, kind })
}

fn explore(disks: Vec<String>) -> impl Strategy<Value = Explore> {
    let drawn = || (1..1000u64, 0..u64::MAX / 2);
    let schedules = prop_oneof![
        Just(Schedules::Exhaustive(Reduction::Chosen)),
        select(REDUCTIONS.map(|(_, it)| it).to_vec()).prop_map(Schedules::Exhaustive),
        (0..100u32).prop_map(Schedules::Delays),
        Just(Schedules::Fifo),
        (drawn(), select(DRAWS.map(|(_, by)| by).to_vec()))
            .prop_map(|((count, seed), by)| Schedules::Random { count, seed, by }),
    ];
    let crashes = prop_oneof![
        Just(Crashes::Exact),
        Just(Crashes::None),
        drawn().prop_map(|(count, seed)| Crashes::Sampled { count, seed }),
    ];
    let paths_max = prop_oneof![Just(Explore::PATHS_MAX), 1..u64::MAX / 2];
    let ready = select(READY.map(|(_, ready)| ready).to_vec());
    let faults = any_faults(disks.clone()).prop_flat_map(move |any| {
        let placed = vec(placed(disks.clone(), any.errors), 0..3);
        placed.prop_map(move |placed| Faults { any: any.clone(), placed })
    });
    (schedules, ready, crashes, 0..3u32, paths_max, faults, (0..3u32, 0..3u32)).prop_map(
        |(schedules, ready, crashes, recovery_crashes, paths_max, faults, counts)| Explore {
            schedules,
            ready,
            crashes,
            recovery_crashes,
            paths_max,
            unreadable: if crashes == Crashes::Exact { counts.1 } else { 0 },
            faults,
            cancel: counts.0,
        },
    )
}

fn replay(disks: Vec<String>) -> impl Strategy<Value = Replay> {
    let choice = (select(vec![ChoiceKind::Event, ChoiceKind::Coin]), 0..9usize, text())
        .prop_map(|(kind, index, label)| TracedChoice { kind, index, label });
    let left =
        (text(), 0..4usize, 1..4usize, text()).prop_map(|(variable, option, more, label)| Left {
            variable,
            option,
            of: option + more,
            label,
        });
    let left = vec((vec(left, 0..3), vec(0..99u64, 0..3)), disks.len());
    let cut = (1..4u32, 0..1000u64, left).prop_map(move |(session, at, left)| PowerCut {
        session,
        at,
        disks: disks
            .iter()
            .cloned()
            .zip(left)
            .map(|(disk, (left, unreadable))| DiskLeft { disk, left, unreadable })
            .collect(),
    });
    (select(Invariant::ALL), text(), vec(choice, 0..4), vec(cut, 0..3)).prop_map(
        |(invariant, message, choices, crashes)| Replay {
            invariant,
            message,
            trace: Trace::new(choices),
            crashes,
        },
    )
}

fn expect() -> impl Strategy<Value = Expect> {
    let all = Invariant::ALL.iter().copied();
    let explored: Vec<Invariant> = all.filter(|invariant| invariant.is_explored()).collect();
    let verdict = prop_oneof![
        Just(Expected::Holds),
        select(explored).prop_map(Expected::Violated),
        Just(Expected::Incomplete),
    ];
    let goals = vec!["journal-recycled", "copied-on-read", "lock-wait"];
    (verdict, subsequence(goals, 0..=3)).prop_map(|(verdict, reach)| Expect {
        verdict,
        reach: reach.into_iter().map(str::to_owned).collect(),
    })
}

fn scenario() -> impl Strategy<Value = Scenario> {
    select(vec![Access::ReadWrite, Access::ReadOnly])
        .prop_flat_map(system)
        .prop_flat_map(|system| {
            let disks = disks(&system);
            (Just(system), disks)
        })
        .prop_flat_map(|(system, disks)| {
            let names: Vec<String> = disks.iter().map(|disk| disk.name.clone()).collect();
            let reads_only = system.access() == Access::ReadOnly;
            let op = guest_op().prop_filter("no writes", move |op| !(reads_only && op.changes()));
            let op = op.boxed();
            let client =
                (vec(op.clone(), 1..9), 1..4u32).prop_map(|(ops, repeat)| Client { ops, repeat });
            let work = (vec(client, 0..3), vec(vec(op, 0..4), 0..3));
            let bounds = (explore(names.clone()), expect(), of(replay(names)));
            (text(), work, bounds).prop_map(move |(claim, (clients, after), bounds)| {
                let (explore, expect, replay) = bounds;
                Scenario {
                    claim,
                    system: system.clone(),
                    disks: disks.clone(),
                    clients,
                    after,
                    explore,
                    expect,
                    replay,
                }
            })
        })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_printed_reads_back_and_prints_the_same(scenario in scenario()) {
        let text = scenario.to_toml();
        let read = Scenario::parse("x.toml", &text);
        prop_assert!(read.is_ok(), "{}\n{text}", read.unwrap_err());
        let read = read.unwrap();
        prop_assert_eq!(&read, &scenario, "{}", text);
        prop_assert_eq!(read.to_toml(), text);
    }
}

#[test]
fn texts_are_quoted() {
    assert_eq!(quoted("a \"b\" \\ \n\t\u{1}"), r#""a \"b\" \\ \n\t\u0001""#);
}

#[test]
fn long_lists_go_one_item_a_line() {
    let mut printer = Printer(String::new());
    printer.list("ops", (0..3).map(|_| quoted("x")));
    assert_eq!(printer.0, "ops = [\"x\", \"x\", \"x\"]\n");
    let mut printer = Printer(String::new());
    printer.list("ops", (0..2).map(|_| quoted(&"x".repeat(50))));
    assert_eq!(printer.0.lines().count(), 4);
}
