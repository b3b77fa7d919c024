//! Entries of L1 and L2 tables.
//!
//! # Source
//! qcow2 specification, "Cluster mapping".

/// Bits of a table entry that are a host offset; the rest are flags.
const OFFSET_MASK: u64 = 0x00ff_ffff_ffff_fe00;
/// The refcount of what is pointed to is exactly one.
const COPIED: u64 = 1 << 63;
/// The entry is a compressed cluster descriptor.
const COMPRESSED: u64 = 1 << 62;
/// The cluster reads as zeros (version 3, standard L2 entries).
const ZERO: u64 = 1;
/// How many subclusters an extended entry has.
pub const SUBCLUSTERS: u64 = 32;

/// One L1 entry: where an L2 table is.
///
/// Bits of the big-endian u64: 9..=55 host offset (0: no table), 63 refcount is one.
///
/// Ordering: the table's content and refcount are durable before the entry is written. A crash in
/// between leaks the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct L1Entry(pub u64);

impl L1Entry {
    /// Points to the table at `offset`.
    #[must_use]
    pub fn new(offset: u64, copied: bool) -> Self {
        Self(offset | if copied { COPIED } else { 0 })
    }

    /// Where the table is, if there is one.
    #[must_use]
    pub fn table(self) -> Option<u64> {
        let offset = self.0 & OFFSET_MASK;
        (offset != 0).then_some(offset)
    }

    /// Whether the table's refcount is one, so that it may be changed in place.
    #[must_use]
    pub fn is_copied(self) -> bool {
        self.0 & COPIED != 0
    }

    /// The same place, with the flag as given.
    #[must_use]
    pub fn with_copied(self, copied: bool) -> Self {
        Self(if copied { self.0 | COPIED } else { self.0 & !COPIED })
    }

    /// Bits that have to be zero and are not.
    #[must_use]
    pub fn reserved_bits(self) -> u64 {
        self.0 & !(OFFSET_MASK | COPIED)
    }
}

/// One L2 entry: where a guest cluster lives in the image file.
///
/// Bits of the big-endian u64: 0 reads as zeros, 9..=55 host offset, 62 compressed, 63 refcount is
/// one. An extended entry has a second u64: bits 0..=31 subcluster is allocated, 32..=63 subcluster
/// reads as zeros; bit 0 of the first is then reserved.
///
/// Ordering: the host cluster's data and refcount are durable before this entry is written. A crash
/// in between leaks the cluster; the guest still reads the old contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct L2Entry {
    /// The first u64, or the only one.
    pub descriptor: u64,
    /// The second u64 of an extended entry, otherwise 0.
    pub bitmap: u64,
}

/// What an L2 entry says about its cluster as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cluster {
    /// Nothing: the backing file's, or zeros.
    Unallocated,
    /// Zeros; a host cluster may be reserved for it.
    Zero {
        /// Where the reserved host cluster is.
        host: Option<u64>,
    },
    /// A host cluster.
    Data {
        /// Where it is.
        host: u64,
    },
    /// A host cluster of which each subcluster has a state of its own.
    Subclusters {
        /// Where the host cluster is, if there is one.
        host: Option<u64>,
    },
    /// Compressed data.
    Compressed(Compressed),
}

/// Where compressed data is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Compressed {
    /// First byte in the image file.
    pub offset: u64,
    /// Bytes up to the end of the last 512-byte sector; the data may end earlier.
    pub len: u64,
}

/// How entries of one image are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EntryFormat {
    /// Bytes per cluster, as a power of two.
    pub cluster_bits: u32,
    /// Whether entries have a subcluster bitmap.
    pub extended: bool,
    /// Whether bit 0 of a standard entry means zeros: version 3.
    pub has_zero_flag: bool,
    /// Whether guest data is in a file of its own: offset 0 is a place there, and COPIED tells it from
    /// no place.
    pub external_data: bool,
}

impl EntryFormat {
    /// Bytes of one L2 entry.
    #[must_use]
    pub fn entry_len(self) -> u64 {
        if self.extended { 16 } else { 8 }
    }

    /// Entries of one L2 table.
    #[must_use]
    pub fn entries(self) -> u64 {
        (1 << self.cluster_bits) / self.entry_len()
    }

    /// The entry in these bytes.
    #[must_use]
    pub fn parse(self, bytes: &[u8]) -> L2Entry {
        let word =
            |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        L2Entry { descriptor: word(0), bitmap: if self.extended { word(8) } else { 0 } }
    }

