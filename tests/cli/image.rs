use crate::Place;

/// Bytes that differ from sector to sector.
fn noise(len: usize) -> Vec<u8> {
    (0..len).map(|index| u8::try_from((index / 512 + index) % 251).unwrap() | 1).collect()
}

/// A place with a compact image over a base.
fn with_base() -> Place {
    let place = Place::new();
    place.file("base.raw", noise(300_000));
    place
        .run("image create a.fvd 1MiB --chunk 64K --journal 64K --base base.raw --block 64K")
        .exits(0);
    place
}

#[test]
fn what_is_written_is_read_and_the_rest_stays() {
    let place = with_base();
    place.file("data", "hello").run("image write a.fvd 100 data --allow-base").exits(0);
    let mut expected = noise(300_000);
    expected[100..105].copy_from_slice(b"hello");
    expected.resize(1 << 20, 0);
    let read = place.run("image read a.fvd 0 1MiB --allow-base").exits(0);
    assert!(read.stdout == expected, "the guest sees base, data and zeros");
    place.run("image read a.fvd 98 9 --allow-base -o out").exits(0);
    assert_eq!(place.read("out"), expected[98..107]);
    place.run_with("image write a.fvd 524288 --allow-base", Some("data")).exits(0);
    place.run("image read a.fvd 512K 5 --base base.raw").exits(0).says("hello");
    place.run("image check a.fvd").exits(0).says("closed cleanly; no rule is broken");
    place.run("image map a.fvd 0 300032").exits(0).says("\n65536 234496 base\n");
}

#[test]
fn files_that_an_image_names_need_consent() {
    let place = with_base();
    let refusal = "the image names \"base.raw\" as its base";
    for verb in ["read a.fvd 0 1", "write a.fvd 0 base.raw", "convert a.fvd out.raw"] {
        place.run(&format!("image {verb}")).exits(2).complains(refusal);
    }
    place.run("image compare a.fvd base.raw").exits(2).complains(refusal);
    assert!(!place.path("out.raw").exists());
    std::fs::remove_file(place.path("base.raw")).unwrap();
    // Looking at the image itself needs no other file.
    place.run("image info a.fvd").exits(0).says("base:             \"base.raw\"\n");
    place.run("image check a.fvd").exits(0);
    place.run("image map a.fvd").exits(0).says("\n0 300032 base\n300032 748544 zero\n");
    place.run("image read a.fvd 0 1 --allow-base").exits(2).complains("base.raw");
}

#[test]
fn a_data_file_is_never_looked_at() {
    let place = Place::new();
    place.run("image create a.fvd 64K --data-file a.dat").exits(0);
    place.run("image create inner.fvd 64K --journal none").exits(0);
    place.run("image write a.fvd 0 inner.fvd").exits(2).complains("--allow-data");
    place.run("image write a.fvd 0 inner.fvd --allow-data").exits(0);
    // The guest wrote something that looks like an image: it stays the guest's bytes.
    let inner = place.read("inner.fvd");
    let read = place.run("image read a.fvd 0 8K --allow-data").exits(0);
    assert!(read.stdout == inner[..8192]);
    assert!(place.read("a.dat").starts_with(&inner));
    place.run("image create a.fvd 64K --data-file a.dat").exits(2).complains("exists already");
    place.run("image create b.fvd 64K --data-file a.dat").exits(2).complains("a.dat: exists");
}

#[test]
fn an_image_that_names_itself_as_base_is_refused() {
    let place = Place::new();
    place.file("b.fvd", []);
    place.run("image create a.fvd 64K --journal none --base b.fvd --block 512").exits(0);
    let mut image = place.read("a.fvd");
    image[28..34].copy_from_slice(b"a.fvd\0");
    image[1052..1056].copy_from_slice(b"fvd\0");
    place.file("a.fvd", image);
    place.run("image read a.fvd 0 1 --allow-base").exits(2).complains("does one name itself?");
}

#[test]
fn nothing_that_an_image_says_is_executed() {
    let place = Place::new();
    place
        .run("image create a.fvd 1MiB --chunk 4K --journal 4K --add-storage-cmd touch;pwned")
        .exits(0);
    place.file("data", noise(1 << 20));
    place.run("image write a.fvd 0 data").exits(0);
    place.run("image info a.fvd").exits(0).says("\"touch;pwned\" (never run)");
    assert_eq!(place.files(), ["a.fvd", "data"]);
}

