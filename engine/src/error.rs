//! What can go wrong in an engine: one error type for all formats.

use crate::disk::{DiskError, DiskErrorKind};

/// A failed engine operation.
///
/// Messages are lower-case fragments that fit after "failed to ...:".
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Error {
    /// The image breaks a rule of its format.
    #[error("corrupt image: {structure}: {rule}: found {found}")]
    Corrupt {
        /// The structure that is damaged: "header", "table", "journal sector 3".
        structure: String,
        /// The rule that it breaks, as a sentence fragment: "block_size is a multiple of 512".
        rule: &'static str,
        /// What was found instead.
        found: String,
    },
    /// The image, or the request, needs something that this engine refuses.
    #[error("unsupported: {0}")]
    Unsupported(String),
    /// A disk request failed.
    #[error("{doing}: {source}")]
    Disk {
        /// What the engine was doing: "write journal sector".
        doing: &'static str,
        /// The disk's answer.
        source: DiskError,
    },
    /// A flush failed earlier, so what was written before it may be lost: nothing can be promised
    /// until the image is opened again.
    #[error("an earlier flush failed; reopen the image before relying on it again")]
    BarrierLost,
    /// The image was opened for reading only.
    #[error("image is open for reading only")]
    ReadOnly,
    /// The image is closed or closing.
    #[error("image is closed")]
    Closed,
    /// The caller's argument breaks a rule.
    #[error("{what}: {rule}: found {found}")]
    InvalidArgument {
        /// The argument.
        what: &'static str,
        /// The rule.
        rule: &'static str,
        /// What was passed.
        found: String,
    },
}

/// The kinds of [`Error`], for matching.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorKind {
    /// [`Error::Corrupt`].
    Corrupt,
    /// [`Error::Unsupported`].
    Unsupported,
    /// [`Error::Disk`] with anything but [`DiskErrorKind::NoSpace`].
    Io,
    /// [`Error::Disk`] with [`DiskErrorKind::NoSpace`].
    NoSpace,
    /// [`Error::BarrierLost`].
    BarrierLost,
    /// [`Error::ReadOnly`].
    ReadOnly,
    /// [`Error::Closed`].
    Closed,
    /// [`Error::InvalidArgument`].
    InvalidArgument,
}

impl Error {
    /// A disk error with what the engine was doing at the time.
    #[must_use]
    pub fn disk(doing: &'static str, source: DiskError) -> Self {
        Self::Disk { doing, source }
    }

    /// A broken rule of the format.
    pub fn corrupt(
        structure: impl Into<String>,
        rule: &'static str,
        found: impl std::fmt::Display,
    ) -> Self {
        Self::Corrupt { structure: structure.into(), rule, found: found.to_string() }
    }

    /// The kind to match on.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Corrupt { .. } => ErrorKind::Corrupt,
            Self::Unsupported(_) => ErrorKind::Unsupported,
            Self::Disk { source, .. } if source.kind == DiskErrorKind::NoSpace => {
                ErrorKind::NoSpace
            }
            Self::Disk { .. } => ErrorKind::Io,
            Self::BarrierLost => ErrorKind::BarrierLost,
            Self::ReadOnly => ErrorKind::ReadOnly,
            Self::Closed => ErrorKind::Closed,
            Self::InvalidArgument { .. } => ErrorKind::InvalidArgument,
        }
    }
}
