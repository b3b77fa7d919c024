//! What the exploration of a scenario costs, on one core.
//!
//! `cargo bench -p plugpull-sim --bench crash_states`. All of it goes through [`explore::run`], as
//! the program does it.
//!
//! * `enumerated`: crash states per second of the reference, which scenarios use that sample more
//!   states than there are. Each is realized as images, recovered by the engine, read back
//!   completely (64 KiB) and judged. The limit is memory: a third of the time copies the 64 KiB to
//!   the reader and compares them with what is allowed, a fifth opens the image (header, table and
//!   journal are read and parsed anew). The rest is spread thin.
//! * `exact`: ways through recovery per second of the same scenario, exactly: a few dozen ways stand
//!   for all states. Each sector that is undecided is read back for itself.
//! * `recoveries`: ways per second with one power cut inside every recovery, which writes. Two fifths
//!   go into opening, with replaying the journal and writing the maps; taking stock of what the
//!   disk may be left with at the end of every interval takes a tenth.
//! * `schedules`: executions per second of the benchmark scenario (two clients, eight writes, three
//!   flushes, 4 KiB chunks) without power cuts. Every execution starts anew and replays what it
//!   shares with the one before: it costs its length, not its new part. Half of a step is the
//!   simulated disk (two images and the cache between them), the rest the engine and its tasks.

use divan::Bencher;
use divan::counter::ItemsCount;
use plugpull_sim::explore::{self, RunOptions};
use plugpull_sim::scenario::Scenario;
use plugpull_sim::verdict::{ScenarioResult, Verdict};

fn main() {
    divan::main();
}

const CRASH_STATES: &str = r#"version = 1
claim = "Every crash state of sixteen sectors in place."

[system]
kind = "fvd"
size = "64 KiB"
base = "none"
chunk = "4 KiB"
grow_unit = "64 KiB"
journal = "4 KiB"
setup = ["write 0 64K", "flush"]

[disks.image]
model = "writeback"
sector = 512

[[client]]
ops = ["write 0 4K", "write 16K 4K"]

[explore]
schedules = "fifo"
ready = "any"
crashes = "exact"
recovery_crashes = 0

[expect]
verdict = "holds"
reach = []
"#;

const RECOVERIES: &str = r#"version = 1
claim = "Recovery of an image with a journal may be cut."

[system]
kind = "fvd"
size = "64 KiB"
base = "none"
chunk = "4 KiB"
grow_unit = "4 KiB"
journal = "4 KiB"
setup = ["write 0 8K", "flush", "kill"]

[disks.image]
model = "writeback"
sector = 512

[[client]]
ops = ["write 0 3K", "write 16K 3K", "flush", "write 8K 3K"]

[explore]
schedules = "fifo"
ready = "any"
crashes = "exact"
recovery_crashes = 1

[expect]
verdict = "holds"
reach = ["journal-replayed", "maps-written"]
"#;

/// The scenario `fvd/two_clients_allocate_and_overwrite` without its power cuts.
const SCHEDULES: &str = r#"version = 1
claim = "Eight writes and three flushes of two clients."

[system]
kind = "fvd"
size = "64 KiB"
base = "none"
chunk = "4 KiB"
grow_unit = "4 KiB"
journal = "4 KiB"
setup = ["write 0 8K", "flush", "kill"]

[disks.image]
model = "writeback"
sector = 512

[[client]]
ops = ["write 0 512", "write 16K 512", "write 512 512", "flush", "write 4K 512"]

[[client]]
ops = ["write 4K 512", "write 1K 512", "flush", "write 16896 512", "write 7K 512", "flush"]

[explore]
schedules = "exhaustive"
ready = "macro-step"
crashes = "none"
recovery_crashes = 0

[expect]
verdict = "holds"
reach = ["chunk-allocated", "storage-grown", "lock-wait", "journal-replayed"]
"#;

fn scenario(text: &str) -> Scenario {
    Scenario::parse("bench", text).expect("a valid scenario")
}

fn explored(scenario: &Scenario) -> ScenarioResult {
    let result = explore::run(scenario, &RunOptions::default(), &|_| ());
    assert_eq!(result.verdict, Verdict::Holds, "{:?}", result.violations);
    result
}

/// Items are recoveries: one per way, or per distinct crash state.
fn recoveries(bencher: Bencher<'_, '_>, text: &str) {
    let scenario = scenario(text);
    let count = explored(&scenario).crashes.recovery_paths;
    bencher.counter(ItemsCount::new(count)).bench(|| explored(&scenario));
}

#[divan::bench(sample_count = 5)]
fn enumerated(bencher: Bencher<'_, '_>) {
    let exact = "crashes = \"exact\"";
    let enumerated = CRASH_STATES.replace(exact, "crashes = { sampled = 131072, seed = 1 }");
    assert_ne!(enumerated, CRASH_STATES, "the scenario is exact");
    recoveries(bencher, &enumerated);
}

#[divan::bench(sample_count = 5)]
fn exact(bencher: Bencher<'_, '_>) {
    recoveries(bencher, CRASH_STATES);
}

#[divan::bench(name = "recoveries", sample_count = 5)]
fn nested(bencher: Bencher<'_, '_>) {
    recoveries(bencher, RECOVERIES);
}

#[divan::bench(sample_count = 5)]
fn schedules(bencher: Bencher<'_, '_>) {
    let scenario = scenario(SCHEDULES);
    let count = explored(&scenario).schedules.executions;
    bencher.counter(ItemsCount::new(count)).bench(|| explored(&scenario));
}
