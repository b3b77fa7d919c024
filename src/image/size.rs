//! Sizes on the command line, and pieces of what is too large for memory.

use plugpull_engine::ByteRange;
use plugpull_sim::scenario::size::parse_size;

/// Bytes that are read or written at once: the largest cluster, so that a piece is whole clusters.
pub(super) const PIECE: u64 = 2 << 20;

/// `4096`, `4K`, `1 MiB`.
pub(super) fn size(text: &str) -> Result<u64, String> {
    parse_size(text)
        .filter(|&bytes| i64::try_from(bytes).is_ok())
        .ok_or_else(|| "expected a size such as 512, 4K or 1MiB".to_owned())
}

/// The range in pieces of at most [`PIECE`] bytes that do not cross its multiples.
pub(super) fn pieces(range: ByteRange) -> impl Iterator<Item = ByteRange> {
    range.units(PIECE).map(move |piece| ByteRange::new(piece * PIECE, PIECE).intersection(range))
}

/// A number of bytes that fits in memory.
pub(super) fn in_memory(range: ByteRange) -> usize {
    usize::try_from(range.len).expect("a piece is small")
}

/// Whether all bytes are zero.
pub(super) fn is_zero(bytes: &[u8]) -> bool {
    // In steps that the compiler turns into wide instructions.
    bytes.chunks(256).all(|step| step.iter().fold(0, |all, byte| all | byte) == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_the_range_once() {
        let range = ByteRange::new(1000, 3 * PIECE);
        let pieces: Vec<ByteRange> = pieces(range).collect();
        assert_eq!(pieces.len(), 4);
        assert_eq!(pieces[0], ByteRange::between(1000, PIECE));
        let mut at = range.offset;
        for piece in &pieces {
            assert_eq!(piece.offset, at);
            at = piece.end();
        }
        assert_eq!(at, range.end());
        assert_eq!(super::pieces(ByteRange::new(5, 0)).count(), 0);
    }
}
