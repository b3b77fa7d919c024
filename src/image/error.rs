//! What a failing image operation says: the file, the place, the rule, and what to do about it.

use std::fmt::Display;
use std::path::Path;

use plugpull_engine::{DiskError, Error, ErrorKind};

use crate::failure::Failure;

/// An engine error about the image in `file`.
pub(super) fn image_error(file: &Path, error: &Error) -> Failure {
    let remedy = match error.kind() {
        ErrorKind::Corrupt => {
            "; restore the file from a copy, or let `plugpull image check` list \
                               what else is wrong"
        }
        ErrorKind::NoSpace => "; make room and try again",
        ErrorKind::Io => "; see the system's log for what is wrong with the device",
        ErrorKind::BarrierLost => "; what was written last may be lost",
        ErrorKind::ReadOnly => "; name a file that can be written",
        ErrorKind::Unsupported | ErrorKind::Closed | ErrorKind::InvalidArgument => "",
    };
    Failure::input(format!("{}: {error}{remedy}", file.display()))
}

/// A disk error, of a disk that knows its name or of the guest's disk in `file`.
pub(super) fn disk_error(file: &Path, error: &DiskError) -> Failure {
    let name = file.display().to_string();
    if error.detail.starts_with(&name) {
        Failure::input(error.detail.clone())
    } else {
        Failure::input(format!("{name}: {error}"))
    }
}

/// Any other error about `file`.
pub(super) fn file_error(file: &Path, error: impl Display) -> Failure {
    Failure::input(format!("{}: {error}", file.display()))
}
