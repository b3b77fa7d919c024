//! What a step has touched: the objects of the world, and when two steps depend on each other.
//!
//! Everything through which a step can make a difference to another one is a part of some object.
//! What the engine's tasks share names itself (see [`plugpull_engine::sync`]); the rest is the
//! world's own. For a disk:
//!
//! | what happens | accesses |
//! |---|---|
//! | a change is submitted | `Sectors` write, `Length` read |
//! | a change completes | `Sectors` write, `Visible` write, `Completed` add; at an `ordered` disk also `Order` write |
//! | a read is submitted, completes | `Length` read; `Visible` read |
//! | a flush is submitted, completes | `Completed` read; `Lengths` add |
//! | a length change is submitted | everything of `Sectors` and `Lengths` write |
//! | a length change completes | everything of `Sectors`, `Visible`, `Length`, `Lengths` write, `Completed` add |
//! | a request ends otherwise than as asked | everything of all of these write |
//!
//! So a flush commutes with everything but the completions of changes before it is *submitted*:
//! those are what it covers. A write with PREFLUSH is both. A task that becomes ready is an `add` to
//! its readiness, running it a `write`.

use std::ops::Range;
use std::sync::Arc;

use plugpull_engine::sync::{Access, WHOLE};
use serde::{Deserialize, Serialize};

use super::identity::mix;
use crate::orders;

/// An access of a step to a part of an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Accessed {
    pub(crate) object: u64,
    pub(crate) part: (u64, u64),
    pub(crate) access: Access,
}

impl Accessed {
    pub(crate) fn new(object: u64, part: Range<u64>, access: Access) -> Self {
        Self { object, part: (part.start, part.end), access }
    }

    fn conflicts(&self, other: &Self) -> bool {
        self.object == other.object
            && self.part.0 < other.part.1
            && other.part.0 < self.part.1
            && self.access.conflicts(other.access)
    }
}

/// Everything that a step has touched. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Stored>", into = "Vec<Stored>")]
pub struct Footprint {
    /// In order, without repetition.
    accesses: Arc<[Accessed]>,
}

/// An access as it is stored: the object, the part, the kind.
type Stored = (u64, u64, u64, u8);

impl From<Footprint> for Vec<Stored> {
    fn from(footprint: Footprint) -> Self {
        let stored = |accessed: &Accessed| {
            let Accessed { object, part, access } = accessed;
            (*object, part.0, part.1, *access as u8)
        };
        footprint.accesses.iter().map(stored).collect()
    }
}

impl TryFrom<Vec<Stored>> for Footprint {
    type Error = &'static str;

    fn try_from(stored: Vec<Stored>) -> Result<Self, Self::Error> {
        let kinds = [Access::Read, Access::Add, Access::Write];
        let accesses = stored.into_iter().map(|(object, start, end, kind)| {
            let access = *kinds.get(usize::from(kind)).ok_or("an access of an unknown kind")?;
            Ok(Accessed::new(object, start..end, access))
        });
        let mut accesses = accesses.collect::<Result<Vec<_>, Self::Error>>()?;
        Ok(Self::new(&mut accesses))
    }
}

impl Footprint {
    /// Of these accesses, in any order.
    pub(crate) fn new(accesses: &mut Vec<Accessed>) -> Self {
        accesses.sort_unstable();
        accesses.dedup();
        Self { accesses: accesses.as_slice().into() }
    }

    /// Of everything that several steps have touched.
    pub(crate) fn union<'a>(several: impl Iterator<Item = &'a Self>) -> Self {
        Self::new(&mut several.flat_map(|one| one.accesses.iter().cloned()).collect())
    }
}

impl orders::Footprint for Footprint {
    fn conflicts(&self, other: &Self) -> bool {
        // Both are sorted by object, so the objects that both have are found in one pass.
        let (mut one, mut other) = (&*self.accesses, &*other.accesses);
        while let (Some(a), Some(b)) = (one.first(), other.first()) {
            if a.object < b.object {
                one = &one[1..];
            } else if b.object < a.object {
                other = &other[1..];
            } else {
                let of = |list: &[Accessed]| list.partition_point(|x| x.object == a.object);
                let (ones, others) = (&one[..of(one)], &other[..of(other)]);
                if ones.iter().any(|a| others.iter().any(|b| a.conflicts(b))) {
                    return true;
                }
                (one, other) = (&one[ones.len()..], &other[others.len()..]);
            }
        }
        false
    }

