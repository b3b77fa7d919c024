//! Copying one guest's disk to another, zeros left out, and comparing two.

use std::ops::Range;

use futures_util::{StreamExt, TryStreamExt, stream};
use plugpull_engine::ByteRange;

use super::guest::Guest;
use super::progress::Bar;
use super::size::{PIECE, is_zero, pieces};
use crate::failure::Failure;

/// Pieces that are read, compressed or written at once.
const IN_FLIGHT: usize = 8;
/// Guest bytes whose places are looked up at once.
pub(super) const WINDOW: u64 = 1 << 30;

/// Copies all of `source` to `target`, which is zero and not shorter. Zeros are not written, so what
/// is sparse stays sparse. With `compress`, whole clusters of a qcow2 target are compressed.
pub(super) async fn copy(source: &Guest, target: &Guest, compress: bool) -> Result<(), Failure> {
    keep_memory();
    let grain = target.grain();
    let bar = Bar::new(source.len());
    for window in windows(source.range()) {
        let data = whole_grains(source.data(window).await?, grain, source.len());
        let copy = |piece: ByteRange| async move {
            copy_piece(source, target, piece, compress).await.map(|()| piece.end())
        };
        let pieces = data.into_iter().flat_map(pieces);
        let mut ends = stream::iter(pieces).map(copy).buffered(IN_FLIGHT);
        while let Some(end) = ends.try_next().await? {
            bar.reached(end);
        }
        bar.reached(window.end());
    }
    Ok(())
}

/// Makes glibc keep what pieces took for the next ones. It gives memory back that is more than twice
/// as large as the largest block which was ever mapped for itself and freed, up to 32 MiB; without
/// such a block each piece is taken page by page anew, and a copy takes three times as long.
fn keep_memory() {
    const BLOCK: usize = 31 << 20;
    drop(std::hint::black_box(Vec::<u8>::with_capacity(BLOCK)));
}

async fn copy_piece(
    source: &Guest,
    target: &Guest,
    piece: ByteRange,
    compress: bool,
) -> Result<(), Failure> {
    let bytes = source.read(piece).await?;
    let grain = usize::try_from(target.grain()).expect("at most a piece");
    let runs = data_runs(&bytes, grain);
    if !compress && runs.first().is_some_and(|run| run.len() == bytes.len()) {
        // All of it: as it is, without another copy.
        return target.write(piece.offset, bytes).await;
    }
    for run in runs {
        let start = piece.offset + run.start as u64;
        let data = bytes[run].to_vec();
        if compress {
            target.write_compressed(start, data).await?;
        } else {
            target.write(start, data).await?;
        }
    }
    Ok(())
}

/// The ranges, extended to whole grains of a disk of `len` bytes and joined where they meet.
fn whole_grains(ranges: Vec<ByteRange>, grain: u64, len: u64) -> Vec<ByteRange> {
    let mut whole: Vec<ByteRange> = Vec::new();
    for range in ranges {
        let range = range.aligned_out(grain).intersection(ByteRange::new(0, len));
        match whole.last_mut() {
            Some(last) if range.offset <= last.end() => {
                *last = ByteRange::between(last.offset, range.end().max(last.end()));
            }
            _ => whole.push(range),
        }
    }
    whole
}

/// The runs of grains that are not zero.
fn data_runs(bytes: &[u8], grain: usize) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for (index, part) in bytes.chunks(grain).enumerate() {
        if is_zero(part) {
            continue;
        }
        let start = index * grain;
        let end = start + part.len();
        match runs.last_mut() {
            Some(last) if last.end == start => last.end = end,
            _ => runs.push(start..end),
        }
    }
    runs
}

fn windows(range: ByteRange) -> impl Iterator<Item = ByteRange> {
    range
        .units(WINDOW)
        .map(move |window| ByteRange::new(window * WINDOW, WINDOW).intersection(range))
}

/// The first byte in which the two differ in `range`, which both have.
pub(super) async fn first_difference(
    a: &Guest,
    b: &Guest,
    range: ByteRange,
) -> Result<Option<u64>, Failure> {
    let bar = Bar::new(range.end());
    for window in windows(range) {
        let mut data = a.data(window).await?;
        data.extend(b.data(window).await?);
        data.sort_unstable();
        let data = whole_grains(data, PIECE, range.end());
        let mut found = stream::iter(data.into_iter().flat_map(pieces))
            .map(|piece| difference(a, b, piece.intersection(window)))
            .buffered(IN_FLIGHT);
        while let Some(difference) = found.next().await {
            if let Some(offset) = difference? {
                return Ok(Some(offset));
            }
        }
        bar.reached(window.end());
    }
    Ok(None)
}

async fn difference(a: &Guest, b: &Guest, piece: ByteRange) -> Result<Option<u64>, Failure> {
    let (left, right) = (a.read(piece).await?, b.read(piece).await?);
    if left == right {
        return Ok(None);
    }
    let differing = left.iter().zip(&right).position(|(left, right)| left != right);
    Ok(differing.map(|index| piece.offset + index as u64))
}

/// The first byte of `range` that is not zero.
pub(super) async fn first_data(guest: &Guest, range: ByteRange) -> Result<Option<u64>, Failure> {
    for window in windows(range) {
        for piece in guest.data(window).await?.into_iter().flat_map(pieces) {
            let bytes = guest.read(piece).await?;
            if let Some(index) = bytes.iter().position(|&byte| byte != 0) {
                return Ok(Some(piece.offset + index as u64));
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRAIN: usize = 4096;

    #[test]
    fn zeros_are_left_out() {
        let mut bytes = vec![0; 5 * GRAIN + 100];
        assert_eq!(data_runs(&bytes, GRAIN), []);
        bytes[GRAIN] = 1;
        bytes[3 * GRAIN - 1] = 1;
        bytes[5 * GRAIN + 99] = 1;
        let runs = data_runs(&bytes, GRAIN);
        assert_eq!(runs, [GRAIN..3 * GRAIN, 5 * GRAIN..5 * GRAIN + 100]);
    }

    #[test]
    fn what_meets_in_a_grain_is_one_range() {
        let ranges = [(5, 1), (7, 2), (20, 1), (35, 2)];
        let ranges = ranges.map(|(offset, len)| ByteRange::new(offset, len)).to_vec();
        let expected = [ByteRange::between(0, 10), ByteRange::between(20, 37)];
        assert_eq!(whole_grains(ranges, 10, 37), expected);
    }
}
