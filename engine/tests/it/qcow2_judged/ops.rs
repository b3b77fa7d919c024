//! Operations on an image, drawn so that both sides allow them.

use plugpull_engine::ByteRange;

use super::case::{Case, index};
use super::model::Model;
use crate::world::Numbers;

/// What is written: one byte everywhere, or a file's content from its start, again and again.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fill {
    Byte(u8),
    Noise(u8),
}

/// How many files of noise there are.
pub(super) const NOISES: u8 = 3;

#[derive(Debug, Clone)]
pub(super) enum Op {
    Write(ByteRange, Fill),
    /// Writes that do not overlap, all in flight at once.
    Writes(Vec<(ByteRange, Fill)>),
    WriteCompressed(ByteRange, Fill),
    WriteZeroes {
        range: ByteRange,
        unmap: bool,
    },
    Discard(ByteRange),
    Flush,
    Resize(u64),
    CreateSnapshot(String),
    ApplySnapshot(String),
    DeleteSnapshot(String),
    Reopen,
}

impl Fill {
    fn draw(numbers: &mut Numbers) -> Self {
        match numbers.below(3) {
            0 => Self::Noise(u8::try_from(numbers.below(u64::from(NOISES))).expect("a few")),
            _ => Self::Byte(u8::try_from(1 + numbers.below(255)).expect("a byte")),
        }
    }

    pub(super) fn bytes(self, len: u64) -> Vec<u8> {
        match self {
            Self::Byte(byte) => vec![byte; index(len)],
            Self::Noise(number) => repeated(&noise(number), index(len)),
        }
    }
}

/// Again and again the same, cut off at a length. Not byte by byte: that takes debug builds longer than
/// what is tested.
pub(super) fn repeated(bytes: &[u8], len: usize) -> Vec<u8> {
    let mut all = bytes.repeat(len.div_ceil(bytes.len()));
    all.truncate(len);
    all
}

/// The content of a file of noise: of an odd length, so that it is not the same in each sector.
pub(super) fn noise(number: u8) -> Vec<u8> {
    let mut numbers = Numbers(u64::from(number));
    (0..10_007).map(|_| u8::try_from(numbers.below(256)).expect("a byte")).collect()
}

impl Op {
    pub(super) fn draw(case: &Case, model: &Model, numbers: &mut Numbers) -> Self {
        let range = |numbers: &mut Numbers| draw_range(case, model, numbers);
        loop {
            match numbers.below(40) {
                0..14 => return Self::Write(range(numbers), Fill::draw(numbers)),
                14..18 => return Self::Writes(draw_writes(case, model, numbers)),
                18..21 if case.can_compress() => {
                    let clusters = whole_clusters(case, model, range(numbers));
                    return Self::WriteCompressed(clusters, Fill::draw(numbers));
                }
                21..26 => {
                    let unmap = numbers.one_in(2);
                    return Self::WriteZeroes { range: range(numbers), unmap };
                }
                26..31 => return Self::Discard(range(numbers)),
                31 => return Self::Flush,
                32 if numbers.one_in(3) && can_resize(case, model) => {
                    let most = case.virtual_size * 3 / 2 / 512;
                    return Self::Resize((1 + numbers.below(most)) * 512);
                }
                33 if case.can_snapshot() && model.snapshots.len() < 4 => {
                    return Self::CreateSnapshot(format!("s{}", numbers.below(1 << 40)));
                }
                34 | 35 if numbers.one_in(2) && !model.snapshots.is_empty() => {
                    let number = numbers.index(model.snapshots.len());
                    let name = model.snapshots[number].0.clone();
                    return if numbers.one_in(2) {
                        Self::ApplySnapshot(name)
                    } else {
                        Self::DeleteSnapshot(name)
                    };
                }
                36 if numbers.one_in(3) => return Self::Reopen,
                _ => {}
            }
        }
    }
}

/// QEMU does not resize images of version 2 that have snapshots, nor let them grow over a base; our
/// engine does not resize images with a data file.
fn can_resize(case: &Case, model: &Model) -> bool {
    let by_qemu = case.version >= 3 || (model.snapshots.is_empty() && case.base_len.is_none());
    by_qemu && case.data_file.is_none()
}

/// A range of sectors; often it is, or nearly is, whole clusters.
fn draw_range(case: &Case, model: &Model, numbers: &mut Numbers) -> ByteRange {
    let all = ByteRange::new(0, model.content.len() as u64);
    let sectors = all.len / 512;
    let start = numbers.below(sectors);
    let cluster = case.cluster_len / 512;
    let most = match numbers.below(4) {
        0 => 8,
        1 => cluster * 8,
        _ => cluster * 2,
    };
    let len = 1 + numbers.below(most.min(sectors - start));
    let range = ByteRange::new(start * 512, len * 512);
    let range = if numbers.one_in(3) { range.aligned_out(case.cluster_len) } else { range };
    range.intersection(all)
}

fn draw_writes(case: &Case, model: &Model, numbers: &mut Numbers) -> Vec<(ByteRange, Fill)> {
    let mut writes: Vec<(ByteRange, Fill)> = Vec::new();
    for _ in 0..2 + numbers.below(6) {
        let range = draw_range(case, model, numbers);
        if writes.iter().all(|(other, _)| !other.overlaps(range)) {
            writes.push((range, Fill::draw(numbers)));
        }
    }
    writes
}

fn whole_clusters(case: &Case, model: &Model, range: ByteRange) -> ByteRange {
    let all = ByteRange::new(0, model.content.len() as u64);
    range.aligned_out(case.cluster_len).intersection(all)
}
