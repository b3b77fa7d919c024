//! The oracle: decides whether what the guest reads is what it was promised.

pub mod allowed;
pub mod model;
pub mod obligations;
pub mod prefix;
mod sector_map;
pub mod stamp;
pub mod view;

pub use allowed::Allowed;
pub use model::{CopyInFlight, End, FlushInFlight, Moment, ReadInFlight, SectorModel, Value};
pub use obligations::{EVERY_SECTOR, Finding, Obligations, Stage};
pub use prefix::{Content, Disagreement, Held, Interval, Position, RepeatedContent, Timeline};
pub use view::View;
