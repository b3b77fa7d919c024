//! Opening an image.
//!
//! Everything that can be refused is refused before anything is written: header, geometry, the other
//! files, tables that overlap. A failed open writes nothing. Opening reads the header, the L1 table,
//! the refcount table and the snapshot table; L2 tables and refcount blocks when they are needed.

use std::sync::Arc;

use super::bitmaps::Bitmaps;
use super::disks::{Cache, Disks};
use super::events;
use super::fields::{Fields, HeaderSector};
use super::frees::Frees;
use super::geometry::Geometry;
use super::handle::Qcow2;
use super::header::Header;
use super::image::{HeaderState, Image, OpenOptions, State};
use super::l1_table::L1Table;
use super::owners::{Owner, Owners};
use super::planted::{Bug, PlantedBugs};
use super::refcount_table::RefcountTable;
use super::repair::{Repair, repair};
use super::slices::Slices;
use super::snapshot_table::SnapshotTable;
use super::space::Space;
use crate::access::Access;
use crate::disk::{Disk, DiskError, DiskErrorKind};
use crate::error::Error;
use crate::requests::read;
use crate::resolver::Role;
use crate::units::{ByteRange, SECTOR};

impl Qcow2 {
    /// Opens the image in `file`.
    ///
    /// A dirty image that is opened for writing is repaired first; for reading its refcounts do not
    /// matter.
    ///
    /// # Errors
    /// * [`Error::Corrupt`]: a structure breaks a rule of the format, or the image is marked corrupt
    ///   and opened for writing.
    /// * [`Error::Unsupported`]: encryption, or features that this engine does not know.
    /// * What a disk or the resolver says.
    pub async fn open(file: Arc<dyn Disk>, options: OpenOptions) -> Result<Self, Error> {
        let mut header = Header::read(&*file).await?;
        let writes = options.access == Access::ReadWrite;
        let geometry = Geometry::validate(&header, file.len())?;
        let disks = open_disks(Arc::clone(&file), &header, &options).await?;
        if writes {
            check_writable(&header, &disks)?;
            if header.is_dirty() {
                check_mendable(&*file, &header, &geometry).await?;
                repair(&*file, Repair::All, options.planted).await?;
                options.runtime.event(events::REPAIRED_AT_OPEN);
                header = Header::read(&*file).await?;
                if header.is_dirty() {
                    let rule = "can be repaired; look at it with a check";
                    return Err(Error::corrupt("dirty image", rule, "damage that stays"));
                }
                check_writable(&header, &disks)?;
            }
        }
        let geometry = Geometry::validate(&header, file.len())?;
        let state = load(&*file, &header, &geometry, &options).await?;
        Ok(Self { image: Arc::new(Image::new(geometry, header, options, disks, state)) })
    }
}

/// Opens the other files that the image names.
async fn open_disks(
    file: Arc<dyn Disk>,
    header: &Header,
    options: &OpenOptions,
) -> Result<Disks, Error> {
    let data = if header.has_data_file() {
        let Some(name) = &header.data_file else {
            let rule = "an external data file has a name";
            return Err(Error::corrupt("header extensions", rule, "no name"));
        };
        Some(options.resolver.open(Role::Data, name, Some("raw")).await?)
    } else {
        None
    };
    let backing = match &header.backing_file {
        None => None,
        Some(name) => {
            let format = header.backing_format.as_deref();
            Some(options.resolver.open(Role::Base, name, format).await?)
        }
    };
    Ok(Disks { file, data, backing })
}

fn check_writable(header: &Header, disks: &Disks) -> Result<(), Error> {
    if header.is_corrupt() {
        let rule = "an image that is marked corrupt is not written before a repair";
        return Err(Error::corrupt("header", rule, "the corrupt bit"));
    }
    let data_is_writable = disks.data.as_ref().is_none_or(|data| data.properties().writable);
    if disks.file.properties().writable && data_is_writable {
        return Ok(());
    }
    let error = DiskError::new(DiskErrorKind::ReadOnly, "the disk cannot be written");
    Err(Error::disk("open for writing", error))
}

/// Refuses what a repair leaves as it is and opening does not take, before anything is written:
/// bitmaps that break a rule, and an L2 table with two L1 entries.
async fn check_mendable(
    file: &dyn Disk,
    header: &Header,
    geometry: &Geometry,
) -> Result<(), Error> {
    Bitmaps::load(file, header, geometry).await?;
    let l1 = read(file, "read L1 table", geometry.l1).await?;
    let mut owners = Owners::default();
    for entry in L1Table::parse(geometry.l1.offset, &l1).entries {
        if let Some(table) = entry.table()
            && geometry.holds(table, geometry.cluster_len)
            && table.is_multiple_of(geometry.cluster_len)
        {
            add_owner(&mut owners, geometry, ByteRange::new(table, 1), Owner::L2Table)?;
        }
    }
    Ok(())
}

