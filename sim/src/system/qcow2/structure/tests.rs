//! Hand-made images, sound and broken in one place, and images that qemu has made.

use plugpull_engine::ByteRange;

use super::*;
use crate::disk::Image;
use crate::system::qcow2::Held;

/// Small clusters, so that every structure is small.
const CLUSTER: u64 = 512;

/// Where the structures of [`sound`] are, in host clusters.
const REFCOUNT_TABLE: u64 = 1;
const REFCOUNT_BLOCK: u64 = 2;
const L1: u64 = 3;
const L2: u64 = 4;
const DATA: u64 = 5;
const SHARED: u64 = 6;
const COMPRESSED: u64 = 7;
const SNAPSHOTS: u64 = 8;
const SNAPSHOT_L1: u64 = 9;
const SNAPSHOT_L2: u64 = 10;
const CLUSTERS: u64 = 11;

fn put(image: &mut Image, offset: u64, number: u64, len: usize) {
    image.write(offset, &number.to_be_bytes()[8 - len..]);
}

/// Version 3 with refcounts of 16 bits: guest cluster 0 is at [`DATA`], 1 at [`SHARED`] and the same
/// in the snapshot `s1`, 2 and 3 are compressed in [`COMPRESSED`].
fn sound() -> Image {
    let mut image = Image::zeroed(CLUSTERS * CLUSTER);
    for (at, number, len) in [
        (0, 0x5146_49fb, 4),
        (4, 3, 4),
        (20, 9, 4),
        (24, 64 * CLUSTER, 8),
        (36, 1, 4),
        (40, L1 * CLUSTER, 8),
        (48, REFCOUNT_TABLE * CLUSTER, 8),
        (56, 1, 4),
        (60, 1, 4),
        (64, SNAPSHOTS * CLUSTER, 8),
        (96, 4, 4),
        (100, 104, 4),
    ] {
        put(&mut image, at, number, len);
    }
    put(&mut image, REFCOUNT_TABLE * CLUSTER, REFCOUNT_BLOCK * CLUSTER, 8);
    for host in 0..CLUSTERS {
        let refcount = if host == SHARED || host == COMPRESSED { 2 } else { 1 };
        put(&mut image, REFCOUNT_BLOCK * CLUSTER + 2 * host, refcount, 2);
    }
    let copied = 1 << 63;
    put(&mut image, L1 * CLUSTER, copied | (L2 * CLUSTER), 8);
    put(&mut image, L2 * CLUSTER, copied | (DATA * CLUSTER), 8);
    put(&mut image, L2 * CLUSTER + 8, SHARED * CLUSTER, 8);
    put(&mut image, L2 * CLUSTER + 16, 1 << 62 | (COMPRESSED * CLUSTER), 8);
    put(&mut image, L2 * CLUSTER + 24, 1 << 62 | (COMPRESSED * CLUSTER + 100), 8);
    let entry = SNAPSHOTS * CLUSTER;
    put(&mut image, entry, SNAPSHOT_L1 * CLUSTER, 8);
    put(&mut image, entry + 8, 1, 4);
    put(&mut image, entry + 12, 1, 2);
    put(&mut image, entry + 14, 2, 2);
    put(&mut image, entry + 36, 16, 4);
    put(&mut image, entry + 48, 64 * CLUSTER, 8);
    image.write(entry + 56, b"1s1");
    put(&mut image, SNAPSHOT_L1 * CLUSTER, SNAPSHOT_L2 * CLUSTER, 8);
    put(&mut image, SNAPSHOT_L2 * CLUSTER + 8, SHARED * CLUSTER, 8);
    image
}

/// The second lowest byte of a host cluster's offset.
fn low(host: u64) -> u8 {
    u8::try_from((host * CLUSTER) >> 8).unwrap()
}

/// Nothing that a hand-made image is compared with.
fn nothing_known() -> Known {
    Known { start: Vec::new(), content: Image::zeroed(0), len: 0, sizes: Vec::new() }
}

fn findings(image: &Image) -> Vec<(Invariant, String)> {
    let disks = &mut Held(std::slice::from_ref(image));
    let asked = questions(&[0], 1).into_iter();
    asked
        .filter_map(|question| ask(disks, question, &nothing_known()))
        .map(|f| (f.invariant, f.message))
        .collect()
}

fn exactly(image: &Image) -> Option<Invariant> {
    exact(&mut Held(std::slice::from_ref(image))).map(|finding| finding.invariant)
}

