//! What the guest must see: plain bytes.

use plugpull_engine::ByteRange;

use super::case::{Case, index};
use super::ops::{Fill, Op};

/// What the guest sees now, and in each snapshot.
pub(super) struct Model {
    pub(super) content: Vec<u8>,
    /// Names and contents, oldest first.
    pub(super) snapshots: Vec<(String, Vec<u8>)>,
}

impl Model {
    pub(super) fn new(case: &Case) -> Self {
        let mut content = case.base();
        content.resize(index(case.virtual_size), 0);
        Self { content, snapshots: Vec::new() }
    }

    pub(super) fn apply(&mut self, case: &Case, op: &Op) {
        match op {
            Op::Write(range, fill) | Op::WriteCompressed(range, fill) => self.write(*range, *fill),
            Op::Writes(writes) => writes.iter().for_each(|(range, fill)| self.write(*range, *fill)),
            Op::WriteZeroes { range, .. } => self.write(*range, Fill::Byte(0)),
            Op::Discard(range) if case.discard_zeroes() => {
                self.write(self.clusters_inside(case, *range), Fill::Byte(0));
            }
            Op::Discard(_) | Op::Flush | Op::Reopen => {}
            Op::Resize(len) => self.content.resize(index(*len), 0),
            Op::CreateSnapshot(name) => self.snapshots.push((name.clone(), self.content.clone())),
            Op::ApplySnapshot(name) => self.content = self.snapshot(name).to_vec(),
            Op::DeleteSnapshot(name) => self.snapshots.retain(|(other, _)| other != name),
        }
    }

    fn write(&mut self, range: ByteRange, fill: Fill) {
        let place = index(range.offset)..index(range.end());
        self.content[place].copy_from_slice(&fill.bytes(range.len));
    }

    fn snapshot(&self, name: &str) -> &[u8] {
        let found = self.snapshots.iter().find(|(other, _)| other == name);
        &found.expect("a snapshot that was drawn").1
    }

    /// The clusters of the disk that lie inside a range; the last one may be a short one.
    fn clusters_inside(&self, case: &Case, range: ByteRange) -> ByteRange {
        let len = self.content.len() as u64;
        let start = range.offset.next_multiple_of(case.cluster_len);
        let end = range.end();
        let end = if end == len { len } else { end / case.cluster_len * case.cluster_len };
        ByteRange::between(start.min(end), end)
    }
}

/// Where two contents differ, for people.
pub(super) fn difference(found: &[u8], expected: &[u8]) -> Option<String> {
    if found == expected {
        return None;
    }
    let (there, here) = (found.len(), expected.len());
    if there != here {
        return Some(format!("{there} bytes instead of {here}"));
    }
    let at = found.iter().zip(expected).position(|(a, b)| a != b).expect("they differ");
    let count = found.iter().zip(expected).filter(|(a, b)| a != b).count();
    let (found, expected) = (found[at], expected[at]);
    Some(format!("byte {at} is {found:#x} instead of {expected:#x}; {count} bytes differ"))
}
