use plugpull_engine::ByteRange;

use super::*;
use crate::scenario::{Crashes, SystemSpec};

/// A scenario that uses much of the format, in canonical form.
const TEXT: &str = r#"version = 1
claim = "A flushed write survives."

[system]
kind = "fvd"
size = "64 KiB"
chunk = "8 KiB"
base = { len = "24 KiB", holes = ["4K 4K"] }
block = "7680"
copy_on_read = true
journal = "4 KiB"
data_file = true
setup = ["write 0 64K", "flush", "kill", "reopen", "sleep 1s"]
planted = ["fvd-journal-before-data"]

[disks.image]
model = "ordered"
sector = 4096
tear = 512

[disks.data]
model = "writeback"
sector = 512

[disks.base]
model = "writeback"
sector = 512

[[client]]
ops = ["write 0 4K", "flush"]
repeat = 2

[[after]]
ops = ["read 0 64K"]

[explore]
schedules = { random = 100, seed = 1 }
crashes = "exact"
recovery_crashes = 1
faults = { errors = 1, kinds = ["write"] }

[[explore.fault]]
disk = "data"
on = "write"
nth = 3
fail = "enospc"

[expect]
verdict = "violated"
invariant = "D-DUR"
reach = ["journal-recycled"]
"#;

/// The text with one occurrence of `old` replaced.
fn with(old: &str, new: &str) -> String {
    assert_eq!(TEXT.matches(old).count(), 1, "{old:?} occurs once");
    TEXT.replace(old, new)
}

#[test]
fn a_canonical_text_prints_as_itself() {
    let scenario = Scenario::parse("x.toml", TEXT).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(scenario.to_toml(), TEXT);
}

#[test]
fn what_a_file_says_is_what_comes_out() {
    let scenario = Scenario::parse("x.toml", TEXT).unwrap();
    let SystemSpec::Fvd(fvd) = &scenario.system else { panic!("an FVD image") };
    assert_eq!(fvd.size, 65536);
    assert_eq!(fvd.compact.map(|compact| (compact.chunk, compact.grow_unit)), Some((8192, 8192)));
    let base = fvd.base.as_ref().unwrap();
    assert_eq!((base.pattern.len, base.block, base.copy_on_read), (24576, 7680, true));
    assert_eq!(base.pattern.holes, [ByteRange::new(4096, 4096)]);
    assert_eq!(scenario.clients[0].requests().len(), 4);
    assert_eq!(scenario.expect.verdict, Expected::Violated(Invariant::DDur));
    let data = scenario.fault_plan("data");
    assert_eq!((data.budget, data.faults.len()), (1, 2));
    assert_eq!(scenario.fault_plan("base").faults.len(), 1);
    assert_eq!(scenario.explore.seed(), Some(1));
}

#[test]
fn garbage_on_the_data_storage_is_no_promise_of_zeros() {
    for (data_file, expected) in [("true", [true, false, true]), ("false", [false, true, true])] {
        let mut text = with("data_file = true", &format!("data_file = {data_file}"));
        if data_file == "false" {
            text = text.replace("[disks.data]\nmodel = \"writeback\"\nsector = 512\n\n", "");
            text = text.replace("disk = \"data\"", "disk = \"image\"");
        }
        let text = text.replace("journal = \"4", "storage = \"old-content\"\njournal = \"4");
        let scenario = Scenario::parse("x.toml", &text).unwrap_or_else(|error| panic!("{error}"));
        let found: Vec<bool> = scenario.disks.iter().map(|disk| disk.zero_init).collect();
        let expected: Vec<bool> = expected.into_iter().take(found.len()).collect();
        assert_eq!(found.first(), expected.first(), "image");
        assert_eq!(scenario.disks.last().map(|base| base.zero_init), Some(true), "base");
        assert_eq!(found.iter().filter(|zero| !**zero).count(), 1);
    }
}

#[test]
fn an_error_shows_file_line_column_the_line_and_what_was_expected() {
    let text = with("model = \"ordered\"", "model = \"orderly\"");
    let error = Scenario::parse("scenarios/x.toml", &text).unwrap_err();
    let expected = "\
error: not a device model: `orderly`
  --> scenarios/x.toml:17:9
   |
17 | model = \"orderly\"
   |         ^^^^^^^^^ `orderly` is not one of writeback, writethrough, ordered, atomic-write, lying-flush";
    assert_eq!(error.to_string(), expected);
}