#[test]
fn a_sound_image_breaks_nothing() {
    assert_eq!(findings(&sound()), []);
    assert_eq!(exactly(&sound()), None);
}

#[test]
fn what_is_broken_is_named() {
    let check = |offset: u64, bytes: &[u8], invariant: Invariant, message: &str| {
        let mut image = sound();
        image.write(offset, bytes);
        let found = findings(&image);
        let expected = (invariant, message.to_owned());
        assert!(found.contains(&expected), "{offset}: expected {expected:?}, found {found:?}");
    };
    let refcount = |host: u64| REFCOUNT_BLOCK * CLUSTER + 2 * host + 1;
    let refers = |host, refcount, count, owners| {
        format!(
            "host cluster {host} has refcount {refcount} and at least {count} references: {owners}"
        )
    };
    let too_low = Invariant::QRef;
    check(refcount(DATA), &[0], too_low, &refers(DATA, 0, 1, "guest cluster 0"));
    let twice = "guest cluster 1, guest cluster 1";
    check(refcount(SHARED), &[1], too_low, &refers(SHARED, 1, 2, twice));
    let compressed = "compressed guest cluster 2, compressed guest cluster 3";
    check(refcount(COMPRESSED), &[1], too_low, &refers(COMPRESSED, 1, 2, compressed));
    check(refcount(0), &[0], too_low, &refers(0, 0, 1, "the header"));
    check(refcount(L1), &[0], too_low, &refers(L1, 0, 1, "the L1 table"));
    check(refcount(L2), &[0], too_low, &refers(L2, 0, 1, "L2 table 0"));
    check(refcount(SNAPSHOTS), &[0], too_low, &refers(SNAPSHOTS, 0, 1, "the snapshot table"));
    let table = "the L1 table of snapshot s1";
    check(refcount(SNAPSHOT_L1), &[0], too_low, &refers(SNAPSHOT_L1, 0, 1, table));
    check(
        refcount(REFCOUNT_BLOCK),
        &[0],
        Invariant::QReftab,
        "refcount block 0, host cluster 2, has refcount 0",
    );
    check(
        L2 * CLUSTER + 8,
        &[0x80],
        Invariant::QCopied,
        "the entry of guest cluster 1 says that host cluster 6 has refcount 1, it has 2",
    );
    check(
        L2 * CLUSTER + 16,
        &[0xc0],
        Invariant::QCopied,
        "guest cluster 2 is compressed and marked as copied",
    );
    check(
        REFCOUNT_TABLE * CLUSTER + 15,
        &[1],
        Invariant::QReftab,
        "refcount block 1 is at 1, in a file of 5632 bytes",
    );
    let mut again = [0; 8];
    again[6] = 4;
    check(
        REFCOUNT_TABLE * CLUSTER + 8,
        &again,
        Invariant::QReftab,
        "refcount blocks 0 and 1 are both at 1024",
    );
    check(
        L1 * CLUSTER + 6,
        &[0x40],
        Invariant::QReftab,
        "L2 table 0 is at 16384, in a file of 5632 bytes",
    );
    check(
        40,
        &[0, 1],
        Invariant::QReftab,
        "the L1 table is 8 bytes at 281474976712192, in a file of 5632 bytes",
    );
    check(
        L2 * CLUSTER + 6,
        &[low(SHARED)],
        Invariant::QAlias,
        "host cluster 6 belongs to guest cluster 0 and to guest cluster 1",
    );
    check(
        L2 * CLUSTER + 6,
        &[low(L1)],
        Invariant::QAlias,
        "host cluster 3 belongs to guest cluster 0 and to the L1 table",
    );
    check(
        L2 * CLUSTER + 6,
        &[low(L2)],
        Invariant::QAlias,
        "host cluster 4 belongs to L2 table 0 and to guest cluster 0",
    );
    check(
        46,
        &[low(REFCOUNT_BLOCK)],
        Invariant::QAlias,
        "host cluster 2 belongs to the L1 table and to refcount block 0",
    );
}

#[test]
fn a_dirty_image_may_have_refcounts_that_are_too_low() {
    let mut image = sound();
    image.write(REFCOUNT_BLOCK * CLUSTER + 2 * DATA + 1, &[0]);
    image.write(79, &[1]);
    assert_eq!(findings(&image), []);
}

