//! The snapshot table.
//!
//! # Source
//! qcow2 specification, "Snapshots".

/// One entry of the snapshot table.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Snapshot {
    /// Unique: a number, as a text.
    pub id: String,
    /// For people.
    pub name: String,
    /// Where its L1 table is.
    pub l1_offset: u64,
    /// Entries of its L1 table.
    pub l1_entries: u32,
    /// When it was taken: seconds since 1970.
    pub date_seconds: u32,
    /// And nanoseconds.
    pub date_nanoseconds: u32,
    /// How long the guest had run, in nanoseconds.
    pub vm_clock: u64,
    /// Bytes of saved machine state.
    pub vm_state_len: u64,
    /// Bytes that the guest saw; of an old entry that does not say, none.
    pub virtual_size: Option<u64>,
    /// Instructions executed, if known.
    pub icount: Option<u64>,
    /// Extra data that this engine does not know, as it is.
    pub unknown_extra: Vec<u8>,
}
