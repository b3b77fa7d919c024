//! The thing under test, as a scenario describes it.

use std::time::Duration;

use plugpull_engine::ByteRange;
use plugpull_engine::fvd::planted::Bug;

use crate::workload::SetupOp;

/// The thing under test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SystemSpec {
    /// An FVD image.
    Fvd(FvdSpec),
}

/// An FVD image and how it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FvdSpec {
    /// Bytes that the guest sees, a positive multiple of 512.
    pub size: u64,
    /// Chunks allocated on demand, if the image is compact.
    pub compact: Option<CompactSpec>,
    /// The base image, if there is one.
    pub base: Option<BaseSpec>,
    /// Bytes of journal, a positive multiple of 4096; none without one.
    pub journal: Option<u64>,
    /// Whether the data is in a file of its own, the disk `data`.
    pub data_file: bool,
    /// What the data storage holds where nothing was written.
    pub storage: StorageContent,
    /// How the clients open the image. Set-up always starts with reading and writing.
    pub access: Access,
    /// What happens after creation and before exploration. The image is open when it starts, and
    /// is closed after it unless its last session was killed.
    pub setup: Vec<SetupOp>,
    /// Whether the set-up damages the image, so that refusing to open it is right as long as
    /// nothing is written.
    pub damaged: bool,
    /// The bugs planted in the engine for the explored sessions, in the order of the file.
    pub planted: Vec<Bug>,
}

/// Chunks of a compact image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompactSpec {
    /// Bytes per chunk, a positive multiple of 4096.
    pub chunk: u64,
    /// Bytes by which the storage grows, at least a chunk.
    pub grow_unit: u64,
}

/// A base image: every sector stamped with its address, except in holes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseSpec {
    /// Bytes, a multiple of 512.
    pub len: u64,
    /// Ranges that read as zero, inside `len`.
    pub holes: Vec<ByteRange>,
    /// Bytes per bit of the bitmap, a positive multiple of 512.
    pub block: u64,
    /// Copy what is read, with a limit on the bytes in flight.
    pub copy_on_read: bool,
    /// The limit, in bytes.
    pub max_copy_on_read: u64,
    /// Copy the rest in the background.
    pub prefetch: Option<PrefetchSpec>,
    /// Find zero windows of this many bytes at creation; none to leave them in the base.
    pub detect_holes: Option<u64>,
}

/// Background copying.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrefetchSpec {
    /// Seconds from opening to the start, at least 1.
    pub start_delay: u32,
    /// Regions read ahead of their writes.
    pub slots: u32,
    /// Bytes per region; rounded up to a block by the engine.
    pub bytes: u64,
    /// When to pause; never if none.
    pub throttle: Option<ThrottleSpec>,
}

impl BaseSpec {
    /// [`Self::max_copy_on_read`] where a scenario does not say.
    pub const MAX_COPY_ON_READ: u64 = 2_000_000;
}

impl PrefetchSpec {
    /// [`Self::slots`] where a scenario does not say.
    pub const SLOTS: u32 = 2;
    /// [`Self::bytes`] where a scenario does not say.
    pub const BYTES: u64 = 1 << 20;
}

/// When background copying pauses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThrottleSpec {
    /// How long reads are measured, whole milliseconds.
    pub read_measure: Duration,
    /// How long writes are measured, whole milliseconds.
    pub write_measure: Duration,
    /// Weight of the past in percent.
    pub alpha: u32,
    /// Pause below this many KB/s of reading.
    pub min_read: u32,
    /// Pause below this many KB/s of writing.
    pub min_write: u32,
    /// How long to pause, whole milliseconds, above zero.
    pub pause: Duration,
}

impl Default for ThrottleSpec {
    fn default() -> Self {
        Self {
            read_measure: Duration::from_millis(100),
            write_measure: Duration::from_millis(100),
            alpha: 80,
            min_read: 5120,
            min_write: 5120,
            pause: Duration::from_secs(30),
        }
    }
}

/// What storage holds where nothing was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StorageContent {
    /// Zeros, and the disk promises it.
    #[default]
    Zero,
    /// Stamped garbage of an earlier use.
    OldContent,
}

/// How the clients open the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Access {
    /// For reading and writing.
    #[default]
    ReadWrite,
    /// For reading only.
    ReadOnly,
}

impl FvdSpec {
    /// The names of the disks that such an image has, in order.
    #[must_use]
    pub fn disk_names(&self) -> Vec<&'static str> {
        let present = [("image", true), ("data", self.data_file), ("base", self.base.is_some())];
        present.into_iter().filter(|&(_, present)| present).map(|(name, _)| name).collect()
    }
}

impl SystemSpec {
    /// Bytes that the guest can address.
    #[must_use]
    pub fn virtual_len(&self) -> u64 {
        match self {
            Self::Fvd(fvd) => fvd.size,
        }
    }

    /// The names of the disks, in order.
    #[must_use]
    pub fn disk_names(&self) -> Vec<&'static str> {
        match self {
            Self::Fvd(fvd) => fvd.disk_names(),
        }
    }

    /// The ids of the planted bugs.
    #[must_use]
    pub fn planted_ids(&self) -> Vec<&'static str> {
        match self {
            Self::Fvd(fvd) => fvd.planted.iter().map(|bug| bug.id()).collect(),
        }
    }
}