/// Replaces one text by another, and names what must be pointed at and what must be said.
#[test]
fn every_rule_points_at_its_place() {
    let cases = [
        // Shape: found by the reader.
        ("kind = \"fvd\"", "kin = \"fvd\"", "kin", "unknown field `kin`"),
        ("size = \"64 KiB\"", "size = 64", "64", "invalid type: integer `64`"),
        ("sector = 4096", "sector = \"4K\"", "\"4K\"", "invalid type: string \"4K\""),
        ("repeat = 2", "repeat = -2", "-2", "invalid value: integer `-2`"),
        ("seed = 1 }", "sede = 1 }", "sede", "unknown field `sede`"),
        ("nth = 3", "nht = 3", "nht", "unknown field `nht`"),
        ("{ len = \"24 KiB\"", "{ length = \"24 KiB\"", "length", "unknown field `length`"),
        ("[expect]", "[expect", "", "unclosed table"),
        // Names and values.
        ("version = 1", "version = 2", "2", "version 2 of the scenario format"),
        ("\"A flushed write survives.\"", "\" \"", "\" \"", "an empty claim"),
        ("\"64 KiB\"", "\"1 TiB\"", "\"1 TiB\"", "bytes are too many"),
        ("\"8 KiB\"", "\"65 MiB\"", "\"65 MiB\"", "68157440 bytes are too many"),
        ("\"kill\"", "\"grow 1T\"", "\"grow 1T\"", "1099511627776 bytes are too many"),
        ("\"kill\"", "\"poke image 1T 00\"", "\"poke image 1T 00\"", "bytes are too many"),
        ("kind = \"fvd\"", "kind = \"qed\"", "\"qed\"", "unknown kind of system `qed`"),
        ("\"64 KiB\"", "\"64 KB\"", "\"64 KB\"", "not a size: `64 KB`"),
        ("\"64 KiB\"", "\"1000\"", "\"1000\"", "1000 is not a positive multiple of 512"),
        ("\"8 KiB\"", "\"7680\"", "\"7680\"", "7680 is not a positive multiple of 4096"),
        (
            "block = \"7680\"",
            "",
            "{ len = \"24 KiB\", holes = [\"4K 4K\"] }",
            "a base without `block`",
        ),
        (
            "base = { len = \"24 KiB\", holes = [\"4K 4K\"] }",
            "",
            "\"7680\"",
            "`block` without a `base`",
        ),
        ("[\"4K 4K\"] }", "[\"24K 4K\"] }", "\"24K 4K\"", "not a hole"),
        ("chunk = \"8 KiB\"", "grow_unit = \"8 KiB\"", "\"8 KiB\"", "`grow_unit` without `chunk`"),
        ("chunk = \"8 KiB\"", "compact = true", "true", "a compact image without `chunk`"),
        (
            "journal = \"4 KiB\"",
            "journal = \"5000\"",
            "\"5000\"",
            "5000 is not a positive multiple of 4096",
        ),
        ("journal = \"4 KiB\"", "", "\"fvd\"", "no word about the journal"),
        (
            "journal-before-data",
            "journal-after-data",
            "\"fvd-journal-after-data\"",
            "unknown planted bug `fvd-journal-after-data`",
        ),
        (
            "\"write 0 64K\"",
            "\"write 0 65K\"",
            "\"write 0 65K\"",
            "the range ends at 66560, outside the virtual disk",
        ),
        ("\"kill\"", "\"crash\"", "\"crash\"", "not an operation: `crash`"),
        ("[disks.data]", "[disks.dada]", "dada", "unknown disk `dada`"),
        ("tear = 512", "tear = 1000", "1000", "tears of 1000 bytes"),
        ("tear = 512", "tear = 1024", "1024", "tears of 1024 bytes"),
        ("sector = 4096", "sector = 1024", "1024", "a sector of 1024 bytes"),
        ("[\"write 0 4K\", \"flush\"]", "[]", "[]", "a client that does nothing"),
        ("\"write 0 4K\"", "\"kill\"", "\"kill\"", "not an operation: `kill`"),
        ("repeat = 2", "repeat = 0", "0", "zero is too little"),
        ("repeat = 2", "repeat = 50001", "50001", "50001 times 2 requests"),
        ("recovery_crashes = 1", "recovery_crashes = 17", "17", "17 power cuts inside one another"),
        ("crashes = \"exact\"", "crashes = \"most\"", "\"most\"", "unknown crashes `most`"),
        (
            "crashes = \"exact\"",
            "crashes = \"none\"\nunreadable = 2",
            "2",
            "unreadable sectors without exact crash states",
        ),
        ("kinds = [\"write\"]", "kinds = []", "[]", "an empty list"),
        ("kinds = [\"write\"]", "kinds = [\"trim\"]", "\"trim\"", "unknown kind of request `trim`"),
        ("fail = \"enospc\"", "", "\"write\"", "what happens to the request?"),
        ("fail = \"enospc\"", "bad_sector = 1", "1", "a bad sector that is something else too"),
        (
            "disk = \"data\"\non = \"write\"\nnth = 3\nfail = \"enospc\"",
            "disk = \"image\"\non = \"write\"\nnth = 3\nmisdirect = \"512\"",
            "\"512\"",
            "512 is not a positive multiple of 4096",
        ),
        ("invariant = \"D-DUR\"", "", "\"violated\"", "which invariant is violated?"),
        ("\"D-DUR\"", "\"D-SUR\"", "\"D-SUR\"", "not an invariant's name: `D-SUR`"),
        ("\"D-DUR\"", "\"V-BOUND\"", "\"V-BOUND\"", "an invariant that no exploration decides"),
        ("\"violated\"", "\"holds\"", "\"D-DUR\"", "an invariant that is not violated"),
        (
            "journal-recycled",
            "journal recycled",
            "\"journal recycled\"",
            "not the name of an event",
        ),
    ];
    for (old, new, place, problem) in cases {
        let text = if TEXT.matches(old).count() == 1 {
            with(old, new)
        } else {
            TEXT.replacen(old, new, 1)
        };
        let error = Scenario::parse("x.toml", &text).expect_err(&format!("{old:?} -> {new:?}"));
        let found = &text[error.span.clone()];
        assert!(found.starts_with(place), "{old:?} -> {new:?} points at {found:?}");
        assert!(error.problem.contains(problem), "{old:?} -> {new:?} says {:?}", error.problem);
        let line = 1 + text[..error.span.start].matches('\n').count();
        assert!(error.to_string().contains(&format!("x.toml:{line}:")), "{error}");
    }
}

