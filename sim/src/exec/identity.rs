//! Who is who: identities that are the same in every schedule.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use xxhash_rust::xxh3::xxh3_64;

/// A short name, stored in place so that whatever carries it can be copied.
///
/// Longer names are cut at [`Name::LEN_MAX`] bytes, the last one becoming `~`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Name {
    len: u8,
    bytes: [u8; Self::LEN_MAX],
}

impl Name {
    /// Bytes that fit.
    pub const LEN_MAX: usize = 15;

    /// The name `text`, cut if it is too long.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let mut bytes = [0; Self::LEN_MAX];
        let len = if text.len() <= Self::LEN_MAX {
            bytes[..text.len()].copy_from_slice(text.as_bytes());
            text.len()
        } else {
            let cut = text.floor_char_boundary(Self::LEN_MAX - 1);
            bytes[..cut].copy_from_slice(&text.as_bytes()[..cut]);
            bytes[cut] = b'~';
            cut + 1
        };
        Self { len: u8::try_from(len).expect("at most LEN_MAX"), bytes }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.len)]).expect("cut between characters")
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

/// The identity of a task: who spawned it, as which of its children, under which name.
///
/// A task started by the harness is a root and is printed as its name, `c0`. A task started by a
/// task is printed as its root, the child numbers that lead to it, and its own name:
/// `c0/2/0:copy-on-read` is the first child of the third child of `c0`. Children are counted per
/// parent, so the identity does not depend on what other tasks did meanwhile.
///
/// The order is that of the spawn tree, parents first; harness roots in the order of their spawning.
#[derive(Clone, Copy)]
pub struct TaskId {
    key: u64,
    root: Name,
    name: Name,
    /// Child numbers from the root down; only the first `depth` count, and what is deeper than the
    /// array is only in `key`.
    path: [u32; Self::PATH_LEN],
    depth: u32,
}

impl TaskId {
    const PATH_LEN: usize = 4;

    /// The harness itself: what is submitted outside of any task.
    #[must_use]
    pub fn harness() -> Self {
        Self::root(0, "harness")
    }

    /// The root `c0`, `c1`... of a harness that starts nothing but clients.
    #[must_use]
    pub fn client(index: u32) -> Self {
        Self::root(index + 1, &format!("c{index}"))
    }

    /// The `number`-th task that the harness started, counted from one.
    #[must_use]
    pub(super) fn root(number: u32, name: &str) -> Self {
        let mut path = [0; Self::PATH_LEN];
        path[0] = number;
        let key = task_key(0, number, name);
        Self { key, root: Name::new(name), name: Name::new(name), path, depth: 1 }
    }

    /// The `number`-th task that this task started.
    #[must_use]
    pub(super) fn child(&self, number: u32, name: &str) -> Self {
        let mut path = self.path;
        if let Some(part) = path.get_mut(self.depth as usize) {
            *part = number;
        }
        let key = task_key(self.key, number, name);
        Self { key, root: self.root, name: Name::new(name), path, depth: self.depth + 1 }
    }

    /// Identifies the task among all tasks of all schedules, up to a hash collision (64 bits).
    #[must_use]
    pub fn key(&self) -> u64 {
        self.key
    }

    /// What the task is: `c0`, `copy-on-read`.
    #[must_use]
    pub fn name(&self) -> Name {
        self.name
    }

    /// The harness root that the task descends from.
    #[must_use]
    pub fn root_name(&self) -> Name {
        self.root
    }

    fn parts(&self) -> &[u32] {
        &self.path[..Self::PATH_LEN.min(self.depth as usize)]
    }
}

/// The key of the `number`-th task of a parent. The name must not be hashed with the rest as a seed:
/// of up to three bytes that would be no more than an exclusive or, and `c12` and `c13` would cancel
/// the difference of their numbers.
fn task_key(parent: u64, number: u32, name: &str) -> u64 {
    let mut bytes = [0; 20];
    bytes[..8].copy_from_slice(&parent.to_le_bytes());
    bytes[8..16].copy_from_slice(&xxh3_64(name.as_bytes()).to_le_bytes());
    bytes[16..].copy_from_slice(&number.to_le_bytes());
    xxh3_64(&bytes)
}

impl Hash for TaskId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}

impl PartialEq for TaskId {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for TaskId {}

impl Ord for TaskId {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_path = self.parts().cmp(other.parts()).then(self.depth.cmp(&other.depth));
        by_path.then(self.key.cmp(&other.key))
    }
}

impl PartialOrd for TaskId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.root)?;
        for part in &self.parts()[1..] {
            write!(f, "/{part}")?;
        }
        if self.depth as usize > Self::PATH_LEN {
            write!(f, "/..{:04x}", self.key & 0xffff)?;
        }
        if self.depth > 1 { write!(f, ":{}", self.name) } else { Ok(()) }
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TaskId({self})")
    }
}

/// Folds `value` into `hash`. Cheap and good enough to notice a difference; not for identities of
/// contents.
#[must_use]
pub(crate) fn mix(hash: u64, value: u64) -> u64 {
    let (low, high) = (hash ^ 0x9e37_79b9_7f4a_7c15).carrying_mul(value ^ 0xa076_1d64_78bd_642f, 0);
    low ^ high ^ hash.rotate_left(23)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_cut_between_characters() {
        let check = |text: &str, expected: &str| assert_eq!(Name::new(text).as_str(), expected);
        check("", "");
        check("c0", "c0");
        check("fifteen letters", "fifteen letters");
        check("sixteen letters!", "sixteen letter~");
        check("thirteen bytesäö", "thirteen bytes~");
        check("thirteen byteäöü", "thirteen byte~");
    }

    #[test]
    fn tasks_with_short_names_have_keys_of_their_own() {
        let clients = (0..1000).map(TaskId::client);
        let children = clients.clone().flat_map(|c| (0..20).map(move |n| c.child(n, "a")));
        let later = (0..1000).map(|n| TaskId::root(n + 2, &format!("c{n}")));
        let keys: BTreeSet<u64> = clients.chain(children).chain(later).map(|t| t.key()).collect();
        assert_eq!(keys.len(), 22_000);
    }

    #[test]
    fn identities_print_their_path_and_sort_by_it() {
        let c0 = TaskId::root(0, "c0");
        let c1 = TaskId::root(1, "c1");
        let first = c0.child(0, "prefetch");
        let second = c0.child(1, "copy-on-read");
        let deep = second.child(0, "a").child(2, "b").child(7, "c").child(1, "d");
        assert_eq!(c0.to_string(), "c0");
        assert_eq!(second.to_string(), "c0/1:copy-on-read");
        assert!(deep.to_string().starts_with("c0/1/0/2/.."), "{deep}");
        let mut all = [c1, deep, second, c0, first];
        all.sort();
        assert_eq!(all, [c0, first, second, deep, c1]);
    }
}
