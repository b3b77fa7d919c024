//! What an option of a choice would do, for people and for the determinism guard.

use std::fmt;

use plugpull_engine::{ByteRange, DiskErrorKind, WriteFlags};
use xxhash_rust::xxh3::xxh3_64;

use super::identity::{Name, TaskId, mix};
use crate::disk::{OpKind, Outcome};

/// One event that may happen. Small and copied freely; text only when printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Label {
    /// The task runs until it waits or ends.
    Poll(TaskId),
    /// The request ends.
    Complete {
        /// Which request.
        request: RequestLabel,
        /// How it ends.
        outcome: OutcomeLabel,
    },
    /// The timer fires, and the clock moves to its deadline.
    Timer {
        /// The task that sleeps.
        task: TaskId,
        /// Which of its sleeps, counted from zero.
        number: u32,
    },
    /// A coin flipped by the task.
    Coin {
        /// The task that flips.
        task: TaskId,
        /// What is being decided.
        what: &'static str,
        /// Which side comes up.
        value: bool,
    },
    /// The guest request is given up by its client.
    Cancel {
        /// The client.
        task: TaskId,
        /// The name of the request.
        what: Name,
    },
}

/// A disk request as labels name it: `c0.3 write image 8192+512`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLabel {
    /// The task that submitted it.
    pub task: TaskId,
    /// Which of the task's requests, counted from zero.
    pub number: u32,
    /// Identifies the request in every schedule.
    pub id: u64,
    /// Index of the disk.
    pub disk: u32,
    /// Name of the disk.
    pub disk_name: Name,
    /// What is asked.
    pub kind: OpKind,
    /// What a write asks for besides; nothing for other kinds.
    pub flags: WriteFlags,
    /// First byte; zero where it means nothing.
    pub offset: u64,
    /// Bytes; the new length for a resize.
    pub len: u64,
    /// Hash of all of the above and of the bytes to be written.
    pub key: u64,
}

/// [`Outcome`] without its texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutcomeLabel {
    /// As asked.
    Done,
    /// Fails.
    Failed(DiskErrorKind),
    /// Lands this many bytes further on.
    Misdirected(u64),
    /// One byte is inverted.
    Corrupted,
}

impl RequestLabel {
    /// The bytes that it is about.
    #[must_use]
    pub fn range(&self) -> ByteRange {
        ByteRange::new(self.offset, self.len)
    }
}

impl Label {
    /// A hash of what the label says, and of the bytes that a write would store.
    #[must_use]
    pub fn key(&self) -> u64 {
        match *self {
            Self::Poll(task) => mix(task.key(), 1),
            Self::Complete { request, outcome } => mix(request.key, 2 ^ outcome.key() << 8),
            Self::Timer { task, number } => mix(task.key(), 3 ^ u64::from(number) << 8),
            Self::Coin { task, what, value } => {
                mix(mix(task.key(), 4 ^ u64::from(value) << 8), xxh3_64(what.as_bytes()))
            }
            Self::Cancel { task, what } => {
                mix(mix(task.key(), 5), xxh3_64(what.as_str().as_bytes()))
            }
        }
    }

    /// Identifies what it is that acts: the same for all ways in which the same request may end, and
    /// for all runs of the same task.
    #[must_use]
    pub fn process(&self) -> u64 {
        match *self {
            Self::Poll(task) | Self::Coin { task, .. } => mix(task.key(), 1),
            Self::Complete { request, .. } => mix(request.id, 2),
            Self::Timer { .. } | Self::Cancel { .. } => self.key(),
        }
    }

    /// Whether the event departs from a good day: a fault or a cancelled request.
    #[must_use]
    pub fn is_mishap(&self) -> bool {
        match self {
            Self::Complete { outcome, .. } => *outcome != OutcomeLabel::Done,
            Self::Cancel { .. } => true,
            Self::Poll(_) | Self::Timer { .. } | Self::Coin { .. } => false,
        }
    }

    /// The task that the event belongs to.
    #[must_use]
    pub fn task(&self) -> TaskId {
        match *self {
            Self::Poll(task)
            | Self::Timer { task, .. }
            | Self::Coin { task, .. }
            | Self::Cancel { task, .. } => task,
            Self::Complete { request, .. } => request.task,
        }
    }
}

