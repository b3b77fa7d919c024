//! `plugpull image resize`.

use plugpull_engine::{Access, LocalRuntime};

use super::discard::finish;
use super::error::file_error;
use super::open::Source;
use super::resolver::{Consent, Instead};
use super::size::size;
use crate::failure::Failure;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(flatten)]
    source: Source,
    /// Bytes that the guest sees afterwards
    #[arg(value_parser = size)]
    size: u64,
    /// Give up what lies past the end of a smaller disk
    #[arg(long)]
    shrink: bool,
    #[command(flatten)]
    consent: Consent,
    #[command(flatten)]
    instead: Instead,
}

pub(super) async fn run(args: Args, runtime: &LocalRuntime) -> Result<u8, Failure> {
    let source = &args.source;
    let guest = source.open(Access::ReadWrite, &args.consent, &args.instead, runtime).await?;
    let resized = if args.size < guest.len() && !args.shrink {
        let lost = guest.len() - args.size;
        let message = format!("would lose its last {lost} bytes; add --shrink if they may go");
        Err(file_error(&guest.file, message))
    } else {
        guest.resize(args.size).await
    };
    finish(guest, resized).await
}
