//! Opening the image that the user names.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use plugpull_engine::Access;
use plugpull_engine::Disk;
use plugpull_engine::LocalRuntime;
use plugpull_engine::file_disk::{FileDisk, FileMode};
use plugpull_engine::fvd::probe::probe;
use plugpull_engine::fvd::{Fvd, FvdDisk};

use super::error::{disk_error, image_error};
use super::guest::Guest;
use super::resolver::{Consent, Files, Instead};
use crate::failure::Failure;

/// The format of a file.
#[derive(clap::ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// The guest's bytes as they are
    Raw,
    /// FVD, version 1
    Fvd,
}

/// The image to work on.
#[derive(clap::Args, Debug, Clone)]
pub(super) struct Source {
    /// The image
    pub(super) image: PathBuf,
    /// Its format; found out from its first bytes if not given, so give it for a raw file that
    /// somebody else may have written to
    #[arg(short, long)]
    pub(super) format: Option<Format>,
}

impl Source {
    /// Opens the file, and tells its format.
    pub(super) async fn open_file(&self, mode: FileMode) -> Result<(FileDisk, Format), Failure> {
        let failed = |error| disk_error(&self.image, &error);
        let disk = FileDisk::open(&self.image, mode).map_err(failed)?;
        let format = match self.format {
            Some(format) => format,
            None if probe(&disk.read(0, 16).await.map_err(failed)?) => Format::Fvd,
            None => Format::Raw,
        };
        Ok((disk, format))
    }

    /// Opens the image for `access`.
    pub(super) async fn open(
        &self,
        access: Access,
        consent: &Consent,
        instead: &Instead,
        runtime: &LocalRuntime,
    ) -> Result<Guest, Failure> {
        let mode = match access {
            Access::ReadOnly => FileMode::ReadOnly,
            Access::ReadWrite => FileMode::ReadWrite,
        };
        let (disk, format) = self.open_file(mode).await?;
        let disk: Arc<dyn Disk> = Arc::new(disk);
        if format == Format::Raw {
            return Ok(Guest { file: self.image.clone(), disk, fvd: None });
        }
        let files = Files {
            consent: consent.clone(),
            instead: instead.clone(),
            image: self.image.clone(),
            access,
            runtime: runtime.clone(),
            depth: 0,
        };
        open_fvd(&self.image, disk, files).await
    }
}

/// The guest of the FVD image on `disk`.
pub(super) async fn open_fvd(
    file: &Path,
    disk: Arc<dyn Disk>,
    files: Files,
) -> Result<Guest, Failure> {
    let fvd =
        Fvd::open(disk, files.into_options()).await.map_err(|error| image_error(file, &error))?;
    let disk = Arc::new(FvdDisk::new(fvd.clone()));
    Ok(Guest { file: file.to_owned(), disk, fvd: Some(fvd) })
}
