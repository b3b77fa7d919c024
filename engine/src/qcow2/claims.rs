//! Which clusters are in use as metadata that a repair cannot make anew.
//!
//! Refcount table and refcount blocks are not among them: they follow from everything else.

use std::collections::BTreeMap;
use std::ops::Range;

/// Ranges of clusters that do not overlap.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Claims {
    /// First cluster, and one past the last.
    ranges: BTreeMap<u64, u64>,
}

impl Claims {
    /// Whether any of the clusters is claimed.
    pub(super) fn overlap(&self, clusters: &Range<u64>) -> bool {
        let before = self.ranges.range(..clusters.end).next_back();
        !clusters.is_empty() && before.is_some_and(|(_, &end)| end > clusters.start)
    }

    /// Claims the clusters, if none of them is claimed yet.
    #[must_use]
    pub(super) fn claim(&mut self, clusters: &Range<u64>) -> bool {
        let free = !self.overlap(clusters);
        if free && !clusters.is_empty() {
            self.ranges.insert(clusters.start, clusters.end);
        }
        free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_do_not_overlap() {
        let mut claims = Claims::default();
        for (clusters, claimed) in [
            (4..6, true),
            (5..6, false),
            (3..5, false),
            (0..9, false),
            (6..7, true),
            (3..4, true),
            (5..5, true),
            (0..3, true),
            (7..9, true),
            (8..10, false),
        ] {
            assert_eq!(claims.claim(&clusters), claimed, "{clusters:?}");
        }
        assert!(claims.overlap(&(0..1)) && !claims.overlap(&(9..10)) && !claims.overlap(&(4..4)));
    }
}
