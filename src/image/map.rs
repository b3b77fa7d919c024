//! `plugpull image map`: where each part of the guest's disk lives. Opens no other file.

use plugpull_engine::{Access, ByteRange, LocalRuntime};

use super::copy::WINDOW;
use super::extent::{Extent, Place};
use super::open::Source;
use super::size::size;
use crate::failure::Failure;
use crate::output;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(flatten)]
    source: Source,
    /// First byte of the range
    #[arg(default_value = "0", value_parser = size)]
    offset: u64,
    /// Bytes of the range [default: the rest]
    #[arg(value_parser = size)]
    len: Option<u64>,
}

pub(super) async fn run(args: Args, runtime: &LocalRuntime) -> Result<u8, Failure> {
    let guest = args.source.open_alone(Access::ReadOnly, runtime).await?;
    let wanted = ByteRange::new(args.offset, args.len.unwrap_or(i64::MAX as u64));
    let range = wanted.intersection(guest.range());
    output::line("start length place");
    let mut last: Option<Extent> = None;
    for window in range.units(WINDOW) {
        let part = ByteRange::new(window * WINDOW, WINDOW).intersection(range);
        for extent in guest.map(part).await? {
            let joined = last.and_then(|before| before.joined(extent));
            if joined.is_none() {
                last.iter().for_each(print);
            }
            last = joined.or(Some(extent));
        }
    }
    last.iter().for_each(print);
    Ok(0)
}

fn print(extent: &Extent) {
    let place = match extent.place {
        Place::Base => "base".to_owned(),
        Place::Zero => "zero".to_owned(),
        Place::Data { offset } => format!("data {offset}"),
        Place::Compressed { offset, len } => format!("compressed {offset} {len}"),
    };
    output::line(&format!("{} {} {place}", extent.range.offset, extent.range.len));
}
