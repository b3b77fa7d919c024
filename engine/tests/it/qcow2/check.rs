//! What a check says of damaged images.

use futures_util::FutureExt;
use plugpull_engine::Error;
use plugpull_engine::qcow2::check::{CheckReport, Rule, check};
use plugpull_engine::qcow2::repair::{Repair, repair};

use super::damaged::{
    BLOCK, CLUSTER, COPIED, DATA, FREE, Image, L1, L2, SNAPSHOT_L1, SNAPSHOTS, TABLE, at, sound,
    sound_with,
};
use super::qemu::Qemu;
use crate::mem_disk::MemDisk;

pub(crate) fn checked(image: &Image) -> Result<CheckReport, Error> {
    let disk = MemDisk::new(image.bytes.clone());
    let report = check(&disk, None).now_or_never().unwrap();
    assert!(disk.changes().is_empty());
    report
}

/// Damage, and the first rule that it breaks.
pub(crate) fn damages() -> Vec<(&'static str, Image, Rule)> {
    let case = |name, image, rule| (name, image, rule);
    vec![
        case("leak", sound().with_refcount(FREE, 1), Rule::RefcountLowEnough),
        case("leak of a used one", sound().with_refcount(DATA, 7), Rule::RefcountLowEnough),
        case("leak past the end", sound().with_refcount(2000, 1), Rule::RefcountLowEnough),
        case("lost", sound().with_refcount(DATA + 1, 0), Rule::RefcountHighEnough),
        case("lost header", sound().with_refcount(0, 0), Rule::RefcountHighEnough),
        case("lost block", sound().with_refcount(BLOCK, 0), Rule::RefcountHighEnough),
        case(
            "zeroed block",
            sound().with_bytes(BLOCK * CLUSTER, &[0; CLUSTER]),
            Rule::RefcountHighEnough,
        ),
        case("no block", sound().with(TABLE, 0, 0), Rule::RefcountHighEnough),
        case("block unaligned", sound().with(TABLE, 0, at(BLOCK) + 512), Rule::Aligned),
        case("block past the end", sound().with(TABLE, 0, at(99)), Rule::InFile),
        case("block in header", sound().with(TABLE, 0, 512), Rule::Aligned),
        case("second block past the end", sound().with(TABLE, 1, 1 << 55), Rule::InFile),
        case("block twice", sound().with(TABLE, 1, at(BLOCK)), Rule::NotShared),
        case("block is table", sound().with(TABLE, 1, at(TABLE)), Rule::NotShared),
        case("block is L1", sound().with(TABLE, 1, at(L1)), Rule::NotShared),
        case("block is L2", sound().with(TABLE, 1, at(L2)), Rule::NotShared),
        case("block is data", sound().with(TABLE, 1, at(DATA + 1)), Rule::NotShared),
        case("copied L1", sound().with(L1, 0, at(L2)), Rule::CopiedForOneReference),
        case("copied", sound().with(L2, 1, at(DATA + 1)), Rule::CopiedForOneReference),
        case(
            "copied for two",
            sound().with(L2, 0, at(DATA) | COPIED),
            Rule::CopiedOnlyForOneReference,
        ),
        case("copied for none", sound().with(L2, 9, COPIED), Rule::CopiedOnlyForOneReference),
        case(
            "copied compressed",
            sound().with(L2, 3, COPIED | sound().get(L2, 3)),
            Rule::CopiedOnlyForOneReference,
        ),
        case("L1 unaligned", sound().with(L1, 0, at(L2) + 512), Rule::Aligned),
        case("L1 past the end", sound().with(L1, 1, at(99)), Rule::InFile),
        case("L1 reserved", sound().with(L1, 0, at(L2) | COPIED | 1), Rule::ReservedBits),
        case("L2 is L1", sound().with(L1, 1, at(L1)), Rule::NotOnMetadata),
        case("L2 is snapshot L1", sound().with(L1, 1, at(SNAPSHOT_L1)), Rule::NotOnMetadata),
        case("L2 is refcount block", sound().with(L1, 1, at(BLOCK)), Rule::NotShared),
        case("L2 unaligned", sound().with(L2, 1, at(DATA) + 512), Rule::Aligned),
        case("zero unaligned", sound().with(L2, 1, at(DATA) + 513), Rule::Aligned),
        case("L2 past the end", sound().with(L2, 1, at(14)), Rule::InFile),
        case("L2 far past the end", sound().with(L2, 1, 1 << 55), Rule::InFile),
        case("L2 at the very end", sound().with(L2, 1, (1 << 56) - 4096), Rule::InFile),
        case("L2 reserved", sound().with(L2, 9, 1 << 61), Rule::ReservedBits),
        case("data is L2", sound().with(L2, 9, at(L2)), Rule::NotOnMetadata),
        case("data is L1", sound().with(L2, 9, at(L1)), Rule::NotOnMetadata),
        case("data is snapshots", sound().with(L2, 9, at(SNAPSHOTS)), Rule::NotOnMetadata),
        case("data is block", sound().with(L2, 9, at(BLOCK)), Rule::NotShared),
        case("data is table", sound().with(L2, 9, at(TABLE)), Rule::NotShared),
        case("compressed in header", sound().with(L2, 9, 1 << 62 | 600), Rule::InFile),
        case("compressed past the end", sound().with(L2, 9, 1 << 62 | at(14)), Rule::InFile),
        case(
            "compressed over the end",
            sound().with(L2, 9, 1 << 62 | 15 << 58 | (at(14) - 512)),
            Rule::InFile,
        ),
        case(
            "compressed into metadata",
            sound().with(L2, 9, 1 << 62 | 3 << 58 | (at(SNAPSHOTS) - 512)),
            Rule::NotOnMetadata,
        ),
    ]
}

