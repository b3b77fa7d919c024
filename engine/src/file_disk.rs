//! An ordinary file, or a block device, as a disk.
//!
//! Requests are executed when they are submitted, so their futures are ready at once. The host's
//! page cache is the volatile cache; [`Disk::flush`] is `fsync`.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::Path;
#[expect(clippy::disallowed_types, reason = "a disk's own: its length is told by Disk::len")]
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{FallocateFlags, SeekFrom, fallocate, seek};
use rustix::io::Errno;

use crate::disk::{Disk, DiskError, DiskErrorKind, DiskProperties, IoFuture, WriteFlags};
use crate::units::ByteRange;

/// Bytes zeroed by one write when a range is discarded.
const ZERO_PIECE_LEN: u64 = 64 * 1024;

/// A file's name for people: control characters are escaped, so that a name which somebody else
/// chose cannot play tricks on a terminal or look like a second line.
#[must_use]
pub fn shown(path: &Path) -> String {
    let plain = |c: char| matches!(c, '\'' | '"' | '\\');
    let name = path.to_string_lossy();
    name.chars().fold(String::new(), |mut text, c| {
        if plain(c) {
            text.push(c)
        } else {
            text.extend(c.escape_debug())
        }
        text
    })
}

/// How to open a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileMode {
    /// The file exists; writes are refused.
    ReadOnly,
    /// The file exists.
    ReadWrite,
    /// The file is made, and must not exist.
    CreateNew,
    /// The file is made, or emptied if it exists.
    CreateOrTruncate,
}

/// Which file it is, whatever it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileIdentity {
    device: u64,
    inode: u64,
}

/// A file as a disk.
#[derive(Debug)]
pub struct FileDisk {
    file: File,
    /// The length as requests see it. Only this program is expected to change it.
    #[expect(clippy::disallowed_types, reason = "a disk's own: its length is told by Disk::len")]
    len: AtomicU64,
    identity: FileIdentity,
    is_device: bool,
    writable: bool,
}

