//! A small image built by hand, and ways to damage it.

use futures_util::FutureExt;
use plugpull_engine::qcow2::create::CreateOptions;
use plugpull_engine::qcow2::header::Header;
use plugpull_engine::qcow2::refcount::RefcountWidth;
use plugpull_engine::qcow2::snapshot_table::{Snapshot, to_bytes};

use super::create::created;

/// Bytes per cluster of the image.
pub(crate) const CLUSTER: usize = 4096;
/// Where things are, in clusters: header, refcount table, refcount block, L1 table by creation; then
pub(crate) const TABLE: usize = 1;
pub(crate) const BLOCK: usize = 2;
pub(crate) const L1: usize = 3;
pub(crate) const L2: usize = 4;
/// Four data clusters.
pub(crate) const DATA: usize = 5;
/// The snapshot table, and the L1 and L2 table of its only snapshot, which shares the first data
/// cluster with the active tree.
pub(crate) const SNAPSHOTS: usize = 9;
pub(crate) const SNAPSHOT_L1: usize = 10;
pub(crate) const SNAPSHOT_L2: usize = 11;
/// Two clusters that nothing refers to.
pub(crate) const FREE: usize = 12;
const CLUSTERS: usize = 14;
pub(crate) const COPIED: u64 = 1 << 63;

/// An image in memory.
#[derive(Clone)]
pub(crate) struct Image {
    pub(crate) bytes: Vec<u8>,
}

/// A sound image.
pub(crate) fn sound() -> Image {
    sound_with(16)
}

/// A sound image with refcounts of `refcount_bits`.
pub(crate) fn sound_with(refcount_bits: u64) -> Image {
    let cluster_len = CLUSTER as u64;
    let options =
        CreateOptions { virtual_size: 1 << 20, cluster_len, refcount_bits, ..Default::default() };
    let disk = created(&options).unwrap();
    let mut header = Header::read(&disk).now_or_never().unwrap().unwrap();
    header.l1_entries = 4;
    header.snapshot_count = 1;
    header.snapshots_offset = at(SNAPSHOTS);
    let mut image = Image { bytes: disk.bytes() };
    image.bytes.resize(CLUSTERS * CLUSTER, 0);
    image.put_bytes(0, &header.to_bytes().unwrap());
    image.put(L1, 0, at(L2) | COPIED);
    image.put(L2, 0, at(DATA));
    for index in 1..4 {
        image.put(L2, index, at(DATA + index) | COPIED);
    }
    // Compressed into 700 bytes of the fourth data cluster.
    image.put(L2, 3, 1 << 62 | 1 << 58 | at(DATA + 3));
    let snapshot = Snapshot {
        id: "1".into(),
        name: "s".into(),
        l1_offset: at(SNAPSHOT_L1),
        l1_entries: 1,
        date_seconds: 0,
        date_nanoseconds: 0,
        vm_clock: 0,
        vm_state_len: 0,
        virtual_size: Some(1 << 20),
        icount: None,
        unknown_extra: Vec::new(),
    };
    image.put_bytes(SNAPSHOTS * CLUSTER, &to_bytes(&[snapshot]).unwrap());
    image.put(SNAPSHOT_L1, 0, at(SNAPSHOT_L2));
    image.put(SNAPSHOT_L2, 0, at(DATA));
    for index in 0..4 {
        let fill = u8::try_from(index + 1).unwrap();
        image.bytes[(DATA + index) * CLUSTER..][..CLUSTER].fill(fill);
    }
    let data = deflated();
    image.put_bytes((DATA + 3) * CLUSTER, &data);
    for cluster in 0..FREE {
        let count = if cluster == DATA { 2 } else { 1 };
        image.set_refcount(refcount_bits, cluster, count);
    }
    image
}

fn deflated() -> Vec<u8> {
    use plugpull_engine::qcow2::compress::compress;
    use plugpull_engine::qcow2::header::Compression;
    compress(Compression::Deflate, &[9; CLUSTER]).unwrap()
}

/// The host offset of a cluster.
pub(crate) fn at(cluster: usize) -> u64 {
    (cluster * CLUSTER) as u64
}

impl Image {
    /// The same image with entry `index` of the table in a cluster set.
    pub(crate) fn with(mut self, cluster: usize, index: usize, entry: u64) -> Self {
        self.put(cluster, index, entry);
        self
    }

    /// The same image with a refcount of 16 bits set.
    pub(crate) fn with_refcount(mut self, cluster: usize, count: u64) -> Self {
        self.set_refcount(16, cluster, count);
        self
    }

    /// The same image with other bytes.
    pub(crate) fn with_bytes(mut self, offset: usize, bytes: &[u8]) -> Self {
        self.put_bytes(offset, bytes);
        self
    }

    /// Entry `index` of the table in a cluster.
    pub(crate) fn get(&self, cluster: usize, index: usize) -> u64 {
        let offset = cluster * CLUSTER + 8 * index;
        u64::from_be_bytes(self.bytes[offset..offset + 8].try_into().unwrap())
    }

    fn put(&mut self, cluster: usize, index: usize, entry: u64) {
        self.put_bytes(cluster * CLUSTER + 8 * index, &entry.to_be_bytes());
    }

    fn put_bytes(&mut self, offset: usize, bytes: &[u8]) {
        self.bytes[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    fn set_refcount(&mut self, bits: u64, cluster: usize, count: u64) {
        let width = RefcountWidth::from_order(bits.trailing_zeros()).unwrap();
        width.set(&mut self.bytes[BLOCK * CLUSTER..][..CLUSTER], cluster as u64, count);
    }
}
