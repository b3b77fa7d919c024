//! What each method names is all that decides its answer and all that it changes, and methods that
//! do not conflict commute: on random maps, random geometries with blocks and chunks of any size.

use proptest::prelude::*;

use super::super::bitmap::Bitmap;
use super::super::geometry::{BaseGeometry, CompactGeometry};
use super::super::table::Table;
use super::*;
use crate::sync::recorder::{Recorded, Recorder};

/// Guest sectors at most, and with that blocks and chunks.
const MOST: usize = 24;

/// What maps may hold, as far as a geometry has blocks and chunks for it.
#[derive(Debug, Clone)]
struct Content {
    /// Whether a block is fresh, and if so stale.
    blocks: Vec<(bool, bool)>,
    /// Whether a chunk is mapped, to which of four places of its own, and whether it is journaled.
    chunks: Vec<(bool, u32, bool)>,
    /// Whether the changed sectors were taken.
    taken: bool,
}

/// One use of the maps; ranges as two numbers of sectors that are cut to the virtual disk.
type Use = (Kind, (u64, u64));

#[derive(Debug, Clone, Copy)]
enum Kind {
    Lookup,
    PlanLock,
    PlanWrite,
    Missing,
    IsMissing,
    NextMissing,
    Unmapped,
    Runs,
    JournalUpdate,
    Publish,
    PublishGuaranteed,
    Guarantee,
    GuaranteeWritten,
    GiveBack,
    HaveChanged,
    TakeChanged,
    Fill,
    MarkAllUsed,
    Copy,
}

const KINDS: [Kind; 19] = [
    Kind::Lookup,
    Kind::PlanLock,
    Kind::PlanWrite,
    Kind::Missing,
    Kind::IsMissing,
    Kind::NextMissing,
    Kind::Unmapped,
    Kind::Runs,
    Kind::JournalUpdate,
    Kind::Publish,
    Kind::PublishGuaranteed,
    Kind::Guarantee,
    Kind::GuaranteeWritten,
    Kind::GiveBack,
    Kind::HaveChanged,
    Kind::TakeChanged,
    Kind::Fill,
    Kind::MarkAllUsed,
    Kind::Copy,
];

/// A use with everything that its caller would have found out before.
#[derive(Debug, Clone)]
struct Prepared {
    kind: Kind,
    range: ByteRange,
    new: Vec<NewChunk>,
    update: Update,
    snapshot: MapsSnapshot,
}

fn geometry((virtual_size, base, block, chunk): (u64, u64, u64, u64)) -> Geometry {
    let [virtual_size, base, block_len, chunk_len] =
        [virtual_size, base.min(virtual_size), block, chunk].map(|sectors| sectors * SECTOR);
    let table = ByteRange::new(12288, 4096);
    let entries = |chunk_len| u32::try_from(virtual_size.div_ceil(chunk_len)).unwrap();
    Geometry {
        virtual_size,
        data_offset: 1 << 20,
        separate_data: false,
        need_zero_init: false,
        base: (base > 0).then(|| BaseGeometry {
            len: base,
            block_len,
            bitmap: ByteRange::new(8192, 4096),
            blocks: base.div_ceil(block_len),
        }),
        compact: (chunk > 0).then(|| CompactGeometry {
            chunk_len,
            table,
            entries: entries(chunk_len),
            grow_unit: chunk_len,
        }),
        journal: None,
    }
}

fn maps(geometry: &Geometry, content: &Content) -> Maps {
    let blocks = geometry.base.as_ref().map_or(0, |base| base.blocks);
    let entries = geometry.compact.as_ref().map_or(0, |compact| compact.entries);
    let bitmap = Bitmap::new(blocks, if blocks > 0 { 4096 } else { 0 });
    let mut maps = Maps::loaded(bitmap, Table::new(entries));
    for (block, &(fresh, stale)) in (0..blocks).zip(&content.blocks) {
        if fresh {
            maps.fresh.set_range(block..block + 1);
        }
        if fresh && stale {
            maps.stale.set_range(block..block + 1);
        }
    }
    for (chunk, &(mapped, place, journaled)) in (0..entries).zip(&content.chunks) {
        if mapped {
            maps.table.insert(chunk, 8 * chunk + place);
        }
        if mapped && journaled {
            maps.table.mark_journaled(chunk..chunk + 1);
        }
    }
    if content.taken {
        maps.take_changed();
    }
    maps
}

/// The content with everything from `other` that shares no byte with `part`.
fn changed_outside(
    geometry: &Geometry,
    content: &Content,
    other: &Content,
    part: &Range<u64>,
) -> Content {
    let mut changed = other.clone();
    for (block, it) in (0..).zip(&mut changed.blocks).take_while(|it| it.0 < blocks(geometry)) {
        if overlaps(geometry.block_range(block..block + 1), part) {
            *it = content.blocks[usize::try_from(block).unwrap()];
        }
    }
    for (chunk, it) in (0..).zip(&mut changed.chunks).take_while(|it| it.0 < chunks(geometry)) {
        if overlaps(geometry.chunk_range(chunk..chunk + 1), part) {
            *it = content.chunks[chunk as usize];
        }
    }
    changed
}