async fn load(
    file: &dyn Disk,
    header: &Header,
    geometry: &Geometry,
    options: &OpenOptions,
) -> Result<State, Error> {
    let writes = options.access == Access::ReadWrite;
    let sector = read(file, "read header", ByteRange::new(0, SECTOR)).await?;
    let l1 = read(file, "read L1 table", geometry.l1).await?;
    let l1 = L1Table::parse(geometry.l1.offset, &l1);
    let table = read(file, "read refcount table", geometry.refcount_table).await?;
    let refcount_table = RefcountTable::parse(geometry.refcount_table.offset, &table);
    let snapshots = SnapshotTable::read(file, header, geometry).await?;
    let bitmaps =
        if writes { Bitmaps::load(file, header, geometry).await? } else { Bitmaps::default() };
    let owners = if writes {
        owners(header, geometry, &l1, &refcount_table, &snapshots, &bitmaps, options.planted)?
    } else {
        Owners::default()
    };
    let fields = fields(header);
    Ok(State {
        l1,
        refcount_table,
        slices: Slices::default(),
        header: HeaderState {
            sector: HeaderSector::new(sector, header.version),
            fields,
            written: fields,
            is_unknown: false,
        },
        owners,
        space: Space {
            next: 0,
            fresh_from: file.len().div_ceil(geometry.cluster_len),
            compressed: None,
        },
        frees: Frees::default(),
        snapshots,
        bitmaps,
        is_prepared: false,
        is_corrupt: false,
        cache: Cache::default(),
    })
}

fn fields(header: &Header) -> Fields {
    Fields {
        virtual_size: header.virtual_size,
        l1: (header.l1_entries, header.l1_offset),
        refcount_table: (header.refcount_table_offset, header.refcount_table_clusters),
        snapshots: (header.snapshot_count, header.snapshots_offset),
        incompatible: header.incompatible,
        autoclear: header.autoclear,
    }
}

/// Which clusters hold metadata.
///
/// # Errors
/// [`Error::Corrupt`] if two structures share one, or an entry of a table breaks a rule.
fn owners(
    header: &Header,
    geometry: &Geometry,
    l1: &L1Table,
    refcount_table: &RefcountTable,
    snapshots: &SnapshotTable,
    bitmaps: &Bitmaps,
    planted: PlantedBugs,
) -> Result<Owners, Error> {
    let len = geometry.cluster_len;
    let mut owners = Owners::default();
    let overlaps = planted.has(Bug::HostOverlappingMetadata);
    let mut add = |range: ByteRange, owner: Owner| {
        if overlaps {
            return Ok(());
        }
        add_owner(&mut owners, geometry, range, owner)
    };
    add(ByteRange::new(0, len), Owner::Header)?;
    add(geometry.l1, Owner::L1Table)?;
    add(geometry.refcount_table, Owner::RefcountTable)?;
    let inside = |structure: String, offset: u64| {
        let is_inside = offset.is_multiple_of(len) && geometry.holds(offset, len);
        let rule = "points to a cluster of the file";
        if is_inside {
            Ok(ByteRange::new(offset, len))
        } else {
            Err(Error::corrupt(structure, rule, offset))
        }
    };
    for (index, &block) in
        refcount_table.blocks.iter().enumerate().filter(|(_, block)| **block != 0)
    {
        add(inside(format!("refcount table entry {index}"), block)?, Owner::RefcountBlock)?;
    }
    for (index, entry) in l1.entries.iter().enumerate() {
        if let Some(table) = entry.table() {
            add(inside(format!("L1 entry {index}"), table)?, Owner::L2Table)?;
        }
    }
    if let Some(offset) = geometry.snapshots_offset {
        add(ByteRange::new(offset, snapshots.len), Owner::SnapshotTable)?;
    }
    for snapshot in &snapshots.snapshots {
        let l1 = geometry.snapshot_l1(snapshot.l1_offset, snapshot.l1_entries)?;
        add(l1, Owner::SnapshotL1Table)?;
    }
    if let Some(extension) = header.consistent_bitmaps() {
        let directory = super::bitmap_directory::directory(extension, geometry)?;
        add(directory, Owner::Bitmap)?;
        for range in bitmaps.ranges(len) {
            add(range, Owner::Bitmap)?;
        }
    }
    Ok(owners)
}

fn add_owner(
    owners: &mut Owners,
    geometry: &Geometry,
    range: ByteRange,
    owner: Owner,
) -> Result<(), Error> {
    owners.add(range.units(geometry.cluster_len), owner).map_err(|(cluster, other)| {
        let structure = format!("host cluster {cluster}");
        Error::corrupt(structure, "structures do not overlap", format!("{owner} and {other}"))
    })
}
