//! Random operations on random images.

use std::path::Path;

use plugpull_engine::file_disk::FileMode;
use plugpull_engine::qcow2::check::check;
use plugpull_engine::{Access, LocalRuntime};

use super::case::{Case, DATA, IMAGE};
use super::model::{Model, difference};
use super::ops::Op;
use super::ours::{Ours, file, make};
use super::qemu::{self, Twin, say, surround};
use crate::world::Numbers;

/// How many images.
const RUNS: u64 = if cfg!(debug_assertions) { 25 } else { 500 };
/// Operations on each.
const OPS: usize = 220;
/// Operations after which both sides are compared with the model.
const BATCH: usize = 50;

#[test]
fn qemu_and_we_agree() {
    if !qemu::is_there() {
        return;
    }
    for seed in 0..RUNS {
        judge(seed);
    }
}

fn judge(seed: u64) {
    let mut numbers = Numbers(seed << 32);
    let case = Case::draw(&mut numbers);
    let folder = tempfile::tempdir().expect("a folder");
    let mut done = Vec::new();
    if let Err(complaint) = run(&case, folder.path(), &mut numbers, &mut done) {
        let last = done.len().saturating_sub(BATCH);
        let ops: Vec<String> = done[last..].iter().map(|op| format!("{op:?}")).collect();
        let count = done.len();
        panic!(
            "seed {seed}, {case:#?}\nthe last of {count} operations:\n{}\n{complaint}",
            ops.join("\n")
        );
    }
}

fn run(
    case: &Case,
    folder: &Path,
    numbers: &mut Numbers,
    done: &mut Vec<Op>,
) -> Result<(), String> {
    let mut twin = Twin::create(case, folder.join("twin"))?;
    let folder = folder.join("ours");
    surround(case, &folder);
    if case.made_by_qemu {
        twin.copy_to(&folder);
    } else {
        make(case, &folder).map_err(|error| format!("create: {error}"))?;
    }
    let mut model = Model::new(case);
    let mut ours = Ours::open(case, &folder, Access::ReadWrite).map_err(told("open"))?;
    while done.len() < OPS {
        let op = Op::draw(case, &model, numbers);
        let len = model.content.len() as u64;
        model.apply(case, &op);
        done.push(op.clone());
        ours.apply(case, &op).map_err(|error| format!("ours: {error}"))?;
        twin.apply(case, &op, len)?;
        if done.len().is_multiple_of(BATCH) {
            twin.finish()?;
            holds(&ours, &model).map_err(|complaint| format!("ours, open: {complaint}"))?;
        }
    }
    twin.finish()?;
    ours.close().map_err(told("close"))?;
    // QEMU looks for a data file where it is started: it cannot open both then.
    if case.data_file.is_none() {
        compare(&folder, &twin.folder)?;
        compare(&twin.folder, &folder)?;
    }
    for (whose, folder) in [("ours", &folder), ("QEMU's", &twin.folder)] {
        judged(case, folder, &model).map_err(|complaint| format!("{whose}: {complaint}"))?;
    }
    Ok(())
}

fn told(what: &'static str) -> impl Fn(plugpull_engine::Error) -> String {
    move |error| format!("{what}: {error}")
}

/// QEMU reads the same from both.
fn compare(a: &Path, b: &Path) -> Result<(), String> {
    let [a, b] = [a, b].map(|folder| folder.join(IMAGE));
    let line = format!("qemu-img compare -f qcow2 -F qcow2 {} {}", a.display(), b.display());
    let said = say(Path::new("."), &line)?;
    // Of disks of different sizes the longer one may end with zeros.
    if said.trim() == "Images are identical." { Ok(()) } else { Err(said) }
}

/// Both checkers find nothing, and our engine reads what the model says.
fn judged(case: &Case, folder: &Path, model: &Model) -> Result<(), String> {
    say(folder, &format!("qemu-img check -q -f qcow2 {IMAGE}"))?;
    let disk = file(&folder.join(IMAGE), FileMode::ReadOnly).map_err(told("open"))?;
    let data = std::fs::metadata(folder.join(DATA)).ok().map(|found| found.len());
    let report = LocalRuntime::new(1).block_on(check(&*disk, data)).map_err(told("check"))?;
    if !report.is_sound() {
        return Err(format!("our check: {report:#?}"));
    }
    let session = Ours::open(case, folder, Access::ReadOnly).map_err(told("open"))?;
    holds(&session, model)?;
    session.close().map_err(told("close"))?;
    say(folder, &format!("qemu-img convert -f qcow2 -O raw {IMAGE} out"))?;
    let found = std::fs::read(folder.join("out")).expect("what was converted");
    if let Some(difference) = difference(&found, &model.content) {
        return Err(format!("QEMU reads: {difference}"));
    }
    for (name, content) in &model.snapshots {
        let line = format!("qemu-img convert -f qcow2 -O raw -l snapshot.name={name} {IMAGE} out");
        say(folder, &line)?;
        let found = std::fs::read(folder.join("out")).expect("what was converted");
        // QEMU shows as much of a snapshot as the disk has bytes now.
        let both = found.len().min(content.len());
        if let Some(difference) = difference(&found[..both], &content[..both]) {
            return Err(format!("QEMU reads snapshot {name}: {difference}"));
        }
    }
    Ok(())
}

/// The guest, and who looks into the snapshots, sees what the model says.
fn holds(session: &Ours, model: &Model) -> Result<(), String> {
    let content = session.read_all().map_err(told("read"))?;
    if let Some(difference) = difference(&content, &model.content) {
        return Err(difference);
    }
    let names: Vec<String> = model.snapshots.iter().map(|(name, _)| name.clone()).collect();
    if session.snapshots() != names {
        return Err(format!("snapshots {:?} instead of {names:?}", session.snapshots()));
    }
    for (name, content) in &model.snapshots {
        let found = session.read_snapshot(name, content.len() as u64).map_err(told("read"))?;
        if let Some(difference) = difference(&found, content) {
            return Err(format!("snapshot {name}: {difference}"));
        }
    }
    Ok(())
}
