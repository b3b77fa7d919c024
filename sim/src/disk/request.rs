//! Disk requests and their ends.

use std::fmt;
use std::sync::Arc;

use plugpull_engine::{DiskError, WriteFlags};

use crate::exec::TaskId;

/// Stable identity of a request: the task that submitted it and its number within that task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId {
    /// The task.
    pub task: TaskId,
    /// Counts the task's requests, from zero.
    pub number: u32,
}

impl RequestId {
    /// Request `number` of the `task`-th client, `c0.3`.
    #[must_use]
    pub fn new(task: u32, number: u32) -> Self {
        Self { task: TaskId::client(task), number }
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

/// What a completed request gives back: bytes for a read, nothing otherwise.
pub type Reply = Result<Vec<u8>, DiskError>;