#[test]
fn crash_states_are_all_of_them_unless_the_file_says_otherwise() {
    let said = Scenario::parse("x.toml", TEXT).unwrap();
    let text = with("crashes = \"exact\"\n", "");
    assert_eq!(Scenario::parse("x.toml", &text).unwrap(), said);
    assert_eq!(said.explore.crashes, Crashes::Exact);
}

#[test]
fn writes_to_a_read_only_image_are_refused() {
    let text = TEXT.replace("data_file = true", "data_file = true\naccess = \"read-only\"");
    let error = Scenario::parse("x.toml", &text).unwrap_err();
    assert_eq!(error.problem, "a write to a read-only image");
    let text = text.replace("\"write 0 4K\"", "\"read 0 4K\"");
    assert!(Scenario::parse("x.toml", &text).is_ok());
}

/// The same for qcow2.
const QCOW2: &str = r#"version = 1
claim = "A snapshot does not change."

[system]
kind = "qcow2"
size = "64 KiB"
version = 2
cluster = "4 KiB"
backing = { len = "24 KiB", holes = ["4K 4K"] }
discards = true
slice = "1 KiB"
cache = 2
storage = "old-content"
setup = ["write 0 64K", "snapshot s1", "write-compressed 4K 4K"]
planted = ["qcow2-link-before-data"]

[disks.image]
model = "writeback"
sector = 512

[disks.backing]
model = "writeback"
sector = 512

[[client]]
ops = ["apply s1", "delete-snapshot s1", "write-zeroes 0 512", "snapshot s2"]

[[client]]
ops = ["unmap-zeroes 4K 4K", "read 0 4K"]

[[after]]
ops = ["write 0 4K"]

[explore]
schedules = "exhaustive"
crashes = "exact"

[expect]
verdict = "violated"
invariant = "Q-SNAP"
"#;

#[test]
fn a_canonical_text_of_qcow2_prints_as_itself() {
    let scenario = Scenario::parse("x.toml", QCOW2).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(scenario.to_toml(), QCOW2);
    let SystemSpec::Qcow2(qcow2) = &scenario.system else { panic!("a qcow2 image") };
    assert_eq!((qcow2.version, qcow2.refcount_bits, qcow2.cache), (2, 16, 2));
    assert_eq!(scenario.disks.iter().map(|disk| disk.zero_init).collect::<Vec<_>>(), [false, true]);
}

