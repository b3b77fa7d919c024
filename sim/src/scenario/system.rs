//! The thing under test, as a scenario describes it.

use std::time::Duration;

use plugpull_engine::ByteRange;
use plugpull_engine::fvd::planted::Bug;
use plugpull_engine::qcow2::header::Compression;
use plugpull_engine::qcow2::planted;

use crate::workload::SetupOp;

/// The thing under test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SystemSpec {
    /// An FVD image.
    Fvd(FvdSpec),
    /// A qcow2 image.
    Qcow2(Qcow2Spec),
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

/// The content of a base image or backing file: every sector stamped with its address, except in
/// holes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatternSpec {
    /// Bytes, a multiple of 512.
    pub len: u64,
    /// Ranges that read as zero, inside `len`.
    pub holes: Vec<ByteRange>,
}

/// A base image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseSpec {
    /// What it holds.
    pub pattern: PatternSpec,
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

/// A qcow2 image and how it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Qcow2Spec {
    /// Bytes that the guest sees after creation, a positive multiple of 512.
    pub size: u64,
    /// 2 or 3.
    pub version: u32,
    /// Bytes per cluster, a power of two from 512 to 2 MiB.
    pub cluster: u64,
    /// Bits per refcount, a power of two up to 64; 16 in version 2.
    pub refcount_bits: u32,
    /// The backing file, raw, if there is one.
    pub backing: Option<PatternSpec>,
    /// Whether refcounts may be left behind while the image is marked dirty.
    pub lazy_refcounts: bool,
    /// How clusters are compressed.
    pub compression: Compression,
    /// Whether L2 entries have subclusters.
    pub extended_l2: bool,
    /// Whether the data is in a file of its own, the disk `data`.
    pub data_file: bool,
    /// Whether freed clusters are discarded on the host.
    pub discards: bool,
    /// Bytes per bit of a persistent dirty bitmap that notes what is written, if there is one.
    pub bitmap: Option<u64>,
    /// Bytes of metadata tables that the engine keeps as one.
    pub slice: u64,
    /// How many of these it keeps.
    pub cache: u32,
    /// What the storage of data holds where nothing was written.
    pub storage: StorageContent,
    /// How the clients open the image. Set-up always starts with reading and writing.
    pub access: Access,
    /// What happens after creation and before exploration, as for FVD.
    pub setup: Vec<SetupOp>,
    /// Whether the set-up damages the image, so that refusing to open it is right as long as
    /// nothing is written.
    pub damaged: bool,
    /// The bugs planted in the engine for the explored sessions, in the order of the file.
    pub planted: Vec<planted::Bug>,
}

impl Qcow2Spec {
    /// [`Self::version`] where a scenario does not say.
    pub const VERSION: u32 = 3;
    /// [`Self::refcount_bits`] where a scenario does not say.
    pub const REFCOUNT_BITS: u32 = 16;
    /// [`Self::slice`] where a scenario does not say.
    pub const SLICE: u64 = 512;
    /// [`Self::cache`] where a scenario does not say.
    pub const CACHE: u32 = 4096;

    /// The names of the disks that such an image has, in order.
    #[must_use]
    pub fn disk_names(&self) -> Vec<&'static str> {
        present([("image", true), ("data", self.data_file), ("backing", self.backing.is_some())])
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
        present([("image", true), ("data", self.data_file), ("base", self.base.is_some())])
    }
}

/// The names of those disks that there are.
fn present(disks: [(&'static str, bool); 3]) -> Vec<&'static str> {
    disks.into_iter().filter(|&(_, present)| present).map(|(name, _)| name).collect()
}

impl SystemSpec {
    /// Bytes that the guest can address after creation.
    #[must_use]
    pub fn virtual_len(&self) -> u64 {
        match self {
            Self::Fvd(fvd) => fvd.size,
            Self::Qcow2(qcow2) => qcow2.size,
        }
    }

    /// The names of the disks, in order.
    #[must_use]
    pub fn disk_names(&self) -> Vec<&'static str> {
        match self {
            Self::Fvd(fvd) => fvd.disk_names(),
            Self::Qcow2(qcow2) => qcow2.disk_names(),
        }
    }

    /// The disk that holds guest data.
    #[must_use]
    pub fn data_disk(&self) -> &'static str {
        let (Self::Fvd(FvdSpec { data_file, .. }) | Self::Qcow2(Qcow2Spec { data_file, .. })) =
            self;
        if *data_file { "data" } else { "image" }
    }

    /// What the storage of guest data holds where nothing was written.
    #[must_use]
    pub fn storage(&self) -> StorageContent {
        let (Self::Fvd(FvdSpec { storage, .. }) | Self::Qcow2(Qcow2Spec { storage, .. })) = self;
        *storage
    }

    /// How the clients open the image.
    #[must_use]
    pub fn access(&self) -> Access {
        let (Self::Fvd(FvdSpec { access, .. }) | Self::Qcow2(Qcow2Spec { access, .. })) = self;
        *access
    }

    /// What happens after creation and before exploration.
    #[must_use]
    pub fn setup(&self) -> &[SetupOp] {
        let (Self::Fvd(FvdSpec { setup, .. }) | Self::Qcow2(Qcow2Spec { setup, .. })) = self;
        setup
    }

    /// Whether the set-up damages the image.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        let (Self::Fvd(FvdSpec { damaged, .. }) | Self::Qcow2(Qcow2Spec { damaged, .. })) = self;
        *damaged
    }

    /// The ids of the planted bugs.
    #[must_use]
    pub fn planted_ids(&self) -> Vec<&'static str> {
        match self {
            Self::Fvd(fvd) => fvd.planted.iter().map(|bug| bug.id()).collect(),
            Self::Qcow2(qcow2) => qcow2.planted.iter().map(|bug| bug.id()).collect(),
        }
    }
}
