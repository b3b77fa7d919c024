//! What a qcow2 image says about itself.

use std::path::Path;

use plugpull_engine::file_disk::FileDisk;
use plugpull_engine::qcow2::features::known_names;
use plugpull_engine::qcow2::geometry::Geometry;
use plugpull_engine::qcow2::header::{Compression, Header};
use plugpull_engine::qcow2::{bitmap_directory, snapshot_table};
use plugpull_engine::{Disk, Error};

use super::error::image_error;
use super::info::{format_name, row, yes};
use super::snapshot;
use crate::failure::Failure;
use crate::output;

/// Prints the header of the image in `disk`, which is called `file`, and what is inside the image.
pub(super) async fn print(file: &Path, disk: &FileDisk) -> Result<(), Failure> {
    let failed = |error| image_error(file, &error);
    let header = Header::read(disk).await.map_err(failed)?;
    row("format", format_args!("qcow2 {}", header.version));
    describe(&header);
    row("file size", disk.len());
    print_inside(&header, disk).await.map_err(failed)
}

/// Prints the snapshots and the bitmaps.
async fn print_inside(header: &Header, disk: &FileDisk) -> Result<(), Error> {
    let geometry = Geometry::validate(header, disk.len())?;
    if header.snapshot_count > 0 {
        output::line("snapshots:");
        snapshot::print(&snapshot_table::read(disk, header, &geometry).await?);
    }
    if let Some(extension) = header.consistent_bitmaps() {
        output::line("bitmaps:");
        output::line("granularity auto in-use name");
        for bitmap in bitmap_directory::read(disk, extension, &geometry).await? {
            let granularity = 1_u128 << bitmap.granularity_bits;
            let (auto, in_use) = (yes(bitmap.auto), yes(bitmap.in_use));
            output::line(&format!("{granularity} {auto} {in_use} {:?}", bitmap.name));
        }
    }
    Ok(())
}

/// Names come from the image: printed quoted, so that they cannot play tricks on a terminal.
fn describe(header: &Header) {
    row("virtual size", header.virtual_size);
    row("cluster size", header.cluster_len());
    row("refcount bits", 1_u64 << header.refcount_order);
    row("features", features(header));
    row(
        "compression",
        match header.compression {
            Compression::Deflate => "deflate",
            Compression::Zstd => "zstd",
        },
    );
    if let Some(name) = &header.backing_file {
        row("base", format_args!("{name:?}"));
        row("base format", format_name(header.backing_format.as_deref().unwrap_or_default()));
    }
    if header.has_data_file() {
        let name = header.data_file.as_deref();
        row("data file", name.map_or("not named".to_owned(), |name| format!("{name:?}")));
    }
    row("header", format_args!("{} bytes", header.header_len));
    row("L1 table", format_args!("{} entries at {}", header.l1_entries, header.l1_offset));
    let clusters = header.refcount_table_clusters;
    let offset = header.refcount_table_offset;
    row("refcount table", format_args!("{clusters} clusters at {offset}"));
    if header.snapshot_count > 0 {
        let (count, offset) = (header.snapshot_count, header.snapshots_offset);
        row("snapshot table", format_args!("{count} snapshots at {offset}"));
    }
    if let Some(bitmaps) = header.bitmaps {
        let trust = if header.consistent_bitmaps().is_some() { "" } else { " (out of date)" };
        let (len, offset) = (bitmaps.directory_len, bitmaps.directory_offset);
        row(
            "bitmap directory",
            format_args!("{} bitmaps, {len} bytes at {offset}{trust}", bitmaps.count),
        );
    }
    for extension in &header.unknown_extensions {
        let len = extension.data.len();
        row("extension", format_args!("{:#010x}, {len} bytes (unknown)", extension.kind));
    }
}

/// The features that the image has, by name; those that are not known by the image's name for them.
fn features(header: &Header) -> String {
    let known = known_names();
    let types = [header.incompatible, header.compatible, header.autoclear];
    let mut texts = Vec::new();
    for (kind, (bits, title)) in (0..).zip(types.into_iter().zip(TITLES)) {
        for bit in (0..64_u8).filter(|bit| bits >> bit & 1 == 1) {
            let find = |names: &[(u8, u8, String)]| {
                let found = names.iter().find(|name| (name.0, name.1) == (kind, bit));
                found.map(|(_, _, name)| name.clone())
            };
            texts.push(match (find(&known), find(&header.feature_names)) {
                (Some(name), _) => name,
                (None, Some(name)) => format!("{title} bit {bit} ({name:?})"),
                (None, None) => format!("{title} bit {bit} (unknown)"),
            });
        }
    }
    if texts.is_empty() { "none".to_owned() } else { texts.join(", ") }
}

const TITLES: [&str; 3] = ["incompatible", "compatible", "autoclear"];
