//! The simulated disk: durable bytes, a volatile cache, faults, device models, the recorder.

pub mod image;
pub mod request;

pub use image::Image;
pub use request::{Op, OpKind, Outcome, Reply};
