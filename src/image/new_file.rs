//! Files that appear under their name only when they are complete.

use std::fs::{File, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use plugpull_engine::file_disk::{FileDisk, FileMode, shown};
use tempfile::NamedTempFile;

use super::error::{disk_error, file_error, io_error};
use crate::failure::Failure;

/// A file in the making, beside where it will be.
pub(super) struct NewFile {
    file: NamedTempFile,
    path: PathBuf,
    force: bool,
}

impl NewFile {
    /// Starts a file that will be called `path`. An existing one is replaced at the end, and only
    /// with `force`.
    pub(super) fn start(path: &Path, force: bool) -> Result<Self, Failure> {
        if !force && path.symlink_metadata().is_ok() {
            return Err(file_error(path, "exists already; use --force to replace it"));
        }
        if path.is_dir() {
            return Err(file_error(path, "is a folder; name a file"));
        }
        let name = path.file_name().ok_or_else(|| file_error(path, "is not the name of a file"))?;
        let file = tempfile::Builder::new()
            .prefix(&format!(".{}.", name.to_string_lossy()))
            .suffix(".partial")
            // As an ordinary new file, so that the user's mask applies.
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(folder(path))
            // The name in the error is that of the partial file: nothing the user knows.
            .map_err(|error| match error.kind() {
                ErrorKind::NotFound => {
                    let folder = shown(folder(path));
                    file_error(path, format_args!("cannot be made: there is no folder {folder}"))
                }
                kind => file_error(path, format_args!("cannot be made: {kind}")),
            })?;
        Ok(Self { file, path: path.to_owned(), force })
    }

    /// Writes what comes next.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    /// The file as a disk.
    pub(super) fn disk(&self) -> Result<FileDisk, Failure> {
        FileDisk::open(self.file.path(), FileMode::ReadWrite)
            .map_err(|error| disk_error(&self.path, &error))
    }

    /// Gives the file its name, once its content is durable.
    pub(super) fn finish(self) -> Result<(), Failure> {
        let path = self.path;
        self.file.as_file().sync_all().map_err(|error| io_error(&path, &error))?;
        let named =
            if self.force { self.file.persist(&path) } else { self.file.persist_noclobber(&path) };
        named.map_err(|error| file_error(&path, error.error))?;
        // The name is durable when its folder is.
        File::open(folder(&path))
            .and_then(|folder| folder.sync_all())
            .map_err(|error| file_error(&path, error))
    }
}

/// The folder that `path` is in.
fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "only counts")]
    fn a_file_has_its_name_only_when_it_is_finished() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let entries = || fs::read_dir(folder.path()).unwrap().count();

        let given_up = NewFile::start(&path, false).unwrap();
        assert!(!path.exists());
        assert_eq!(entries(), 1);
        drop(given_up);
        assert_eq!(entries(), 0);

        fs::write(NewFile::start(&path, false).unwrap().file.path(), "lost").unwrap();
        let new = NewFile::start(&path, false).unwrap();
        fs::write(new.file.path(), "new").unwrap();
        new.finish().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(entries(), 1);

        assert!(NewFile::start(&path, false).is_err());
        let newer = NewFile::start(&path, true).unwrap();
        fs::write(newer.file.path(), "newer").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        newer.finish().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "newer");
    }

    #[test]
    fn a_file_that_appears_meanwhile_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let new = NewFile::start(&path, false).unwrap();
        fs::write(&path, "somebody else's").unwrap();
        assert!(new.finish().is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "somebody else's");
    }
}