impl FileDisk {
    /// Opens the file or block device at `path`.
    ///
    /// # Errors
    /// What the host answers; [`DiskErrorKind::Io`] if `path` is neither file nor block device.
    pub fn open(path: &Path, mode: FileMode) -> Result<Self, DiskError> {
        let mut options = OpenOptions::new();
        let writable = mode != FileMode::ReadOnly;
        options.read(true).write(writable);
        match mode {
            FileMode::CreateNew => options.create_new(true),
            FileMode::CreateOrTruncate => options.create(true).truncate(true),
            FileMode::ReadOnly | FileMode::ReadWrite => &mut options,
        };
        let named = |error: io::Error| {
            DiskError::new(error_kind(&error), format!("{}: {error}", shown(path)))
        };
        let special = || {
            let detail = format!("{}: neither a file nor a block device", shown(path));
            DiskError::new(DiskErrorKind::Io, detail)
        };
        // Before it is opened: opening a pipe waits for somebody at its other end.
        if std::fs::metadata(path).is_ok_and(|found| found.file_type().is_fifo()) {
            return Err(special());
        }
        let file = options.open(path).map_err(named)?;
        let metadata = file.metadata().map_err(named)?;
        let kind = metadata.file_type();
        let identity = FileIdentity { device: metadata.dev(), inode: metadata.ino() };
        let is_device = kind.is_block_device();
        if !kind.is_file() && !is_device {
            return Err(special());
        }
        #[expect(
            clippy::disallowed_types,
            reason = "a disk's own: its length is told by Disk::len"
        )]
        let len = AtomicU64::new(length(&file).map_err(named)?);
        Ok(Self { file, len, identity, is_device, writable })
    }

    /// Which file this is: two names of one file, also by links, have the same identity.
    #[must_use]
    pub fn identity(&self) -> FileIdentity {
        self.identity
    }

    /// Whether it is a block device, which has no holes.
    #[must_use]
    pub fn is_device(&self) -> bool {
        self.is_device
    }

    /// The first stretch of `range` that may hold anything but zeros, as far as the host knows;
    /// none if there is none. What it leaves out are holes.
    ///
    /// # Errors
    /// What the host answers.
    pub fn first_data(&self, range: ByteRange) -> Result<Option<ByteRange>, DiskError> {
        let range = range.intersection(ByteRange::new(0, self.len()));
        if range.is_empty() {
            return Ok(None);
        }
        let start = match seek(&self.file, SeekFrom::Data(range.offset)) {
            Ok(start) => start,
            // From here on there is nothing but a hole.
            Err(Errno::NXIO) => return Ok(None),
            // The host does not know.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(Some(range)),
            Err(error) => return Err(failed(&error.into())),
        };
        let end = seek(&self.file, SeekFrom::Hole(start)).unwrap_or(range.end());
        let data = ByteRange::between(start, end).intersection(range);
        Ok((!data.is_empty()).then_some(data))
    }

    fn read_now(&self, offset: u64, len: usize) -> Result<Vec<u8>, DiskError> {
        let mut bytes = vec![0; len];
        let mut done = 0;
        while done < len {
            let at = offset.saturating_add(done as u64);
            if at >= self.len() {
                break;
            }
            match self.file.read_at(&mut bytes[done..], at) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(&error)),
            }
        }
        Ok(bytes)
    }

    fn write_now(&self, offset: u64, data: &[u8], flags: WriteFlags) -> Result<(), DiskError> {
        self.check_writable(offset, data.len() as u64)?;
        if flags.preflush {
            self.flush_now()?;
        }
        self.file.write_all_at(data, offset).map_err(|error| failed(&error))?;
        if flags.fua { self.flush_now() } else { Ok(()) }
    }

    fn flush_now(&self) -> Result<(), DiskError> {
        if !self.writable {
            return Ok(());
        }
        self.file.sync_all().map_err(|error| failed(&error))
    }

    fn discard_now(&self, offset: u64, len: u64) -> Result<(), DiskError> {
        self.check_writable(offset, len)?;
        if len == 0 {
            return Ok(());
        }
        // What a discarded range reads as is up to the disk; zeros leave no old data behind, and a
        // hole takes no room.
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        if fallocate(&self.file, hole, offset, len).is_ok() {
            return Ok(());
        }
        let end = offset + len;
        let mut at = offset;
        while at < end {
            let piece = ZERO_PIECE_LEN.min(end - at);
            let zeros = vec![0; usize::try_from(piece).expect("a piece is small")];
            self.file.write_all_at(&zeros, at).map_err(|error| failed(&error))?;
            at += piece;
        }
        Ok(())
    }

    fn resize_now(&self, len: u64) -> Result<(), DiskError> {
        if self.is_device {
            return Err(DiskError::new(DiskErrorKind::Io, "a block device cannot be resized"));
        }
        self.check_writable(0, 0)?;
        self.file.set_len(len).map_err(|error| failed(&error))?;
        self.len.store(len, Ordering::Release);
        Ok(())
    }

    fn check_writable(&self, offset: u64, len: u64) -> Result<(), DiskError> {
        if !self.writable {
            return Err(DiskError::new(
                DiskErrorKind::ReadOnly,
                "the file is open for reading only",
            ));
        }
        let disk_len = self.len();
        match offset.checked_add(len) {
            Some(end) if end <= disk_len => Ok(()),
            _ => {
                let detail = format!("{len} bytes at {offset} of a disk of {disk_len}");
                Err(DiskError::new(DiskErrorKind::OutOfRange, detail))
            }
        }
    }
}

impl Disk for FileDisk {
    fn read(&self, offset: u64, len: usize) -> IoFuture<Vec<u8>> {
        ready(self.read_now(offset, len))
    }

    fn write(&self, offset: u64, data: Vec<u8>, flags: WriteFlags) -> IoFuture<()> {
        ready(self.write_now(offset, &data, flags))
    }

    fn flush(&self) -> IoFuture<()> {
        ready(self.flush_now())
    }

    fn discard(&self, offset: u64, len: u64) -> IoFuture<()> {
        ready(self.discard_now(offset, len))
    }

    fn resize(&self, len: u64) -> IoFuture<()> {
        ready(self.resize_now(len))
    }

    fn len(&self) -> u64 {
        self.len.load(Ordering::Acquire)
    }

    fn properties(&self) -> DiskProperties {
        DiskProperties {
            sector_len: 512,
            resizable: !self.is_device,
            // A device holds whatever was on it before.
            zero_init: !self.is_device,
            writable: self.writable,
        }
    }
}

