//! What guests ask of the device under test, as data.
//!
//! Written one request per string: `write 8K 512`, `read 0 64K`, `flush`, `close`,
//! `wait-prefetch`, `sleep 1s`; of devices that can do more `discard 0 64K`,
//! `write-zeroes 0 512`, `unmap-zeroes 0 64K`, `write-compressed 0 64K`, `snapshot s1`, `apply s1`,
//! `delete-snapshot s1`, `resize 128K`; and during set-up `reopen`, `reopen-readonly`, `kill`,
//! `grow 128K`, `poke image 4296 00`. `text` reads and prints them.

mod text;

use std::time::Duration;

use plugpull_engine::ByteRange;

pub use text::BadOp;
pub(crate) use text::range;

/// One guest request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum GuestOp {
    /// `write OFFSET LEN`: stamped data, so that whatever is read later can be traced to it.
    Write {
        /// First byte, a multiple of 512.
        offset: u64,
        /// Bytes, a positive multiple of 512.
        len: u64,
    },
    /// `read OFFSET LEN`.
    Read {
        /// First byte, a multiple of 512.
        offset: u64,
        /// Bytes, a positive multiple of 512.
        len: u64,
    },
    /// `flush`.
    Flush,
    /// `close`: the device is closed; later requests of any client fail.
    Close,
    /// `wait-prefetch`: waits until every background job is over.
    WaitForJobs,
    /// `sleep TIME`: virtual time passes. It does so only while nothing else can happen, so clients
    /// that sleep until the same moment go on together.
    Sleep(Duration),
    /// `discard OFFSET LEN`: whole clusters, which read as zeros afterwards.
    Discard {
        /// First byte, a multiple of the cluster.
        offset: u64,
        /// Bytes, up to the end of a cluster or of the disk.
        len: u64,
    },
    /// `write-zeroes OFFSET LEN`, or `unmap-zeroes OFFSET LEN`, which gives up storage as well.
    WriteZeroes {
        /// First byte, a multiple of 512.
        offset: u64,
        /// Bytes, a positive multiple of 512.
        len: u64,
        /// Whether storage is given up where possible.
        unmap: bool,
    },
    /// `write-compressed OFFSET LEN`: stamped data, in whole clusters.
    WriteCompressed {
        /// First byte, a multiple of the cluster.
        offset: u64,
        /// Bytes, up to the end of a cluster or of the disk.
        len: u64,
    },
    /// `snapshot NAME`: what the guest could read while it ran is kept under a name.
    Snapshot(SnapshotName),
    /// `apply NAME`: the guest's disk becomes the snapshot's.
    Apply(SnapshotName),
    /// `delete-snapshot NAME`.
    DeleteSnapshot(SnapshotName),
    /// `resize SIZE`: the virtual disk becomes larger, with zeros, or smaller.
    Resize(u64),
}

/// What a snapshot is called: `s1` to `s255`. No snapshot has an id that looks like it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SnapshotName(u8);

impl SnapshotName {
    /// The name with this number, unless that is zero.
    #[must_use]
    pub fn new(number: u8) -> Option<Self> {
        (number > 0).then_some(Self(number))
    }

    /// Its number, from 1 on.
    #[must_use]
    pub fn number(self) -> u8 {
        self.0
    }
}

impl GuestOp {
    /// The guest range that the request touches; empty for those that have none.
    #[must_use]
    pub fn range(self) -> ByteRange {
        match self {
            Self::Write { offset, len }
            | Self::Read { offset, len }
            | Self::Discard { offset, len }
            | Self::WriteZeroes { offset, len, .. }
            | Self::WriteCompressed { offset, len } => ByteRange::new(offset, len),
            Self::Flush
            | Self::Close
            | Self::WaitForJobs
            | Self::Sleep(_)
            | Self::Snapshot(_)
            | Self::Apply(_)
            | Self::DeleteSnapshot(_)
            | Self::Resize(_) => ByteRange::new(0, 0),
        }
    }

    /// The snapshot that the request is about, if it is about one.
    #[must_use]
    pub fn snapshot(self) -> Option<SnapshotName> {
        match self {
            Self::Snapshot(name) | Self::Apply(name) | Self::DeleteSnapshot(name) => Some(name),
            _ => None,
        }
    }

    /// Whether the request changes what the device holds.
    #[must_use]
    pub fn changes(self) -> bool {
        match self {
            Self::Read { .. } | Self::Flush | Self::Close | Self::WaitForJobs | Self::Sleep(_) => {
                false
            }
            Self::Write { .. }
            | Self::Discard { .. }
            | Self::WriteZeroes { .. }
            | Self::WriteCompressed { .. }
            | Self::Snapshot(_)
            | Self::Apply(_)
            | Self::DeleteSnapshot(_)
            | Self::Resize(_) => true,
        }
    }

    /// Whether every device can be asked for it: the others refuse the rest.
    #[must_use]
    pub fn is_plain(self) -> bool {
        matches!(self, Self::Write { .. }) || !self.changes()
    }
}

/// One step of the set-up that happens before exploration starts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum SetupOp {
    /// A guest request.
    Guest(GuestOp),
    /// `reopen`: opens the device again, for reading and writing, closing it first if it is open.
    Reopen,
    /// `reopen-readonly`: the same for reading only.
    ReopenReadonly,
    /// `kill`: the device is dropped without close; everything written so far stays.
    Kill,
    /// `grow SIZE`: the virtual disk of the closed device becomes larger.
    Grow(u64),
    /// `poke DISK OFFSET HEX`: bytes of a disk are replaced while the device is closed or killed,
    /// behind its back and, unless it is to be damaged, where the guest does not see them.
    Poke {
        /// The disk's name.
        disk: String,
        /// First byte on the disk, which grows if it ends before the last.
        offset: u64,
        /// The new bytes, at least one.
        bytes: Vec<u8>,
    },
}
