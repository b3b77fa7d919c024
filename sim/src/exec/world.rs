//! One execution. (Skeleton: signatures are settled, bodies follow.)

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use plugpull_engine::{Disk, Runtime};

use super::choice::Trace;
use super::end::Step;
use super::identity::TaskId;
use super::options::WorldOptions;
use crate::disk::{CrashSpace, DiskSpec, DiskState, FaultPlan, History, Image};
use crate::schedule::Strategy;

/// One execution: disks, tasks, timers and pending requests. Dropping it drops every task where
/// it stands; nothing more runs.
pub struct World {}

/// What tasks use of their world; cheap to clone, does not keep the world running.
#[derive(Clone)]
pub struct WorldHandle {}

/// The result of a task started with [`World::spawn_value`].
pub struct Output<T>(std::marker::PhantomData<T>);

/// A named event, as reported through [`Runtime::event`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NamedEvent {
    /// The step in which it was reported.
    pub step: usize,
    /// The task that reported it.
    pub task: TaskId,
    /// Its name.
    pub name: &'static str,
}

impl World {
    pub fn new(disks: Vec<(DiskSpec, Image, FaultPlan)>, options: WorldOptions) -> Self {
        unimplemented!()
    }
    pub fn handle(&self) -> WorldHandle {
        unimplemented!()
    }
    /// Same as on the handle: disk, runtime, mark, cancellable.
    pub fn disk(&self, index: usize) -> Arc<dyn Disk> {
        unimplemented!()
    }
    pub fn runtime(&self) -> Arc<dyn Runtime> {
        unimplemented!()
    }
    /// A root task: must end, or the execution hangs.
    pub fn spawn(&mut self, name: &str, task: impl Future<Output = ()> + Send + 'static) -> TaskId {
        unimplemented!()
    }
    /// A root task that may stay unfinished.
    pub fn spawn_daemon(&mut self, name: &str, task: impl Future<Output = ()> + Send + 'static) -> TaskId {
        unimplemented!()
    }
    /// A root task with a result.
    pub fn spawn_value<T: Send + 'static>(&mut self, name: &str, task: impl Future<Output = T> + Send + 'static) -> Output<T> {
        unimplemented!()
    }
    /// One event. After an end, the same end again.
    pub fn step(&mut self, strategy: &mut Box<dyn Strategy>) -> Step {
        unimplemented!()
    }
    /// Steps to the end.
    pub fn run(&mut self, strategy: &mut Box<dyn Strategy>) -> Step {
        unimplemented!()
    }
    /// Events that have happened: the index of the next step.
    pub fn steps(&self) -> usize {
        unimplemented!()
    }
    pub fn now(&self) -> Duration {
        unimplemented!()
    }
    pub fn crash_spaces(&self) -> Vec<CrashSpace> {
        unimplemented!()
    }
    pub fn with_disk<R>(&self, index: usize, look: impl FnOnce(&DiskState) -> R) -> R {
        unimplemented!()
    }
    /// What the recorder has, so far.
    pub fn history(&self) -> History {
        unimplemented!()
    }
    pub fn events(&self) -> BTreeSet<&'static str> {
        unimplemented!()
    }
    pub fn event_log(&self) -> Vec<NamedEvent> {
        unimplemented!()
    }
    /// The choices so far.
    pub fn trace(&self) -> Trace {
        unimplemented!()
    }
    /// Hash of everything that happened so far.
    pub fn past(&self) -> u64 {
        unimplemented!()
    }
}

impl WorldHandle {
    pub fn disk(&self, index: usize) -> Arc<dyn Disk> {
        unimplemented!()
    }
    pub fn runtime(&self) -> Arc<dyn Runtime> {
        unimplemented!()
    }
    /// A mark in the recorder and in the past.
    pub fn mark(&self, text: &str) {
        unimplemented!()
    }
    pub fn step_index(&self) -> usize {
        unimplemented!()
    }
    /// Runs `future`; while it is pending and the world has cancel budget left, giving it up is
    /// one of the choices of every step. None when it was given up.
    pub fn cancellable<F>(&self, name: &str, future: F) -> impl Future<Output = Option<F::Output>> + Send + 'static
    where
        F: Future + Send + 'static,
        F::Output: Send,
    {
        async move { Some(future.await) }
    }
}

impl<T> Output<T> {
    /// The result, once, if the task has ended.
    pub fn take(&self) -> Option<T> {
        unimplemented!()
    }
}
