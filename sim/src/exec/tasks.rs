//! The tasks of an execution: who they are and which are ready. Their futures are elsewhere.

use super::end::Waiting;
use super::identity::{TaskId, mix};
use super::tracking::{Enablers, Learned, fold};
use crate::disk::RequestId;

/// Position of a task in the order of spawning; means nothing outside of one execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TaskIndex(pub(super) usize);

/// The tasks and the ready set.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    records: Vec<Record>,
    /// Ready tasks in the order of their identities: a set, not a queue.
    ready: Vec<TaskIndex>,
    /// Tasks that the harness started.
    roots: u32,
    /// Unfinished tasks that are not daemons.
    unfinished: usize,
}

#[derive(Debug)]
struct Record {
    id: TaskId,
    daemon: bool,
    ready: bool,
    /// What has woken it since it ran last.
    wakers: Enablers,
    ended: bool,
    children: u32,
    requests: u32,
    /// How often it has forgotten what was before.
    chapter: u32,
    /// Requests up to the last time.
    requests_before: u32,
    sleeps: u32,
    objects: u32,
    learned: Learned,
}

impl Tasks {
    /// A task that descends from `parent`, or from the harness, ready since `step`. A daemon's
    /// children are daemons. A task knows what its parent knew; one of the harness, what is `left`.
    pub(super) fn spawn(
        &mut self,
        parent: Option<TaskIndex>,
        name: &str,
        daemon: bool,
        step: Option<usize>,
        left: u128,
    ) -> TaskIndex {
        let (id, daemon, inherited) = match parent {
            None => {
                self.roots += 1;
                (TaskId::root(self.roots, name), daemon, left)
            }
            Some(TaskIndex(parent)) => {
                let parent = &mut self.records[parent];
                parent.children += 1;
                let id = parent.id.child(parent.children - 1, name);
                (id, parent.daemon, parent.learned.key())
            }
        };
        let task = TaskIndex(self.records.len());
        self.records.push(Record {
            id,
            daemon,
            ready: false,
            wakers: Enablers::default(),
            ended: false,
            children: 0,
            requests: 0,
            chapter: 0,
            requests_before: 0,
            sleeps: 0,
            objects: 0,
            learned: Learned::from(id.key(), inherited),
        });
        self.unfinished += usize::from(!daemon);
        self.wake(task, step);
        task
    }

    /// Puts the task into the ready set in this step, unless it has ended.
    pub(super) fn wake(&mut self, task: TaskIndex, step: Option<usize>) {
        let record = &mut self.records[task.0];
        if record.ended {
            return;
        }
        if std::mem::replace(&mut record.ready, true) {
            record.wakers.others.extend(step);
            return;
        }
        record.wakers.first = step;
        record.wakers.others.clear();
        let id = record.id;
        let place = self.ready.partition_point(|other| self.records[other.0].id < id);
        self.ready.insert(place, task);
    }

    /// Takes the `place`-th task out of the ready set.
    pub(super) fn take_ready(&mut self, place: usize) -> TaskIndex {
        let task = self.ready.remove(place);
        self.records[task.0].ready = false;
        task
    }

    /// What has woken the task since it ran last, or had when it began to run.
    pub(super) fn wakers(&self, task: TaskIndex) -> &Enablers {
        &self.records[task.0].wakers
    }

    /// The ready set, in the order of identities.
    pub(super) fn ready(&self) -> &[TaskIndex] {
        &self.ready
    }

    pub(super) fn id(&self, task: TaskIndex) -> TaskId {
        self.records[task.0].id
    }

    /// The task's future has ended; later wake-ups mean nothing.
    pub(super) fn end(&mut self, task: TaskIndex) {
        let record = &mut self.records[task.0];
        assert!(!record.ended, "{} ends twice", record.id);
        record.ended = true;
        let daemon = record.daemon;
        if std::mem::take(&mut record.ready) {
            self.ready.retain(|&other| other != task);
        }
        self.unfinished -= usize::from(!daemon);
    }

    /// What the task has learned.
    pub(super) fn learned(&mut self, task: TaskIndex) -> &mut Learned {
        &mut self.records[task.0].learned
    }

