//! `plugpull image create`.

use std::fs::OpenOptions;
use std::path::PathBuf;
use std::sync::Arc;

use plugpull_engine::file_disk::{FileDisk, FileMode};
use plugpull_engine::fvd::create::{BaseOptions, PrefetchOptions};
use plugpull_engine::{Access, Disk, LocalRuntime, fvd, qcow2};

use super::error::{disk_error, file_error, image_error};
use super::format::Format;
use super::layout::{Layout, first_given, only_for};
use super::new_file::NewFile;
use super::open::Source;
use super::resolver::{Consent, Files, Instead, beside};
use super::size::size;
use crate::failure::Failure;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The file to make
    image: PathBuf,
    /// Bytes that the guest sees [default: those of the base]
    #[arg(value_parser = size)]
    size: Option<u64>,
    /// The format
    #[arg(short, long, default_value = "fvd")]
    format: Format,
    /// Replace a file that exists
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    layout: Layout,
    /// A file for the data alone, made empty beside the image
    #[arg(long, value_name = "NAME")]
    data_file: Option<String>,
    /// Keep the data file usable as a raw image (qcow2)
    #[arg(long, requires = "data_file")]
    data_file_raw: bool,
    /// The base image, a name relative to the image's folder
    #[arg(long, value_name = "NAME")]
    base: Option<String>,
    #[command(flatten)]
    base_options: BaseArgs,
}

/// Options that mean something with a base only.
#[derive(clap::Args, Debug, Clone)]
struct BaseArgs {
    /// The base's format; found out from its first bytes if not given
    #[arg(long, requires = "base")]
    base_format: Option<Format>,
    /// Bytes per bit of the bitmap, rounded up to 512 [default: from 512 up, so that the bitmap
    /// takes at most 4 MiB]
    #[arg(long, value_name = "SIZE", value_parser = size, requires = "base")]
    block: Option<u64>,
    /// Mark blocks as local where whole windows of the base, of this size, are zero
    #[arg(long, value_name = "SIZE", value_parser = size, requires = "base")]
    detect_holes: Option<u64>,
    /// Store what a virtual machine reads from the base
    #[arg(long, requires = "base")]
    copy_on_read: bool,
    /// Bytes that copy-on-read may have in flight
    #[arg(long, value_name = "SIZE", value_parser = size, requires = "base")]
    max_copy_on_read: Option<u64>,
    /// Seconds after which a virtual machine copies the rest of the base; never if not given
    #[arg(long, value_name = "SECONDS", requires = "base")]
    prefetch_start_delay: Option<i32>,
    /// Regions that prefetching holds at once
    #[arg(long, value_name = "N", requires = "base")]
    prefetch_slots: Option<i32>,
    /// Bytes per region, rounded up to a block
    #[arg(long, value_name = "BYTES", requires = "base")]
    prefetch_bytes: Option<i32>,
    /// Milliseconds that slow prefetching pauses; 0 for never
    #[arg(long, value_name = "MS", requires = "base")]
    prefetch_throttle_time: Option<i32>,
}

pub(super) async fn run(args: Args, runtime: &LocalRuntime) -> Result<u8, Failure> {
    args.layout.must_fit(args.format, "-f")?;
    match args.format {
        Format::Raw => raw(&args).await?,
        Format::Fvd => fvd(&args, runtime).await?,
        Format::Qcow2 => qcow2(&args, runtime).await?,
    }
    Ok(0)
}

async fn raw(args: &Args) -> Result<(), Failure> {
    let given = [("--base", args.base.is_some()), ("--data-file", args.data_file.is_some())];
    if let Some(option) = first_given(&given) {
        return Err(Failure::input(format!(
            "{option} is for fvd and qcow2 images; leave it out, or choose one with -f"
        )));
    }
    let new = NewFile::start(&args.image, args.force)?;
    let resized = new.disk()?.resize(required(args.size)?).await;
    resized.map_err(|error| disk_error(&args.image, &error))?;
    new.finish()
}

async fn fvd(args: &Args, runtime: &LocalRuntime) -> Result<(), Failure> {
    if args.data_file_raw {
        return Err(only_for("--data-file-raw", Format::Qcow2, "-f"));
    }
    let base = Base::open(args, runtime).await?;
    let mut options = args.layout.fvd.options(virtual_size(args, base.as_ref())?);
    options.base = base.as_ref().map(|base| args.base_options.options(base));
    if let Some(name) = &args.data_file {
        options.data_file.clone_from(name);
        "raw".clone_into(&mut options.data_file_fmt);
    }
    let new = start(args)?;
    fvd::create::create(&new.disk()?, &options, base.as_ref().map(|base| &*base.disk))
        .await
        .map_err(|error| image_error(&args.image, &error))?;
    make_data_file(args, 0)?;
    new.finish()
}

