//! Every option of `qemu-img create` that is claimed, alone: images made by both sides are sound to
//! both, take writes from both and read the same.

use plugpull_engine::{Access, ByteRange};

use super::case::{Case, IMAGE};
use super::model::{Model, difference};
use super::ops::{Fill, Op};
use super::ours::{Ours, make};
use super::qemu::{self, Twin, say, surround};

fn cases() -> Vec<(&'static str, Case)> {
    let plain = Case::plain;
    let mut cases = vec![
        ("plain", plain()),
        ("compat=0.10", Case { version: 2, ..plain() }),
        ("lazy_refcounts", Case { lazy_refcounts: true, ..plain() }),
        ("extended_l2", Case { extended_l2: true, ..plain() }),
        ("compression_type=zstd", Case { zstd: true, ..plain() }),
        ("backing_file", Case { base_len: Some(1_000_000), ..plain() }),
        ("data_file", Case { data_file: Some(false), ..plain() }),
        ("data_file_raw", Case { data_file: Some(true), ..plain() }),
    ];
    for bits in 9..=21 {
        cases.push(("cluster_size", Case { cluster_len: 1 << bits, ..plain() }));
    }
    for order in 0..=6 {
        cases.push(("refcount_bits", Case { refcount_bits: 1 << order, ..plain() }));
    }
    cases
}

#[test]
fn every_option_of_create() {
    if !qemu::is_there() {
        return;
    }
    for (name, case) in cases() {
        let all = judge(&case);
        all.unwrap_or_else(|complaint| panic!("{name}, {case:#?}\n{complaint}"));
    }
}

fn judge(case: &Case) -> Result<(), String> {
    let folder = tempfile::tempdir().expect("a folder");
    let mut twin = Twin::create(case, folder.path().join("twin"))?;
    let folder = folder.path().join("ours");
    surround(case, &folder);
    make(case, &folder).map_err(|error| format!("create: {error}"))?;
    same_information(&folder, &twin.folder)?;
    let mut model = Model::new(case);
    let mut ours = Twin::of(folder.clone());
    // QEMU writes to both images, and then our engine does.
    for twin in [&mut twin, &mut ours] {
        let op = Op::Write(ByteRange::new(70_000 / 512 * 512, 300 * 512), Fill::Noise(0));
        twin.apply(case, &op, case.virtual_size)?;
        twin.finish()?;
        model.apply(case, &op);
    }
    for folder in [&twin.folder, &folder] {
        let mut session = Ours::open(case, folder, Access::ReadWrite)
            .map_err(|error| format!("open: {error}"))?;
        let ops = [
            Op::Write(ByteRange::new(3 << 20, 66_048), Fill::Byte(9)),
            Op::WriteZeroes { range: ByteRange::new(100_352, 1024), unmap: false },
        ];
        for op in ops {
            session.apply(case, &op).map_err(|error| format!("{op:?}: {error}"))?;
            model.apply(case, &op);
        }
        let content = session.read_all().map_err(|error| format!("read: {error}"))?;
        if let Some(difference) = difference(&content, &model.content) {
            return Err(difference);
        }
        session.close().map_err(|error| format!("close: {error}"))?;
        say(folder, &format!("qemu-img check -q -f qcow2 {IMAGE}"))?;
    }
    if case.data_file.is_some() {
        // QEMU looks for a data file where it is started: it cannot open both.
        return Ok(());
    }
    let other = folder.join(IMAGE);
    let line = format!("qemu-img compare -f qcow2 -F qcow2 {IMAGE} {}", other.display());
    say(&twin.folder, &line).map(drop)
}

/// What QEMU says of both, but for what they take on the disk.
fn same_information(ours: &std::path::Path, theirs: &std::path::Path) -> Result<(), String> {
    let information = |folder| -> Result<String, String> {
        let said = say(folder, &format!("qemu-img info -f qcow2 {IMAGE}"))?;
        let said = said.split("Child node").next().unwrap_or_default();
        let lines = said.lines().filter(|line| !line.starts_with("disk size"));
        Ok(lines.collect::<Vec<_>>().join("\n"))
    };
    let (ours, theirs) = (information(ours)?, information(theirs)?);
    if ours == theirs { Ok(()) } else { Err(format!("ours:\n{ours}\nQEMU's:\n{theirs}")) }
}