    /// Whether the task may stay unfinished.
    pub(super) fn is_daemon(&self, task: TaskIndex) -> bool {
        self.records[task.0].daemon
    }

    /// What identifies what each unfinished task knows, and whether it is ready.
    pub(super) fn keys(&self) -> impl Iterator<Item = (String, u128)> + '_ {
        let unfinished = self.records.iter().filter(|record| !record.ended);
        unfinished.map(|record| {
            let ready = if record.ready { ", ready" } else { "" };
            (format!("task {}{ready}", record.id), record.learned.key())
        })
    }

    /// Identifies what the unfinished tasks know, and which are ready.
    pub(super) fn key(&self) -> u128 {
        let unfinished = self.records.iter().filter(|record| !record.ended);
        let keys = unfinished
            .map(|record| fold(record.learned.key(), record.id.key(), u128::from(record.ready)));
        keys.fold(0, u128::wrapping_add)
    }

    /// Number of the next object that the task makes.
    pub(super) fn next_object(&mut self, task: TaskIndex) -> u32 {
        next(&mut self.records[task.0].objects)
    }

    /// Whether every task that has to end has ended.
    pub(super) fn all_ended(&self) -> bool {
        self.unfinished == 0
    }

    /// The next request of the task; the harness's requests are counted by the caller.
    ///
    /// What identifies it is its place among those since the task last forgot what was before: how
    /// many there were then is forgotten, too.
    pub(super) fn next_request(&mut self, task: TaskIndex) -> RequestId {
        let record = &mut self.records[task.0];
        let number = next(&mut record.requests);
        let place = u64::from(record.chapter) << 32 | u64::from(number - record.requests_before);
        RequestId { task: record.id, number, key: mix(record.id.key(), place) }
    }

    /// The task remembers nothing but what `live` identifies.
    pub(super) fn forget(&mut self, task: TaskIndex, live: u128) {
        let record = &mut self.records[task.0];
        record.chapter += 1;
        record.requests_before = record.requests;
        let counters = u64::from(record.children) << 32 ^ u64::from(record.sleeps) << 16;
        let kept = fold(live, counters ^ u64::from(record.objects), u128::from(record.chapter));
        record.learned = Learned::from(record.id.key(), kept);
    }

    pub(super) fn next_sleep(&mut self, task: TaskIndex) -> u32 {
        next(&mut self.records[task.0].sleeps)
    }

    /// The unfinished tasks, daemons left out, in the order of identities.
    pub(super) fn waiting(&self) -> Vec<(TaskIndex, Waiting)> {
        let mut waiting: Vec<_> = self
            .records
            .iter()
            .enumerate()
            .filter(|(_, record)| !record.ended && !record.daemon)
            .map(|(index, record)| (TaskIndex(index), Waiting { task: record.id, inside: None }))
            .collect();
        waiting.sort_by_key(|(_, waiting)| waiting.task);
        waiting
    }
}

/// The counter's value, counting it.
fn next(counter: &mut u32) -> u32 {
    *counter += 1;
    *counter - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_set_forgets_the_order_of_wake_ups() {
        let mut tasks = Tasks::default();
        let c0 = tasks.spawn(None, "c0", false, None, 0);
        let c1 = tasks.spawn(None, "c1", false, None, 0);
        let child = tasks.spawn(Some(c0), "child", false, None, 0);
        assert_eq!(tasks.ready(), [c0, child, c1]);
        for _ in 0..3 {
            tasks.take_ready(0);
        }
        for (step, task) in [c1, child, c1, c0].into_iter().enumerate() {
            tasks.wake(task, Some(step));
        }
        assert_eq!(tasks.ready(), [c0, child, c1]);
        let wakers = |task, first, others: &[usize]| {
            let expected = Enablers { first: Some(first), others: others.to_vec() };
            assert_eq!(*tasks.wakers(task), expected);
        };
        wakers(c0, 3, &[]);
        wakers(child, 1, &[]);
        wakers(c1, 0, &[2]);
        tasks.end(child);
        tasks.wake(child, Some(4));
        assert_eq!(tasks.ready(), [c0, c1]);
        assert!(!tasks.all_ended());
        tasks.end(c0);
        tasks.end(c1);
        assert!(tasks.all_ended());
    }
}