async fn qcow2(args: &Args, runtime: &LocalRuntime) -> Result<(), Failure> {
    if let Some(option) = args.base_options.only_fvd() {
        return Err(only_for(option, Format::Fvd, "-f"));
    }
    let base = Base::open(args, runtime).await?;
    let mut options = args.layout.qcow2.options(virtual_size(args, base.as_ref())?);
    options.backing = base.map(|base| qcow2::create::BackingOptions {
        name: base.name,
        format: Some(base.format.name().to_owned()),
    });
    options.data_file = args
        .data_file
        .clone()
        .map(|name| qcow2::create::DataFileOptions { name, raw: args.data_file_raw });
    let new = start(args)?;
    let header = qcow2::create::create(&new.disk()?, &options)
        .await
        .map_err(|error| image_error(&args.image, &error))?;
    make_data_file(args, header.virtual_size)?;
    new.finish()
}

/// What the guest sees: what is asked for, or as much as of the base.
fn virtual_size(args: &Args, base: Option<&Base>) -> Result<u64, Failure> {
    match (base, args.size) {
        (Some(base), None) => Ok(base.disk.len()),
        (_, size) => required(size),
    }
}

fn required(size: Option<u64>) -> Result<u64, Failure> {
    size.ok_or_else(|| Failure::input("how large? name a size after the file, such as 1GiB"))
}

/// Starts the image's file, unless its data file would be the same.
fn start(args: &Args) -> Result<NewFile, Failure> {
    match &args.data_file {
        Some(name) if beside(&args.image, name) == args.image => {
            Err(file_error(&args.image, "cannot be its own data file; name another"))
        }
        _ => NewFile::start(&args.image, args.force),
    }
}

/// The base of a new image.
struct Base {
    name: String,
    format: Format,
    disk: Arc<dyn Disk>,
}

impl Base {
    /// Opens the base: naming it on the command line is the consent to do so.
    async fn open(args: &Args, runtime: &LocalRuntime) -> Result<Option<Self>, Failure> {
        let Some(name) = args.base.clone() else { return Ok(None) };
        let image = beside(&args.image, &name);
        if !image.exists() {
            let problem = "there is no such base; put it there, or say where it is";
            return Err(file_error(&image, problem));
        }
        let source = Source { image: image.clone(), format: args.base_options.base_format };
        let (file, format) = source.open_file(FileMode::ReadOnly).await?;
        // An image that is replaced cannot be the base of what replaces it.
        let replaced = FileDisk::open(&args.image, FileMode::ReadOnly);
        let chain = replaced.iter().map(FileDisk::identity).collect();
        let files = Files::refused(&args.image, chain, Access::ReadOnly, runtime)
            .with_consent(Consent { allow_base: true, allow_data: false }, Instead::default());
        let opened = files.open_base(file, image.clone(), format).await;
        let disk = opened.map_err(|error| image_error(&image, &error))?;
        Ok(Some(Self { name, format, disk }))
    }
}

/// Makes the data file of `len` bytes, if there is to be one.
fn make_data_file(args: &Args, len: u64) -> Result<(), Failure> {
    let Some(name) = &args.data_file else { return Ok(()) };
    let path = beside(&args.image, name);
    let mut options = OpenOptions::new();
    options.write(true);
    if args.force {
        options.create(true).truncate(true)
    } else {
        options.create_new(true)
    };
    match options.open(&path).and_then(|file| file.set_len(len).map(|()| file)) {
        Ok(file) => file.sync_all().map_err(|error| file_error(&path, error)),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            Err(file_error(&path, "exists already; use --force to empty it"))
        }
        Err(error) => Err(file_error(&path, error)),
    }
}

impl BaseArgs {
    /// The first option given that only FVD images have.
    fn only_fvd(&self) -> Option<&'static str> {
        first_given(&[
            ("--block", self.block.is_some()),
            ("--detect-holes", self.detect_holes.is_some()),
            ("--copy-on-read", self.copy_on_read),
            ("--max-copy-on-read", self.max_copy_on_read.is_some()),
            ("--prefetch-start-delay", self.prefetch_start_delay.is_some()),
            ("--prefetch-slots", self.prefetch_slots.is_some()),
            ("--prefetch-bytes", self.prefetch_bytes.is_some()),
            ("--prefetch-throttle-time", self.prefetch_throttle_time.is_some()),
        ])
    }

    fn options(&self, base: &Base) -> BaseOptions {
        let mut options = BaseOptions::new(&base.name);
        base.format.name().clone_into(&mut options.format);
        options.block_size = self.block;
        options.detect_sparse_hole = self.detect_holes;
        options.copy_on_read = self.copy_on_read;
        if let Some(bytes) = self.max_copy_on_read {
            options.max_outstanding_copy_on_read_data = bytes;
        }
        let default = PrefetchOptions::default();
        options.prefetch = PrefetchOptions {
            start_delay: self.prefetch_start_delay.unwrap_or(default.start_delay),
            slots: self.prefetch_slots.unwrap_or(default.slots),
            bytes: self.prefetch_bytes,
            throttle_time: self.prefetch_throttle_time.unwrap_or(default.throttle_time),
            ..default
        };
        options
    }
}