fn ready<T: Send + 'static>(result: Result<T, DiskError>) -> IoFuture<T> {
    Box::pin(std::future::ready(result))
}

fn failed(error: &io::Error) -> DiskError {
    DiskError::new(error_kind(error), error.to_string())
}

fn error_kind(error: &io::Error) -> DiskErrorKind {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            DiskErrorKind::NoSpace
        }
        io::ErrorKind::ReadOnlyFilesystem => DiskErrorKind::ReadOnly,
        _ => DiskErrorKind::Io,
    }
}

/// The length of a file or block device; metadata says 0 for a device.
fn length(mut file: &File) -> io::Result<u64> {
    use std::io::{Seek, SeekFrom};
    file.seek(SeekFrom::End(0))
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn now<T>(future: IoFuture<T>) -> Result<T, DiskErrorKind> {
        let result = future.now_or_never().expect("ready at once");
        result.map_err(|error| error.kind)
    }

    #[test]
    fn behaves_like_a_disk() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        let disk = FileDisk::open(&path, FileMode::CreateNew).unwrap();
        assert_eq!(FileDisk::open(&path, FileMode::CreateNew).unwrap_err().kind, DiskErrorKind::Io);
        assert_eq!(disk.len(), 0);
        let out_of_range = now(disk.write(0, vec![1; 512], WriteFlags::NONE));
        assert_eq!(out_of_range, Err(DiskErrorKind::OutOfRange));
        assert_eq!(
            now(disk.write(u64::MAX, vec![1], WriteFlags::NONE)),
            Err(DiskErrorKind::OutOfRange)
        );

        now(disk.resize(2048)).unwrap();
        let flags = WriteFlags { preflush: true, fua: true };
        now(disk.write(512, vec![7; 1024], flags)).unwrap();
        now(disk.discard(1024, 512)).unwrap();
        now(disk.flush()).unwrap();
        let mut expected = vec![0; 4096];
        expected[512..1024].fill(7);
        assert_eq!(now(disk.read(0, 4096)), Ok(expected));
        assert_eq!(now(disk.read(u64::MAX, 3)), Ok(vec![0; 3]));
        assert!(disk.properties().zero_init && disk.properties().resizable);
    }

    #[test]
    fn a_read_only_disk_refuses_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        std::fs::write(&path, [5; 1024]).unwrap();
        let disk = FileDisk::open(&path, FileMode::ReadOnly).unwrap();
        assert_eq!(
            now(disk.write(0, vec![0; 512], WriteFlags::NONE)),
            Err(DiskErrorKind::ReadOnly)
        );
        assert_eq!(now(disk.resize(0)), Err(DiskErrorKind::ReadOnly));
        assert_eq!(now(disk.discard(0, 512)), Err(DiskErrorKind::ReadOnly));
        assert_eq!(now(disk.flush()), Ok(()));
        assert_eq!(now(disk.read(0, 1024)), Ok(vec![5; 1024]));
        assert!(!disk.properties().writable);
    }

    #[test]
    fn holes_are_no_data() {
        let folder = tempfile::tempdir().unwrap();
        let disk = FileDisk::open(&folder.path().join("disk"), FileMode::CreateNew).unwrap();
        let all = ByteRange::new(0, 1 << 20);
        assert_eq!(disk.first_data(all), Ok(None));
        now(disk.resize(all.len)).unwrap();
        now(disk.write(512 << 10, vec![1; 64 << 10], WriteFlags::NONE)).unwrap();
        let written = ByteRange::new(512 << 10, 64 << 10);
        // A file system without holes may call everything data.
        let found = disk.first_data(all).unwrap().unwrap();
        assert!(found.contains(written), "{found}");
        let inner = ByteRange::new(520 << 10, 4 << 10);
        assert_eq!(disk.first_data(inner), Ok(Some(inner)));
        now(disk.discard(written.offset, written.len)).unwrap();
        assert_eq!(now(disk.read(written.offset, 64 << 10)), Ok(vec![0; 64 << 10]));
        assert_eq!(disk.len(), all.len);
    }

    #[test]
    fn what_is_no_file_is_refused() {
        assert!(FileDisk::open(Path::new("/dev/null"), FileMode::ReadWrite).is_err());
        assert!(FileDisk::open(Path::new("/nonexistent/x"), FileMode::ReadOnly).is_err());
    }
}
