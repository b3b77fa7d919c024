//! `plugpull image create`.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use plugpull_engine::Access;
use plugpull_engine::Disk;
use plugpull_engine::LocalRuntime;
use plugpull_engine::fvd::create::{BaseOptions, PrefetchOptions, create};
use plugpull_engine::resolver::{Resolver, Role};

use super::create_options::Layout;
use super::error::{disk_error, file_error, image_error};
use super::new_file::NewFile;
use super::open::Format;
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
    /// The base image, a name relative to the image's folder
    #[arg(long, value_name = "NAME")]
    base: Option<String>,
    #[command(flatten)]
    base_options: BaseArgs,
}

/// Options that mean something with a base only.
#[derive(clap::Args, Debug, Clone)]
struct BaseArgs {
    /// The base's format
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
    match args.format {
        Format::Raw => raw(&args).await?,
        Format::Fvd => fvd(&args, runtime).await?,
    }
    Ok(0)
}

async fn raw(args: &Args) -> Result<(), Failure> {
    let given = [("--base", args.base.is_some()), ("--data-file", args.data_file.is_some())];
    let given = given.into_iter().find(|&(_, given)| given).map(|(name, _)| name);
    if let Some(option) = args.layout.only_fvd().or(given) {
        return Err(Failure::input(format!(
            "{option} is for FVD images; leave it out, or use -f fvd"
        )));
    }
    let new = NewFile::start(&args.image, args.force)?;
    let resized = new.disk()?.resize(required(args.size)?).await;
    resized.map_err(|error| disk_error(&args.image, &error))?;
    new.finish()
}

async fn fvd(args: &Args, runtime: &LocalRuntime) -> Result<(), Failure> {
    let base = match &args.base {
        Some(name) => Some(open_base(args, name, runtime).await?),
        None => None,
    };
    let virtual_size = match (&base, args.size) {
        (Some(base), None) => base.len(),
        _ => required(args.size)?,
    };
    let mut options = args.layout.options(virtual_size);
    options.base = args.base.as_ref().map(|name| args.base_options.options(name));
    if let Some(name) = &args.data_file {
        options.data_file.clone_from(name);
        "raw".clone_into(&mut options.data_file_fmt);
    }
    if let Some(name) = &args.data_file
        && beside(&args.image, name) == args.image
    {
        return Err(file_error(&args.image, "cannot be its own data file; name another"));
    }
    let new = NewFile::start(&args.image, args.force)?;
    create(&*new.disk()?, &options, base.as_deref())
        .await
        .map_err(|error| image_error(&args.image, &error))?;
    if let Some(name) = &args.data_file {
        make_data_file(&beside(&args.image, name), args.force)?;
    }
    new.finish()
}

fn required(size: Option<u64>) -> Result<u64, Failure> {
    size.ok_or_else(|| Failure::input("how large? name a size after the file, such as 1GiB"))
}

/// Opens the base: naming it on the command line is the consent to do so.
async fn open_base(
    args: &Args,
    name: &str,
    runtime: &LocalRuntime,
) -> Result<Arc<dyn Disk>, Failure> {
    let files = Files {
        consent: Consent { allow_base: true, allow_data: false },
        instead: Instead::default(),
        image: args.image.clone(),
        access: Access::ReadOnly,
        runtime: runtime.clone(),
        depth: 0,
    };
    files
        .open(Role::Base, name, Some(args.base_options.format_name()))
        .await
        .map_err(|error| image_error(&beside(&args.image, name), &error))
}

fn make_data_file(path: &Path, force: bool) -> Result<(), Failure> {
    let mut options = OpenOptions::new();
    options.write(true);
    if force {
        options.create(true).truncate(true)
    } else {
        options.create_new(true)
    };
    match options.open(path) {
        Ok(file) => file.sync_all().map_err(|error| file_error(path, error)),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            Err(file_error(path, "exists already; use --force to empty it"))
        }
        Err(error) => Err(file_error(path, error)),
    }
}

impl BaseArgs {
    fn format_name(&self) -> &'static str {
        match self.base_format {
            None | Some(Format::Raw) => "raw",
            Some(Format::Fvd) => "fvd",
        }
    }

    fn options(&self, name: &str) -> BaseOptions {
        let mut options = BaseOptions::new(name);
        self.format_name().clone_into(&mut options.format);
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
