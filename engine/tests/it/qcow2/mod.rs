//! qcow2: structures, creating, checking, repairing.

mod bitmaps;
mod header;
mod snapshots;
