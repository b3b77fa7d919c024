//! `plugpull image snapshot`: the snapshots inside a qcow2 image. Opens no other file.

use std::path::Path;

use plugpull_engine::file_disk::FileMode;
use plugpull_engine::qcow2::Qcow2;
use plugpull_engine::qcow2::geometry::Geometry;
use plugpull_engine::qcow2::header::Header;
use plugpull_engine::qcow2::snapshot_table::{self, Snapshot};
use plugpull_engine::{Access, Disk, Error, LocalRuntime};

use super::discard::finish;
use super::error::{file_error, image_error};
use super::format::Format;
use super::guest::{Guest, Image};
use super::open::Source;
use crate::failure::Failure;
use crate::output;

#[derive(clap::Subcommand, Debug)]
pub(crate) enum Verb {
    /// Tell which snapshots there are, oldest first
    List(Whole),
    /// Keep what the guest's disk holds now, under a name; prints the new id
    Create(Named),
    /// Set the guest's disk back to a snapshot, which stays
    Apply(Named),
    /// Delete a snapshot
    Delete(Named),
}

#[derive(clap::Args, Debug)]
pub(crate) struct Whole {
    #[command(flatten)]
    source: Source,
}

#[derive(clap::Args, Debug)]
pub(crate) struct Named {
    #[command(flatten)]
    source: Source,
    /// The snapshot's id or else its name; of a new one, its name
    snapshot: String,
}

pub(super) async fn run(verb: Verb, runtime: &LocalRuntime) -> Result<u8, Failure> {
    match verb {
        Verb::List(whole) => list(&whole.source).await,
        Verb::Create(named) => {
            let created = async |qcow2: Qcow2| {
                let id = qcow2.create_snapshot(&named.snapshot).await?;
                output::line(&id);
                Ok(())
            };
            change(&named.source, runtime, created).await
        }
        Verb::Apply(named) => {
            let applied = async |qcow2: Qcow2| qcow2.apply_snapshot(&named.snapshot).await;
            change(&named.source, runtime, applied).await
        }
        Verb::Delete(named) => {
            let deleted = async |qcow2: Qcow2| qcow2.delete_snapshot(&named.snapshot).await;
            change(&named.source, runtime, deleted).await
        }
    }
}

async fn list(source: &Source) -> Result<u8, Failure> {
    let (disk, format) = source.open_file(FileMode::ReadOnly).await?;
    if format != Format::Qcow2 {
        return Err(has_none(&source.image));
    }
    let failed = |error| image_error(&source.image, &error);
    let header = Header::read(&disk).await.map_err(failed)?;
    let geometry = Geometry::validate(&header, disk.len()).map_err(failed)?;
    print(&snapshot_table::read(&disk, &header, &geometry).await.map_err(failed)?);
    Ok(0)
}

/// Prints snapshots, oldest first.
pub(super) fn print(snapshots: &[Snapshot]) {
    output::line("id size seconds name");
    for snapshot in snapshots {
        let size = snapshot.virtual_size.map_or("unknown".to_owned(), |size| size.to_string());
        // Names come from the image: quoted, so that they cannot play tricks on a terminal.
        let id = output::plain(&snapshot.id);
        let (seconds, name) = (snapshot.date_seconds, &snapshot.name);
        output::line(&format!("{id} {size} {seconds} {name:?}"));
    }
}

async fn change(
    source: &Source,
    runtime: &LocalRuntime,
    change: impl AsyncFnOnce(Qcow2) -> Result<(), Error>,
) -> Result<u8, Failure> {
    let guest = source.open_alone(Access::ReadWrite, runtime).await?;
    let qcow2 = qcow2(&guest)?;
    let changed = change(qcow2).await.map_err(|error| image_error(&guest.file, &error));
    finish(guest, changed).await
}

fn qcow2(guest: &Guest) -> Result<Qcow2, Failure> {
    match &guest.image {
        Image::Qcow2 { qcow2, .. } => Ok(qcow2.clone()),
        Image::Raw(_) | Image::Fvd(_) => Err(has_none(&guest.file)),
    }
}

fn has_none(file: &Path) -> Failure {
    let rule = "only qcow2 images have snapshots";
    file_error(file, format_args!("{rule}; make one with `plugpull image convert -O qcow2`"))
}
