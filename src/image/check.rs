//! `plugpull image check`: the metadata, and no other file unless it is named.

use std::path::PathBuf;

use plugpull_engine::Disk;
use plugpull_engine::file_disk::{FileDisk, FileMode};
use plugpull_engine::fvd::check::{CheckReport, check};

use super::error::{disk_error, image_error};
use super::open::{Format, Source};
use crate::failure::Failure;
use crate::output;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(flatten)]
    source: Source,
    /// The image's data file, to compare its length with what the image stores in it
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
}

pub(super) async fn run(args: Args) -> Result<u8, Failure> {
    let (disk, format) = args.source.open_file(FileMode::ReadOnly).await?;
    if format == Format::Raw {
        output::line("raw: nothing to check");
        return Ok(0);
    }
    let data_len = match &args.data {
        None => None,
        Some(path) => Some(
            FileDisk::open(path, FileMode::ReadOnly)
                .map_err(|error| disk_error(path, &error))?
                .len(),
        ),
    };
    let report =
        check(&disk, data_len).await.map_err(|error| image_error(&args.source.image, &error))?;
    for line in lines(&report) {
        output::line(&line);
    }
    Ok(u8::from(!report.is_sound()))
}

fn lines(report: &CheckReport) -> Vec<String> {
    let mut lines: Vec<String> = report.problems.iter().map(ToString::to_string).collect();
    if report.more_problems > 0 {
        lines.push(format!("and {} more", report.more_problems));
    }
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
    let soundness = match report.problems.len() as u64 + report.more_problems {
        0 => "no rule is broken".to_owned(),
        1 => "1 rule is broken".to_owned(),
        count => format!("{count} rules are broken"),
    };
    lines.push(format!("{state}; {soundness}"));
    lines
}
