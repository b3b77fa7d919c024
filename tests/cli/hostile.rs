//! Input and surroundings that nobody should offer: one clear message, exit code 2, nothing left.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use crate::Place;
use crate::run::HOLDS;

/// A name that clears the screen of whoever prints it.
const TRICK: &str = "a\u{1b}[2Jb\u{9b}31m";

#[test]
fn files_that_are_no_scenarios() {
    let place = Place::new();
    place.file("garbage.toml", [b"version = 1\n", &[0xFF; 100][..]].concat());
    place.file("empty.toml", "").file("long.toml", "#".repeat((16 << 20) + 1));
    place.file("folder/inner.toml/x", "").file("huge.toml", HOLDS.replace("8 KiB", "1 TiB"));
    for (args, message) in [
        ("garbage.toml", "garbage.toml: line 2, byte 12: not UTF-8 text"),
        ("empty.toml", "missing field `version`"),
        ("long.toml", "long.toml: longer than 16777216 bytes"),
        ("huge.toml", "huge.toml:6:8"),
        ("missing.toml", "missing.toml: No such file"),
        ("folder", "no scenario files (*.toml) in folder"),
        ("/dev/zero", "/dev/zero: longer than 16777216 bytes"),
    ] {
        place.run(&format!("run {args}")).exits(2).complains(message);
        let ran = place.run(&format!("replay {args}")).exits(2);
        assert!(ran.stderr.contains(args), "{}", ran.stderr);
    }
}

#[test]
fn reports_that_cannot_be_written() {
    let place = Place::new();
    place.file("a.toml", HOLDS).file("out", "a file, no folder");
    place.run("run a.toml --jobs 0").exits(2).complains("--jobs");
    place.run("run a.toml --jobs 18446744073709551615").exits(0);
    place.run("run a.toml --format nonsense").exits(2).complains("expected `text` or `json`");
    place.run("run a.toml --format json=no/x").exits(2).complains("no/x: No such file");
    place.file("b.toml", crate::run::planted());
    let ran = place.run("run b.toml --out out").exits(2).complains("cannot write counterexample");
    ran.says("1 scenario, 1 as expected");
    for args in ["run a.toml", "image info a.toml"] {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_plugpull"));
        command.args(args.split(' ')).current_dir(place.path("")).stdout(full);
        let output = command.stderr(Stdio::piped()).output().unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{args}");
        assert!(message.contains("standard output: No space left"), "{args}: {message}");
    }
}

#[test]
fn names_play_no_tricks() {
    let place = Place::new();
    place.file(&format!("{TRICK}.toml"), "version = 1\n").file("base", [1; 4096]);
    let inside = format!("\n{TRICK}");
    symlink("base", place.path(&inside)).unwrap();
    let create = ["image", "create", "a.fvd", "--base", &inside];
    place.run_words(&create).exits(0);
    fs::remove_file(place.path(&inside)).unwrap();
    place.run_words(&["image", "info", "a.fvd"]).exits(0).says("\"\\na\\u{1b}[2Jb\\u{9b}31m\"");
    for words in [
        &["run", &format!("{TRICK}.toml")][..],
        &["run", TRICK],
        &["replay", &format!("{TRICK}.toml")],
        &["image", "info", TRICK],
        &["image", "create", &format!("{TRICK}/x"), "1M"],
        &["image", "read", "a.fvd", "0", "512"],
        &["image", "read", "a.fvd", "0", "512", "--allow-base"],
        &create,
    ] {
        let ran = place.run_words(words).exits(2);
        assert!(
            ran.stderr.contains("a\\u{1b}[2Jb\\u{9b}31m") || *words == create,
            "{}",
            ran.stderr
        );
        let tricks = |c: char| c.is_control() && c != '\n';
        assert!(!ran.stderr.contains(tricks), "{:?}", ran.stderr);
    }
}

