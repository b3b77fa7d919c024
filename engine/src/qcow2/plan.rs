//! What a write to one guest cluster has to do: decided here, done in [`super::write`].

use super::l2::{Cluster, Compressed, EntryFormat, L2Entry, SUBCLUSTERS};
use crate::units::ByteRange;

/// What a write to some bytes of one guest cluster has to do.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Action {
    /// Write to the host cluster: the medium promises all that is touched already.
    InPlace {
        /// Where the host cluster is.
        host: u64,
    },
    /// Write to a host cluster that the guest does not see yet there, then change the entry.
    Store(Store),
}

/// See [`Action::Store`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Store {
    /// The host cluster, if there is one that nobody else uses.
    pub(super) reserved: Option<u64>,
    /// What has to be written besides the guest's data, in ranges of the cluster, in order.
    pub(super) fill: Vec<(ByteRange, Source)>,
    /// The bitmap of the new entry.
    pub(super) bitmap: u64,
    /// What the old entry referred to and the new one does not.
    pub(super) gives_up: Option<GivenUp>,
}

/// Where the rest of a new cluster comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Source {
    /// Zeros.
    Zeros,
    /// The same place of the backing file.
    Backing,
    /// The same place of this host cluster.
    Host(u64),
    /// The same place of what is compressed here.
    Compressed(Compressed),
}

/// What an entry does not refer to any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum GivenUp {
    /// A host cluster.
    Host(u64),
    /// Compressed data.
    Compressed(Compressed),
}

/// Decides what a write of `range`, bytes of one guest cluster with this entry, has to do.
pub(super) fn plan_write(format: EntryFormat, entry: L2Entry, range: ByteRange) -> Action {
    let cluster = ByteRange::new(0, 1 << format.cluster_bits);
    assert!(cluster.contains(range) && !range.is_empty(), "{range} of one cluster");
    let whole = |reserved, source, gives_up| {
        let fill = around(cluster, range).into_iter().map(|part| (part, source)).collect();
        let bitmap = format.data_entry(0, false).bitmap;
        Action::Store(Store { reserved, fill, bitmap, gives_up })
    };
    match format.cluster(entry) {
        Cluster::Data { host } if entry.is_copied() => Action::InPlace { host },
        Cluster::Data { host } => whole(None, Source::Host(host), Some(GivenUp::Host(host))),
        Cluster::Zero { host: Some(host) } if entry.is_copied() => {
            whole(Some(host), Source::Zeros, None)
        }
        Cluster::Zero { host } => whole(None, Source::Zeros, host.map(GivenUp::Host)),
        Cluster::Compressed(data) => {
            whole(None, Source::Compressed(data), Some(GivenUp::Compressed(data)))
        }
        Cluster::Unallocated if !format.extended => whole(None, Source::Backing, None),
        Cluster::Unallocated => plan_subclusters(format, entry, range, None),
        Cluster::Subclusters { host } => plan_subclusters(format, entry, range, host),
    }
}

fn plan_subclusters(
    format: EntryFormat,
    entry: L2Entry,
    range: ByteRange,
    host: Option<u64>,
) -> Action {
    let len = (1 << format.cluster_bits) / SUBCLUSTERS;
    let touched = range.units(len);
    let mut all_touched = touched.clone();
    let reserved = host.filter(|_| entry.is_copied());
    if let Some(host) = reserved
        && all_touched.all(|index| entry.subcluster_is_allocated(index))
    {
        return Action::InPlace { host };
    }
    let mut fill: Vec<(ByteRange, Source)> = Vec::new();
    let mut bitmap = entry.bitmap;
    for index in 0..SUBCLUSTERS {
        let is_touched = touched.contains(&index);
        let is_allocated = entry.subcluster_is_allocated(index);
        let source = match host {
            Some(host) if is_allocated => Source::Host(host),
            _ if entry.subcluster_is_zero(index) => Source::Zeros,
            _ => Source::Backing,
        };
        // What is in the reserved cluster already stays there.
        let is_needed = if is_allocated { reserved.is_none() } else { is_touched };
        if is_needed {
            let subcluster = ByteRange::new(index * len, len);
            let parts = around(subcluster, range.intersection(subcluster));
            fill.extend(parts.into_iter().map(|part| (part, source)));
        }
        if is_touched {
            bitmap = bitmap & !(1 << (32 + index)) | 1 << index;
        }
    }
    let gives_up = host.filter(|_| reserved.is_none()).map(GivenUp::Host);
    Action::Store(Store { reserved, fill: merged(fill), bitmap, gives_up })
}

