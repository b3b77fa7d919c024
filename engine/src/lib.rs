//! Storage formats and jobs as ordinary `async` code over a [`Disk`].
//!
//! The crate knows nothing of the simulator that tests it: it talks to a [`Disk`] and to a
//! [`Runtime`], and whoever opens an image supplies both. On real files that is
//! [`FileDisk`] and [`LocalRuntime`].

mod access;
pub mod disk;
pub mod error;
pub mod file_disk;
pub mod fvd;
pub mod guest_disk;
mod planted;
pub mod qcow2;
mod requests;
pub mod resolver;
pub mod runtime;
pub mod sync;
pub mod units;

pub use access::Access;
pub use disk::{Disk, DiskError, DiskErrorKind, DiskProperties, IoFuture, WriteFlags};
pub use error::{Error, ErrorKind};
pub use file_disk::FileDisk;
pub use runtime::Runtime;
pub use runtime::local::LocalRuntime;
pub use units::{ByteRange, SECTOR};
