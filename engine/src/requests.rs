//! Waiting for disk requests.

use crate::disk::{Disk, IoFuture};
use crate::error::Error;
use crate::units::ByteRange;

/// Reads a range of a disk.
pub(crate) async fn read(
    disk: &dyn Disk,
    doing: &'static str,
    range: ByteRange,
) -> Result<Vec<u8>, Error> {
    let len = usize::try_from(range.len).map_err(|_| Error::InvalidArgument {
        what: "length",
        rule: "fits in memory",
        found: range.len.to_string(),
    })?;
    let bytes = disk.read(range.offset, len).await.map_err(|error| Error::disk(doing, error))?;
    assert_eq!(bytes.len(), len, "a disk returns what was asked for");
    Ok(bytes)
}

/// Waits for submitted requests, **all** of them also after an error: whoever goes on afterwards
/// may rely on none being in flight. Returns the first error.
pub(crate) async fn all(doing: &'static str, requests: Vec<IoFuture<()>>) -> Result<(), Error> {
    let mut result = Ok(());
    for request in requests {
        let ended = request.await.map_err(|error| Error::disk(doing, error));
        result = result.and(ended);
    }
    result
}
