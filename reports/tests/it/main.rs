//! Rendered reports, compared with golden files.

mod reports;
