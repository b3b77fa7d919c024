//! A copy of an image as ordinary files, and sessions on it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use plugpull_engine::Access;
use plugpull_engine::file_disk::FileMode;
use plugpull_engine::fvd::check::{CheckReport, check};
use plugpull_engine::fvd::planted::PlantedBugs;
use plugpull_engine::fvd::{Fvd, OpenOptions};
use plugpull_engine::resolver::{BoxFuture, Resolver, Role};
use plugpull_engine::{ByteRange, Disk, Error, FileDisk, LocalRuntime};
use tempfile::TempDir;

/// Bytes of one request when everything is read.
const PIECE_LEN: u64 = 1 << 20;

/// The files of one image, in a folder that goes away with this value.
pub(crate) struct Copy {
    folder: TempDir,
    original: PathBuf,
}

/// What kind of session an image is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A tool that reads.
    Inspect,
    /// A tool that writes.
    Change,
    /// A virtual machine, with copy-on-read.
    Run,
}

/// An open image and what drives it.
pub(crate) struct Session {
    pub(crate) fvd: Fvd,
    pub(crate) runtime: LocalRuntime,
}

impl Copy {
    /// Copies the files that an engine may write. The base stays where it is.
    pub(crate) fn of(original: &Path) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        for name in WRITABLE {
            if original.join(name).exists() {
                std::fs::copy(original.join(name), folder.path().join(name)).expect("room");
            }
        }
        Self { folder, original: original.to_owned() }
    }

    /// Opens the image. The files can be written whatever the purpose: an engine that only wants to
    /// read must not try.
    pub(crate) fn open(&self, purpose: Purpose) -> Result<Session, Error> {
        let runtime = LocalRuntime::new(1);
        let folder = self.folder.path().to_owned();
        let resolver = Files { folder, base: self.original.join("base.raw") };
        let options = OpenOptions {
            access: if purpose == Purpose::Inspect { Access::ReadOnly } else { Access::ReadWrite },
            background: purpose == Purpose::Run,
            resolver: Arc::new(resolver),
            runtime: Arc::new(runtime.clone()),
            planted: PlantedBugs::default(),
        };
        let fvd = runtime.block_on(Fvd::open(self.metadata(), options))?;
        Ok(Session { fvd, runtime })
    }

    /// Looks at the image without opening it.
    pub(crate) fn check(&self) -> Result<CheckReport, Error> {
        let data = std::fs::metadata(self.folder.path().join("data.dat"));
        let data_len = data.ok().map(|metadata| metadata.len());
        LocalRuntime::new(1).block_on(check(&*self.metadata(), data_len))
    }

    fn metadata(&self) -> Arc<dyn Disk> {
        file(&self.folder.path().join("test.fvd"), FileMode::ReadWrite).expect("the image opens")
    }

    /// The files that are not byte for byte what they were.
    pub(crate) fn changed(&self) -> Vec<&'static str> {
        let read = |folder: &Path, name: &str| std::fs::read(folder.join(name)).ok();
        let differs = |name: &&&str| read(self.folder.path(), name) != read(&self.original, name);
        WRITABLE.iter().filter(differs).copied().collect()
    }
}

/// The files of an image that an engine may write.
const WRITABLE: [&str; 2] = ["test.fvd", "data.dat"];

impl Session {
    /// Everything that the guest can read.
    pub(crate) fn read_all(&self) -> Result<Vec<u8>, Error> {
        let all = ByteRange::new(0, self.fvd.virtual_size());
        let mut content = Vec::new();
        for start in (0..all.len).step_by(usize::try_from(PIECE_LEN).expect("a small number")) {
            let piece = ByteRange::new(start, PIECE_LEN).intersection(all);
            content.extend(self.runtime.block_on(self.fvd.read(piece))?);
        }
        Ok(content)
    }

    /// Writes a range of the guest.
    pub(crate) fn write(&self, offset: u64, data: Vec<u8>) -> Result<(), Error> {
        self.runtime.block_on(self.fvd.write(offset, data))
    }

    /// Makes writes durable.
    pub(crate) fn flush(&self) -> Result<(), Error> {
        self.runtime.block_on(self.fvd.flush())
    }

    /// Ends the session in good order.
    pub(crate) fn close(self) -> Result<(), Error> {
        let closed = self.runtime.block_on(self.fvd.close());
        self.runtime.drain();
        closed
    }
}

struct Files {
    folder: PathBuf,
    base: PathBuf,
}

impl Resolver for Files {
    fn open<'a>(
        &'a self,
        role: Role,
        name: &'a str,
        format: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Arc<dyn Disk>, Error>> {
        assert_eq!(format, None, "no image names a format");
        let opened = match (role, name) {
            (Role::Base, "base.raw") => file(&self.base, FileMode::ReadOnly),
            (Role::Data, "data.dat") => file(&self.folder.join(name), FileMode::ReadWrite),
            _ => Err(Error::Unsupported(format!("no file {name}"))),
        };
        Box::pin(std::future::ready(opened))
    }
}

fn file(path: &Path, mode: FileMode) -> Result<Arc<dyn Disk>, Error> {
    let disk = FileDisk::open(path, mode).map_err(|error| Error::disk("open file", error))?;
    Ok(Arc::new(disk))
}
