//! `plugpull image` on qcow2 images.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

use crate::Place;

/// Bytes that differ from sector to sector.
fn noise(len: usize) -> Vec<u8> {
    (0..len).map(|index| u8::try_from((index / 512 + index) % 251).unwrap() | 1).collect()
}

/// The program's own help says which options there are; here each is used once.
#[test]
fn what_create_is_told_info_tells() {
    let place = Place::new();
    place.file("base.raw", noise(300_000));
    let cases = [
        ("1M", "format:           qcow2 3\n"),
        ("1M", "virtual size:     1048576\n"),
        ("1M", "cluster size:     65536\n"),
        ("1M --cluster 512", "cluster size:     512\n"),
        ("1M --refcount-bits 1", "refcount bits:    1\n"),
        ("1M --qcow2-version 2", "format:           qcow2 2\n"),
        ("1M --lazy-refcounts", "features:         lazy refcounts\n"),
        ("1M --compression zstd", "compression:      zstd\n"),
        ("1M --compression zlib", "compression:      deflate\n"),
        ("1M --extended-l2", "features:         extended L2 entries\n"),
        ("--base base.raw", "virtual size:     300032\n"),
        ("1M --base base.raw", "base:             \"base.raw\"\nbase format:      \"raw\"\n"),
        ("1M --data-file a.dat", "data file:        \"a.dat\"\n"),
        ("1M --data-file a.dat --data-file-raw", "features:         external data file, raw "),
    ];
    for (options, expected) in cases {
        place.run(&format!("image create a.qcow2 -f qcow2 --force {options}")).exits(0);
        place.run("image info a.qcow2").exits(0).says(expected);
        place.run("image check a.qcow2").exits(0).says("no rule is broken");
    }
    assert_eq!(place.read("a.dat").len(), 1 << 20, "a data file is as long as the disk");
    for (options, complaint) in [
        ("1M --cluster 3K", "power of two"),
        ("1M --refcount-bits 3", "power of two"),
        ("1M --qcow2-version 4", "version"),
        ("1M --qcow2-version 2 --extended-l2", "version"),
        ("1M --chunk 64K", "--chunk is for fvd images; leave it out, or add -f fvd"),
        ("1M --base base.raw --block 4K", "--block is for fvd images"),
        ("1M --base gone", "gone: there is no such base; put it there"),
        ("1M --data-file b.qcow2", "b.qcow2: cannot be its own data file"),
        ("", "name a size"),
    ] {
        let ran = place.run(&format!("image create b.qcow2 -f qcow2 {options}")).exits(2);
        ran.complains(complaint);
    }
    let more = [
        (
            "create b 1M --cluster 4K",
            "--cluster is for qcow2 images; leave it out, or add -f qcow2",
        ),
        ("convert base.raw b --lazy-refcounts", "add -O qcow2"),
        ("convert base.raw b -c", "add -O qcow2"),
        ("create b 1M -f raw --base base.raw", "--base is for fvd and qcow2 images"),
        ("create b 1M --data-file x --data-file-raw", "add -f qcow2"),
        ("check base.raw --repair all", "--repair is for qcow2 images"),
    ];
    for (args, complaint) in more {
        place.run(&format!("image {args}")).exits(2).complains(complaint);
    }
    assert_eq!(place.files(), ["a.dat", "a.qcow2", "base.raw"], "nothing half-made is left");
}

