//! Copying one guest's disk to another, zeros left out.

use plugpull_engine::ByteRange;

use super::guest::Guest;
use super::size::{is_zero, pieces};
use crate::failure::Failure;

/// Copies all of `source` to `target`, which is zero. Zeros are not written, so what is sparse
/// stays sparse.
pub(super) async fn copy(source: &Guest, target: &Guest) -> Result<(), Failure> {
    for piece in pieces(source.range()) {
        if source.is_known_zero(piece) {
            continue;
        }
        let bytes = source.read(piece).await?;
        for run in data_runs(&bytes) {
            let start = piece.offset + run.start as u64;
            target.write(start, &bytes[run]).await?;
        }
    }
    Ok(())
}

/// Bytes of a grain: what is zero is left out in such units.
const GRAIN: usize = 4096;

/// The runs of grains that are not zero.
fn data_runs(bytes: &[u8]) -> Vec<std::ops::Range<usize>> {
    let mut runs: Vec<std::ops::Range<usize>> = Vec::new();
    for (index, grain) in bytes.chunks(GRAIN).enumerate() {
        if is_zero(grain) {
            continue;
        }
        let start = index * GRAIN;
        let end = start + grain.len();
        match runs.last_mut() {
            Some(last) if last.end == start => last.end = end,
            _ => runs.push(start..end),
        }
    }
    runs
}

/// The first byte in which the two differ in `range`, which both have.
pub(super) async fn first_difference(
    a: &Guest,
    b: &Guest,
    range: ByteRange,
) -> Result<Option<u64>, Failure> {
    for piece in pieces(range) {
        if a.is_known_zero(piece) && b.is_known_zero(piece) {
            continue;
        }
        let (left, right) = (a.read(piece).await?, b.read(piece).await?);
        let differing = left.iter().zip(&right).position(|(left, right)| left != right);
        if let Some(index) = differing {
            return Ok(Some(piece.offset + index as u64));
        }
    }
    Ok(None)
}

/// The first byte of `range` that is not zero.
pub(super) async fn first_data(guest: &Guest, range: ByteRange) -> Result<Option<u64>, Failure> {
    for piece in pieces(range) {
        if guest.is_known_zero(piece) {
            continue;
        }
        let bytes = guest.read(piece).await?;
        if let Some(index) = bytes.iter().position(|&byte| byte != 0) {
            return Ok(Some(piece.offset + index as u64));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_left_out() {
        let mut bytes = vec![0; 5 * GRAIN + 100];
        assert_eq!(data_runs(&bytes), []);
        bytes[GRAIN] = 1;
        bytes[3 * GRAIN - 1] = 1;
        bytes[5 * GRAIN + 99] = 1;
        assert_eq!(data_runs(&bytes), [GRAIN..3 * GRAIN, 5 * GRAIN..5 * GRAIN + 100]);
    }
}
