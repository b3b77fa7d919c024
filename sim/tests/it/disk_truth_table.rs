//! What each device model allows, case by case, written down by hand from the promises in the
//! simulator's README. See [`super::disk_histories`] for the notation.

use std::collections::BTreeSet;

use super::disk_histories::Player;

/// One history: on this disk, from this content, these steps; then reads see this, and a power cut
/// leaves one of these.
struct Case(&'static str, &'static str, &'static str, &'static str, &'static str);

#[test]
fn each_history_leaves_exactly_the_crash_images_in_the_table() {
    let mut wrong = Vec::new();
    for case in CASES {
        let &Case(spec, start, steps, reads, crashes) = case;
        let mut player = Player::new(spec, start);
        player.play(steps);
        let found = (player.reads(), player.crashes());
        let crashes: BTreeSet<String> = crashes.split_whitespace().map(str::to_owned).collect();
        let expected = (reads.to_owned(), crashes);
        if found != expected {
            wrong.push(format!("{spec}: {start}: {steps}\n  found {found:?}\n  not {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), CASES.len(), wrong.join("\n"));
}

const CASES: &[Case] = &[
    // A write: old or new from its submission on, until a flush covers it.
    Case("writeback", "A", "", "A", "A"),
    Case("writeback", "A", "flush", "A", "A"),
    Case("writeback", "A", "submit a write 0 X", "A", "A X"),
    Case("writeback", "A", "write 0 X", "X", "A X"),
    Case("writeback", "A", "write 0 X; flush", "X", "X"),
    Case("writeback", "A", "write 0 X; submit f flush", "X", "A X"),
    // A flush covers what completed before it was submitted, and nothing else.
    Case("writeback", "A", "submit a write 0 X; submit f flush; done a; done f", "X", "A X"),
    Case("writeback", "A", "submit a write 0 X; submit f flush; done f; done a", "X", "A X"),
    Case("writeback", "A", "submit f flush; write 0 X; done f", "X", "A X"),
    Case("writeback", "A", "submit a write 0 X; flush; done a; flush", "X", "X"),
    Case(
        "writeback",
        "AB",
        "submit a write 0 X; write 1 Y; submit f flush; done a; done f",
        "XY",
        "AY XY",
    ),
    Case("writeback", "A", "write 0 X; submit f flush; submit g flush; done g", "X", "X"),
    // Writes of the same sector, one after the other.
    Case("writeback", "A", "write 0 X; write 0 Y", "Y", "A X Y"),
    Case("writeback", "A", "write 0 X; write 0 A", "A", "A X"),
    Case("writeback", "A", "write 0 X; flush; write 0 Y", "Y", "X Y"),
    Case("writeback", "A", "write 0 X; write 0 Y; flush", "Y", "Y"),
    Case("writeback", "A", "write 0 X; submit b write 0 Y; flush", "X", "X Y"),
    Case("writeback", "A", "write 0 X; submit b write 0 Y; flush; done b", "Y", "X Y"),
    Case("writeback", "A", "write 0 X; submit f flush; write 0 Y; done f", "Y", "X Y"),
    // Writes of the same sector, in flight together: unordered for the medium.
    Case("writeback", "A", "submit a write 0 X; submit b write 0 Y", "A", "A X Y"),
    Case("writeback", "A", "submit a write 0 X; submit b write 0 Y; done a; done b", "Y", "A X Y"),
    Case("writeback", "A", "submit a write 0 X; submit b write 0 Y; done b; done a", "X", "A X Y"),
    Case(
        "writeback",
        "A",
        "submit a write 0 X; submit b write 0 Y; done a; done b; flush",
        "Y",
        "X Y",
    ),
    Case(
        "writeback",
        "A",
        "submit a write 0 X; submit b write 0 Y; done b; done a; flush; flush",
        "X",
        "X Y",
    ),
    Case(
        "writeback",
        "A",
        "submit a write 0 X; submit b write 0 Y; done b; done a; flush; write 0 Z; flush",
        "Z",
        "Z",
    ),
    Case(
        "writeback",
        "A",
        "submit a write 0 X; submit b write 0 Y; done a; flush; done b",
        "Y",
        "X Y",
    ),
    Case(
        "writeback",
        "A",
        "submit a write 0 X; submit b write 0 Y; done a; flush; done b; flush",
        "Y",
        "X Y",
    ),
    Case("writeback", "A", "submit a write 0 X; write 0 Y; write 0 Z; flush", "Z", "X Z"),
    Case("writeback", "A", "submit a write 0 X; write 0 Y; write 0 Z; done a", "X", "A X Y Z"),
    // FUA: durable when it completes, for its own sectors alone.
    Case("writeback", "A", "write 0 X fua", "X", "X"),
    Case("writeback", "AB", "submit a write 0 XY fua", "AB", "AB XB AY XY"),
    Case("writeback", "AB", "write 0 X; write 1 Y fua", "XY", "AY XY"),
    Case("writeback", "A", "write 0 X; write 0 Y fua", "Y", "Y"),
    Case("writeback", "A", "write 0 X fua; write 0 Y", "Y", "X Y"),
    Case("writeback", "A", "submit a write 0 X; write 0 Y fua", "Y", "X Y"),
    Case("writeback", "A", "submit a write 0 X; write 0 Y fua; done a; flush", "X", "X Y"),
    Case("writeback", "ABC", "write 0 XY; write 1 ZW fua", "XZW", "AZW XZW"),
    // PREFLUSH: a flush, then the write. The data is not there before the flush is.
    Case("writeback", "AB", "write 0 X; write 1 Y preflush", "XY", "XB XY"),
    Case("writeback", "AB", "write 0 X; submit p write 1 Y preflush", "XB", "AB XB XY"),
    Case("writeback", "AB", "write 0 X; write 1 Y preflush fua", "XY", "XY"),
    Case("writeback", "AB", "write 0 X; submit p write 1 Y preflush fua", "XB", "AB XB XY"),
    Case(
        "writeback",
        "AB",
        "submit a write 0 X; submit p write 1 Y preflush fua; done a; done p",
        "XY",
        "AY XY",
    ),
    Case("writeback", "A", "write 0 X; submit p write 0 Y preflush", "X", "A X Y"),
    Case("writeback", "A", "write 0 X; write 0 - preflush", "X", "X"),
    Case(
        "writeback",
        "ABC",
        "write 0 X; submit a write 1 Y; submit p write 2 Z preflush",
        "XBC",
        "ABC AYC XBC XYC XBZ XYZ",
    ),
    Case(
        "writeback",
        "ABC",
        "write 0 X; submit p write 1 Y preflush; submit q write 2 Z preflush",
        "XBC",
        "ABC XBC XYC XBZ XYZ",
    ),
    // Several sectors tear at every sector boundary.
    Case("writeback", "ABC", "submit a write 0 XYZ", "ABC", "ABC ABZ AYC AYZ XBC XBZ XYC XYZ"),
    Case("writeback", "ABC", "write 1 YZ", "AYZ", "ABC ABZ AYC AYZ"),
    // Discard: old or discarded until covered.
    Case("writeback", "AB", "submit d discard 0 1", "AB", "AB .B"),
    Case("writeback", "AB", "discard 0 1", ".B", "AB .B"),
    Case("writeback", "AB", "discard 0 2", "..", "AB .B A. .."),
    Case("writeback", "AB", "discard 0 1; flush", ".B", ".B"),
    Case("writeback", "A", "discard 0 1; write 0 X", "X", "A . X"),
    Case("writeback discard=garbage", "AB", "discard 1 1", "A#", "AB A#"),
    Case("writeback discard=garbage", "AB", "discard 1 1; flush", "A#", "A#"),
    Case("writeback discard=old", "AB", "discard 1 1", "AB", "AB"),
    Case("writeback discard=old", "AB", "write 1 X; discard 1 1; flush", "AX", "AX"),
    // Length: the durable one or any later one; growth brings zeros, content past a lost growth is
    // gone, and what a shrink cut off does not come back with a later growth.
    Case("writeback", "A", "submit r resize 2", "A", "A A."),
    Case("writeback", "A", "resize 2; write 1 X", "AX", "A A. AX"),
    Case("writeback", "A", "resize 2; flush; write 1 X", "AX", "A. AX"),
    Case("writeback", "A", "resize 2; write 1 X; flush", "AX", "AX"),
    Case("writeback", "A", "resize 2; write 1 X fua", "AX", "A AX"),
    Case("writeback", "A", "resize 2; resize 3", "A..", "A A. A.."),
    Case("writeback", "-", "resize 1; write 0 X", "X", "- . X"),
    Case("writeback", "AB", "resize 1", "A", "A AB"),
    Case("writeback", "AB", "resize 1; flush", "A", "A"),
    Case("writeback", "AB", "resize 0", "-", "- AB"),
    Case("writeback", "AB", "resize 1; resize 2", "A.", "AB A A."),
    Case("writeback", "AB", "resize 1; resize 2; flush", "A.", "A."),
    Case("writeback", "AB", "resize 1; flush; resize 2", "A.", "A A."),
    Case("writeback", "AB", "resize 1; resize 2; write 1 X", "AX", "AB AX A A."),
    Case("writeback", "AB", "resize 1; resize 2; write 1 X fua", "AX", "AX A"),
    Case("writeback", "AB", "resize 1; resize 2; write 1 X fua; flush", "AX", "AX"),
    Case("writeback", "AB", "write 1 X; resize 1; resize 2; flush", "A.", "A."),
    Case("writeback", "AB", "write 1 X; resize 1", "A", "AB AX A"),
    Case("writeback", "AB", "submit r resize 1; submit s resize 3", "AB", "AB A AB. A.."),
    Case("writeback", "A", "resize 2; write 0 X preflush", "X.", "A. X."),
    Case("writeback", "A", "resize 2; submit p write 0 X preflush", "A.", "A A. X."),
    // Failures: a failed write leaves any subset of its sectors, a failed flush promises nothing.
    Case("writeback", "AB", "submit a write 0 XY; failed a", "AB", "AB XB AY XY"),
    Case("writeback", "AB", "submit a write 0 XY; failed a; flush", "AB", "AB XB AY XY"),
    Case("writeback", "AB", "submit a write 0 XY; failed a; write 0 Z; flush", "ZB", "ZB ZY"),
    Case("writeback", "A", "submit d discard 0 1; failed d", "A", "A ."),
    Case("writeback", "A", "submit r resize 2; failed r", "A", "A A."),
    Case("writeback", "AB", "submit r resize 1; failed r", "AB", "AB"),
    Case("writeback", "A", "write 0 X; submit f flush; failed f", "X", "A X"),
    Case("writeback", "A", "write 0 X; submit f flush; failed f; flush", "X", "X"),
    Case("writeback drop", "A", "write 0 X; submit f flush; failed f; flush", "X", "A X"),
    Case("writeback drop", "A", "write 0 X; submit f flush; failed f; write 0 Y; flush", "Y", "Y"),
    Case("writeback drop", "A", "submit f flush; write 0 X; failed f; flush", "X", "X"),
    Case("writeback drop", "A", "resize 2; submit f flush; failed f; flush", "A.", "A A."),
    Case(
        "writeback drop",
        "AB",
        "write 0 X; submit p write 1 Y preflush; failed p; flush",
        "XB",
        "AB XB AY XY",
    ),
    // Bytes that go astray: the device reports success.
    Case("writeback", "ABC", "submit a write 0 X; misdirected a 1", "AXC", "ABC AXC"),
    Case("writeback", "ABC", "submit a write 1 XY; misdirected a 1", "YBX", "ABC YBC ABX YBX"),
    Case("writeback", "AB", "submit a write 0 X fua; misdirected a 1", "AX", "AX"),
    Case("writeback", "AB", "submit a write 0 XY; corrupted a", "xY", "AB xB AY xY"),
    Case("writeback", "A", "submit a write 0 X; corrupted a; flush", "x", "x"),
    // Writethrough: durable when complete; in flight, any subset.
    Case("writethrough", "AB", "submit a write 0 XY", "AB", "AB XB AY XY"),
    Case("writethrough", "AB", "write 0 XY", "XY", "XY"),
    Case("writethrough", "AB", "discard 0 1", ".B", ".B"),
    Case("writethrough", "AB", "resize 1", "A", "A"),
    Case("writethrough", "A", "resize 2; submit a write 1 X", "A.", "A. AX"),
    Case("writethrough", "A", "submit a write 0 X; submit b write 0 Y; done b; done a", "X", "X Y"),
    // Ordered: a prefix of the completion order, the request at the cut torn to a prefix.
    Case("ordered", "A", "submit a write 0 X", "A", "A"),
    Case("ordered", "AB", "write 0 X; write 1 Y", "XY", "AB XB XY"),
    Case("ordered", "ABC", "write 0 XYZ", "XYZ", "ABC XBC XYC XYZ"),
    Case("ordered", "AB", "write 1 Y; write 0 XZ", "XZ", "AB AY XY XZ"),
    Case("ordered", "A", "write 0 X; write 0 A", "A", "A X"),
    Case(
        "ordered",
        "AB",
        "submit a write 0 X; submit b write 1 Y; done b; done a",
        "XY",
        "AB AY XY",
    ),
    Case("ordered", "A", "submit a write 0 X; submit b write 0 Y; done b; done a; flush", "X", "X"),
    Case("ordered", "AB", "write 0 X; submit f flush; write 1 Y; done f", "XY", "XB XY"),
    Case("ordered", "AB", "write 0 X; write 1 Y fua", "XY", "XY"),
    Case("ordered", "A", "resize 2; write 1 X", "AX", "A A. AX"),
    Case("ordered", "AB", "resize 1; resize 2", "A.", "AB A A."),
    Case("ordered", "AB", "submit a write 0 XY; failed a; write 1 Z", "AZ", "AB XB AY XY AZ XZ"),
    Case("ordered", "AB", "write 0 X; submit a write 1 Y; failed a", "XB", "AB XB XY"),
    Case(
        "ordered drop",
        "AB",
        "write 0 X; submit f flush; failed f; write 1 Y; flush",
        "XY",
        "AY XY",
    ),
    Case("ordered tear=256", "AABB", "write 0 XXYY", "XXYY", "AABB XABB AXBB XXBB XXYB XXBY XXYY"),
    // Atomic write: each request whole or not at all.
    Case("atomic-write", "AB", "submit a write 0 XY", "AB", "AB XY"),
    Case("atomic-write", "AB", "write 0 XY", "XY", "AB XY"),
    Case("atomic-write", "AB", "write 0 XY; flush", "XY", "XY"),
    Case("atomic-write", "ABC", "write 0 XY; write 1 ZW", "XZW", "ABC XYC AZW XZW"),
    Case(
        "atomic-write",
        "ABC",
        "submit a write 0 XY; submit b write 1 ZW",
        "ABC",
        "ABC XYC AZW XZW XYW",
    ),
    Case(
        "atomic-write",
        "ABC",
        "submit a write 0 XY; submit b write 1 ZW; done b; done a; flush",
        "XYW",
        "XYW",
    ),
    Case("atomic-write", "AB", "write 0 XY; write 1 Z fua", "XZ", "AZ XZ"),
    Case("atomic-write", "AB", "write 0 X; submit p write 1 Y preflush", "XB", "AB XB XY"),
    Case("atomic-write", "AB", "submit a write 0 XY; failed a; flush", "AB", "AB XY"),
    Case("atomic-write", "A", "resize 2; write 1 X", "AX", "A A. AX"),
    Case("atomic-write", "AB", "discard 0 2", "..", "AB .."),
    // Lying flush: nothing is ever durable.
    Case("lying-flush", "A", "write 0 X; flush", "X", "A X"),
    Case("lying-flush", "A", "write 0 X; flush; write 0 Y; flush", "Y", "A X Y"),
    Case("lying-flush", "A", "write 0 X fua", "X", "A X"),
    Case("lying-flush", "AB", "write 0 X; write 1 Y preflush", "XY", "AB XB AY XY"),
    Case("lying-flush", "AB", "write 0 X; submit p write 1 Y preflush", "XB", "AB XB AY XY"),
    Case("lying-flush", "A", "resize 2; flush", "A.", "A A."),
    // A medium sector of eight units, written in smaller pieces: read, modified, written at once.
    Case(
        "writeback 4096",
        "AAAAAAAA",
        "submit a write 0 X; submit b write 1 Y",
        "AAAAAAAA",
        "AAAAAAAA XAAAAAAA AYAAAAAA XYAAAAAA",
    ),
    Case(
        "writeback 4096",
        "AAAAAAAA",
        "write 0 X; write 1 Y",
        "XYAAAAAA",
        "AAAAAAAA XAAAAAAA XYAAAAAA",
    ),
    Case("writeback 4096", "AAAAAAAA", "write 0 X; write 1 Y fua", "XYAAAAAA", "XYAAAAAA"),
    Case(
        "writeback 4096",
        "AAAAAAAA",
        "submit a write 0 X; write 1 Y; flush",
        "AYAAAAAA",
        "AYAAAAAA XYAAAAAA",
    ),
    Case(
        "writeback 4096",
        "AAAAAAAA",
        "submit a write 0 X; write 0 BBBBBBBB",
        "BBBBBBBB",
        "AAAAAAAA XAAAAAAA BBBBBBBB XBBBBBBB",
    ),
    Case(
        "writeback 4096",
        "AAAAAAAA",
        "write 0 XX; submit b write 1 YY; done b",
        "XYYAAAAA",
        "AAAAAAAA XXAAAAAA XYYAAAAA",
    ),
    Case(
        "writeback 4096",
        "AAAAAAAABBBBBBBB",
        "submit a write 7 XY",
        "AAAAAAAABBBBBBBB",
        "AAAAAAAABBBBBBBB AAAAAAAXBBBBBBBB AAAAAAAAYBBBBBBB AAAAAAAXYBBBBBBB",
    ),
    Case("writeback 4096", "AAAAAAAA", "resize 3", "AAA", "AAAAAAAA AAA"),
    Case("writeback 4096", "AAAAAAAA", "resize 3; resize 5; flush", "AAA..", "AAA.."),
    Case(
        "writeback 4096 drop",
        "AAAAAAAA",
        "write 0 X; submit f flush; failed f; resize 3; flush",
        "XAA",
        "XAA",
    ),
    // Tears inside a sector: one side old, the other new.
    Case("writeback tear=256", "AA", "submit a write 0 XX", "AA", "AA XX XA AX"),
    Case("writeback tear=256", "AA", "write 0 XX; flush", "XX", "XX"),
    Case("writeback tear=256", "AA", "write 0 XX; flush; write 0 YY", "YY", "XX YY XY YX"),
    Case("writeback tear=256", "AA", "write 0 XX; write 0 YY", "YY", "AA XX YY XA AX YA AY XY YX"),
    Case(
        "writeback tear=128",
        "AAAA",
        "write 0 XXXX",
        "XXXX",
        "AAAA XAAA XXAA XXXA AXXX AAXX AAAX XXXX",
    ),
    Case("writeback tear=256", "AA", "submit a write 0 XX; failed a", "AA", "AA XX"),
    Case("writethrough tear=256", "AA", "write 0 XX", "XX", "XX"),
    Case(
        "writeback tear=256",
        "AA",
        "submit r resize 2; failed r; resize 4; write 2 XX",
        "AAXX",
        "AA AA.. AAXX AAX. AA.X",
    ),
];

#[test]
fn everything_kept_is_what_reads_see_once_nothing_is_in_flight() {
    for &Case(spec, start, steps, reads, _) in CASES {
        let mut player = Player::new(spec, start);
        player.play(steps);
        if player.disk.in_flight().next().is_none() {
            assert_eq!(player.kept(), reads, "{spec}: {steps}");
        }
    }
}

#[test]
fn everything_lost_is_the_durable_content() {
    for (spec, start, steps, lost) in [
        ("writeback", "AB", "write 0 X; flush; write 0 YZ; resize 3", "XB"),
        ("writeback", "A", "resize 2; flush; write 0 XY; write 0 A", "A."),
        ("writeback", "AB", "write 0 X; submit p write 1 Y preflush", "AB"),
        ("ordered", "AB", "write 0 X; flush; write 0 AB", "XB"),
        ("atomic-write", "AB", "write 0 X; flush; write 0 AC", "XB"),
        ("lying-flush", "AB", "write 0 X; flush; write 0 AC", "AB"),
    ] {
        let mut player = Player::new(spec, start);
        player.play(steps);
        assert_eq!(player.lost(), lost, "{spec}: {steps}");
    }
}

#[test]
fn a_flush_of_one_disk_does_not_cover_another() {
    let mut image = Player::new("writeback", "A");
    let mut log = Player::new("writeback", "B");
    image.play("write 0 X");
    log.play("write 0 Y; flush");
    assert_eq!(image.crashes(), BTreeSet::from(["A".to_owned(), "X".to_owned()]));
    assert_eq!(log.crashes(), BTreeSet::from(["Y".to_owned()]));
}
