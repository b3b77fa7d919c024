//! `plugpull image convert`.

use std::path::PathBuf;

use plugpull_engine::Access;
use plugpull_engine::LocalRuntime;
use plugpull_engine::fvd::create::create;

use super::copy::copy;
use super::create_options::Layout;
use super::error::{disk_error, image_error};
use super::guest::Guest;
use super::new_file::NewFile;
use super::open::{Format, Source, open_fvd};
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
    if let (Format::Raw, Some(option)) = (args.output_format, args.layout.only_fvd()) {
        return Err(Failure::input(format!("{option} is for FVD images; add -O fvd")));
    }
    let source = args.source.open(Access::ReadOnly, &args.consent, &args.instead, runtime).await?;
    let new = NewFile::start(&args.target, args.force)?;
    let target = match args.output_format {
        Format::Raw => raw_target(&args, &new, source.len()).await?,
        Format::Fvd => fvd_target(&args, &new, source.len(), runtime).await?,
    };
    copy(&source, &target).await?;
    target.close().await?;
    new.finish()?;
    Ok(0)
}

async fn raw_target(args: &Args, new: &NewFile, len: u64) -> Result<Guest, Failure> {
    let disk = new.disk()?;
    disk.resize(len).await.map_err(|error| disk_error(&args.target, &error))?;
    Ok(Guest { file: args.target.clone(), disk, fvd: None })
}

async fn fvd_target(
    args: &Args,
    new: &NewFile,
    len: u64,
    runtime: &LocalRuntime,
) -> Result<Guest, Failure> {
    let disk = new.disk()?;
    create(&*disk, &args.layout.options(len), None)
        .await
        .map_err(|error| image_error(&args.target, &error))?;
    let files = Files {
        consent: Consent::default(),
        instead: Instead::default(),
        image: args.target.clone(),
        access: Access::ReadWrite,
        runtime: runtime.clone(),
        depth: 0,
    };
    open_fvd(&args.target, disk, files).await
}