#[test]
fn the_sound_image_is_clean() {
    for bits in [2, 4, 8, 16, 32, 64] {
        let report = checked(&sound_with(bits)).unwrap();
        assert!(report.is_clean(), "{bits}: {report:#?}");
        let counts = report.clusters;
        assert_eq!((counts.allocated, counts.compressed, counts.total), (3, 1, 256));
        if let Some(qemu) = Qemu::find() {
            assert_eq!(qemu.check(&sound_with(bits).bytes), Ok(()));
        }
    }
}

#[test]
fn each_damage_is_found_by_its_rule() {
    for (name, image, rule) in damages() {
        let report = checked(&image).unwrap();
        assert!(!report.is_clean(), "{name}");
        assert!(report.problems.iter().any(|it| it.rule == rule), "{name}: {report:#?}");
        let harmless = [Rule::RefcountLowEnough, Rule::CopiedForOneReference].contains(&rule);
        assert_eq!(report.is_sound(), harmless, "{name}: {report:#?}");
    }
}

#[test]
fn aliases_are_found() {
    let table = sound().with(L1, 1, at(L2)).with(L1, 0, at(L2));
    let data = sound().with(L2, 9, at(DATA + 1));
    for image in [table, data] {
        let report = checked(&image).unwrap();
        assert!(report.aliases > 0 && !report.is_sound(), "{report:#?}");
    }
}

#[test]
fn problems_name_structure_and_rule() {
    let report = checked(&sound().with(L2, 1, at(DATA) + 512)).unwrap();
    let first = report.problems[0].to_string();
    let expected = "L2 table at 0x4000 entry 1: the offset is a multiple of the cluster length: \
                    found 0x5200";
    assert_eq!(first, expected);
    let report = checked(&sound().with_refcount(FREE, 1)).unwrap();
    let first = report.problems[0].to_string();
    let expected = "host cluster 12: the refcount is at most the number of references: found 1";
    assert_eq!(first, expected);
}

#[test]
fn many_problems_are_counted_not_listed() {
    let mut image = sound();
    for index in 9..512 {
        image = image.with(L2, index, 1 << 55);
    }
    let report = checked(&image).unwrap();
    assert_eq!((report.problems.len(), report.more_problems), (100, 403));
    assert_eq!(report.corruptions, 503);
}

#[test]
fn structures_that_overlap_leave_the_check_incomplete() {
    let header_l1 = |offset: u64| sound().with_bytes(40, &offset.to_be_bytes());
    for image in [
        header_l1(at(SNAPSHOTS)),
        header_l1(at(SNAPSHOT_L1)),
        sound().with_bytes(SNAPSHOTS * CLUSTER, &at(L1).to_be_bytes()),
        sound().with_bytes(SNAPSHOTS * CLUSTER + 36, &[0xff; 4]),
    ] {
        let report = checked(&image).unwrap();
        assert!(report.incomplete.is_some() && !report.is_sound(), "{report:#?}");
    }
}