impl OutcomeLabel {
    fn key(self) -> u64 {
        match self {
            Self::Done => 0,
            Self::Failed(DiskErrorKind::Io) => 1,
            Self::Failed(DiskErrorKind::NoSpace) => 2,
            Self::Failed(DiskErrorKind::OutOfRange) => 3,
            Self::Failed(DiskErrorKind::ReadOnly) => 4,
            Self::Corrupted => 5,
            Self::Misdirected(shift) => 6 ^ shift << 8,
        }
    }
}

impl From<&Outcome> for OutcomeLabel {
    fn from(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Done => Self::Done,
            Outcome::Failed(error) => Self::Failed(error.kind),
            Outcome::Misdirected { shift } => Self::Misdirected(*shift),
            Outcome::Corrupted => Self::Corrupted,
        }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Poll(task) => write!(f, "run {task}"),
            Self::Complete { request, outcome } => write!(f, "complete {request} {outcome}"),
            Self::Timer { task, number } => write!(f, "timer {task}.{number}"),
            Self::Coin { task, what, value } => write!(f, "coin {task} {what} {value}"),
            Self::Cancel { task, what } => write!(f, "cancel {task}.{what}"),
        }
    }
}

impl fmt::Display for RequestLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = match self.kind {
            OpKind::Read => "read",
            OpKind::Write => "write",
            OpKind::Flush => "flush",
            OpKind::Discard => "discard",
            OpKind::Resize => "resize",
        };
        write!(f, "{}.{} {verb} {}", self.task, self.number, self.disk_name)?;
        match self.kind {
            OpKind::Flush => Ok(()),
            OpKind::Resize => write!(f, " {}", self.len),
            OpKind::Read | OpKind::Write | OpKind::Discard => {
                write!(f, " {}+{}", self.offset, self.len)
            }
        }?;
        f.write_str(match (self.flags.preflush, self.flags.fua) {
            (false, false) => "",
            (true, false) => " preflush",
            (false, true) => " fua",
            (true, true) => " preflush fua",
        })
    }
}

impl fmt::Display for OutcomeLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("ok"),
            Self::Failed(DiskErrorKind::Io) => f.write_str("eio"),
            Self::Failed(DiskErrorKind::NoSpace) => f.write_str("enospc"),
            Self::Failed(DiskErrorKind::OutOfRange) => f.write_str("out of range"),
            Self::Failed(DiskErrorKind::ReadOnly) => f.write_str("read-only"),
            Self::Misdirected(shift) => write!(f, "misdirected by {shift}"),
            Self::Corrupted => f.write_str("corrupted"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_print_one_way_each() {
        let task = TaskId::client(0);
        let complete = |kind, flags, outcome| {
            let (number, disk, disk_name) = (3, 0, Name::new("image"));
            let (offset, len, key, id) = (8192, 512, 0, 0);
            let request =
                RequestLabel { task, number, id, disk, disk_name, kind, flags, offset, len, key };
            Label::Complete { request, outcome }
        };
        let (none, done) = (WriteFlags::NONE, OutcomeLabel::Done);
        let both = WriteFlags { preflush: true, fua: true };
        let check = |label: Label, expected: &str| assert_eq!(label.to_string(), expected);
        check(Label::Poll(task), "run c0");
        check(complete(OpKind::Write, none, done), "complete c0.3 write image 8192+512 ok");
        let expected = "complete c0.3 write image 8192+512 preflush fua misdirected by 4096";
        check(complete(OpKind::Write, both, OutcomeLabel::Misdirected(4096)), expected);
        let eio = OutcomeLabel::Failed(DiskErrorKind::Io);
        check(complete(OpKind::Flush, none, eio), "complete c0.3 flush image eio");
        let full = OutcomeLabel::Failed(DiskErrorKind::NoSpace);
        check(complete(OpKind::Resize, none, full), "complete c0.3 resize image 512 enospc");
        check(Label::Timer { task, number: 1 }, "timer c0.1");
        check(Label::Coin { task, what: "prefetch", value: false }, "coin c0 prefetch false");
        check(Label::Cancel { task, what: Name::new("op2") }, "cancel c0.op2");
    }
}
