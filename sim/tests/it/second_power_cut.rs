//! What a power cut leaves of a disk that an earlier one has left undecided: small cases by hand,
//! found by [`super::self_check`].
//!
//! Texts are those of [`super::disk_histories`].

use std::collections::BTreeSet;

use plugpull_engine::WriteFlags;
use plugpull_sim::crash::{AfterCut, LazyDisks, Watch};
use plugpull_sim::disk::Op;

use super::disk_histories::{Player, bytes, text};
use super::self_check::images;

/// The images that a power cut may leave inside `recovery`, which follows a power cut after
/// `history`. All crash points are taken together.
fn left(
    spec: &str,
    start: &str,
    history: &str,
    recovery: impl Fn(&mut LazyDisks),
) -> BTreeSet<String> {
    let mut player = Player::new(spec, start);
    player.play(history);
    let specs = [player.disk.spec().clone()];
    let mut left = BTreeSet::new();
    let cut = AfterCut::new(&specs, &[player.disk.crash_space()]);
    let explored = cut.every_way(Watch::Intervals, recovery, |disks, ()| {
        for point in disks.take_points() {
            for images in images::all(&point.spaces) {
                left.insert(text(&images[0].to_bytes(), 512));
            }
        }
        Ok(())
    });
    explored.unwrap();
    left
}

fn write(disks: &mut LazyDisks, sector: u64, data: &str) {
    let data = bytes(data, 512).into();
    disks.request(0, Op::Write { offset: sector * 512, data, flags: WriteFlags::NONE }).unwrap();
}

fn read(disks: &mut LazyDisks, sector: u64) -> String {
    text(&disks.request(0, Op::Read { offset: sector * 512, len: 512 }).unwrap(), 512)
}

fn set(images: &[&str]) -> BTreeSet<String> {
    images.iter().map(|&image| image.to_owned()).collect()
}

#[test]
fn what_the_length_has_decided_is_there_though_nobody_read_it() {
    // Whether the shrink has taken place decides about content, so that everything is asked.
    let history = "submit a resize 3; submit b write 0 XY";
    let images = left("atomic-write", "AAAA", history, |disks| write(disks, 2, "P"));
    let expected = ["AAAA", "AAPA", "XYAA", "XYPA", "AAA", "AAP", "XYA", "XYP"];
    assert_eq!(images, set(&expected));
}

#[test]
fn what_one_sector_has_decided_about_another_is_there_though_nobody_read_it() {
    let images = left("ordered", "AB", "write 0 X; write 1 Y", |disks| {
        if read(disks, 1) == "Y" {
            write(disks, 1, "P");
        }
    });
    assert_eq!(images, set(&["XY", "XP"]));
}

#[test]
fn what_a_preflush_has_decided_is_there_though_nobody_read_it() {
    let history = "write 0 X; submit p write 1 Y preflush";
    let images = left("writeback", "AB", history, |disks| write(disks, 1, "P"));
    assert_eq!(images, set(&["AB", "XB", "XY", "AP", "XP"]));
    // The same beneath a write.
    let images = left("writeback", "AB", history, |disks| write(disks, 0, "P"));
    assert_eq!(images, set(&["AB", "XB", "XY", "PB", "PY"]));
}

#[test]
fn a_sector_that_was_read_stays_decided_where_options_outnumber_contents() {
    // Three contents before the flush, two after it.
    let history = "write 0 X; write 0 Y; submit p write 0 Z preflush";
    let images = left("writeback", "AB", history, |disks| {
        if read(disks, 0) == "Z" {
            write(disks, 1, "P");
        }
    });
    assert_eq!(images, set(&["ZB", "ZP"]));
}

#[test]
fn a_failed_growth_past_the_cut_has_not_taken_place() {
    let history = "write 0 X; submit r resize 4; failed r";
    let images = left("ordered", "A", history, |disks| {
        // Whatever the length, it is written again.
        let len = disks.len_of(0);
        disks.request(0, Op::Resize { len }).unwrap();
    });
    assert_eq!(images, set(&["A", "X", "X..."]));
}

#[test]
fn a_discard_that_changes_nothing_settles_nothing() {
    for model in ["writeback", "ordered", "atomic-write"] {
        let discard = |disks: &mut LazyDisks| {
            disks.request(0, Op::Discard { offset: 0, len: 512 }).unwrap();
        };
        let images = left(&format!("{model} discard=old"), "A", "write 0 X", discard);
        assert_eq!(images, set(&["A", "X"]), "{model}");
    }
}
