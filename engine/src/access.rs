//! What an image is opened for.

/// What an image is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading: no disk is written. What recovery finds is kept in memory only.
    ReadOnly,
    /// Reading and writing.
    ReadWrite,
}
