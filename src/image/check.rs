//! `plugpull image check`: the metadata, and no other file unless it is named.

use std::path::PathBuf;

use plugpull_engine::file_disk::{FileDisk, FileMode};
use plugpull_engine::qcow2::repair::{Repair, repair};
use plugpull_engine::{Disk, Error, fvd, qcow2};

use super::error::{disk_error, image_error};
use super::format::Format;
use super::layout::only_for;
use super::open::Source;
use crate::failure::Failure;
use crate::output;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(flatten)]
    source: Source,
    /// The image's data file, to compare its length with what the image stores in it
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// Repair a qcow2 image first
    #[arg(long, value_name = "WHAT")]
    repair: Option<RepairArg>,
}

/// What to repair.
#[derive(clap::ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum RepairArg {
    /// What wastes space, if nothing else is wrong
    Leaks,
    /// Everything that can be: what points nowhere is removed, and reads as the base or zeros
    All,
}

pub(super) async fn run(args: Args) -> Result<u8, Failure> {
    let mode = if args.repair.is_some() { FileMode::ReadWrite } else { FileMode::ReadOnly };
    let (disk, format) = args.source.open_file(mode).await?;
    if args.repair.is_some() && format != Format::Qcow2 {
        return Err(only_for("--repair", Format::Qcow2, "-f"));
    }
    let data_len = match &args.data {
        None => None,
        Some(path) => Some(
            FileDisk::open(path, FileMode::ReadOnly)
                .map_err(|error| disk_error(path, &error))?
                .len(),
        ),
    };
    let failed = |error| image_error(&args.source.image, &error);
    let (lines, is_sound) = match format {
        Format::Raw => (vec!["raw: nothing to check".to_owned()], true),
        Format::Fvd => {
            let report = fvd::check::check(&disk, data_len).await.map_err(failed)?;
            (fvd_lines(&report), report.is_sound())
        }
        Format::Qcow2 => {
            let mut lines = match args.repair {
                None => Vec::new(),
                Some(what) => repaired(&disk, what).await.map_err(failed)?,
            };
            let report = qcow2::check::check(&disk, data_len).await.map_err(failed)?;
            lines.extend(qcow2_lines(&report));
            (lines, report.is_sound())
        }
    };
    lines.iter().for_each(|line| output::line(line));
    Ok(u8::from(!is_sound))
}

/// Repairs the image, and tells what was done.
async fn repaired(disk: &FileDisk, what: RepairArg) -> Result<Vec<String>, Error> {
    let what = match what {
        RepairArg::Leaks => Repair::Leaks,
        RepairArg::All => Repair::All,
    };
    let done = repair(disk, what, qcow2::planted::PlantedBugs::NONE).await?;
    let counts = [
        (done.entries, "table entries removed or corrected"),
        (done.refcounts, "refcounts corrected"),
        (done.copied, "entries spared a copy"),
        (u64::from(done.rebuilt), "refcount structure made anew"),
    ];
    let counts = counts.into_iter().filter(|&(count, _)| count > 0);
    let mut lines: Vec<String> =
        counts.map(|(count, what)| format!("repaired: {count} {what}")).collect();
    if done.unmarked {
        lines.push("repaired: the image is no longer marked as dirty or corrupt".to_owned());
    }
    Ok(lines)
}

fn problems(list: &[impl ToString], more: u64) -> Vec<String> {
    let mut lines: Vec<String> = list.iter().map(ToString::to_string).collect();
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    lines
}

fn soundness(broken: u64) -> String {
    match broken {
        0 => "no rule is broken".to_owned(),
        1 => "1 rule is broken".to_owned(),
        count => format!("{count} rules are broken"),
    }
}

fn qcow2_lines(report: &qcow2::check::CheckReport) -> Vec<String> {
    let mut lines = problems(&report.problems, report.more_problems);
    if let Some(error) = &report.incomplete {
        lines.push(format!("refcounts could not be judged: {error}"));
    }
    let guest = report.clusters;
    lines.push(format!(
        "guest clusters: {} of {} are allocated, {} zero, {} compressed",
        guest.allocated, guest.total, guest.zero, guest.compressed
    ));
    lines.push(format!("host clusters: {} in use, {} leaked", report.used_clusters, report.leaks));
    if report.leaks > 0 {
        lines.push("leaks are waste and no damage: --repair leaks frees them".to_owned());
    }
    if report.needless_copies > 0 {
        let count = report.needless_copies;
        lines
            .push(format!("{count} entries cost a copy that need not be: --repair all mends them"));
    }
    let low = if report.dirty { 0 } else { report.refcounts_too_low };
    let broken = low + report.aliases + report.corruptions;
    let state = match (report.marked_corrupt, report.dirty) {
        (true, _) => "marked as corrupt: it is read-only until --repair all",
        (false, true) => "not closed: opening it for writing will repair refcounts",
        (false, false) => "closed cleanly, or as good as",
    };
    lines.push(format!("{state}; {}", soundness(broken)));
    lines
}

fn fvd_lines(report: &fvd::check::CheckReport) -> Vec<String> {
    let mut lines = problems(&report.problems, report.more_problems);
    if let Some(blocks) = report.blocks {
        lines.push(format!("blocks: {} of {} are local", blocks.local, blocks.total));
    }
    if let Some(chunks) = report.chunks {
        lines.push(format!(
            "chunks: {} of {} are allocated, {} leaked",
            chunks.allocated, chunks.total, chunks.leaked
        ));
    }
    if let Some(journal) = report.journal {
        lines.push(format!(
            "journal: {} of {} sectors hold {} records",
            journal.used_sectors, journal.sectors, journal.records
        ));
    }
    let state = if report.clean { "closed cleanly" } else { "not closed: opening it will recover" };
    let soundness = soundness(report.problems.len() as u64 + report.more_problems);
    lines.push(format!("{state}; {soundness}"));
    lines
}
