//! Opening the image that the user names.

use std::path::PathBuf;

use plugpull_engine::file_disk::{FileDisk, FileMode};
use plugpull_engine::{Access, Disk, LocalRuntime};

use super::error::{disk_error, image_error};
use super::format::{Format, PROBE_LEN};
use super::guest::{Guest, Image};
use super::resolver::{Consent, Files, Instead};
use crate::failure::Failure;

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
            None => Format::probe(&disk.read(0, PROBE_LEN).await.map_err(failed)?),
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
        let allow = |files: Files| files.with_consent(consent.clone(), instead.clone());
        self.open_with(access, runtime, allow).await
    }

    /// Opens the image alone: what else it names is taken to be there, and not opened.
    pub(super) async fn open_alone(
        &self,
        access: Access,
        runtime: &LocalRuntime,
    ) -> Result<Guest, Failure> {
        self.open_with(access, runtime, Files::unopened).await
    }

    async fn open_with(
        &self,
        access: Access,
        runtime: &LocalRuntime,
        allow: impl FnOnce(Files) -> Files,
    ) -> Result<Guest, Failure> {
        let mode = match access {
            Access::ReadOnly => FileMode::ReadOnly,
            Access::ReadWrite => FileMode::ReadWrite,
        };
        let (disk, format) = self.open_file(mode).await?;
        let files = allow(Files::refused(&self.image, vec![disk.identity()], access, runtime));
        let opened = Image::open(disk, format, files).await;
        let (image, disk) = opened.map_err(|error| image_error(&self.image, &error))?;
        Ok(Guest { file: self.image.clone(), disk, image })
    }
}
