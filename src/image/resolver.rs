//! Files that an image names: opened only with the user's consent, beside the image, as the format
//! that the image says, and raw if it says none.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use plugpull_engine::Access;
use plugpull_engine::LocalRuntime;
use plugpull_engine::file_disk::{FileDisk, FileMode};
use plugpull_engine::fvd::planted::PlantedBugs;
use plugpull_engine::fvd::{Fvd, FvdDisk, OpenOptions};
use plugpull_engine::resolver::{BoxFuture, Resolver, Role};
use plugpull_engine::{Disk, Error};

use super::error::OPEN_NAMED;

/// How many images may lie on top of each other: an image could name itself as its base.
const CHAIN_MAX: u32 = 16;

/// Which of the files that an image names may be opened.
#[derive(clap::Args, Debug, Clone, Default)]
pub(super) struct Consent {
    /// Open the base that the image names, beside the image, and the base's base, and so on
    #[arg(long)]
    pub(super) allow_base: bool,
    /// Open the data file that the image names, beside the image
    #[arg(long)]
    pub(super) allow_data: bool,
}

/// Files to use instead of those that the image names.
#[derive(clap::Args, Debug, Clone, Default)]
pub(super) struct Instead {
    /// Use this file as the base, whatever name the image has for it
    #[arg(long, value_name = "FILE")]
    pub(super) base: Option<PathBuf>,
    /// Use this file as the data file, whatever name the image has for it
    #[arg(long, value_name = "FILE")]
    pub(super) data: Option<PathBuf>,
}

/// Opens what one image names.
pub(super) struct Files {
    pub(super) consent: Consent,
    pub(super) instead: Instead,
    /// The image itself.
    pub(super) image: PathBuf,
    /// How the image is opened; its data file is opened the same way, its base for reading.
    pub(super) access: Access,
    pub(super) runtime: LocalRuntime,
    /// Images above this one.
    pub(super) depth: u32,
}

impl Files {
    /// Where the file is, if it may be opened.
    fn place(&self, role: Role, name: &str) -> Result<PathBuf, Error> {
        let (what, option, allowed, instead) = match role {
            Role::Base => ("base", "base", self.consent.allow_base, &self.instead.base),
            Role::Data => ("data file", "data", self.consent.allow_data, &self.instead.data),
        };
        if let Some(file) = instead {
            return Ok(file.clone());
        }
        if !allowed {
            return Err(Error::Unsupported(format!(
                "the image names {name:?} as its {what}, and files that an image names are opened \
                 only with consent; add --allow-{option}, or say which with --{option} FILE"
            )));
        }
        Ok(beside(&self.image, name))
    }

    async fn open_file(
        &self,
        role: Role,
        name: &str,
        format: Option<&str>,
    ) -> Result<Arc<dyn Disk>, Error> {
        let path = self.place(role, name)?;
        let mode = match (role, self.access) {
            (Role::Data, Access::ReadWrite) => FileMode::ReadWrite,
            (Role::Base, _) | (Role::Data, Access::ReadOnly) => FileMode::ReadOnly,
        };
        let disk: Arc<dyn Disk> = match FileDisk::open(&path, mode) {
            Ok(disk) => Arc::new(disk),
            Err(error) => return Err(Error::disk(OPEN_NAMED, error)),
        };
        if role == Role::Data && same_file(&path, &self.image) {
            return Err(Error::Unsupported(format!(
                "the data file {name:?} is the image itself: guest data would replace its header"
            )));
        }
        match (format, role) {
            (None | Some("raw"), _) => Ok(disk),
            (Some("fvd" | "fvd1"), Role::Base) => self.open_base_image(disk, path).await,
            (Some(other), _) => Err(Error::Unsupported(format!(
                "the image says that {name:?} has the format {other:?}; convert it to raw first"
            ))),
        }
    }

    async fn open_base_image(
        &self,
        disk: Arc<dyn Disk>,
        image: PathBuf,
    ) -> Result<Arc<dyn Disk>, Error> {
        if self.depth == CHAIN_MAX {
            return Err(Error::Unsupported(format!(
                "more than {CHAIN_MAX} images on top of each other; does one name itself?"
            )));
        }
        let files = Self {
            consent: self.consent.clone(),
            instead: Instead::default(),
            image,
            access: Access::ReadOnly,
            runtime: self.runtime.clone(),
            depth: self.depth + 1,
        };
        let options = files.into_options();
        // Boxed: opening an image may contain opening an image.
        let opening: BoxFuture<'_, _> = Box::pin(Fvd::open(disk, options));
        Ok(Arc::new(FvdDisk::new(opening.await?)))
    }

    /// Options to open the image with, without background work.
    pub(super) fn into_options(self) -> OpenOptions {
        OpenOptions {
            access: self.access,
            background: false,
            runtime: Arc::new(self.runtime.clone()),
            resolver: Arc::new(self),
            planted: PlantedBugs::NONE,
        }
    }
}

impl Resolver for Files {
    fn open<'a>(
        &'a self,
        role: Role,
        name: &'a str,
        format: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Arc<dyn Disk>, Error>> {
        Box::pin(self.open_file(role, name, format))
    }
}

/// Whether two names lead to one file, also by links.
fn same_file(one: &Path, other: &Path) -> bool {
    let identity = |path| fs::metadata(path).map(|found| (found.dev(), found.ino())).ok();
    identity(one).is_some_and(|one| identity(other) == Some(one))
}

/// A name inside an image, relative to the folder that the image is in.
pub(super) fn beside(image: &Path, name: &str) -> PathBuf {
    image.parent().unwrap_or(Path::new("")).join(name)
}