/// What of `outer` lies before and after `inner`; all of it if `inner` is empty.
fn around(outer: ByteRange, inner: ByteRange) -> Vec<ByteRange> {
    if inner.is_empty() {
        return vec![outer];
    }
    let before = ByteRange::between(outer.offset, inner.offset);
    let after = ByteRange::between(inner.end(), outer.end());
    [before, after].into_iter().filter(|part| !part.is_empty()).collect()
}

/// The same with neighbours of one source as one range.
fn merged(parts: Vec<(ByteRange, Source)>) -> Vec<(ByteRange, Source)> {
    let mut merged: Vec<(ByteRange, Source)> = Vec::new();
    for (range, source) in parts {
        match merged.last_mut() {
            Some((last, of)) if *of == source && last.end() == range.offset => {
                last.len += range.len
            }
            _ => merged.push((range, source)),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    const STANDARD: EntryFormat =
        EntryFormat { cluster_bits: 12, extended: false, has_zero_flag: true };
    const EXTENDED: EntryFormat =
        EntryFormat { cluster_bits: 14, extended: true, has_zero_flag: true };

    fn range(start: u64, end: u64) -> ByteRange {
        ByteRange::between(start, end)
    }

    #[test]
    fn standard_entries() {
        let check = |entry, expected| {
            assert_eq!(plan_write(STANDARD, entry, range(512, 1024)), expected, "{entry:?}");
        };
        let store = |reserved, source, gives_up| {
            let fill = vec![(range(0, 512), source), (range(1024, 4096), source)];
            Action::Store(Store { reserved, fill, bitmap: 0, gives_up })
        };
        check(STANDARD.data_entry(8192, true), Action::InPlace { host: 8192 });
        check(
            STANDARD.data_entry(8192, false),
            store(None, Source::Host(8192), Some(GivenUp::Host(8192))),
        );
        check(L2Entry::UNALLOCATED, store(None, Source::Backing, None));
        check(STANDARD.zero_entry(None, false), store(None, Source::Zeros, None));
        check(STANDARD.zero_entry(Some(8192), true), store(Some(8192), Source::Zeros, None));
        check(
            STANDARD.zero_entry(Some(8192), false),
            store(None, Source::Zeros, Some(GivenUp::Host(8192))),
        );
        let data = Compressed { offset: 8192, len: 1024 };
        check(
            STANDARD.compressed_entry(data).unwrap(),
            store(None, Source::Compressed(data), Some(GivenUp::Compressed(data))),
        );
        let whole = plan_write(STANDARD, L2Entry::UNALLOCATED, range(0, 4096));
        assert!(matches!(whole, Action::Store(Store { fill, .. }) if fill.is_empty()));
    }

    /// Every pair of states of two neighbouring subclusters, byte by byte: what the guest reads
    /// afterwards is what it should.
    #[test]
    fn subclusters() {
        let len = 512;
        for states in 0..9_u64 {
            for copied in [false, true] {
                for (start, end) in [(0, 512), (512, 1024), (0, 1024), (256, 768)] {
                    let state = |index: u64| states / 3_u64.pow(u32::try_from(index).unwrap()) % 3;
                    let bit =
                        |index: u64, kind: u64, at: u64| u64::from(state(index) == kind) << at;
                    let bitmap = bit(0, 1, 0) | bit(1, 1, 1) | bit(0, 2, 32) | bit(1, 2, 33);
                    let host = EXTENDED.data_entry(1 << 20, copied);
                    let entry = L2Entry { bitmap, ..host };
                    let action = plan_write(EXTENDED, entry, range(start, end));
                    let Action::Store(store) = action else {
                        assert!(
                            copied
                                && (0..2).all(|it| {
                                    state(it) == 1
                                        || !range(start, end)
                                            .overlaps(range(it * len, it * len + len))
                                })
                        );
                        continue;
                    };
                    let after = L2Entry { bitmap: store.bitmap, ..host };
                    for byte in (0..1024).step_by(256) {
                        let index = byte / len;
                        let written = range(start, end).overlaps(range(byte, byte + 1));
                        let filled = store
                            .fill
                            .iter()
                            .find(|(part, _)| part.overlaps(range(byte, byte + 1)));
                        assert!(!(written && filled.is_some()), "{store:?} writes twice");
                        if !after.subcluster_is_allocated(index) {
                            assert!(!written);
                            assert_eq!(after.subcluster_is_zero(index), state(index) == 2);
                            continue;
                        }
                        assert!(!after.subcluster_is_zero(index));
                        let expected = [Source::Backing, Source::Host(1 << 20), Source::Zeros];
                        let expected = expected[usize::try_from(state(index)).unwrap()];
                        match filled {
                            Some((_, source)) => assert_eq!(*source, expected),
                            None => assert!(written || (copied && state(index) == 1), "{store:?}"),
                        }
                    }
                }
            }
        }
    }
}
