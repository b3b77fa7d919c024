//! Files that an image names: opened only with the user's consent, beside the image, as the format
//! that the image says.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use plugpull_engine::file_disk::{FileDisk, FileIdentity, FileMode, shown};
use plugpull_engine::resolver::{BoxFuture, Resolver, Role};
use plugpull_engine::{Access, Disk, Error, LocalRuntime, fvd, qcow2};

use super::error::OPEN_NAMED;
use super::format::{Format, PROBE_LEN};
use super::guest::Image;
use super::unopened::Unopened;

/// How many images may lie on top of each other.
const CHAIN_MAX: usize = 16;

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
    /// The base's format, whatever the image says
    #[arg(long, value_name = "FORMAT")]
    pub(super) base_format: Option<Format>,
    /// Use this file as the data file, whatever name the image has for it
    #[arg(long, value_name = "FILE")]
    pub(super) data: Option<PathBuf>,
}

/// Opens what one image names.
pub(super) struct Files {
    consent: Consent,
    instead: Instead,
    /// Nothing is opened, and nothing refused.
    unopened: bool,
    /// The image itself.
    image: PathBuf,
    /// How the image is opened; its data file is opened the same way, its base for reading.
    pub(super) access: Access,
    runtime: LocalRuntime,
    /// The images above this one, and this one.
    chain: Vec<FileIdentity>,
}

impl Files {
    /// For the image called `image`, which is the last of `chain`: whatever it names is refused.
    pub(super) fn refused(
        image: &Path,
        chain: Vec<FileIdentity>,
        access: Access,
        runtime: &LocalRuntime,
    ) -> Self {
        Self {
            consent: Consent::default(),
            instead: Instead::default(),
            unopened: false,
            image: image.to_owned(),
            access,
            runtime: runtime.clone(),
            chain,
        }
    }

    /// What the user consents to is opened, or used instead.
    pub(super) fn with_consent(self, consent: Consent, instead: Instead) -> Self {
        Self { consent, instead, ..self }
    }

    /// Nothing is opened, and nothing refused: for looking at the image alone.
    pub(super) fn unopened(self) -> Self {
        Self { unopened: true, ..self }
    }

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
        if is_no_file_name(name) {
            return Err(Error::Unsupported(format!(
                "the image names {name:?} as its {what}, which is no file; say which file to use \
                 with --{option} FILE"
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
        if self.unopened {
            return Ok(Arc::new(Unopened));
        }
        let path = self.place(role, name)?;
        let mode = match (role, self.access) {
            (Role::Data, Access::ReadWrite) => FileMode::ReadWrite,
            (Role::Base, _) | (Role::Data, Access::ReadOnly) => FileMode::ReadOnly,
        };
        let disk = FileDisk::open(&path, mode).map_err(|error| Error::disk(OPEN_NAMED, error))?;
        match role {
            Role::Data => self.open_data(disk, name, format),
            Role::Base => {
                let format = self.base_format(&disk, name, format).await?;
                self.open_base(disk, path, format).await
            }
        }
    }

    fn open_data(
        &self,
        disk: FileDisk,
        name: &str,
        format: Option<&str>,
    ) -> Result<Arc<dyn Disk>, Error> {
        if self.chain.contains(&disk.identity()) {
            return Err(Error::Unsupported(format!(
                "the data file {name:?} is the image itself: guest data would replace its header"
            )));
        }
        match format {
            None | Some("raw") => Ok(Arc::new(disk)),
            Some(other) => Err(unknown_format(name, other)),
        }
    }

    /// The base's format: what the user says, or else the image. One that names none means raw,
    /// unless the file looks otherwise; then nobody knows, and it is not guessed.
    async fn base_format(
        &self,
        disk: &FileDisk,
        name: &str,
        format: Option<&str>,
    ) -> Result<Format, Error> {
        if let Some(format) = self.instead.base_format {
            return Ok(format);
        }
        if let Some(format) = format {
            return Format::named(format).ok_or_else(|| unknown_format(name, format));
        }
        let start = disk.read(0, PROBE_LEN).await;
        match Format::probe(&start.map_err(|error| Error::disk(OPEN_NAMED, error))?) {
            Format::Raw => Ok(Format::Raw),
            found => Err(Error::Unsupported(format!(
                "the image does not say which format its base {name:?} has, and the base looks \
                 like {0}; if it is, add --base-format {0}, otherwise --base-format raw",
                found.name()
            ))),
        }
    }

    /// Opens a base, which may have a base of its own.
    pub(super) async fn open_base(
        &self,
        disk: FileDisk,
        image: PathBuf,
        format: Format,
    ) -> Result<Arc<dyn Disk>, Error> {
        let identity = disk.identity();
        if self.chain.contains(&identity) {
            return Err(Error::Unsupported(format!(
                "{} lies below itself: an image cannot be its own base; does one name itself?",
                shown(&image)
            )));
        }
        if self.chain.len() == CHAIN_MAX {
            return Err(Error::Unsupported(format!(
                "more than {CHAIN_MAX} images on top of each other; convert one of them"
            )));
        }
        let files = Self {
            consent: self.consent.clone(),
            instead: Instead::default(),
            unopened: false,
            image,
            access: Access::ReadOnly,
            runtime: self.runtime.clone(),
            chain: [&self.chain[..], &[identity]].concat(),
        };
        // Boxed: opening an image may contain opening an image.
        let opening: BoxFuture<'_, _> = Box::pin(Image::open(disk, format, files));
        Ok(opening.await?.1)
    }

    /// Options to open an FVD image with, without background work.
    pub(super) fn into_fvd_options(self) -> fvd::OpenOptions {
        fvd::OpenOptions {
            access: self.access,
            background: false,
            runtime: Arc::new(self.runtime.clone()),
            resolver: Arc::new(self),
            planted: fvd::planted::PlantedBugs::NONE,
        }
    }

    /// Options to open a qcow2 image with. What is freed is given back to the host.
    pub(super) fn into_qcow2_options(self) -> qcow2::OpenOptions {
        let runtime = Arc::new(self.runtime.clone());
        let options = qcow2::OpenOptions::new(self.access, Arc::new(self), runtime);
        qcow2::OpenOptions { discards: true, ..options }
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

fn unknown_format(name: &str, format: &str) -> Error {
    Error::Unsupported(format!(
        "the image says that {name:?} has the format {format:?}; convert it to raw first"
    ))
}

/// Whether QEMU would take the name for something else than a file: `nbd://...`, `json:...`.
fn is_no_file_name(name: &str) -> bool {
    let scheme = name.split(['/', ':']).next().unwrap_or_default();
    name[scheme.len()..].starts_with(':')
}

/// A name inside an image, relative to the folder that the image is in.
pub(super) fn beside(image: &Path, name: &str) -> PathBuf {
    image.parent().unwrap_or(Path::new("")).join(name)
}

#[cfg(test)]
mod tests {
    use super::is_no_file_name;

    #[test]
    fn what_is_no_file() {
        for name in ["nbd://host/x", "json:{}", "nbd:unix:/x", "fat:/x"] {
            assert!(is_no_file_name(name), "{name}");
        }
        for name in ["a", "", "a/b:c", "/x:y", "./nbd:x"] {
            assert!(!is_no_file_name(name), "{name}");
        }
    }
}
