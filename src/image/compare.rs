//! `plugpull image compare`: the guest's bytes, wherever they live.

use std::path::PathBuf;

use plugpull_engine::Access;
use plugpull_engine::ByteRange;
use plugpull_engine::LocalRuntime;
use plugpull_engine::file_disk::shown;

use super::copy::{first_data, first_difference};
use super::format::Format;
use super::open::Source;
use super::resolver::{Consent, Instead};
use crate::failure::Failure;
use crate::output;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(flatten)]
    source: Source,
    /// The other image
    other: PathBuf,
    /// The other's format; found out like the first one's if not given
    #[arg(short = 'F', long)]
    other_format: Option<Format>,
    /// Exit code 1 also if one disk is longer than the other by zeros
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    consent: Consent,
}

pub(super) async fn run(args: Args, runtime: &LocalRuntime) -> Result<u8, Failure> {
    let other = Source { image: args.other.clone(), format: args.other_format };
    let none = Instead::default();
    let a = args.source.open(Access::ReadOnly, &args.consent, &none, runtime).await?;
    let b = other.open(Access::ReadOnly, &args.consent, &none, runtime).await?;
    let both = a.len().min(b.len());
    if let Some(offset) = first_difference(&a, &b, ByteRange::new(0, both)).await? {
        output::line(&format!("the first difference is at byte {offset}"));
        return Ok(1);
    }
    if a.len() == b.len() {
        output::line("no difference");
        return Ok(0);
    }
    let longer = if a.len() > b.len() { &a } else { &b };
    let rest = ByteRange::between(both, longer.len());
    let lengths = format!("{} and {} bytes", a.len(), b.len());
    if let Some(offset) = first_data(longer, rest).await? {
        let name = shown(&longer.file);
        output::line(&format!("the first difference is at byte {offset}: only {name} has it"));
        return Ok(1);
    }
    output::line(&format!("no difference but the length: {lengths}, the rest is zero"));
    Ok(u8::from(args.strict))
}