#[test]
fn what_is_written_is_read_and_the_rest_stays() {
    let place = Place::new();
    place.file("base.raw", noise(300_000)).file("data", "hello");
    place.run("image create a.qcow2 1MiB -f qcow2 --cluster 4K --base base.raw").exits(0);
    place.run("image write a.qcow2 100 data --allow-base").exits(0);
    let mut expected = noise(300_000);
    expected[100..105].copy_from_slice(b"hello");
    expected.resize(1 << 20, 0);
    let read = place.run("image read a.qcow2 0 1MiB --allow-base").exits(0);
    assert!(read.stdout == expected, "the guest sees base, data and zeros");
    let map = place.run("image map a.qcow2").exits(0);
    map.says("start length place\n0 4096 data ");
    place.run("image check a.qcow2").exits(0).says("closed cleanly, or as good as; no rule");

    place.run("image write-zeroes a.qcow2 4000 5000 --allow-base").exits(0);
    expected[4000..9000].fill(0);
    place.run("image discard a.qcow2 12K 8K --allow-base").exits(0);
    expected[12288..20480].fill(0);
    let read = place.run("image read a.qcow2 0 1MiB --allow-base").exits(0);
    assert!(read.stdout == expected, "and zeros where they were asked for");
    place.run("image discard a.qcow2 100 8K").exits(2).complains("multiples of 512");
    place
        .run("image discard a.qcow2 1M 512 --allow-base")
        .exits(2)
        .complains("not inside the disk");
    place.run("image check a.qcow2").exits(0);

    place.run("image resize a.qcow2 64K --allow-base").exits(2).complains("add --shrink");
    place.run("image resize a.qcow2 64K --shrink --allow-base").exits(0);
    place.run("image resize a.qcow2 2M --allow-base").exits(0);
    expected[65536..].fill(0);
    expected.resize(2 << 20, 0);
    let read = place.run("image read a.qcow2 0 2MiB --allow-base").exits(0);
    assert!(read.stdout == expected, "what was cut off does not come back");
}

#[test]
fn raw_and_fvd_have_what_they_can_of_the_verbs() {
    let place = Place::new();
    let mut content = noise(100_000);
    place.file("a.raw", &content);
    place.run("image write-zeroes a.raw 99 5001").exits(0);
    place.run("image discard a.raw 64K 1K").exits(0);
    place.run("image write-zeroes a.raw 70000 3000 --unmap").exits(0);
    for range in [99..5100, 65536..66560, 70_000..73_000] {
        content[range].fill(0);
    }
    assert!(place.read("a.raw") == content);
    place.run("image resize a.raw 200000").exits(0);
    content.resize(200_000, 0);
    assert!(place.read("a.raw") == content);
    place.run("image snapshot list a.raw").exits(2).complains("only qcow2 images have snapshots");

    place.run("image convert a.raw a.fvd -O fvd").exits(0);
    place.run("image write-zeroes a.fvd 10000 5000").exits(0);
    content[10_000..15_000].fill(0);
    place.run("image discard a.fvd 0 4K").exits(0);
    place.run("image resize a.fvd 1M").exits(2).complains("an FVD image has a fixed size");
    place.run("image snapshot create a.fvd x").exits(2).complains("only qcow2 images");
    let read = place.run("image read a.fvd 0 200000").exits(0);
    assert!(read.stdout == content);
}

#[test]
fn conversion_in_all_directions() {
    let place = Place::new();
    let mut content = vec![0; 3 << 20];
    content[1_200_000..1_300_000].copy_from_slice(&noise(100_000));
    content[2_900_000..].fill(9);
    place.file("raw", &content);
    for (from, to, options) in [
        ("raw", "qcow2", ""),
        ("raw", "qcow2", "-c"),
        ("raw", "qcow2", "-c --compression zstd --cluster 2M"),
        ("raw", "qcow2", "-c --cluster 512"),
        ("raw", "qcow2", "--extended-l2 --cluster 16K"),
        ("qcow2", "fvd", ""),
        ("fvd", "qcow2", "--qcow2-version 2 --refcount-bits 16"),
        ("qcow2", "raw", ""),
        ("qcow2", "qcow2", "--cluster 4K"),
    ] {
        place.run(&format!("image convert {from} new -O {to} {options} --force")).exits(0);
        place
            .run(&format!("image compare raw new -F {to} --strict"))
            .exits(0)
            .says("no difference");
        place.run("image check new").exits(0);
        fs::rename(place.path("new"), place.path(to)).unwrap();
    }
    let blocks = fs::metadata(place.path("raw")).unwrap().blocks();
    assert!(blocks * 512 < 1_000_000, "{blocks} blocks of 512 bytes are not sparse");
    // The end of the disk is no whole sector.
    place.file("odd", noise(100_001));
    for options in ["", "-c"] {
        place.run(&format!("image convert odd new -O qcow2 {options} --force")).exits(0);
        place.run("image compare odd new").exits(0);
    }
}