    /// The bytes of an entry.
    #[must_use]
    pub fn bytes(self, entry: L2Entry) -> Vec<u8> {
        let mut bytes = entry.descriptor.to_be_bytes().to_vec();
        if self.extended {
            bytes.extend_from_slice(&entry.bitmap.to_be_bytes());
        }
        bytes
    }

    /// What `entry` says.
    #[must_use]
    pub fn cluster(self, entry: L2Entry) -> Cluster {
        if entry.descriptor & COMPRESSED != 0 {
            return Cluster::Compressed(self.compressed(entry.descriptor));
        }
        let offset = entry.descriptor & OFFSET_MASK;
        let has_host = offset != 0 || self.external_data && entry.is_copied();
        let host = has_host.then_some(offset);
        if self.extended {
            return match entry.bitmap {
                0 if host.is_none() => Cluster::Unallocated,
                _ => Cluster::Subclusters { host },
            };
        }
        match host {
            _ if self.has_zero_flag && entry.descriptor & ZERO != 0 => Cluster::Zero { host },
            None => Cluster::Unallocated,
            Some(host) => Cluster::Data { host },
        }
    }

    /// A compressed cluster descriptor: bits 0..x byte offset, x..=61 additional sectors, with
    /// x = 62 - (cluster_bits - 8).
    fn compressed(self, descriptor: u64) -> Compressed {
        let x = 62 - (self.cluster_bits - 8);
        let offset = descriptor & ((1 << x) - 1);
        let sectors = (descriptor & (COMPRESSED - 1)) >> x;
        Compressed { offset, len: sectors * 512 + 512 - offset % 512 }
    }

    /// The entry for compressed data; none if it does not fit the descriptor.
    #[must_use]
    pub fn compressed_entry(self, data: Compressed) -> Option<L2Entry> {
        let x = 62 - (self.cluster_bits - 8);
        let sectors = (data.offset % 512 + data.len).div_ceil(512) - 1;
        let fits = data.offset < 1 << x && sectors < 1 << (62 - x);
        let descriptor = COMPRESSED | sectors << x | data.offset;
        fits.then_some(L2Entry { descriptor, bitmap: 0 })
    }

    /// The entry for a host cluster that holds all of the guest cluster.
    #[must_use]
    pub fn data_entry(self, host: u64, copied: bool) -> L2Entry {
        let descriptor = host | if copied { COPIED } else { 0 };
        L2Entry { descriptor, bitmap: if self.extended { u64::from(u32::MAX) } else { 0 } }
    }

    /// The entry for a guest cluster that reads as zeros, with or without a host cluster. A version
    /// 2 image has no such entry.
    #[must_use]
    pub fn zero_entry(self, host: Option<u64>, copied: bool) -> L2Entry {
        let place = host.map_or(0, |host| host | if copied { COPIED } else { 0 });
        if self.extended {
            return L2Entry { descriptor: place, bitmap: u64::from(u32::MAX) << 32 };
        }
        assert!(self.has_zero_flag, "version 2 has no zero clusters");
        L2Entry { descriptor: place | ZERO, bitmap: 0 }
    }
}

impl L2Entry {
    /// Nothing: the backing file's, or zeros.
    pub const UNALLOCATED: Self = Self { descriptor: 0, bitmap: 0 };

    /// Whether the host cluster's refcount is one, so that it may be written in place.
    #[must_use]
    pub fn is_copied(self) -> bool {
        self.descriptor & COPIED != 0
    }

    /// The same entry, with the flag as given. Compressed entries never get it, nor do those without
    /// a host cluster; where the flag is all that says that there is one, at the start of a data
    /// file, it stays.
    #[must_use]
    pub fn with_copied(self, copied: bool) -> Self {
        let has_host = self.is_copied() || self.descriptor & OFFSET_MASK != 0;
        let copied = copied && self.descriptor & COMPRESSED == 0 && has_host;
        let descriptor = if copied { self.descriptor | COPIED } else { self.descriptor & !COPIED };
        Self { descriptor, ..self }
    }

    /// Whether the subcluster is in the host cluster.
    #[must_use]
    pub fn subcluster_is_allocated(self, index: u64) -> bool {
        assert!(index < SUBCLUSTERS);
        self.bitmap >> index & 1 == 1
    }

    /// Whether the subcluster reads as zeros.
    #[must_use]
    pub fn subcluster_is_zero(self, index: u64) -> bool {
        assert!(index < SUBCLUSTERS);
        self.bitmap >> (32 + index) & 1 == 1
    }
}