    fn key(&self) -> u64 {
        let one = |hash, accessed: &Accessed| {
            let Accessed { object, part, access } = *accessed;
            [object, part.0, part.1, access as u64].into_iter().fold(hash, mix)
        };
        self.accesses.iter().fold(0, one)
    }
}

/// An object of the world.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Object {
    /// Whether the task with this key is ready.
    Ready(u64),
    /// Where the reply of the request with this key waits.
    Reply(u64),
    /// A timer: the key of its task, and its number.
    Timer(u64, u32),
    /// How many tasks have not ended. Timers fire for those.
    Unfinished,
    /// What a power cut may leave in the sectors of a disk.
    Sectors(usize),
    /// What reads of the sectors of a disk see.
    Visible(usize),
    /// Which changes of a disk have completed.
    Completed(usize),
    /// The length of a disk, as requests see it.
    Length(usize),
    /// What the length of a disk may be after a power cut.
    Lengths(usize),
    /// The order in which the changes of a disk have completed, where that matters.
    Order(usize),
    /// Which faults of a disk have hit.
    Faults(usize),
    /// How many requests of each kind a disk has got, where a fault counts them.
    Counted(usize),
    /// Everything that tasks share of an engine that does not tell.
    Engine,
    /// What the harness knows of the guest; what its parts are is the guest's business.
    Guest(u64),
}

impl Object {
    /// What the harness knows of disk requests that went wrong.
    pub(crate) const GUEST_FAULTS: Self = Self::Guest(2);
    /// What the harness knows of the device being closed. No disk may change afterwards.
    pub(crate) const GUEST_CLOSED: Self = Self::Guest(3);

    /// The name: the same in every schedule, and not that of any other object, up to a hash
    /// collision.
    pub(crate) fn name(self) -> u64 {
        let (kind, which, number) = match self {
            Self::Ready(task) => (1, task, 0),
            Self::Reply(request) => (2, request, 0),
            Self::Timer(task, number) => (3, task, u64::from(number)),
            Self::Unfinished => (4, 0, 0),
            Self::Sectors(disk) => (5, disk as u64, 0),
            Self::Visible(disk) => (6, disk as u64, 0),
            Self::Completed(disk) => (7, disk as u64, 0),
            Self::Length(disk) => (8, disk as u64, 0),
            Self::Lengths(disk) => (9, disk as u64, 0),
            Self::Order(disk) => (10, disk as u64, 0),
            Self::Faults(disk) => (11, disk as u64, 0),
            Self::Counted(disk) => (12, disk as u64, 0),
            Self::Engine => (13, 0, 0),
            Self::Guest(part) => (14, part, 0),
        };
        mix(mix(mix(0x6f62_6a65_6374, kind), which), number)
    }

    /// An access to all of it.
    pub(crate) fn whole(self, access: Access) -> Accessed {
        Accessed::new(self.name(), WHOLE, access)
    }

    /// An access to a part of it.
    pub(crate) fn part(self, part: Range<u64>, access: Access) -> Accessed {
        Accessed::new(self.name(), part, access)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orders::Footprint as _;

    #[test]
    fn footprints_conflict_where_two_of_their_accesses_do() {
        let part = |object, range: Range<u64>, access| Accessed::new(object, range, access);
        let of = |accesses: &[Accessed]| Footprint::new(&mut accesses.to_vec());
        let check = |one: &[Accessed], other: &[Accessed], expected| {
            assert_eq!(of(one).conflicts(&of(other)), expected, "{one:?} {other:?}");
            assert_eq!(of(other).conflicts(&of(one)), expected, "{one:?} {other:?}");
        };
        let (read, add, write) = (Access::Read, Access::Add, Access::Write);
        check(&[], &[part(1, 0..9, write)], false);
        check(&[part(1, 0..4, write)], &[part(1, 4..8, write)], false);
        check(&[part(1, 0..5, write)], &[part(1, 4..8, read)], true);
        check(&[part(1, 0..5, read)], &[part(1, 4..8, read)], false);
        check(&[part(1, 0..5, add)], &[part(1, 4..8, add)], false);
        check(&[part(1, 0..5, add)], &[part(1, 4..8, read)], true);
        check(&[part(1, 0..5, write)], &[part(2, 0..5, write)], false);
        let one = [part(1, 0..1, write), part(2, 0..1, read), part(2, 7..9, write)];
        let other = [part(0, 0..9, write), part(1, 1..2, write), part(2, 8..9, read)];
        check(&one, &other, true);
        check(&one[..2], &other, false);
    }
}