#[test]
fn leaks_are_found_after_a_close() {
    let mut image = sound();
    image.write(REFCOUNT_BLOCK * CLUSTER + 2 * DATA + 1, &[2]);
    assert_eq!(exactly(&image), Some(Invariant::QExact));
    let mut image = sound();
    image.write(REFCOUNT_BLOCK * CLUSTER + 2 * CLUSTERS + 1, &[1]);
    assert_eq!(exactly(&image), Some(Invariant::QExact));
    let mut image = sound();
    image.write(L2 * CLUSTER, &[0]);
    assert_eq!(exactly(&image), Some(Invariant::QCopied));
}

#[test]
fn without_the_dirty_mark_lazy_refcounts_have_to_be_right() {
    let mut image = sound();
    image.write(87, &[1]);
    assert_eq!(findings(&image), []);
    image.write(REFCOUNT_BLOCK * CLUSTER + 2 * DATA + 1, &[0]);
    let found: Vec<_> = findings(&image).into_iter().map(|(invariant, _)| invariant).collect();
    assert!(found.contains(&Invariant::QClean), "{found:?}");
    assert!(!found.contains(&Invariant::QRef), "{found:?}");
    image.write(79, &[1]);
    assert_eq!(findings(&image), []);
}

#[test]
fn what_a_repair_leaves_is_found() {
    let left = |poke: &dyn Fn(&mut Image)| {
        let mut image = sound();
        poke(&mut image);
        let found = repaired(&mut Held(std::slice::from_ref(&image)));
        found.map(|finding| (finding.invariant, finding.message))
    };
    let broken = |message: &str| Some((Invariant::QRepair, format!("after a repair {message}")));
    assert_eq!(left(&|_| {}), None);
    assert_eq!(left(&|image| image.write(79, &[1])), broken("the image is still marked dirty"));
    assert_eq!(
        left(&|image| image.write(REFCOUNT_BLOCK * CLUSTER + 2 * DATA + 1, &[2])),
        broken("host cluster 5 has refcount 2 and 1 references"),
    );
    assert_eq!(
        left(&|image| put(image, L2 * CLUSTER, DATA * CLUSTER, 8)),
        broken(
            "the entry of guest cluster 0 is not marked as copied, and host cluster 5 has refcount 1"
        ),
    );
}

#[test]
fn a_snapshot_has_a_size_that_there_was_and_a_table_for_it() {
    let check = |size: u64, sizes: &[u64], is_whole: bool| {
        let mut image = sound();
        // The length of the machine state comes first.
        put(&mut image, SNAPSHOTS * CLUSTER + 48, size, 8);
        let known = Known { sizes: sizes.to_vec(), ..nothing_known() };
        let images = [image];
        let found = ask(&mut Held(&images), Question::Snapshots, &known);
        let expected = (!is_whole).then_some(Invariant::QSnap);
        assert_eq!(found.map(|finding| finding.invariant), expected, "{size} of {sizes:?}");
    };
    check(64 * CLUSTER, &[], true);
    check(32 * CLUSTER, &[32 * CLUSTER], true);
    // A part of it would be nothing.
    check(32 * CLUSTER, &[], false);
    // The table has one entry, for 64 clusters.
    check(65 * CLUSTER, &[65 * CLUSTER], false);
}

/// Behind [`sound`]: a directory, a table and a cluster of bits.
const DIRECTORY: u64 = CLUSTERS;
const BITMAP_TABLE: u64 = CLUSTERS + 1;
const BITS: u64 = CLUSTERS + 2;

/// [`sound`] with an enabled bitmap of a cluster per bit, with bit 0 set.
fn with_bitmap() -> Image {
    let mut image = sound();
    image.set_len((BITS + 1) * CLUSTER);
    for host in [DIRECTORY, BITMAP_TABLE, BITS] {
        put(&mut image, REFCOUNT_BLOCK * CLUSTER + 2 * host, 1, 2);
    }
    let entry = DIRECTORY * CLUSTER;
    for (at, number, len) in [
        (88, 1, 8),
        (104, 0x2385_2875, 4),
        (108, 24, 4),
        (112, 1, 4),
        (120, 32, 8),
        (128, DIRECTORY * CLUSTER, 8),
        (entry, BITMAP_TABLE * CLUSTER, 8),
        (entry + 8, 1, 4),
        (entry + 12, 2, 4),
        (entry + 16, 1, 1),
        (entry + 17, 9, 1),
        (entry + 18, 1, 2),
        (BITMAP_TABLE * CLUSTER, BITS * CLUSTER, 8),
    ] {
        put(&mut image, at, number, len);
    }
    image.write(entry + 24, b"b");
    image.write(BITS * CLUSTER, &[1]);
    image
}

