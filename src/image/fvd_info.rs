//! What an FVD image says about itself.

use std::path::Path;

use plugpull_engine::Disk;
use plugpull_engine::file_disk::FileDisk;
use plugpull_engine::fvd::geometry::Geometry;
use plugpull_engine::fvd::header::Header;
use plugpull_engine::fvd::planted::PlantedBugs;

use super::error::image_error;
use super::info::{format_name, row, yes};
use crate::failure::Failure;

/// Prints the header of the image in `disk`, which is called `file`.
pub(super) async fn print(file: &Path, disk: &FileDisk) -> Result<(), Failure> {
    let failed = |error| image_error(file, &error);
    let header = Header::read(disk).await.map_err(failed)?;
    row("format", "fvd 1");
    describe(&header);
    let geometry = Geometry::validate(&header, disk.len(), PlantedBugs::NONE).map_err(failed)?;
    row("data offset", geometry.data_offset);
    row("file size", disk.len());
    Ok(())
}

/// Names come from the image: printed quoted, so that they cannot play tricks on a terminal.
fn describe(header: &Header) {
    row("virtual size", header.virtual_disk_size);
    row("closed cleanly", yes(header.is_clean()));
    if header.compact_image == 1 {
        row("chunk size", header.chunk_size);
        row("grow unit", header.storage_grow_unit);
    }
    row("journal size", header.journal_size);
    if header.separate_data() {
        row("data file", format_args!("{:?}", header.data_file));
        row("data format", format_name(&header.data_file_fmt));
    }
    if !header.base_img.is_empty() {
        row("base", format_args!("{:?}", header.base_img));
        row("base format", format_name(&header.base_img_fmt));
        row("base needed", yes(header.uses_base()));
        row("base size used", header.base_img_size);
        row("block size", header.block_size);
        row("copy on read", yes(header.copy_on_read != 0));
        row("prefetch", yes(header.prefetch_start_delay > 0));
        row("zero storage", yes(header.need_zero_init != 0));
    }
    let command = String::from_utf8_lossy(&header.add_storage_cmd);
    let command = command.split('\0').next().unwrap_or_default();
    if !command.is_empty() {
        row("storage command", format_args!("{command:?} (never run)"));
    }
}
