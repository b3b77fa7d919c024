//! The simulated disk: durable bytes, a volatile cache, faults, device models, the recorder.

pub mod crash_space;
pub mod faults;
pub mod image;
pub(crate) mod port;
pub mod recorder;
pub mod request;
pub mod spec;
pub mod state;

pub use crash_space::CrashSpace;
pub use faults::{Fault, FaultEffect, FaultPlan, Which};
pub use image::Image;
pub use recorder::{Event, History};
pub use request::{Op, OpKind, Outcome, Reply, RequestId};
pub use spec::{DiscardContent, DiskSpec, FailedFlush, Model};
pub use state::DiskState;
