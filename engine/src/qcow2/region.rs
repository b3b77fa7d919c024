//! Reading more of a file than one request should.

use crate::disk::Disk;
use crate::error::Error;
use crate::units::ByteRange;

/// Bytes per read.
const PIECE_LEN: u64 = 64 * 1024;

/// The bytes of a range; past the end of the file they are zero. The caller has held the range
/// against the length of the file.
pub(super) async fn read_region(
    file: &dyn Disk,
    range: ByteRange,
    doing: &'static str,
) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let mut at = range.offset;
    while at < range.end() {
        let len = PIECE_LEN.min(range.end() - at);
        let piece = usize::try_from(len).expect("a piece is small");
        bytes.extend(file.read(at, piece).await.map_err(|error| Error::disk(doing, error))?);
        at += len;
    }
    Ok(bytes)
}

/// Reads a range from its start on, a piece at a time.
pub(super) struct Stream<'a> {
    file: &'a dyn Disk,
    doing: &'static str,
    /// What has not been read from the file.
    rest: ByteRange,
    piece: Vec<u8>,
    /// How much of the piece has been taken.
    taken: usize,
}

impl<'a> Stream<'a> {
    pub(super) fn new(file: &'a dyn Disk, range: ByteRange, doing: &'static str) -> Self {
        Self { file, doing, rest: range, piece: Vec::new(), taken: 0 }
    }

    /// The next `len` bytes; none if the range ends before.
    pub(super) async fn take(&mut self, len: usize) -> Result<Option<Vec<u8>>, Error> {
        let mut bytes = Vec::new();
        while bytes.len() < len {
            if self.taken == self.piece.len() && !self.fill().await? {
                return Ok(None);
            }
            let end = self.piece.len().min(self.taken + len - bytes.len());
            bytes.extend_from_slice(&self.piece[self.taken..end]);
            self.taken = end;
        }
        Ok(Some(bytes))
    }

    async fn fill(&mut self) -> Result<bool, Error> {
        let len = PIECE_LEN.min(self.rest.len);
        self.piece = read_region(self.file, ByteRange { len, ..self.rest }, self.doing).await?;
        self.taken = 0;
        self.rest = ByteRange::new(self.rest.offset + len, self.rest.len - len);
        Ok(len > 0)
    }
}