fn blocks(geometry: &Geometry) -> u64 {
    geometry.blocks(geometry.guest_range()).end
}

fn chunks(geometry: &Geometry) -> u32 {
    geometry.chunks(geometry.guest_range()).end
}

fn overlaps(range: ByteRange, part: &Range<u64>) -> bool {
    range.offset.max(part.start) < range.end().min(part.end)
}

fn is_within(range: ByteRange, part: &Range<u64>) -> bool {
    part.start <= range.offset && range.end() <= part.end
}

fn prepare(geometry: &Geometry, maps: &Maps, (kind, (start, len)): Use) -> Prepared {
    let sectors = geometry.virtual_size / SECTOR;
    let start = start % sectors;
    let range = ByteRange::new(start * SECTOR, (1 + len % (sectors - start)) * SECTOR);
    let unmapped = geometry.chunks(range).filter(|&chunk| maps.table.get(chunk).is_none());
    Prepared {
        kind,
        range,
        new: unmapped
            .map(|chunk| NewChunk { chunk, physical: 8 * chunk + 4, zero_from: u64::MAX })
            .collect(),
        update: plan_update(geometry, range, |chunk| maps.table.raw(chunk)),
        snapshot: maps.clone().take_changed(),
    }
}

/// Runs one use as a step of a task.
fn run(recorder: &Recorder, shared: &SharedMaps, prepared: &Prepared) -> Recorded {
    let Prepared { kind, range, new, update, snapshot } = prepared;
    let range = *range;
    let step = || match kind {
        Kind::Lookup => drop(shared.lookup(range)),
        Kind::PlanLock => _ = shared.plan_lock(range, PlantedBugs::NONE),
        Kind::PlanWrite => drop(shared.plan_write(range, PlantedBugs::NONE)),
        Kind::Missing => drop(shared.missing(range)),
        Kind::IsMissing => {
            shared.geometry.blocks(range).for_each(|block| _ = shared.is_missing(block));
        }
        Kind::NextMissing => {
            let blocks = shared.geometry.blocks(range);
            _ = shared.next_missing(blocks.start, 3);
        }
        Kind::Unmapped => drop(shared.unmapped(range)),
        Kind::Runs => drop(shared.runs(range, new)),
        Kind::JournalUpdate => drop(shared.journal_update(range, |_| true)),
        Kind::Publish | Kind::PublishGuaranteed => {
            let guaranteed = matches!(kind, Kind::PublishGuaranteed);
            let blocks = shared.geometry.blocks(range);
            shared.publish(&Published { range, blocks, new, guaranteed });
        }
        Kind::Guarantee => shared.guarantee(update),
        Kind::GuaranteeWritten => shared.guarantee_written(snapshot),
        Kind::GiveBack => shared.give_back(snapshot),
        Kind::HaveChanged => _ = shared.have_changed(),
        Kind::TakeChanged => drop(shared.take_changed()),
        Kind::Fill => shared.fill(),
        Kind::MarkAllUsed => shared.mark_all_used(),
        Kind::Copy => drop(shared.copy()),
    };
    recorder.step(1, step).1
}

/// Runs uses one after the other; what was told of each, and the maps in the end.
fn run_all<const N: usize>(
    geometry: &Geometry,
    maps: &Maps,
    uses: [&Prepared; N],
) -> ([Recorded; N], Maps) {
    let (recorder, tracker) = Recorder::new();
    let shared = SharedMaps::new(&tracker, geometry.clone(), maps.clone());
    let told = uses.map(|prepared| run(&recorder, &shared, prepared));
    (told, shared.copy())
}

/// The accesses of one use never name more than this together.
fn part_of(told: &Recorded) -> Range<u64> {
    let parts = told.accesses.iter().map(|(_, part, _)| part.clone());
    parts.filter(|part| !part.is_empty()).fold(0..0, |all, part| {
        if all.is_empty() { part } else { all.start.min(part.start)..all.end.max(part.end) }
    })
}

fn content() -> impl Strategy<Value = Content> {
    let blocks = prop::collection::vec((any::<bool>(), any::<bool>()), MOST);
    let chunks = prop::collection::vec((any::<bool>(), 0_u32..4, any::<bool>()), MOST);
    (blocks, chunks, any::<bool>()).prop_map(|(blocks, chunks, taken)| Content {
        blocks,
        chunks,
        taken,
    })
}

fn sizes() -> impl Strategy<Value = (u64, u64, u64, u64)> {
    (1..=MOST as u64, 0..=MOST as u64, 1_u64..6, 0_u64..6)
}

