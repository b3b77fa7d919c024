//! How much of a tree of executions is done.

/// One.
const WHOLE: u64 = 1 << 62;

/// The share of a tree that lies before the current path, in units of 2^-62.
///
/// `levels` are the branchings along the path: how many ways were gone to their end before the
/// current one, of how many. The ways of one branching weigh the same.
pub(super) fn share(levels: impl Iterator<Item = (usize, usize)>) -> u64 {
    let mut weight = u128::from(WHOLE);
    let mut done = 0;
    for (before, count) in levels {
        done += weight * before as u128 / count as u128;
        weight /= count as u128;
    }
    u64::try_from(done).expect("at most the whole")
}

/// All of it.
pub(super) fn whole() -> u64 {
    WHOLE
}

/// How many leaves the whole tree has, if the part not seen is like the one seen; none at the very
/// beginning.
pub(super) fn estimate(leaves: u64, done: u64) -> Option<u128> {
    (u128::from(leaves) * u128::from(WHOLE)).checked_div(u128::from(done))
}
