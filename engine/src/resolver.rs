//! How an image finds the other files it names.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::disk::Disk;
use crate::error::Error;

/// What a named file is to the image that names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The base image: read only, and only where the bitmap says so.
    Base,
    /// The file that holds the data.
    Data,
}

/// A future that a [`Resolver`] returns.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Opens the files that an image names. The caller supplies it, so the caller decides which names
/// are allowed to reach what.
pub trait Resolver: Send + Sync {
    /// Opens the file called `name` in the header.
    ///
    /// No format named means raw bytes: an implementation never looks at the content to find out,
    /// because the content of a data file is the guest's.
    ///
    /// # Errors
    /// Whatever keeps the file from being opened, and [`Error::Unsupported`] for a format that the
    /// resolver does not serve.
    fn open<'a>(
        &'a self,
        role: Role,
        name: &'a str,
        format: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Arc<dyn Disk>, Error>>;
}

/// A resolver that refuses every name: for images that stand alone, and for inspection.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoFiles;

impl Resolver for NoFiles {
    fn open<'a>(
        &'a self,
        role: Role,
        name: &'a str,
        _format: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Arc<dyn Disk>, Error>> {
        let what = match role {
            Role::Base => "base",
            Role::Data => "data file",
        };
        let error = Error::Unsupported(format!("the {what} {name:?} may not be opened here"));
        Box::pin(std::future::ready(Err(error)))
    }
}
