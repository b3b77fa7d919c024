//! Runs in shards, and what is put together from them.

use serde_json::Value;

use crate::Place;
use crate::run::HOLDS;

/// Two clients: 30 classes.
pub(crate) fn two_clients() -> String {
    let client = "[[client]]\nops = [\"write 0 512\", \"flush\"]\n";
    let clients = "[[client]]\nops = [\"write 0 512\"]\n[[client]]\nops = [\"flush\"]\n";
    assert!(HOLDS.contains(client));
    HOLDS
        .replace(client, clients)
        .replace("\"exhaustive\"", "{ exhaustive = \"dpor\" }")
        .replace("atomic-write", "writeback")
}

fn with_schedules(schedules: &str) -> String {
    two_clients().replace("{ exhaustive = \"dpor\" }", schedules)
}

/// One scenario of each kind.
fn place() -> Place {
    let place = Place::new();
    place
        .file("all/a-dpor.toml", two_clients() + "reach = [\"journal-written\"]\n")
        .file("all/b-chosen.toml", with_schedules("\"exhaustive\""))
        .file("all/c-fifo.toml", with_schedules("\"fifo\""))
        .file("all/d-random.toml", with_schedules("{ random = 20, seed = 1 }"))
        .file("all/e-delays.toml", with_schedules("{ delays = 1 }"))
        .file("all/f-bug.toml", crate::run::planted());
    place
}

/// Explores everything in so many shards; the names of their files.
fn explore(place: &Place, count: u64) -> Vec<String> {
    let shard = |index: u64| {
        let file = format!("{count}-{index}.json");
        place.run(&format!("run all --shard {index}/{count} --format json={file}")).exits(3);
        file
    };
    (1..=count).map(shard).collect()
}

fn merged(place: &Place, files: &[String]) -> Value {
    let ran = place.run(&format!("merge --format json {}", files.join(" "))).exits(3);
    serde_json::from_slice(&ran.stdout).unwrap()
}

#[test]
fn shards_explore_what_one_run_explores() {
    let place = place();
    let whole = place.run("run all --engine dpor --format json").exits(3);
    let whole: Value = serde_json::from_slice(&whole.stdout).unwrap();
    for count in [1, 2, 16] {
        let merged = merged(&place, &explore(&place, count));
        for (one, other) in scenarios(&whole).iter().zip(scenarios(&merged)) {
            let path = one["path"].as_str().unwrap();
            for key in ["path", "claim", "verdict", "as_expected", "goals", "incomplete", "disks"] {
                assert_eq!(one[key], other[key], "{key} of {path} in {count} shards");
            }
            for key in ["strategy", "engine", "classes", "class_sum", "complete"] {
                let [one, other] = [one, other].map(|it| &it["schedules"][key]);
                assert_eq!(one, other, "{key} of {path} in {count} shards");
            }
            for key in ["mode", "certificate", "complete"] {
                let [one, other] = [one, other].map(|it| &it["crashes"][key]);
                assert_eq!(one, other, "{key} of {path} in {count} shards");
            }
        }
        let schedules = |at: usize| &scenarios(&merged)[at]["schedules"];
        assert_eq!(schedules(0)["classes"], 30);
        assert_eq!(schedules(3)["executions"], 20);
        let said = scenarios(&merged)[0]["bounds"].to_string();
        let in_each = format!("counted in each of {count} shards");
        assert_eq!(said.contains(&in_each), count > 1, "{said}");
    }
}

fn scenarios(document: &Value) -> &[Value] {
    document["scenarios"].as_array().unwrap()
}

#[test]
fn a_shard_is_incomplete_and_says_which_it_is() {
    let place = place();
    let text = place.run("run all --shard 2/3").exits(3).text();
    for part in [
        "incomplete: shard 2 of 3\n",
        "incomplete: explored by shard 3 of 3\n",
        "ok   holds      all/e-delays.toml",
        "ok   violated   all/f-bug.toml",
    ] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    place.run("run all --shard 4/3").exits(2).complains("expected I/N");
    place.run("run all --shard 1/3 --cross-check").exits(2);
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let place = place();
    let files = explore(&place, 2);
    let [one, two] = &*files else { panic!("two shards") };
    place.run("run all --shard 2/3 --format json=other-count.json").exits(3);
    place.run("run all/a-dpor.toml --shard 2/2 --format json=fewer.json").exits(3);
    place.run("run all --shard 2/2 --seed 7 --format json=other-options.json").exits(3);
    place.run("run all --format json=unsharded.json").exits(3);
    place.file("all/a-dpor.toml", two_clients());
    place.run("run all --shard 2/2 --format json=other-scenario.json").exits(3);
    let text = String::from_utf8(place.read(two)).unwrap();
    let binary = format!("{:?}: {}", "binary", first(&text)["shard"]["binary"]);
    let tampered = [
        ("program", text.replace("\"plugpull ", "\"plugpush "), "explored by another program than"),
        ("classes", text.replacen("\"sum\": \"", "\"sum\": \"f", 1), "not the document of a shard"),
        (
            "count",
            text.replacen("\"executions\": 1", "\"executions\": 2", 1),
            "was changed at all/",
        ),
        ("verdict", text.replacen("incomplete", "holds", 1), "the document was changed at all/a-"),
        ("binary", text.replacen(&binary, &binary.replace(": \"", ": \"f"), 1), "not the document"),
        ("key", text.replacen("\"claim\"", "\"note\": 1, \"claim\"", 1), "unknown field `note`"),
        ("version", text.replacen("\"version\": 1", "\"version\": 2", 1), "version 2 of the docu"),
        ("cut", text[..text.len() / 2].to_owned(), "cut.json: not the document of a shard"),
        ("empty", String::new(), "empty.json: not the document of a shard"),
    ];
    for (name, changed, complaint) in tampered {
        assert_ne!(changed, text, "{name}");
        place.file(&format!("{name}.json"), changed);
        place.run(&format!("merge {one} {name}.json")).exits(2).complains(complaint);
    }
    for (files, complaint) in [
        (one.clone(), "shards are missing of 2: 2; run `plugpull run --shard 2/2"),
        (format!("{one} {two} {two}"), "2-2.json: shard 2 of 2, and so is 2-2.json; leave one out"),
        (format!("{one} other-count.json"), "other-count.json: shard 2 of 3, but others are of 2"),
        (format!("{one} fewer.json"), "fewer.json: a run over other scenarios than 2-1.json"),
        (format!("{one} other-options.json"), "was explored with other options than 2-1.json"),
        (format!("{one} other-scenario.json"), "all/a-dpor.toml is another scenario than"),
        (format!("{one} unsharded.json"), "unsharded.json: all/a-dpor.toml was not explored by a"),
        (format!("{one} nothing.json"), "nothing.json: "),
        (format!("{one} all/c-fifo.toml"), "all/c-fifo.toml: not the document of a shard"),
    ] {
        place.run(&format!("merge {files}")).exits(2).complains(complaint);
    }
    place.run("merge").exits(2);
}

fn first(text: &str) -> Value {
    let document: Value = serde_json::from_str(text).unwrap();
    document["scenarios"][0].clone()
}

/// A shard that a budget has ended is missing in the whole.
#[test]
fn a_shard_that_did_not_end_leaves_the_whole_incomplete() {
    let place = Place::new();
    place.file("a.toml", two_clients());
    place.run("run a.toml --shard 1/2 --format json=1.json").exits(3);
    place.run("run a.toml --shard 2/2 --budget 0s --format json=2.json").exits(3);
    let why = "incomplete: shard 2: the time budget ended before the search began\n";
    place.run("merge 1.json 2.json").exits(3).says(why);
}
