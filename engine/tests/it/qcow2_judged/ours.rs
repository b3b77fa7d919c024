//! Our engine on an image in a file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::join_all;
use plugpull_engine::file_disk::FileMode;
use plugpull_engine::qcow2::create::create;
use plugpull_engine::qcow2::{OpenOptions, Qcow2};
use plugpull_engine::resolver::{BoxFuture, Resolver, Role};
use plugpull_engine::{Access, ByteRange, Disk, Error, FileDisk, LocalRuntime};

use super::case::{Case, DATA, IMAGE};
use super::ops::Op;
use super::volatile::Volatile;

/// Bytes of one request when everything is read.
const PIECE_LEN: u64 = 1 << 20;

/// An open image and what drives it.
pub(super) struct Ours {
    pub(super) folder: PathBuf,
    runtime: LocalRuntime,
    qcow2: Qcow2,
}

/// Makes an image, and its data file.
pub(super) fn make(case: &Case, folder: &Path) -> Result<(), Error> {
    let disk = file(&folder.join(IMAGE), FileMode::CreateNew)?;
    let runtime = LocalRuntime::new(1);
    runtime.block_on(create(&*disk, &case.options()))?;
    if case.data_file.is_some() {
        let data = file(&folder.join(DATA), FileMode::CreateNew)?;
        let resized = runtime.block_on(data.resize(case.virtual_size));
        resized.map_err(|error| Error::disk("make data file", error))?;
    }
    Ok(())
}

impl Ours {
    pub(super) fn open(case: &Case, folder: &Path, access: Access) -> Result<Self, Error> {
        let runtime = LocalRuntime::new(1);
        let mode = match access {
            Access::ReadOnly => FileMode::ReadOnly,
            Access::ReadWrite => FileMode::ReadWrite,
        };
        let resolver = Arc::new(Folder { folder: folder.to_owned(), mode });
        let options = OpenOptions {
            discards: case.discards,
            slice_len: case.slice_len,
            slices_max: case.slices_max,
            ..OpenOptions::new(access, resolver, Arc::new(runtime.clone()))
        };
        let disk = file(&folder.join(IMAGE), mode)?;
        let qcow2 = runtime.block_on(Qcow2::open(disk, options))?;
        Ok(Self { folder: folder.to_owned(), runtime, qcow2 })
    }

    pub(super) fn apply(&mut self, case: &Case, op: &Op) -> Result<(), Error> {
        let qcow2 = &self.qcow2;
        let run = &self.runtime;
        match op {
            Op::Write(range, fill) => {
                run.block_on(qcow2.write(range.offset, fill.bytes(range.len)))
            }
            Op::Writes(writes) => {
                let write = |(range, fill): &(ByteRange, super::ops::Fill)| {
                    qcow2.write(range.offset, fill.bytes(range.len))
                };
                let results = run.block_on(join_all(writes.iter().map(write)));
                results.into_iter().collect()
            }
            Op::WriteCompressed(range, fill) => {
                run.block_on(qcow2.write_compressed(range.offset, fill.bytes(range.len)))
            }
            Op::WriteZeroes { range, unmap } => run.block_on(qcow2.write_zeroes(*range, *unmap)),
            Op::Discard(range) => run.block_on(qcow2.discard(*range)),
            Op::Flush => run.block_on(qcow2.flush()),
            Op::Resize(len) => run.block_on(qcow2.resize(*len)),
            Op::CreateSnapshot(name) => run.block_on(qcow2.create_snapshot(name)).map(drop),
            Op::ApplySnapshot(name) => run.block_on(qcow2.apply_snapshot(name)),
            Op::DeleteSnapshot(name) => run.block_on(qcow2.delete_snapshot(name)),
            Op::Reopen => {
                self.close()?;
                *self = Self::open(case, &self.folder, Access::ReadWrite)?;
                Ok(())
            }
        }
    }

    /// Everything that the guest can read.
    pub(super) fn read_all(&self) -> Result<Vec<u8>, Error> {
        self.read_pieces(self.qcow2.virtual_size(), None)
    }

    /// Everything that a snapshot of `len` bytes holds.
    pub(super) fn read_snapshot(&self, name: &str, len: u64) -> Result<Vec<u8>, Error> {
        self.read_pieces(len, Some(name))
    }

    fn read_pieces(&self, len: u64, snapshot: Option<&str>) -> Result<Vec<u8>, Error> {
        let all = ByteRange::new(0, len);
        let mut content = Vec::new();
        for piece in all.units(PIECE_LEN) {
            let piece = ByteRange::new(piece * PIECE_LEN, PIECE_LEN).intersection(all);
            let read = match snapshot {
                None => self.runtime.block_on(self.qcow2.read(piece)),
                Some(name) => self.runtime.block_on(self.qcow2.read_snapshot(name, piece)),
            };
            content.extend(read?);
        }
        Ok(content)
    }

    /// The names of the snapshots, oldest first.
    pub(super) fn snapshots(&self) -> Vec<String> {
        self.qcow2.snapshots().into_iter().map(|snapshot| snapshot.name).collect()
    }

    /// Ends the session in good order.
    pub(super) fn close(&self) -> Result<(), Error> {
        let closed = self.runtime.block_on(self.qcow2.close());
        self.runtime.drain();
        closed
    }
}

/// Opens a file as a disk.
pub(super) fn file(path: &Path, mode: FileMode) -> Result<Arc<dyn Disk>, Error> {
    let disk = FileDisk::open(path, mode).map_err(|error| Error::disk("open file", error))?;
    Ok(Arc::new(Volatile(disk)))
}

/// Opens what an image names, in its folder.
struct Folder {
    folder: PathBuf,
    mode: FileMode,
}

impl Resolver for Folder {
    fn open<'a>(
        &'a self,
        role: Role,
        name: &'a str,
        format: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Arc<dyn Disk>, Error>> {
        assert!(matches!(format, None | Some("raw")), "{role:?} {name} is {format:?}");
        let mode = if role == Role::Base { FileMode::ReadOnly } else { self.mode };
        Box::pin(std::future::ready(file(&self.folder.join(name), mode)))
    }
}
