//! Opening an image.
//!
//! Everything that can be refused is refused before anything is written: header, geometry, the
//! other files, maps, journal records. Only then recovery writes, as the last step. A failed open
//! writes nothing more, and never marks the image clean.

use std::pin::Pin;
use std::sync::Arc;

use super::barrier::Disks;
use super::chunk_space::ChunkSpace;
use super::fvd_disk::FvdDisk;
use super::geometry::Geometry;
use super::header::{CLEAN_SHUTDOWN_SECTOR, Header};
use super::image::{Fvd, Image, OpenOptions, PrefetchState, State};
use super::planted::Bug;
use super::probe::probe;
use super::recover::{Regions, load_maps};
use crate::access::Access;
use crate::disk::{Disk, DiskError, DiskErrorKind, WriteFlags};
use crate::error::Error;
use crate::requests::read;
use crate::resolver::Role;
use crate::units::{ByteRange, SECTOR};

impl Fvd {
    /// Opens the image in `metadata`.
    ///
    /// An image that was not closed cleanly is recovered: its journal is applied and the maps are
    /// made durable; when the image is opened for reading only, they are applied in memory.
    ///
    /// # Errors
    /// * [`Error::Corrupt`]: header, table or journal break a rule of the format.
    /// * [`Error::Unsupported`]: another version; data that does not start on a sector, for
    ///   writing; storage that must read as zero and does not promise it, for a virtual machine.
    /// * What a disk or the resolver says.
    pub async fn open(metadata: Arc<dyn Disk>, options: OpenOptions) -> Result<Self, Error> {
        let header = Header::read(&*metadata).await?;
        let opened = open(Arc::clone(&metadata), &header, &options).await;
        if opened.is_err() && options.planted.has(Bug::FailedOpenMarksClean) {
            mark_clean(&*metadata, header, options.access).await;
        }
        opened
    }
}

async fn open(
    metadata: Arc<dyn Disk>,
    header: &Header,
    options: &OpenOptions,
) -> Result<Fvd, Error> {
    let geometry = Geometry::validate(header, metadata.len(), options.planted)?;
    let disks = open_disks(metadata, header, &geometry, options).await?;
    check_access(&geometry, &disks, options)?;

    let replays = !header.is_clean()
        && (options.access == Access::ReadWrite
            || !options.planted.has(Bug::ReadonlyOpenSkipsRecovery));
    let regions = Regions::read(&*disks.metadata, &geometry, replays).await?;
    let data_len = disks.data.len();
    let loaded = load_maps(&geometry, &regions, data_len, options)?;

    let zero_init = disks.data.properties().zero_init;
    let state = State {
        header: Box::new(header.clone()),
        chunks: ChunkSpace::of(&loaded.table),
        maps: loaded,
        zero_from: if zero_init { data_len.next_multiple_of(SECTOR) } else { u64::MAX },
        length_is_set: false,
        opened_clean: header.is_clean(),
        dirty: !header.is_clean(),
        journal_next: 0,
        copying: 0,
        prefetch: PrefetchState::Off,
    };
    let image = Arc::new(Image::new(geometry, options.clone(), disks, state));
    if !header.is_clean() && image.is_writable() {
        image.make_recovery_durable().await?;
    }
    image.start_prefetching();
    Ok(Fvd { image })
}

/// Opens the other files that the image names, as far as it needs them.
async fn open_disks(
    metadata: Arc<dyn Disk>,
    header: &Header,
    geometry: &Geometry,
    options: &OpenOptions,
) -> Result<Disks, Error> {
    let format = |name: &'_ str| Some(name.to_owned()).filter(|name| !name.is_empty());
    let data = if geometry.separate_data {
        let format = format(&header.data_file_fmt);
        let opening = options.resolver.open(Role::Data, &header.data_file, format.as_deref());
        open_if_it_looks_like_an_image(opening.await?, format.is_some(), options).await?
    } else {
        Arc::clone(&metadata)
    };
    let base = if geometry.base.is_some() {
        let format = format(&header.base_img_fmt);
        let opening = options.resolver.open(Role::Base, &header.base_img, format.as_deref());
        Some(opening.await?)
    } else {
        None
    };
    Ok(Disks { metadata, data, base })
}

/// No more than `data`, whose bytes are the guest's: what they look like means nothing.
async fn open_if_it_looks_like_an_image(
    data: Arc<dyn Disk>,
    has_format: bool,
    options: &OpenOptions,
) -> Result<Arc<dyn Disk>, Error> {
    if has_format || !options.planted.has(Bug::DataFileProbed) {
        return Ok(data);
    }
    let start = read(&*data, "probe data file", ByteRange::new(0, SECTOR)).await?;
    if !probe(&start) {
        return Ok(data);
    }
    Ok(Arc::new(FvdDisk::new(open_inner_image(data, options.clone()).await?)))
}

/// Opening as a type of its own: an open that may contain an open needs one.
fn open_inner_image(
    data: Arc<dyn Disk>,
    options: OpenOptions,
) -> Pin<Box<dyn Future<Output = Result<Fvd, Error>> + Send>> {
    Box::pin(Fvd::open(data, options))
}

fn check_access(geometry: &Geometry, disks: &Disks, options: &OpenOptions) -> Result<(), Error> {
    if options.access == Access::ReadWrite {
        let writable = disks.metadata.properties().writable && disks.data.properties().writable;
        if !writable {
            let error = DiskError::new(DiskErrorKind::ReadOnly, "the disk cannot be written");
            return Err(Error::disk("open for writing", error));
        }
        if !geometry.is_aligned() {
            return Err(Error::Unsupported(format!(
                "data that starts at byte {}, not on a sector, can only be read",
                geometry.data_offset
            )));
        }
    }
    // A tool only warns, so to speak: what it copies is what the original would have read.
    if geometry.need_zero_init && options.background && !disks.data.properties().zero_init {
        return Err(Error::Unsupported(
            "need_zero_init is set, but the data storage does not promise to be zero".into(),
        ));
    }
    Ok(())
}

/// What the planted bug does after a failed open: the normal close, without the maps.
async fn mark_clean(metadata: &dyn Disk, mut header: Header, access: Access) {
    if access == Access::ReadOnly {
        return;
    }
    header.clean_shutdown = 1;
    let sector = header.sector_with(CLEAN_SHUTDOWN_SECTOR).to_vec();
    let offset = CLEAN_SHUTDOWN_SECTOR as u64 * SECTOR;
    drop(metadata.write(offset, sector, WriteFlags::NONE).await);
}