#[test]
fn compression_makes_it_smaller() {
    let place = Place::new();
    place.file("raw", noise(1 << 20));
    place.run("image convert raw a.qcow2 -O qcow2 -c").exits(0);
    let len = fs::metadata(place.path("a.qcow2")).unwrap().len();
    assert!(len < 600_000, "{len} bytes");
    place.run("image map a.qcow2 0 64K").exits(0).says("0 65536 compressed ");
}

#[test]
fn snapshots_come_and_go() {
    let place = Place::new();
    place.file("base.raw", noise(4096)).file("one", "one").file("two", "two");
    place.run("image create a.qcow2 1M -f qcow2 --base base.raw").exits(0);
    // No other file is opened for snapshots.
    fs::rename(place.path("base.raw"), place.path("away")).unwrap();
    let verb = |args: &str| place.run(&format!("image snapshot {args}"));
    verb("list a.qcow2").exits(0).says("id size seconds name\n");
    place.run("image write a.qcow2 64K one --base away").exits(0);
    verb("create a.qcow2 first").exits(0).says("1\n");
    place.run("image write a.qcow2 64K two --base away").exits(0);
    verb("create a.qcow2 second").exits(0).says("2\n");
    let list = verb("list a.qcow2").exits(0).text();
    let lines: Vec<&str> = list.lines().collect();
    assert_eq!(lines.len(), 3, "{list}");
    assert!(lines[1].starts_with("1 1048576 ") && lines[1].ends_with(" \"first\""), "{list}");
    place.run("image info a.qcow2").exits(0).says(" \"second\"\n");
    verb("apply a.qcow2 first").exits(0);
    place.run("image read a.qcow2 64K 3 --base away").exits(0).says("one");
    verb("apply a.qcow2 2").exits(0);
    place.run("image read a.qcow2 64K 3 --base away").exits(0).says("two");
    verb("delete a.qcow2 second").exits(0);
    verb("delete a.qcow2 1").exits(0);
    verb("apply a.qcow2 first").exits(2).complains("first");
    place.run("image check a.qcow2").exits(0).says("0 leaked");
}

#[test]
fn bases_of_any_format() {
    let place = Place::new();
    place.file("0.raw", noise(70_000)).file("x", "x");
    place.run("image create 1.qcow2 -f qcow2 --base 0.raw").exits(0);
    place.run("image write 1.qcow2 1 x --allow-base").exits(0);
    place.run("image create 2.fvd -f fvd --base 1.qcow2 --chunk 64K").exits(0);
    place.run("image write 2.fvd 2 x --allow-base").exits(0);
    place.run("image create 3.qcow2 -f qcow2 --base 2.fvd").exits(0);
    place.run("image write 3.qcow2 3 x --allow-base").exits(0);
    let mut expected = noise(70_000);
    expected[1..4].fill(b'x');
    let read = place.run("image read 3.qcow2 0 70000 --allow-base").exits(0);
    assert!(read.stdout == expected);
    place.run("image convert 3.qcow2 flat --allow-base").exits(0);
    place.run("image compare 3.qcow2 flat --allow-base").exits(0);
    place.run("image read 3.qcow2 0 1").exits(2).complains("\"2.fvd\" as its base");
    let chain: Vec<u32> = (3..20).collect();
    for number in &chain {
        let (base, next) = (number, number + 1);
        let create = format!("image create {next}.qcow2 64K -f qcow2 --base {base}.qcow2");
        let ran = place.run(&create);
        if number + 1 > 16 {
            ran.exits(2).complains("more than 16 images on top of each other");
            break;
        }
        ran.exits(0);
    }
}

