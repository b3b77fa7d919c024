//! Reads logs in the format of dm-log-writes, as QEMU's blklogwrites writes them.
//!
//! Little-endian. Sector 0 of the log: magic u64, version u64, number of entries u64, bytes per
//! sector u32. Then entries: one sector that starts with sector u64, sectors u64, flags u64, length
//! of the mark u64; then the data, unless it is a discard.

/// One request, as it was logged.
pub(super) struct Entry {
    pub(super) offset: u64,
    pub(super) len: u64,
    pub(super) flags: u64,
    /// Of a write.
    pub(super) data: Vec<u8>,
}

/// The request flushes first.
pub(super) const FLUSH: u64 = 1;
/// It discards.
pub(super) const DISCARD: u64 = 4;
const KNOWN: u64 = 31;
const MAGIC: u64 = 0x006a_7366_7773_6872;

impl Entry {
    /// Does to `disk` what the request did.
    pub(super) fn apply(&self, disk: &mut Vec<u8>) {
        let [offset, len] = [self.offset, self.len].map(super::case::index);
        let end = offset + len;
        if disk.len() < end && len > 0 {
            disk.resize(end, 0);
        }
        if self.flags & DISCARD != 0 {
            disk[offset..end].fill(0);
        } else {
            disk[offset..end].copy_from_slice(&self.data);
        }
    }
}

/// The entries of a log.
pub(super) fn parse(log: &[u8]) -> Vec<Entry> {
    assert_eq!(number(log, 0), MAGIC);
    assert_eq!(number(log, 8), 1, "the only version");
    let sector_len = number(log, 24) & u64::from(u32::MAX);
    let mut at = super::case::index(sector_len);
    let mut entries = Vec::new();
    for _ in 0..number(log, 16) {
        let [sector, sectors, flags, mark_len] =
            [0, 8, 16, 24].map(|field| number(log, at + field));
        assert_eq!(flags & !KNOWN, 0, "only known flags");
        assert!(mark_len + 32 <= sector_len, "a mark fits its sector");
        at += super::case::index(sector_len);
        let len = sectors * sector_len;
        let stored = if flags & DISCARD == 0 { super::case::index(len) } else { 0 };
        let data = log[at..at + stored].to_vec();
        at += stored;
        entries.push(Entry { offset: sector * sector_len, len, flags, data });
    }
    assert_eq!(at, log.len(), "nothing comes after the last entry");
    entries
}

fn number(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
