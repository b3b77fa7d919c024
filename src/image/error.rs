//! What a failing image operation says: the file, the place, the rule, and what to do about it.

use std::fmt::Display;
use std::path::Path;

use plugpull_engine::file_disk::shown;
use plugpull_engine::{DiskError, DiskErrorKind, Error, ErrorKind};

use crate::failure::Failure;

/// What the program does when it opens a file that an image names.
pub(super) const OPEN_NAMED: &str = "open a file that the image names";

/// What to do about a full disk.
const MAKE_ROOM: &str = "; make room and try again";

/// An engine error about the image in `file`.
pub(super) fn image_error(file: &Path, error: &Error) -> Failure {
    let remedy = match error.kind() {
        ErrorKind::Io if matches!(error, Error::Disk { doing: OPEN_NAMED, .. }) => {
            "; put it there, or say where it is with --base FILE or --data FILE"
        }
        ErrorKind::Corrupt => {
            "; restore the file from a copy, or let `plugpull image check` list \
                               what else is wrong"
        }
        ErrorKind::NoSpace => MAKE_ROOM,
        ErrorKind::Io => "; see the system's log for what is wrong with the device",
        ErrorKind::BarrierLost => "; what was written last may be lost",
        ErrorKind::ReadOnly => "; name a file that can be written",
        ErrorKind::Unsupported | ErrorKind::Closed | ErrorKind::InvalidArgument => "",
    };
    Failure::input(format!("{}: {error}{remedy}", shown(file)))
}

/// A disk error, of a disk that knows its name or of the guest's disk in `file`.
pub(super) fn disk_error(file: &Path, error: &DiskError) -> Failure {
    let name = shown(file);
    let remedy = if error.kind == DiskErrorKind::NoSpace { MAKE_ROOM } else { "" };
    if error.detail.starts_with(&name) {
        Failure::input(format!("{error}{remedy}"))
    } else {
        Failure::input(format!("{name}: {error}{remedy}"))
    }
}

/// An error of the host about `file`.
pub(super) fn io_error(file: &Path, error: &std::io::Error) -> Failure {
    let full = error.kind() == std::io::ErrorKind::StorageFull;
    file_error(file, format_args!("{error}{}", if full { MAKE_ROOM } else { "" }))
}

/// Any other error about `file`.
pub(super) fn file_error(file: &Path, error: impl Display) -> Failure {
    Failure::input(format!("{}: {error}", shown(file)))
}