fn any_use() -> impl Strategy<Value = Use> {
    (prop::sample::select(&KINDS[..]), (0..MOST as u64, 0_u64..6))
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        cases: 4000,
        ..ProptestConfig::default()
    })]

    #[test]
    fn only_the_part_decides_and_changes(
        sizes in sizes(),
        content in content(),
        other in content(),
        used in any_use(),
    ) {
        let geometry = geometry(sizes);
        let before = maps(&geometry, &content);
        let prepared = prepare(&geometry, &before, used);
        let ([told], _) = run_all(&geometry, &before, [&prepared]);
        let part = part_of(&told);
        let outside = maps(&geometry, &changed_outside(&geometry, &content, &other, &part));
        let ([told_outside], after) = run_all(&geometry, &outside, [&prepared]);
        if part != WHOLE {
            prop_assert_eq!(told, told_outside);
        }
        for block in 0..blocks(&geometry) {
            if !is_within(geometry.block_range(block..block + 1), &part) {
                prop_assert_eq!(after.fresh.is_set(block), outside.fresh.is_set(block));
                prop_assert_eq!(after.stale.is_set(block), outside.stale.is_set(block));
            }
        }
        for chunk in 0..chunks(&geometry) {
            if !is_within(geometry.chunk_range(chunk..chunk + 1), &part) {
                prop_assert_eq!(after.table.raw(chunk), outside.table.raw(chunk));
            }
        }
    }

    #[test]
    fn uses_that_do_not_conflict_commute(
        sizes in sizes(),
        content in content(),
        used in [any_use(), any_use()],
    ) {
        let geometry = geometry(sizes);
        let before = maps(&geometry, &content);
        let [one, other] = used.map(|used| prepare(&geometry, &before, used));
        let publishes =
            |it: &Prepared| matches!(it.kind, Kind::Publish | Kind::PublishGuaranteed);
        let twice = one.new.iter().any(|it| other.new.contains(it));
        // Locks see to it that no chunk is mapped twice.
        prop_assume!(!(twice && publishes(&one) && publishes(&other)));
        // Whoever stores knows that nobody maps the same chunks meanwhile.
        let stores = |it: &Prepared| matches!(it.kind, Kind::Runs) || publishes(it);
        prop_assume!(!(twice && stores(&one) && stores(&other)));
        let ([told_one, told_other], maps_one) = run_all(&geometry, &before, [&one, &other]);
        if !told_one.conflicts(&told_other) {
            let ([other_first, one_second], maps_other) =
                run_all(&geometry, &before, [&other, &one]);
            prop_assert_eq!(told_one, one_second);
            prop_assert_eq!(told_other, other_first);
            prop_assert_eq!(maps_one, maps_other);
        }
    }
}

/// Blocks of 4 sectors, chunks of 8: publishing in one chunk concerns nobody in another.
#[test]
fn what_should_not_conflict_does_not() {
    let geometry = geometry((24, 24, 4, 8));
    let nothing = Content {
        blocks: vec![(false, false); 24],
        chunks: vec![(false, 0, false); 24],
        taken: true,
    };
    let conflict = |content: &Content, one: Use, other: Use| {
        let before = maps(&geometry, content);
        let [one, other] = [one, other].map(|used| prepare(&geometry, &before, used));
        let ([one, other], _) = run_all(&geometry, &before, [&one, &other]);
        one.conflicts(&other)
    };
    for kind in [Kind::Lookup, Kind::PlanWrite, Kind::Publish, Kind::Runs, Kind::JournalUpdate] {
        assert!(!conflict(&nothing, (Kind::Publish, (0, 3)), (kind, (8, 3))), "{kind:?}");
        assert!(!conflict(&nothing, (Kind::Publish, (8, 3)), (kind, (16, 7))), "{kind:?}");
    }
    // A chunk that is there already is not changed by a block that becomes local in it.
    let mapped = Content { chunks: vec![(true, 0, false); 24], ..nothing.clone() };
    assert!(conflict(&nothing, (Kind::Publish, (0, 3)), (Kind::Lookup, (4, 3))));
    assert!(!conflict(&mapped, (Kind::Publish, (0, 3)), (Kind::Lookup, (4, 3))));
    for kind in [Kind::Lookup, Kind::PlanWrite, Kind::Missing, Kind::TakeChanged] {
        assert!(conflict(&nothing, (Kind::Publish, (8, 3)), (kind, (8, 0))), "{kind:?}");
    }
    assert!(!conflict(&nothing, (Kind::Guarantee, (0, 23)), (Kind::Publish, (0, 3))));
}

#[test]
fn missing_blocks_come_in_runs_of_bounded_length() {
    let geometry = geometry((24, 22, 4, 0));
    let check = |fresh: &[u64], from, most, expected: Option<Range<u64>>| {
        let blocks = (0..24).map(|block| (fresh.contains(&block), false)).collect();
        let content = Content { blocks, chunks: vec![(false, 0, false); 24], taken: true };
        let maps = maps(&geometry, &content);
        let shared = SharedMaps::new(&Tracker::none(), geometry.clone(), maps);
        assert_eq!(shared.next_missing(from, most), expected, "{fresh:?} from {from}");
    };
    check(&[], 0, u64::MAX, Some(0..6));
    check(&[], 0, 2, Some(0..2));
    check(&[], 2, 1, Some(2..3));
    check(&[0, 1, 3], 0, 9, Some(2..3));
    check(&[0, 1, 3], 3, 9, Some(4..6));
    check(&[0, 1, 2, 3, 4, 5], 0, 9, None);
    check(&[], 6, 9, None);
}
