//! `plugpull image convert`.

use std::path::PathBuf;

use plugpull_engine::{Access, Disk, LocalRuntime, fvd, qcow2};

use super::copy::copy;
use super::error::{disk_error, image_error};
use super::format::Format;
use super::guest::{Guest, Image};
use super::layout::{Layout, only_for};
use super::new_file::NewFile;
use super::open::Source;
use super::resolver::{Consent, Files, Instead};
use crate::failure::Failure;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(flatten)]
    source: Source,
    /// The file to make
    target: PathBuf,
    /// Its format
    #[arg(short = 'O', long, default_value = "raw")]
    output_format: Format,
    /// Compress clusters that become smaller (qcow2)
    #[arg(short, long)]
    compress: bool,
    /// Replace a file that exists
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    layout: Layout,
    #[command(flatten)]
    consent: Consent,
    #[command(flatten)]
    instead: Instead,
}

pub(super) async fn run(args: Args, runtime: &LocalRuntime) -> Result<u8, Failure> {
    args.layout.must_fit(args.output_format, "-O")?;
    if args.compress && args.output_format != Format::Qcow2 {
        return Err(only_for("--compress", Format::Qcow2, "-O"));
    }
    let source = args.source.open(Access::ReadOnly, &args.consent, &args.instead, runtime).await?;
    let new = NewFile::start(&args.target, args.force)?;
    let target = target(&args, &new, source.len(), runtime).await?;
    copy(&source, &target, args.compress).await?;
    target.close().await?;
    new.finish()?;
    Ok(0)
}

/// A new image of `len` bytes, open for writing.
async fn target(
    args: &Args,
    new: &NewFile,
    len: u64,
    runtime: &LocalRuntime,
) -> Result<Guest, Failure> {
    let failed = |error| image_error(&args.target, &error);
    let disk = new.disk()?;
    match args.output_format {
        Format::Raw => {
            disk.resize(len).await.map_err(|error| disk_error(&args.target, &error))?;
        }
        Format::Fvd => {
            let options = args.layout.fvd.options(len);
            fvd::create::create(&disk, &options, None).await.map_err(failed)?;
        }
        Format::Qcow2 => {
            let options = args.layout.qcow2.options(len);
            qcow2::create::create(&disk, &options).await.map_err(failed)?;
        }
    }
    let chain = vec![disk.identity()];
    let files = Files::refused(&args.target, chain, Access::ReadWrite, runtime);
    let (image, disk) = Image::open(disk, args.output_format, files).await.map_err(failed)?;
    Ok(Guest { file: args.target.clone(), disk, image })
}
