//! FVD images.

pub mod planted;
