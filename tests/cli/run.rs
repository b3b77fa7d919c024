use std::fs;

use plugpull_sim::scenario::Scenario;

use crate::Place;

pub(crate) const HOLDS: &str = r#"version = 1
claim = "A flushed write survives."

[system]
kind = "fvd"
size = "8 KiB"
chunk = "4 KiB"
journal = "4 KiB"

[disks.image]
model = "atomic-write"
sector = 512

[[client]]
ops = ["write 0 512", "flush"]

[explore]
schedules = "exhaustive"
crashes = "exact"

[expect]
verdict = "holds"
"#;

/// Two writes, because the flush that comes with the first record of a session covers the first.
pub(crate) fn planted() -> String {
    HOLDS
        .replace("\"write 0 512\", \"flush\"", "\"write 0 512\", \"write 4K 512\"")
        .replace(
            "journal = \"4 KiB\"",
            "journal = \"4 KiB\"\nplanted = [\"fvd-journal-before-data\"]",
        )
        .replace("verdict = \"holds\"", "verdict = \"violated\"\ninvariant = \"D-DUR\"")
}

fn unmet() -> String {
    format!("{HOLDS}reach = [\"pigs-fly\"]\n")
}

#[test]
fn the_example_of_the_documentation_holds() {
    let manual = include_str!("../../scenarios/README.md");
    let (_, example) = manual.split_once("```toml\n").expect("there is an example");
    let (example, _) = example.split_once("```").expect("it ends");
    let place = Place::new();
    place.file("scenarios/example.toml", example);
    place.run("run").exits(0);
}

#[test]
fn the_example_of_the_readme_holds_and_with_the_bug_that_it_names_is_violated() {
    let readme = include_str!("../../README.md");
    let (_, example) = readme.split_once("```toml\n").expect("there is an example");
    let (example, rest) = example.split_once("```").expect("it ends");
    assert!(rest.contains("Add `planted = [\"fvd-journal-before-data\"]` to `[system]`"));
    let bug = example.replace("[system]\n", "[system]\nplanted = [\"fvd-journal-before-data\"]\n");
    let place = Place::new();
    place.file("example.toml", example).file("bug.toml", bug);
    place.run("run example.toml").exits(0).says("ok   holds");
    place.run("run bug.toml").exits(1).says("FAIL violated");
}

#[test]
fn what_is_as_expected_exits_0() {
    let place = Place::new();
    place.file("scenarios/a.toml", HOLDS);
    let ran = place.run("run").exits(0);
    let text = ran.text();
    assert!(text.starts_with("ok   holds      scenarios/a.toml: "), "{text}");
    assert!(text.contains("\n1 scenario, 1 as expected\n"), "{text}");
    assert!(!text.contains("planted"), "{text}");
    assert!(!text.contains('\u{1b}'), "colours without a terminal");
    assert_eq!(ran.stderr, "", "a progress bar without a terminal");
    assert_eq!(place.run("").exits(0).text().lines().count(), text.lines().count());
}

#[test]
fn the_exit_code_says_what_is_wrong() {
    let place = Place::new();
    let expects_worse = HOLDS.replace("\"holds\"", "\"violated\"\ninvariant = \"D-DUR\"");
    place
        .file("differs.toml", expects_worse)
        .file("unmet.toml", unmet())
        .file("typo.toml", HOLDS.replace("\"atomic-write\"", "\"atomic\""))
        .file("folder/notes.txt", "no scenario");
    place.run("run differs.toml").exits(1).says("expected violated (D-DUR), found holds");
    place.run("run unmet.toml").exits(3).says("goals not met: pigs-fly");
    place.run("run differs.toml unmet.toml").exits(1);
    let typo = "\
error: not a device model: `atomic`
  --> typo.toml:11:9
   |
11 | model = \"atomic\"
   |         ^^^^^^^^ ";
    place.run("run unmet.toml typo.toml").exits(2).complains(typo);
    place.run("run nowhere").exits(2).complains("plugpull: nowhere: ");
    place.run("run folder").exits(2).complains("no scenario files (*.toml) in folder");
    place.run("run").exits(2).complains("plugpull: scenarios: ");
    place.run("run --format html").exits(2).complains("expected `text` or `json`, found `html`");
    place.run("run --jobs 0").exits(2);
    place.run("fly").exits(2);
}

#[test]
fn a_counterexample_is_written_and_replays() {
    let place = Place::new();
    place.file("planted/a.toml", planted());
    let path = "plugpull-out/planted/a-D-DUR.toml";
    let ran = place.run("run planted").exits(0).says("\nplanted: 1/1\n");
    assert!(ran.text().contains(&format!("D-DUR: plugpull replay {path}\n")), "{}", ran.text());
    let first = place.run(&format!("replay {path}")).exits(0).says("reproduced:\n  D-DUR: ");
    let second = place.run(&format!("replay {path}")).exits(0);
    assert_eq!(first.text(), second.text());

    let text = String::from_utf8(place.read(path)).unwrap();
    let scenario = Scenario::parse(path, &text).unwrap_or_else(|error| panic!("{error}"));
    let comments = text.lines().take_while(|line| line.starts_with('#')).count();
    let rest: String = text.split_inclusive('\n').skip(comments).collect();
    assert_eq!(scenario.to_toml(), rest, "the file is in canonical form");
    assert!(text.contains(&format!("plugpull replay {path}")), "{text}");

    place.run("run planted --out elsewhere").exits(0);
    assert!(place.path("elsewhere/planted/a-D-DUR.toml").exists());
}

