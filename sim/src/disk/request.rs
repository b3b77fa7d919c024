//! Disk requests and their ends.

use std::fmt;
use std::sync::Arc;

use plugpull_engine::{DiskError, WriteFlags};
use xxhash_rust::xxh3::xxh3_64;

use crate::exec::{TaskId, mix};

/// Stable identity of a request: the task that submitted it and its number within that task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId {
    /// The task.
    pub task: TaskId,
    /// Counts the task's requests, from zero.
    pub number: u32,
    /// Identifies it in every schedule, up to a hash collision.
    pub key: u64,
}

impl RequestId {
    /// Request `number` of the `task`-th client, `c0.3`.
    #[must_use]
    pub fn new(task: u32, number: u32) -> Self {
        Self::of(TaskId::client(task), number)
    }

    /// Request `number` of a task.
    #[must_use]
    pub fn of(task: TaskId, number: u32) -> Self {
        Self { task, number, key: mix(task.key(), u64::from(number)) }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.task, self.number)
    }
}

/// One request to a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Read `len` bytes from `offset`.
    Read {
        /// First byte.
        offset: u64,
        /// Bytes.
        len: usize,
    },
    /// Write `data` at `offset`.
    Write {
        /// First byte.
        offset: u64,
        /// The bytes, shared with the recorder.
        data: Arc<[u8]>,
        /// PREFLUSH and FUA.
        flags: WriteFlags,
    },
    /// Make durable what completed before.
    Flush,
    /// Forget the content of a range.
    Discard {
        /// First byte.
        offset: u64,
        /// Bytes.
        len: u64,
    },
    /// Change the length.
    Resize {
        /// The new length in bytes.
        len: u64,
    },
}

/// The kind of an [`Op`], as faults and labels name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OpKind {
    /// [`Op::Read`].
    Read,
    /// [`Op::Write`].
    Write,
    /// [`Op::Flush`].
    Flush,
    /// [`Op::Discard`].
    Discard,
    /// [`Op::Resize`].
    Resize,
}

impl Op {
    /// The kind.
    #[must_use]
    pub fn kind(&self) -> OpKind {
        match self {
            Self::Read { .. } => OpKind::Read,
            Self::Write { .. } => OpKind::Write,
            Self::Flush => OpKind::Flush,
            Self::Discard { .. } => OpKind::Discard,
            Self::Resize { .. } => OpKind::Resize,
        }
    }
}

/// `write 512+1024 preflush fua data 0123456789abcdef`: range as offset and length, data as a hash.
impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { offset, len } => write!(f, "read {offset}+{len}"),
            Self::Write { offset, data, flags } => {
                write!(f, "write {offset}+{}", data.len())?;
                if flags.preflush {
                    f.write_str(" preflush")?;
                }
                if flags.fua {
                    f.write_str(" fua")?;
                }
                write!(f, " data {:016x}", xxh3_64(data))
            }
            Self::Flush => f.write_str("flush"),
            Self::Discard { offset, len } => write!(f, "discard {offset}+{len}"),
            Self::Resize { len } => write!(f, "resize {len}"),
        }
    }
}

impl fmt::Display for OpKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Flush => "flush",
            Self::Discard => "discard",
            Self::Resize => "resize",
        })
    }
}

/// How the device ends a request. Chosen by the schedule, carried out by the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// As asked.
    Done,
    /// Fails with this error. A failed write leaves any subset of its sectors changed.
    Failed(DiskError),
    /// A write that reports success and lands `shift` bytes further on (wrapping inside the disk).
    Misdirected {
        /// Distance in bytes, a multiple of the sector size.
        shift: u64,
    },
    /// A write or read that reports success and inverts the first byte of its first sector.
    Corrupted,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::Failed(error) => write!(f, "failed: {error}"),
            Self::Misdirected { shift } => write!(f, "done, misdirected by {shift}"),
            Self::Corrupted => f.write_str("done, corrupted"),
        }
    }
}

/// What a completed request gives back: bytes for a read, nothing otherwise.
pub type Reply = Result<Vec<u8>, DiskError>;