/// What questions about bitmaps find, where the guest read zeros at the start.
fn of_bitmaps(image: &Image, start: &Image) -> Vec<(Invariant, String)> {
    let known = Known {
        start: vec![start.clone()],
        content: Image::zeroed(4 * CLUSTER),
        len: 4 * CLUSTER,
        sizes: Vec::new(),
    };
    let disks = &mut Held(std::slice::from_ref(image));
    assert!(has_bitmaps(disks));
    let asked = bitmap_questions(&[0], 0..4).into_iter();
    let found = asked.filter_map(|question| ask(disks, question, &known));
    found.map(|finding| (finding.invariant, finding.message)).collect()
}

#[test]
fn bitmaps_count_as_owners() {
    let sound = with_bitmap();
    assert_eq!(of_bitmaps(&sound, &sound), []);
    assert_eq!(exactly(&sound), None);
    let check = |offset: u64, bytes: &[u8], invariant: Invariant, message: &str| {
        let mut image = sound.clone();
        image.write(offset, bytes);
        let found = of_bitmaps(&image, &sound);
        let expected = (invariant, message.to_owned());
        assert!(found.contains(&expected), "{offset}: expected {expected:?}, found {found:?}");
    };
    let refcount = |host: u64| REFCOUNT_BLOCK * CLUSTER + 2 * host + 1;
    for (host, owner) in [
        (DIRECTORY, "the bitmap directory"),
        (BITMAP_TABLE, "the table of bitmap 0"),
        (BITS, "cluster 0 of bitmap 0"),
    ] {
        let message =
            format!("host cluster {host} has refcount 0 and at least 1 references: {owner}");
        check(refcount(host), &[0], Invariant::QRef, &message);
    }
    let mut at = [0; 8];
    at[6] = low(DATA);
    check(
        BITMAP_TABLE * CLUSTER,
        &at,
        Invariant::QAlias,
        "host cluster 5 belongs to guest cluster 0 and to cluster 0 of bitmap 0",
    );
    at[6] = low(L1);
    check(
        BITMAP_TABLE * CLUSTER,
        &at,
        Invariant::QAlias,
        "host cluster 3 belongs to the L1 table and to cluster 0 of bitmap 0",
    );
    check(
        135,
        &[8],
        Invariant::QReftab,
        "the bitmap directory is 32 bytes at 5640, in a file of 7168 bytes",
    );
}

#[test]
fn a_trusted_bitmap_covers_what_has_changed() {
    let start = with_bitmap();
    let check = |pokes: &[(u64, &[u8])], noted: bool| {
        let mut image = start.clone();
        pokes.iter().for_each(|(at, bytes)| image.write(*at, bytes));
        let found: Vec<_> = of_bitmaps(&image, &start);
        let found: Vec<_> = found.into_iter().map(|(invariant, _)| invariant).collect();
        let expected: &[Invariant] = if noted { &[] } else { &[Invariant::BSuper] };
        assert_eq!(found, expected, "{pokes:?}");
    };
    let (data, shared, flags) = (DATA * CLUSTER, SHARED * CLUSTER, DIRECTORY * CLUSTER + 15);
    // Bit 0 is set, bit 1 is not.
    check(&[(data + 100, &[7])], true);
    check(&[(shared + 100, &[7])], false);
    check(&[(shared + 100, &[7]), (BITS * CLUSTER, &[2])], true);
    // Bits that are all ones need no cluster.
    let ones = 1_u64.to_be_bytes();
    check(&[(shared + 100, &[7]), (BITMAP_TABLE * CLUSTER, &ones)], true);
    // In use, or not enabled.
    check(&[(shared + 100, &[7]), (flags, &[3])], true);
    check(&[(shared + 100, &[7]), (flags, &[0])], true);
    // Another compressed entry.
    check(&[(L2 * CLUSTER + 23, &[64])], false);
}

#[test]
fn slices_that_share_are_found() {
    // 64 entries are one slice, and one table here.
    let mut image = sound();
    put(&mut image, 36, 2, 4);
    put(&mut image, L1 * CLUSTER + 8, SNAPSHOT_L2 * CLUSTER, 8);
    let images = [image];
    let found = ask(&mut Held(&images), Question::Apart(0, 1), &nothing_known());
    let found = found.map(|f| (f.invariant, f.message));
    let message = "host cluster 10 belongs to L2 table 0 and to L2 table 1";
    assert_eq!(found, Some((Invariant::QAlias, message.to_owned())));
}

