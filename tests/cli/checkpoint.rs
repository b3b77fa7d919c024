//! Runs that are killed and go on.

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::Place;
use crate::run::{HOLDS, planted, without_seconds};
use crate::shards::two_clients;

/// A search of some seconds in a debug build, and some around it.
fn place() -> Place {
    let with = |ops: &str| {
        let changed = two_clients().replace("[\"flush\"]", ops);
        assert_ne!(changed, two_clients());
        changed
    };
    let flushes = with("[\"flush\", \"flush\", \"flush\", \"flush\"]");
    let long = with("[\"write 4K 512\"]");
    let place = Place::new();
    place
        .file("all/a.toml", HOLDS)
        .file("all/b.toml", flushes)
        .file("all/c.toml", planted())
        .file("all/d.toml", long.replace("{ exhaustive = \"dpor\" }", "{ delays = 3 }"))
        .file("all/e.toml", long.replace("{ exhaustive = \"dpor\" }", "\"exhaustive\""))
        .file(
            "all/f.toml",
            two_clients().replace("exhaustive = \"dpor\"", "random = 30, seed = 1"),
        );
    place
}

impl Place {
    /// Runs the program and kills it after a while; whether it was still running.
    fn kill(&self, args: &str, after: Duration) -> bool {
        let mut child = Command::new(env!("CARGO_BIN_EXE_plugpull"))
            .args(args.split_whitespace())
            .current_dir(self.path("."))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        #[expect(clippy::disallowed_methods, reason = "nothing may depend on when it is killed")]
        std::thread::sleep(after);
        let running = child.try_wait().unwrap().is_none();
        child.kill().unwrap();
        child.wait().unwrap();
        running
    }
}

#[test]
fn a_run_that_was_killed_says_what_it_would_have_said() {
    let place = place();
    let undisturbed = place.run("run all --jobs 1 --format json --checkpoint other").exits(3);
    let run = "run all --jobs 1 --format json --checkpoint kept --checkpoint-every 50ms";
    let (mut kills, mut random) = (0, 5_u64);
    while kills < 20 {
        random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        let after = Duration::from_millis((random >> 32) % 300);
        if place.kill(run, after) {
            kills += 1;
        } else {
            // It has come to its end, so the next one begins anew.
            assert!(!place.path("kept").exists());
        }
    }
    let ended = place.run(run).exits(3);
    assert_eq!(without_seconds(&ended.text()), without_seconds(&undisturbed.text()));
    assert!(!place.path("kept").exists(), "it is removed in the end");
}

#[test]
fn a_run_goes_on_after_its_budget() {
    let place = place();
    let undisturbed = place.run("run all --format json --checkpoint other").exits(3);
    let mut budget = 100;
    let ended = loop {
        let run = format!("run all --format json --checkpoint kept --budget {budget}ms");
        let ran = place.run(&run).exits(3);
        // What is kept is removed once everything is explored.
        if !place.path("kept").exists() && !ran.text().contains("the time budget ended") {
            break ran;
        }
        budget += budget / 4;
    };
    assert_eq!(without_seconds(&ended.text()), without_seconds(&undisturbed.text()));
}

#[test]
fn a_checkpoint_of_something_else_is_refused_and_kept() {
    let place = place();
    let long = two_clients().replace("[\"flush\"]", "[\"write 4K 512\", \"flush\"]");
    place.file("all/e.toml", long);
    let mut budget = 0;
    while !place.path("kept").exists() {
        let args = format!("all/e.toml --checkpoint kept --budget {budget}ms");
        place.run(&format!("run {args}")).exits(3).says("the time budget ended");
        budget = 2 * budget + 100;
    }
    let kept = place.read("kept");
    for (args, why) in [
        ("all/e.toml --seed 3", "the checkpoint is of a run with other options"),
        ("all/e.toml --shard 1/2", "the checkpoint is of a run with other options"),
        ("all/e.toml --engine stateful", "the checkpoint is of a run with other options"),
        ("all", "the checkpoint is of a run over other scenarios"),
        ("all/d.toml", "the checkpoint is of a run over other scenarios"),
    ] {
        let complaint = format!("plugpull: kept: {why}; delete it to begin anew, or name another");
        place.run(&format!("run {args} --checkpoint kept")).exits(2).complains(&complaint);
        assert_eq!(place.read("kept"), kept, "{args}");
    }
    for len in [0, 1, 15, 16, 39, 40, kept.len() / 2, kept.len() - 1] {
        place.file("kept", &kept[..len]);
        place.run("run all/e.toml --checkpoint kept").exits(2).complains("plugpull: kept: ");
        assert_eq!(place.read("kept"), &kept[..len]);
    }
    let mut damaged = kept.clone();
    damaged[kept.len() / 2] ^= 1;
    place.file("kept", damaged);
    place.run("run all/e.toml --checkpoint kept").exits(2).complains("the checkpoint is damaged");
    place.run("run all/a.toml --checkpoint nowhere/kept").exits(2).complains("there is no folder");
    place.run("run all --checkpoint-every 10s").exits(2);
}
