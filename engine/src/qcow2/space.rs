//! Where free clusters are looked for.

/// Where free clusters are looked for. Which one is taken depends on who took one before.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Space {
    /// No cluster before this one is free.
    pub(super) next: u64,
    /// From this cluster on the file does not exist yet, or only as zeros.
    pub(super) fresh_from: u64,
    /// Where compressed data may go on in a cluster that has some: the next byte.
    pub(super) compressed: Option<u64>,
}

/// Host clusters that were taken, one after another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Taken {
    /// The first one.
    pub(super) first: u64,
    /// How many, at least one.
    pub(super) count: u64,
    /// Whether they read as zeros.
    pub(super) fresh: bool,
}
