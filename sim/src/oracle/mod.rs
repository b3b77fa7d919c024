//! The oracle: decides whether what the guest reads is what it was promised.

pub mod model;
pub mod obligations;
pub mod prefix;
pub mod stamp;

pub use model::{End, Moment, SectorModel, Value};
pub use obligations::{Finding, Obligations, Stage};
pub use prefix::{Content, Disagreement, Held, Interval, Position, RepeatedContent, Timeline};
