//! `plugpull image map`: where each part of the guest's disk lives. Opens no other file.

use std::sync::Arc;

use plugpull_engine::Access;
use plugpull_engine::LocalRuntime;
use plugpull_engine::disk::IoFuture;
use plugpull_engine::file_disk::FileMode;
use plugpull_engine::fvd::planted::PlantedBugs;
use plugpull_engine::fvd::{Extent, Fvd, Location, OpenOptions};
use plugpull_engine::resolver::{BoxFuture, Resolver, Role};
use plugpull_engine::{
    ByteRange, Disk, DiskError, DiskErrorKind, DiskProperties, Error, WriteFlags,
};

use super::error::image_error;
use super::open::{Format, Source};
use super::size::size;
use crate::failure::Failure;
use crate::output;

/// Guest bytes that are looked up at once.
const WINDOW: u64 = 1 << 30;

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
    let (disk, format) = args.source.open_file(FileMode::ReadOnly).await?;
    let wanted = ByteRange::new(args.offset, args.len.unwrap_or(i64::MAX as u64));
    output::line("start length place");
    if format == Format::Raw {
        let range = wanted.intersection(ByteRange::new(0, disk.len()));
        let location = Location::Storage { offset: range.offset };
        print(&Extent { range, location });
        return Ok(0);
    }
    let options = OpenOptions {
        access: Access::ReadOnly,
        background: false,
        resolver: Arc::new(Unopened),
        runtime: Arc::new(runtime.clone()),
        planted: PlantedBugs::NONE,
    };
    let fvd = Fvd::open(Arc::new(disk), options)
        .await
        .map_err(|error| image_error(&args.source.image, &error))?;
    let range = wanted.intersection(ByteRange::new(0, fvd.virtual_size()));
    let mut last: Option<Extent> = None;
    for window in range.units(WINDOW) {
        let part = ByteRange::new(window * WINDOW, WINDOW).intersection(range);
        for extent in fvd.map(part) {
            last = match last {
                Some(mut before) if continues(&before, &extent) => {
                    before.range.len += extent.range.len;
                    Some(before)
                }
                before => {
                    before.iter().for_each(print);
                    Some(extent)
                }
            };
        }
    }
    last.iter().for_each(print);
    Ok(0)
}

/// Whether `next` is one piece with what comes before it.
fn continues(before: &Extent, next: &Extent) -> bool {
    match (before.location, next.location) {
        (Location::Base, Location::Base) | (Location::Zero, Location::Zero) => true,
        (Location::Storage { offset: here }, Location::Storage { offset: there }) => {
            here + before.range.len == there
        }
        _ => false,
    }
}

fn print(extent: &Extent) {
    let place = match extent.location {
        Location::Base => "base".to_owned(),
        Location::Zero => "zero".to_owned(),
        Location::Storage { offset } => format!("data {offset}"),
    };
    output::line(&format!("{} {} {place}", extent.range.offset, extent.range.len));
}

/// Stands for files that are not opened: looking up places reads none of them.
#[derive(Clone, Copy)]
struct Unopened;

impl Resolver for Unopened {
    fn open<'a>(
        &'a self,
        _role: Role,
        _name: &'a str,
        _format: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Arc<dyn Disk>, Error>> {
        Box::pin(std::future::ready(Ok(Arc::new(Self) as Arc<dyn Disk>)))
    }
}

fn refused<T: Send + 'static>() -> IoFuture<T> {
    let error = DiskError::new(DiskErrorKind::Io, "the file was not opened");
    Box::pin(std::future::ready(Err(error)))
}

impl Disk for Unopened {
    fn read(&self, _offset: u64, _len: usize) -> IoFuture<Vec<u8>> {
        refused()
    }

    fn write(&self, _offset: u64, _data: Vec<u8>, _flags: WriteFlags) -> IoFuture<()> {
        refused()
    }

    fn flush(&self) -> IoFuture<()> {
        refused()
    }

    fn discard(&self, _offset: u64, _len: u64) -> IoFuture<()> {
        refused()
    }

    fn resize(&self, _len: u64) -> IoFuture<()> {
        refused()
    }

    /// Long enough for everything: nobody knows.
    fn len(&self) -> u64 {
        i64::MAX as u64
    }

    fn properties(&self) -> DiskProperties {
        DiskProperties { sector_len: 512, resizable: false, zero_init: true, writable: false }
    }
}