#[test]
fn a_dirty_image_may_have_low_refcounts() {
    let image = sound().with_refcount(DATA + 1, 0).with_bytes(79, &[1]);
    let report = checked(&image).unwrap();
    assert!(report.dirty && report.is_sound() && !report.is_clean());
}

/// Every byte of the tables at some values: no panic, nothing written.
#[test]
fn any_byte_may_be_damaged() {
    let image = sound();
    let clusters = [TABLE, BLOCK, L1, L2, SNAPSHOTS, SNAPSHOT_L1];
    let places = clusters.iter().flat_map(|cluster| (0..40).map(move |at| cluster * CLUSTER + at));
    for place in (0..112).chain(places) {
        for value in [0, 1, 0x10, 0x40, 0x80, 0xff] {
            let image = image.clone().with_bytes(place, &[value]);
            let _ = checked(&image);
        }
    }
}

/// One L2 table under every entry of a large L1 table: read once.
#[test]
fn a_table_is_read_once() {
    const LEN: usize = 4 << 20;
    let mut image = sound();
    let l1 = image.bytes.len();
    image.bytes.resize(l1 + LEN, 0);
    for entry in image.bytes[l1..].chunks_exact_mut(8) {
        entry.copy_from_slice(&at(L2).to_be_bytes());
    }
    let image = image
        .with_bytes(36, &u32::try_from(LEN / 8).unwrap().to_be_bytes())
        .with_bytes(40, &(l1 as u64).to_be_bytes());
    let disk = MemDisk::new(image.bytes);
    let report = check(&disk, None).now_or_never().unwrap().unwrap();
    assert!(report.aliases > 0);
    assert!(disk.read_bytes() < 3 * LEN as u64, "{}", disk.read_bytes());
    assert!(disk.largest_read() <= 65536);
}

/// That an image with any of these L2 entries is not sound, by this rule.
fn refused(rule: Rule, entries: &[u64]) {
    for &entry in entries {
        let report = checked(&sound().with(L2, 9, entry)).unwrap();
        let rules: Vec<Rule> = report.problems.iter().map(|problem| problem.rule).collect();
        assert!(rules == [rule] && !report.is_sound(), "{entry:#x}: {report:#?}");
    }
}

#[test]
fn host_unaligned_entries() {
    refused(Rule::Aligned, &[at(DATA) + 512, at(DATA) + 512 + 1, (at(DATA) + 2048) | COPIED]);
    for image in [sound().with(L1, 1, at(L2) + 512), sound().with(TABLE, 1, at(FREE) + 512)] {
        let report = checked(&image).unwrap();
        assert!(report.problems[0].rule == Rule::Aligned && !report.is_sound());
    }
}

#[test]
fn host_cluster_index_overflow() {
    refused(Rule::InFile, &[1 << 55, (1 << 56) - 4096, 1 << 32, 1 << 44]);
    refused(Rule::Aligned, &[(1 << 56) - 512]);
}

#[test]
fn host_compressed_span() {
    let entry = |sectors: u64, offset: u64| 1 << 62 | sectors << 58 | offset;
    refused(Rule::InFile, &[entry(15, at(14) - 512), entry(0, 0), entry(15, 4095)]);
    refused(Rule::InFile, &[entry(15, (1 << 58) - 1), entry(1, 1 << 57)]);
    refused(Rule::NotOnMetadata, &[entry(0, at(L2)), entry(8, at(SNAPSHOTS) - 1)]);
    // The last sector of the file is in reach, one more is not.
    assert!(checked(&sound().with(L2, 9, entry(0, at(14) - 1))).unwrap().corruptions == 0);
    refused(Rule::InFile, &[entry(1, at(14) - 1)]);
}

/// Images are opened in tasks, which go from thread to thread.
#[test]
fn futures_can_be_sent() {
    fn is_send(_: impl Send) {}
    let disk = MemDisk::new(Vec::new());
    is_send(check(&disk, None));
    is_send(plugpull_engine::qcow2::create::create(&disk, &Default::default()));
    let planted = plugpull_engine::qcow2::planted::PlantedBugs::NONE;
    is_send(repair(&disk, Repair::All, planted));
}