#[test]
fn conversion_keeps_content_and_holes() {
    let place = Place::new();
    let mut content = vec![0; 1 << 20];
    content[200_000..300_000].copy_from_slice(&noise(100_000));
    place.file("a.raw", &content);
    place.run("image convert a.raw b.fvd -O fvd --chunk 64K --journal 4K").exits(0);
    place.run("image compare a.raw b.fvd").exits(0).says("no difference\n");
    place.run("image map b.fvd").exits(0).says("\n327680 720896 zero\n");
    place.run("image convert b.fvd c.raw").exits(0);
    assert!(place.read("c.raw") == content);
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let blocks = std::fs::metadata(place.path("c.raw")).unwrap().blocks();
        assert!(blocks * 512 < 400_000, "{blocks} blocks of 512 bytes are not sparse");
    }
    place.run("image convert a.raw c.raw").exits(2).complains("c.raw: exists already; use --force");
    place.run("image convert b.fvd c.raw --force").exits(0);
    place.run("image convert a.raw d.raw --chunk 4K").exits(2).complains("add -O fvd");
    assert_eq!(place.files(), ["a.raw", "b.fvd", "c.raw"], "nothing half-made is left");
}

#[test]
fn a_format_that_is_given_is_not_guessed() {
    let place = Place::new();
    place.run("image create a.fvd 64K --journal none").exits(0);
    place.run("image info a.fvd").exits(0).says("fvd 1");
    place.run("image info a.fvd -f raw").exits(0).says("virtual size:     8192\n");
    place.file("zero.raw", vec![0; 512]);
    place.run("image info zero.raw -f fvd").exits(2).complains("zero.raw: ");
    place.run("image create r.raw 1000 -f raw").exits(0);
    assert_eq!(place.read("r.raw"), [0; 1000]);
    place.run("image create s.raw 1K -f raw --journal 4K").exits(2).complains("--journal");
}

#[test]
fn comparison_names_the_first_difference() {
    let place = Place::new();
    let mut other = noise(70_000);
    place.file("a", &other);
    other[69_999] ^= 4;
    place.file("b", &other).file("c", &other[..69_000]);
    other[69_000..].fill(0);
    place.file("z", &other);
    place.run("image compare a a").exits(0).says("no difference");
    place.run("image compare a b").exits(1).says("the first difference is at byte 69999");
    place.run("image compare a c").exits(1).says("at byte 69000: only a has it");
    place.run("image compare c z").exits(0).says("no difference but the length");
    place.run("image compare c z --strict").exits(1);
}

#[test]
fn bad_input_is_told_with_file_place_and_rule() {
    let place = with_base();
    let image = place.read("a.fvd");
    let with = |offset: usize, bytes: &[u8]| {
        let mut damaged = image.clone();
        damaged[offset..offset + bytes.len()].copy_from_slice(bytes);
        damaged
    };
    place
        .file("short.fvd", &image[..5000])
        .file("version.fvd", with(4, &[9]))
        .file("block.fvd", with(1092, &[1, 0, 0, 0]));
    let cases = [
        ("info short.fvd", "short.fvd: corrupt image: header: "),
        ("info version.fvd", "version.fvd: "),
        ("check block.fvd", "block.fvd: corrupt image: header: block_size "),
        ("read block.fvd 0 1 --allow-base", "block.fvd: corrupt image: header: block_size "),
        ("read a.fvd 1M 1 --allow-base", "are not inside the disk of 1048576 bytes"),
        ("info nowhere", "nowhere: No such file or directory"),
        ("create b.fvd", "name a size"),
        ("create no/where 1M", "no/where: cannot be made: "),
        ("create b.fvd 1M --block 4K", "--base"),
        ("create b.fvd 1X", "expected a size such as 512, 4K or 1MiB"),
    ];
    for (args, message) in cases {
        place.run(&format!("image {args}")).exits(2).complains(message);
    }
    assert!(
        place
            .run("image write a.fvd 1048575 a.fvd --allow-base")
            .exits(2)
            .stderr
            .contains("the data does not end inside the disk")
    );
    place.run("image check a.fvd").exits(0);
}

#[test]
fn check_tells_what_is_broken() {
    let place = Place::new();
    place.run("image create a.fvd 64K --chunk 4K --journal none").exits(0);
    place.file("data", noise(8192)).run("image write a.fvd 0 data").exits(0);
    let mut image = place.read("a.fvd");
    let table = 8192;
    let first: [u8; 4] = image[table..table + 4].try_into().unwrap();
    image[table + 4..table + 8].copy_from_slice(&first);
    place.file("a.fvd", image);
    place.run("image check a.fvd").exits(1).says("1 rule is broken");
    place.run("image read a.fvd 0 1").exits(2).complains("corrupt image: table");
}
