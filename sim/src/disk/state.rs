//! One simulated disk as a pure state machine: requests are submitted and completed, and at any
//! moment it can say which crash images a power cut may leave.

use super::crash_space::CrashSpace;
use super::faults::FaultPlan;
use super::image::Image;
use super::request::{Op, Outcome, Reply, RequestId};
use super::spec::DiskSpec;

/// A disk: durable image, volatile cache, requests in flight.
#[derive(Debug, Clone)]
pub struct DiskState {
    spec: DiskSpec,
    visible: Image,
}

impl DiskState {
    /// A disk that holds `durable` and nothing else.
    #[must_use]
    pub fn new(spec: DiskSpec, durable: Image) -> Self {
        Self { spec, visible: durable }
    }

    /// The same with faults.
    #[must_use]
    pub fn with_faults(self, faults: FaultPlan) -> Self {
        todo!()
    }

    /// What kind of disk it is.
    #[must_use]
    pub fn spec(&self) -> &DiskSpec {
        &self.spec
    }

    /// Length in bytes, as requests see it.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.visible.len()
    }

    /// Whether the length is zero.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What reads see.
    #[must_use]
    pub fn visible(&self) -> &Image {
        &self.visible
    }

    /// Takes a request in flight. A request that the disk rejects (range past the end, fixed
    /// length) is taken too: its only outcome is `Done`, and its reply is the error.
    ///
    /// # Panics
    /// If the id is in flight already, or offset or length is not a multiple of 512.
    pub fn submit(&mut self, id: RequestId, op: Op) {
        todo!()
    }

    /// The ways in which a request in flight may end now, in a fixed order, [`Outcome::Done`] first
    /// if it is among them. Never empty.
    ///
    /// # Panics
    /// If the request is not in flight.
    #[must_use]
    pub fn outcomes(&self, id: RequestId) -> Vec<Outcome> {
        todo!()
    }

    /// Ends a request in flight.
    ///
    /// # Panics
    /// If the request is not in flight, or the outcome makes no sense for it.
    pub fn complete(&mut self, id: RequestId, outcome: Outcome) -> Reply {
        todo!()
    }

    /// Requests in flight with what they ask for, in submission order.
    pub fn in_flight(&self) -> impl Iterator<Item = (RequestId, &Op)> {
        std::iter::empty()
    }

    /// What a power cut at this moment may leave.
    #[must_use]
    pub fn crash_space(&self) -> CrashSpace {
        todo!()
    }
}
