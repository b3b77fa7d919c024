//! A cell that tasks share.

use std::hash::Hash;
use std::ops::Range;

use super::cell::Cell;
use super::track::{Access, Object, Tracker, WHOLE};

/// State that several tasks read and change, in short steps that cannot be interrupted.
///
/// There is no guard to hold across an `.await`: every access is a closure that runs to its end.
/// A closure must not use the same cell again, and what it learns of the value leaves it in its
/// result and in no other way: that is what makes the result all that the task knows.
///
/// A value with parts (a table, a bitmap) is accessed by parts: accesses to different parts commute.
/// What a part is, is the business of the value's owner, who keeps closures to the part they name.
#[derive(Debug)]
pub struct Shared<T> {
    value: Cell<T>,
    object: Object,
}

impl<T: Hash> Shared<T> {
    /// A cell with an initial value.
    pub fn new(tracker: &Tracker, value: T) -> Self {
        let object = Object::new(tracker, "shared");
        object.holds(&value);
        Self { value: Cell::new(value), object }
    }

    /// Looks at the value.
    pub fn read<R: Hash>(&self, look: impl Fn(&T) -> R) -> R {
        self.read_part(WHOLE, look)
    }

    /// Changes the value.
    pub fn write<R: Hash>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        self.change(WHOLE, Access::Write, change)
    }

    /// Looks at a part of the value.
    pub fn read_part<R: Hash>(&self, part: Range<u64>, look: impl Fn(&T) -> R) -> R {
        self.object.access(part, Access::Read);
        let seen = self.value.with(|value| look(value));
        self.object.learned(&seen);
        seen
    }

    /// Changes a part of the value.
    pub fn write_part<R: Hash>(&self, part: Range<u64>, change: impl FnOnce(&mut T) -> R) -> R {
        self.change(part, Access::Write, change)
    }

    /// Changes a part of the value in a way that commutes with other such changes; see
    /// [`Access::Add`].
    pub fn add(&self, part: Range<u64>, change: impl FnOnce(&mut T)) {
        self.change(part, Access::Add, change);
    }

    fn change<R: Hash>(
        &self,
        part: Range<u64>,
        access: Access,
        change: impl FnOnce(&mut T) -> R,
    ) -> R {
        self.object.access(part, access);
        let result = self.value.with(|value| {
            let result = change(value);
            self.object.holds(value);
            result
        });
        self.object.learned(&result);
        result
    }
}

impl<T: Hash + Copy> Shared<T> {
    /// A copy of the value.
    pub fn get(&self) -> T {
        self.read(|value| *value)
    }

    /// Replaces the value.
    pub fn set(&self, value: T) {
        self.write(|cell| *cell = value);
    }
}
