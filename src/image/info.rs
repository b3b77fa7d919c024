//! `plugpull image info`: the header, and no other file.

use plugpull_engine::Disk;
use plugpull_engine::file_disk::FileMode;

use super::format::Format;
use super::open::Source;
use super::{fvd_info, qcow2_info};
use crate::failure::Failure;
use crate::output;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(flatten)]
    source: Source,
}

pub(super) async fn run(args: Args) -> Result<u8, Failure> {
    let (disk, format) = args.source.open_file(FileMode::ReadOnly).await?;
    match format {
        Format::Raw => {
            row("format", "raw");
            row("virtual size", disk.len());
        }
        Format::Fvd => fvd_info::print(&args.source.image, &disk).await?,
        Format::Qcow2 => qcow2_info::print(&args.source.image, &disk).await?,
    }
    Ok(0)
}

/// Prints one fact.
pub(super) fn row(name: &str, value: impl std::fmt::Display) {
    output::line(&format!("{:18}{value}", format!("{name}:")));
}

/// A flag, for people.
pub(super) fn yes(flag: bool) -> &'static str {
    if flag { "yes" } else { "no" }
}

/// The name of a format that an image may have given: quoted, so that it cannot play tricks on a
/// terminal.
pub(super) fn format_name(name: &str) -> String {
    if name.is_empty() { "none named, so raw".to_owned() } else { format!("{name:?}") }
}