#[test]
fn refcounts_of_every_width_are_read() {
    for order in 0..=6_u32 {
        let bits = 1_u64 << order;
        let mut image = sound();
        put(&mut image, 96, order.into(), 4);
        image.write(REFCOUNT_BLOCK * CLUSTER, &[0; 512]);
        let most = if bits == 1 { 1 } else { 2 };
        let index = 3;
        let at = REFCOUNT_BLOCK * CLUSTER + index * bits / 8;
        match bits {
            1..8 => image.write(at, &[u8::try_from(most << (index * bits % 8)).unwrap()]),
            _ => put(&mut image, at, most, usize::try_from(bits / 8).unwrap()),
        }
        let images = [image];
        let mut disks = Held(&images);
        let mut bytes = Bytes::new(&mut disks);
        let layout = Layout::read(&mut bytes).unwrap();
        let refcounts: Vec<u64> = (2..5).map(|host| layout.refcount(&mut bytes, host)).collect();
        assert_eq!(refcounts, [0, most, 0], "{bits} bits");
    }
}

/// What a whole image breaks, with all its slices.
fn broken(image: Image, size: u64) -> Vec<String> {
    let images = [image];
    let disks = &mut Held(&images);
    let (slice_len, _) = slice_and_cluster_len(disks).expect("an image");
    let slices: Vec<u64> = ByteRange::new(0, size).units(slice_len).collect();
    let asked = questions(&slices, 2).into_iter();
    let mut found: Vec<_> =
        asked.filter_map(|question| ask(disks, question, &nothing_known())).collect();
    found.extend(exact(disks));
    found.into_iter().map(|f| format!("{}: {}", f.invariant, f.message)).collect()
}

/// Runs one of qemu's tools in a directory; none if it is not installed.
fn qemu(dir: &std::path::Path, tool: &str, arguments: &[&str]) -> Option<()> {
    let mut command = std::process::Command::new(tool);
    let output = command.current_dir(dir).args(arguments).output().ok()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{tool} {arguments:?}: {said}");
    Some(())
}

#[test]
fn what_qemu_makes_is_sound() {
    let check = |options: &str, io: &[&str], img: &[&str]| {
        let dir = tempfile::tempdir().unwrap();
        let create = ["create", "-q", "-f", "qcow2", "-o", options, "a.qcow2", "1M"];
        qemu(dir.path(), "qemu-img", &create)?;
        for words in img {
            for request in io {
                qemu(dir.path(), "qemu-io", &["-f", "qcow2", "-c", request, "a.qcow2"])?;
            }
            qemu(dir.path(), "qemu-img", &words.split(' ').collect::<Vec<_>>())?;
        }
        let bytes = std::fs::read(dir.path().join("a.qcow2")).unwrap();
        let none: [String; 0] = [];
        assert_eq!(broken(Image::from_bytes(&bytes), 1 << 20), none, "{options}");
        Some(())
    };
    let io = ["write 0 256k", "write -z 64k 64k", "write 513k 1k", "discard 128k 64k"];
    let compressed = ["write -c 512k 64k", "write -c 576k 64k"];
    let snapshots =
        ["snapshot -c one a.qcow2", "snapshot -c two a.qcow2", "snapshot -d one a.qcow2"];
    let bitmap = ["bitmap --add -g 64k a.qcow2 b", "snapshot -c one a.qcow2"];
    let plain = ["info a.qcow2"];
    for (options, io, img) in [
        ("cluster_size=64k", &io[..], &plain[..]),
        ("cluster_size=4k", &io, &snapshots),
        ("cluster_size=64k", &compressed, &snapshots[..1]),
        ("cluster_size=512", &io, &snapshots),
        ("cluster_size=512,refcount_bits=64", &io, &plain),
        ("cluster_size=4k,refcount_bits=1", &io, &plain),
        ("cluster_size=64k,compat=0.10", &io, &snapshots),
        ("cluster_size=64k,extended_l2=on", &io, &snapshots),
        ("cluster_size=64k,compression_type=zstd", &compressed, &plain),
        ("cluster_size=64k", &io, &bitmap),
    ] {
        if check(options, io, img).is_none() {
            return; // Not installed here.
        }
    }
}
