//! Sizes, and ranges of bytes.

/// Bytes in a guest sector, the unit of guest addresses and of every format here.
pub const SECTOR: u64 = 512;

/// A half-open range of bytes, `offset..offset + len`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteRange {
    /// First byte.
    pub offset: u64,
    /// Number of bytes.
    pub len: u64,
}

impl ByteRange {
    /// The range `offset..offset + len`.
    ///
    /// # Panics
    /// If the end does not fit in a `u64`.
    #[must_use]
    pub fn new(offset: u64, len: u64) -> Self {
        assert!(offset.checked_add(len).is_some(), "range {offset}+{len} overflows");
        Self { offset, len }
    }

    /// The range `start..end`; empty if `end <= start`.
    #[must_use]
    pub fn between(start: u64, end: u64) -> Self {
        Self { offset: start, len: end.saturating_sub(start) }
    }

    /// One past the last byte.
    #[must_use]
    pub fn end(self) -> u64 {
        self.offset + self.len
    }

    /// Whether the range holds no byte.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len == 0
    }

    /// Whether the two ranges share a byte.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        !self.is_empty()
            && !other.is_empty()
            && self.offset < other.end()
            && other.offset < self.end()
    }

    /// The bytes in both ranges; empty if there are none.
    #[must_use]
    pub fn intersection(self, other: Self) -> Self {
        Self::between(self.offset.max(other.offset), self.end().min(other.end()))
    }

    /// Whether every byte of `other` lies in this range.
    #[must_use]
    pub fn contains(self, other: Self) -> bool {
        other.is_empty() || (self.offset <= other.offset && other.end() <= self.end())
    }

    /// The smallest range of whole `unit`s that contains this one. `unit` need not be a power of
    /// two.
    #[must_use]
    pub fn aligned_out(self, unit: u64) -> Self {
        let start = self.offset / unit * unit;
        Self::between(start, self.end().div_ceil(unit) * unit)
    }

    /// The indices of the `unit`s that the range touches.
    #[must_use]
    pub fn units(self, unit: u64) -> std::ops::Range<u64> {
        let first = self.offset / unit;
        if self.is_empty() { first..first } else { first..self.end().div_ceil(unit) }
    }
}

impl std::fmt::Display for ByteRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}..{}", self.offset, self.end())
    }
}
