//! The abelian groups that digests are sums in, and their subgroups.

use super::rule::Algorithm;

/// What addition means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Group {
    /// Bitwise: vectors over GF(2). Plus and minus are the same.
    Xor,
    /// Integers modulo 2^32.
    Integers32,
}

/// Order of [`Group::Integers32`].
const INTEGERS32: u64 = 1 << 32;

impl Group {
    /// The group of the algorithm's digests, if it has one.
    pub(super) fn of(algorithm: Algorithm) -> Option<Self> {
        match algorithm {
            Algorithm::Crc32 | Algorithm::Crc32c | Algorithm::Xor8 | Algorithm::Xor64 => {
                Some(Self::Xor)
            }
            Algorithm::Sum32 => Some(Self::Integers32),
            Algorithm::Xxh3 => None,
        }
    }

    pub(super) fn plus(self, a: u64, b: u64) -> u64 {
        match self {
            Self::Xor => a ^ b,
            Self::Integers32 => a.wrapping_add(b) % INTEGERS32,
        }
    }

    pub(super) fn minus(self, a: u64, b: u64) -> u64 {
        match self {
            Self::Xor => a ^ b,
            Self::Integers32 => a.wrapping_sub(b) % INTEGERS32,
        }
    }
}

/// All sums of some elements, each taken any number of times.
#[derive(Debug, Clone)]
pub(super) enum Subgroup {
    Span(Span),
    /// Of a power of two that divides 2^32; cyclic groups have no other subgroups.
    MultiplesOf(u64),
}

impl Subgroup {
    /// The one that holds only zero.
    pub(super) fn trivial(group: Group) -> Self {
        match group {
            Group::Xor => Self::Span(Span { basis: Vec::new() }),
            Group::Integers32 => Self::MultiplesOf(INTEGERS32),
        }
    }

    /// Adds a generator.
    pub(super) fn extend(&mut self, element: u64) {
        match self {
            Self::Span(span) => span.extend(element),
            Self::MultiplesOf(divisor) => *divisor = 1 << (*divisor | element).trailing_zeros(),
        }
    }

    pub(super) fn contains(&self, element: u64) -> bool {
        match self {
            Self::Span(span) => span.reduced(element) == 0,
            Self::MultiplesOf(divisor) => element.is_multiple_of(*divisor),
        }
    }
}

/// A subspace of GF(2)^64, by a basis that Gaussian elimination gives.
#[derive(Debug, Clone)]
pub(super) struct Span {
    /// The highest bit of each vector is zero in all that come after it.
    basis: Vec<u64>,
}

impl Span {
    fn extend(&mut self, vector: u64) {
        let rest = self.reduced(vector);
        if rest != 0 {
            self.basis.push(rest);
        }
    }

    /// What is left of `vector` when the highest bit of every basis vector is eliminated; zero
    /// exactly for members.
    fn reduced(&self, vector: u64) -> u64 {
        // Adding a vector makes the rest smaller exactly if it clears its own highest bit there.
        self.basis.iter().fold(vector, |rest, pivot| rest.min(rest ^ pivot))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Membership of `elements` against the closure under addition.
    fn check(group: Group, generators: &[u64], elements: impl Iterator<Item = u64>) {
        let mut subgroup = Subgroup::trivial(group);
        let mut closure = BTreeSet::from([0]);
        for &generator in generators {
            subgroup.extend(generator);
            loop {
                let sums: BTreeSet<_> = closure.iter().map(|&a| group.plus(a, generator)).collect();
                if sums.is_subset(&closure) {
                    break;
                }
                closure.extend(sums);
            }
        }
        for element in elements {
            let expected = closure.contains(&element);
            assert_eq!(subgroup.contains(element), expected, "{element:#x} from {generators:x?}");
        }
    }

    #[test]
    fn a_span_contains_the_sums_of_its_generators() {
        for a in 0..32 {
            for b in 0..32 {
                for c in [0, 1, 6, 17, 31] {
                    check(Group::Xor, &[a, b, c], 0..64);
                }
            }
        }
    }

    #[test]
    fn integers_contain_the_multiples_of_what_generates_them() {
        let mut subgroup = Subgroup::trivial(Group::Integers32);
        assert!(subgroup.contains(0) && !subgroup.contains(1 << 31));
        for (generator, divisor) in [(0, 1 << 32), (3 << 29, 1 << 29), (1 << 30, 1 << 29), (6, 2)] {
            subgroup.extend(generator);
            for element in (0..32).map(|shift| 1_u64 << shift).chain([0, 3 << 28, 5 << 29, 7]) {
                assert_eq!(subgroup.contains(element), element % divisor == 0, "{element:#x}");
            }
        }
        // Multiples of 2^26, so that the closures are small.
        for a in 0..8 {
            for b in 0..8 {
                check(Group::Integers32, &[a << 26, b << 28], (0..64).map(|n| n << 26));
            }
        }
    }
}
