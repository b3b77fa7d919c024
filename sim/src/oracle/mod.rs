//! The oracle: decides whether what the guest reads is what it was promised.

pub mod model;
pub mod obligations;
pub mod stamp;

pub use model::{End, Moment, SectorModel, Value};
pub use obligations::{Finding, Obligations, Stage};