#[test]
fn nothing_is_left_half_written() {
    let place = Place::new();
    place.file("disk.raw", vec![7; 8192]);
    place.run("image create a.fvd 4096 --compact --journal 4K").exits(0);
    let before = (place.files(), place.read("a.fvd"));
    for (args, message) in [
        ("read disk.raw 0 4096 -o disk.raw", "exists already; use --force"),
        ("read disk.raw 4096 4608 -o out", "not inside the disk of 8192 bytes"),
        ("read disk.raw 0 512 -o no/out", "cannot be made: there is no folder no"),
        ("write a.fvd 0 disk.raw", "the data does not end inside the disk of 4096 bytes"),
        ("write a.fvd 512 disk.raw", "the data does not end inside"),
        ("convert disk.raw disk.raw", "exists already; use --force"),
        ("convert disk.raw no/x", "there is no folder no"),
        ("create b.fvd 1M --data-file b.fvd", "cannot be its own data file"),
        ("create b.fvd 1M --base missing", "put it there, or say where it is"),
        ("create b.fvd 8EiB", "expected a size"),
    ] {
        place.run(&format!("image {args}")).exits(2).complains(message);
        assert_eq!((place.files(), place.read("a.fvd")), before, "{args}");
    }
    place.run("image read disk.raw 0 4096 -o disk.raw --force").exits(0);
    assert_eq!(place.read("disk.raw"), [7; 4096]);
}

#[test]
fn an_image_that_is_its_own_data_file_is_refused() {
    let place = Place::new();
    place.run("image create a.fvd 64K --data-file a.dat").exits(0);
    fs::remove_file(place.path("a.dat")).unwrap();
    symlink("a.fvd", place.path("a.dat")).unwrap();
    let before = place.read("a.fvd");
    place.file("new", [9; 512]);
    place.run("image write a.fvd 0 new --allow-data").exits(2).complains("is the image itself");
    place.run("image write a.fvd 0 new --data a.fvd").exits(2).complains("is the image itself");
    assert_eq!(place.read("a.fvd"), before);
}

#[test]
fn bases_that_go_in_circles_are_refused() {
    let place = Place::new();
    place.run("image create a.fvd 64K --journal 4K").exits(0);
    place.run("image create b.fvd --base a.fvd --base-format fvd --journal 4K").exits(0);
    place.run("image read b.fvd 0 512 --allow-base").exits(0);
    let circle = "image create a.fvd --force --base b.fvd --base-format fvd --journal 4K";
    place.run(circle).exits(2).complains("lies below itself");
    place.run("image create c.fvd --base b.fvd --base-format fvd --journal 4K").exits(0);
    fs::rename(place.path("c.fvd"), place.path("a.fvd")).unwrap();
    let message = "lies below itself: an image cannot be its own base";
    for args in ["read b.fvd 0 512", "convert a.fvd x", "compare a.fvd b.fvd"] {
        place.run(&format!("image {args} --allow-base")).exits(2).complains(message);
    }
    assert!(!place.path("x").exists());
    place.run("image check a.fvd").exits(0);
}

#[test]
fn a_pipe_is_no_image() {
    let place = Place::new();
    let made = Command::new("mkfifo").arg(place.path("pipe")).status();
    if !made.is_ok_and(|status| status.success()) {
        return;
    }
    place.run("image info pipe").exits(2).complains("neither a file nor a block device");
}

#[test]
fn what_scenarios_say_plays_no_tricks() {
    let place = Place::new();
    let trick = "claim = \"\\u001b[2J";
    place.file("a.toml", HOLDS.replace("claim = \"", trick).replace("\"holds\"", "\"incomplete\""));
    let text = place.run("run a.toml").exits(1).says("claim: \\u{1b}[2JA flushed").text();
    assert!(!text.contains('\u{1b}'), "{text}");
    let key = trick.replacen("claim", "\"cl\\u001baim\"", 1);
    place.file("b.toml", HOLDS.replace("claim = \"", &key));
    place.run("run b.toml").exits(2).complains("unknown field");
}
