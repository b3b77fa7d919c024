//! `plugpull image read`.

use std::path::PathBuf;

use plugpull_engine::Access;
use plugpull_engine::ByteRange;
use plugpull_engine::LocalRuntime;

use super::error::io_error;
use super::new_file::NewFile;
use super::open::Source;
use super::resolver::{Consent, Instead};
use super::size::{pieces, size};
use crate::failure::Failure;
use crate::output;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(flatten)]
    source: Source,
    /// First byte
    #[arg(value_parser = size)]
    offset: u64,
    /// Bytes
    #[arg(value_parser = size)]
    len: u64,
    /// Where to write them [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace an output file that exists
    #[arg(long, requires = "output")]
    force: bool,
    #[command(flatten)]
    consent: Consent,
    #[command(flatten)]
    instead: Instead,
}

pub(super) async fn run(args: Args, runtime: &LocalRuntime) -> Result<u8, Failure> {
    let guest = args.source.open(Access::ReadOnly, &args.consent, &args.instead, runtime).await?;
    let range = ByteRange::new(args.offset, args.len);
    guest.must_contain(range)?;
    let mut file = match &args.output {
        None => None,
        Some(path) => Some(NewFile::start(path, args.force)?),
    };
    for piece in pieces(range) {
        let bytes = guest.read(piece).await?;
        match (&mut file, &args.output) {
            (Some(file), Some(path)) => {
                file.append(&bytes).map_err(|error| io_error(path, &error))?;
            }
            _ => output::bytes(&bytes)
                .map_err(|error| Failure::input(format!("standard output: {error}")))?,
        }
    }
    if let Some(file) = file {
        file.finish()?;
    }
    Ok(0)
}