#[test]
fn a_replay_that_does_not_fit_says_so() {
    let place = Place::new();
    place.file("a.toml", planted()).run("run a.toml").exits(0);
    let text = String::from_utf8(place.read("plugpull-out/a-D-DUR.toml")).unwrap();
    let without_bug = text.replace("planted = [\"fvd-journal-before-data\"]\n", "");
    assert_ne!(text, without_bug);
    place.file("fixed.toml", without_bug).file("plain.toml", HOLDS);
    place
        .run("replay fixed.toml")
        .exits(4)
        .complains("the code has changed since this was recorded, or the file has");
    place.run("replay plain.toml").exits(2).complains("plain.toml: no [replay] table");
    place.run("replay nothing.toml").exits(2).complains("nothing.toml: ");
}

/// A file that says more than happens, or something else, is no proof that a bug is gone.
#[test]
fn a_damaged_counterexample_says_what_does_not_fit() {
    let place = Place::new();
    let bug = include_str!("../../scenarios/planted/fvd-journal-before-data.toml");
    place.file("a.toml", bug).run("run a.toml").exits(0);
    let text = String::from_utf8(place.read("plugpull-out/a-D-OLDNEW.toml")).unwrap();
    let at = text.lines().find(|line| line.starts_with("at = ")).expect("a power cut").to_owned();
    let cut = text.find("[[replay.crash]]").expect("a power cut");
    let first = text[cut..].find("variable = \"sector ").expect("a sector") + cut;
    let sector = &text[first..][..text[first..].find(',').expect("a list")];
    let cases = [
        (text.replace(&at, "at = 100000"), "in session 1 at 100000, was never reached"),
        (text.replace("session = 1", "session = 7"), "in session 7 at"),
        (text.clone() + &text[cut..].replace(&at, "at = 100000"), "power cut 2 of the file"),
        (
            text.replacen(sector, "variable = \"sector 999\"", 1),
            "expected sector 999 on disk image",
        ),
        (text.clone() + "\n[replay.crash.unreadable]\nimage = [99999]\n", "sector 99999 of disk"),
    ];
    for (damaged, complaint) in cases {
        assert_ne!(damaged, text);
        place.file("damaged.toml", damaged);
        place.run("replay damaged.toml").exits(4).complains(complaint);
    }
}

/// The document without its times.
pub(crate) fn without_seconds(json: &str) -> String {
    json.lines().filter(|line| !line.contains("\"seconds\"")).collect::<Vec<_>>().join("\n")
}

#[test]
fn json_is_the_same_with_any_number_of_jobs() {
    let place = Place::new();
    for (name, text) in [("b", HOLDS), ("a", &planted()), ("sub/c", &unmet())] {
        place.file(&format!("scenarios/{name}.toml"), text);
    }
    let one = place.run("run --jobs 1 --format json").exits(3);
    place.run("run --jobs 2 --format json=out.json --format text").exits(3).says("as expected");
    let two = fs::read_to_string(place.path("out.json")).unwrap();
    assert_eq!(without_seconds(&one.text()), without_seconds(&two));

    let document: serde_json::Value = serde_json::from_str(&two).unwrap();
    let scenarios = document["scenarios"].as_array().unwrap();
    let paths: Vec<&str> = scenarios.iter().filter_map(|it| it["path"].as_str()).collect();
    assert_eq!(paths, ["scenarios/a.toml", "scenarios/b.toml", "scenarios/sub/c.toml"]);
    let counterexample = scenarios[0]["violations"][0]["counterexample"].as_str().unwrap();
    assert!(place.path(counterexample).exists());
    assert_eq!(document["summary"]["planted_found"], 1);
    assert_eq!(scenarios[1]["crashes"]["certificate"], true);
}

/// Five clients: too many orders for any test.
fn endless() -> String {
    let client = "[[client]]\nops = [\"write 0 512\", \"flush\"]\n";
    HOLDS.replace(client, &client.repeat(5)).replace("\"exhaustive\"", "{ exhaustive = \"dpor\" }")
}

#[test]
fn a_budget_ends_the_run_and_says_how_far_it_was() {
    let place = Place::new();
    place.file("a.toml", endless()).file("b.toml", endless());
    let none = "the time budget ended before the search began";
    place.run("run a.toml --budget 0s").exits(3).says(none);
    place.run("run a.toml --budget 300ms").exits(3).says("incomplete: the time budget ended: ");
    let ran = place.run("run a.toml b.toml --jobs 1 --budget 300ms --format json").exits(3);
    let document: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
    let [first, second] = document["scenarios"].as_array().unwrap().as_slice() else { panic!() };
    let done = first["schedules"]["done"].as_f64().unwrap();
    assert!((0.0..1.0).contains(&done), "{done}");
    assert_eq!(second["incomplete"][0], none);
    place.run("run a.toml --budget soon").exits(2).complains("expected a time such as 30s");
}