#[test]
fn an_image_below_itself_is_refused() {
    let place = Place::new();
    place.run("image create b.qcow2 64K -f qcow2").exits(0);
    place.run("image create a.qcow2 64K -f qcow2 --base b.qcow2").exits(0);
    place.run("image info a.qcow2").exits(0).says("base format:      \"qcow2\"");
    fs::remove_file(place.path("b.qcow2")).unwrap();
    symlink("a.qcow2", place.path("b.qcow2")).unwrap();
    let read = place.run("image read a.qcow2 0 1 --allow-base").exits(2);
    read.complains("b.qcow2 lies below itself");
    let create = place.run("image create a.qcow2 -f qcow2 --base b.qcow2 --force").exits(2);
    create.complains("lies below itself");
    // Looking at it needs no other file.
    for verb in ["info", "check", "map"] {
        place.run(&format!("image {verb} a.qcow2")).exits(0);
    }
}

#[test]
fn a_base_whose_format_nobody_says_is_not_guessed() {
    let place = Place::new();
    place.file("plain", noise(65536));
    place.run("image create base 64K -f qcow2").exits(0);
    place.run("image create a.qcow2 64K -f qcow2 --base plain --base-format raw").exits(0);
    // As old programs left it: without the extension that names the format.
    let mut image = place.read("a.qcow2");
    let at = image.windows(4).position(|four| four == [0xE2, 0x79, 0x2A, 0xCA]).unwrap();
    image[at..at + 4].copy_from_slice(&[0x11; 4]);
    place.file("a.qcow2", image);
    place.run("image info a.qcow2").exits(0).says("none named, so raw\n");
    place.run("image read a.qcow2 0 1 --allow-base").exits(0);
    let read = place.run("image read a.qcow2 0 1 --base base").exits(2);
    read.complains("the base looks like qcow2; if it is, add --base-format qcow2");
    place.run("image read a.qcow2 0 1 --base base --base-format qcow2").exits(0);
    place.run("image read a.qcow2 0 1 --base base --base-format raw").exits(0).says("Q");
}

#[test]
fn names_that_are_no_files_are_not_opened() {
    let place = Place::new();
    place.file("nbd", "x");
    place.run("image create a.qcow2 64K -f qcow2 --base nbd").exits(0);
    let mut image = place.read("a.qcow2");
    let at = image.windows(3).position(|three| three == b"nbd").unwrap();
    image[at..at + 3].copy_from_slice(b"n:/");
    place.file("a.qcow2", image);
    let read = place.run("image read a.qcow2 0 1 --allow-base").exits(2);
    read.complains("\"n:/\" as its base, which is no file; say which file to use with --base FILE");
}

#[test]
fn what_is_broken_is_told_and_repaired() {
    let place = Place::new();
    place.run("image create a.qcow2 1M -f qcow2").exits(0);
    let good = place.read("a.qcow2");
    // A refcount that nothing accounts for: cluster 5 is past the metadata.
    let mut leaky = good.clone();
    leaky.resize(6 << 16, 0);
    leaky[(2 << 16) + 11] = 1;
    place.file("leaky.qcow2", &leaky);
    place.run("image check leaky.qcow2").exits(0).says("1 leaked").says("no rule is broken");
    place.run("image check leaky.qcow2 --repair leaks").exits(0).says("0 leaked");
    // An L1 entry that points past the end of the file.
    let mut broken = good.clone();
    broken[(3 << 16) + 5] = 0xFF;
    place.file("broken.qcow2", &broken);
    place.run("image check broken.qcow2").exits(1).says("1 rule is broken");
    place.run("image check broken.qcow2 --repair all").exits(0).says("repaired: ");
    place.run("image check broken.qcow2").exits(0);
    let mut version = good.clone();
    version[7] = 9;
    place.file("version.qcow2", version).file("short.qcow2", &good[..50]);
    place.run("image info version.qcow2").exits(2).complains("version.qcow2: ");
    place.run("image check short.qcow2").exits(2).complains("short.qcow2: corrupt image: header");
}
