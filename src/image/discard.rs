//! `plugpull image discard` and `plugpull image write-zeroes`.

use plugpull_engine::{Access, ByteRange, LocalRuntime, SECTOR};

use super::guest::Guest;
use super::open::Source;
use super::resolver::{Consent, Instead};
use super::size::size;
use crate::failure::Failure;

/// A part of the guest's disk.
#[derive(clap::Args, Debug)]
pub(crate) struct DiscardArgs {
    #[command(flatten)]
    source: Source,
    /// First byte, a multiple of 512
    #[arg(value_parser = size)]
    offset: u64,
    /// Bytes, a multiple of 512
    #[arg(value_parser = size)]
    len: u64,
    #[command(flatten)]
    consent: Consent,
    #[command(flatten)]
    instead: Instead,
}

#[derive(clap::Args, Debug)]
pub(crate) struct ZeroArgs {
    #[command(flatten)]
    source: Source,
    /// First byte
    #[arg(value_parser = size)]
    offset: u64,
    /// Bytes
    #[arg(value_parser = size)]
    len: u64,
    /// Give up the storage too, where the format can
    #[arg(long)]
    unmap: bool,
    #[command(flatten)]
    consent: Consent,
    #[command(flatten)]
    instead: Instead,
}

pub(super) async fn discard(args: DiscardArgs, runtime: &LocalRuntime) -> Result<u8, Failure> {
    if !args.offset.is_multiple_of(SECTOR) || !args.len.is_multiple_of(SECTOR) {
        return Err(Failure::input(
            "discard takes multiples of 512; use write-zeroes for the rest",
        ));
    }
    let range = ByteRange::new(args.offset, args.len);
    let source = &args.source;
    let guest = source.open(Access::ReadWrite, &args.consent, &args.instead, runtime).await?;
    let discarded = match guest.must_contain(range) {
        Ok(()) => guest.discard(range).await,
        refused => refused,
    };
    finish(guest, discarded).await
}

pub(super) async fn write_zeroes(args: ZeroArgs, runtime: &LocalRuntime) -> Result<u8, Failure> {
    let range = ByteRange::new(args.offset, args.len);
    let source = &args.source;
    let guest = source.open(Access::ReadWrite, &args.consent, &args.instead, runtime).await?;
    let zeroed = match guest.must_contain(range) {
        Ok(()) => guest.write_zeroes(range, args.unmap).await,
        refused => refused,
    };
    finish(guest, zeroed).await
}

/// Closes the image whatever happened before.
pub(super) async fn finish(guest: Guest, done: Result<(), Failure>) -> Result<u8, Failure> {
    let closed = guest.close().await;
    done.and(closed).map(|()| 0)
}