#[test]
fn every_rule_of_qcow2_points_at_its_place() {
    let cases = [
        ("version = 2", "version = 4", "4", "qcow2 version 4"),
        ("version = 2", "journal = \"4 KiB\"", "\"4 KiB\"", "`journal` of a qcow2 image"),
        ("backing = {", "base = {", "{ len", "`base` of a qcow2 image"),
        ("kind = \"qcow2\"", "kind = \"fvd\"", "2", "`version` of an FVD image"),
        ("cluster = \"4 KiB\"\n", "", "\"qcow2\"", "no word about the cluster"),
        ("cluster = \"4 KiB\"", "cluster = \"3 KiB\"", "\"3 KiB\"", "3072 is not a power of two"),
        ("cluster = \"4 KiB\"", "cluster = \"4 MiB\"", "\"4 MiB\"", "4194304 is not a power"),
        ("slice = \"1 KiB\"", "slice = \"100\"", "\"100\"", "100 is not a power of two"),
        ("discards = true", "refcount_bits = 8", "8", "refcounts of 8 bits"),
        ("discards = true", "lazy_refcounts = true", "true", "`lazy_refcounts` in version 2"),
        ("discards = true", "bitmap = \"2 KiB\"", "\"2 KiB\"", "`bitmap` in version 2"),
        ("version = 2", "bitmap = \"3 KiB\"", "\"3 KiB\"", "3072 is not a power of two"),
        ("discards = true", "compression = \"zstd\"", "\"zstd\"", "`compression` in version 2"),
        ("version = 2", "extended_l2 = true", "\"4 KiB\"", "clusters too small for subclusters"),
        ("version = 2", "refcount_bits = 3", "3", "refcounts of 3 bits"),
        ("cache = 2", "cache = 0", "0", "zero is too little"),
        ("[\"4K 4K\"]", "[\"24K 4K\"]", "\"24K 4K\"", "not a hole"),
        ("\"write 0 64K\"", "\"grow 128K\"", "\"grow 128K\"", "a qcow2 image that grows closed"),
        ("\"write 0 64K\"", "\"discard 0 4K\"", "\"discard 0 4K\"", "a discard of which nobody"),
        (
            "write-compressed 4K 4K",
            "write-compressed 4K 2K",
            "\"write-compressed 4K 2K\"",
            "a part of a cluster",
        ),
        ("\"write 0 64K\"", "\"apply s3\"", "\"apply s3\"", "no snapshot `s3`"),
        ("\"write 0 64K\"", "\"snapshot s1\"", "\"snapshot s1\"", "a second snapshot `s1`"),
        ("\"read 0 4K\"", "\"apply s1\"", "\"apply s1\"", "a second client of the snapshot `s1`"),
        ("\"read 0 4K\"", "\"resize 8K\"", "\"apply s1\"", "snapshots of a disk that is resized"),
        ("\"write 0 4K\"", "\"snapshot s9\"", "\"snapshot s9\"", "snapshots or sizes after a"),
        ("\"Q-SNAP\"", "\"Q-PIN\"", "\"Q-PIN\"", "an invariant that no exploration decides"),
    ];
    for (old, new, place, problem) in cases {
        assert!(QCOW2.contains(old), "{old:?} is there");
        let text = QCOW2.replacen(old, new, 1);
        let error = Scenario::parse("x.toml", &text).expect_err(&format!("{old:?} -> {new:?}"));
        let found = &text[error.span.clone()];
        assert!(error.problem.contains(problem), "{old:?} -> {new:?} says {:?}", error.problem);
        assert!(found.starts_with(place), "{old:?} -> {new:?} points at {found:?}");
    }
}

#[test]
fn requests_of_other_images_are_refused() {
    let text = with("\"write 0 64K\"", "\"discard 0 4K\"");
    let error = Scenario::parse("x.toml", &text).unwrap_err();
    assert_eq!(error.problem, "a request that FVD images do not know");
    let text = QCOW2.replace("version = 2", "data_file = true");
    let error = Scenario::parse("x.toml", &text).unwrap_err();
    assert_eq!(error.problem, "compressed data in a data file");
}
