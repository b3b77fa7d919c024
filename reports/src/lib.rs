//! Results of plugpull as text and JSON.
//!
//! A [`RunReport`] is everything that one run of the program found. [`text::render`] is for people
//! and leads with what was not expected; [`json::render`] is for programs, and its names are a
//! contract. Both are functions of the report alone: same results, same bytes, except for the
//! times, which stand in `seconds` and on the last line of the text.

pub mod json;
mod merge;
mod run;
pub mod text;

pub use merge::{LEN_MAX, merge};
pub use run::{RunReport, ScenarioReport, ShardHeader, Summary};
