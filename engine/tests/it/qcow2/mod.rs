//! qcow2: structures, creating, checking, repairing.

mod adversary;
mod bitmaps;
mod check;
mod create;
mod damaged;
mod flushes;
mod header;
mod hostile;
mod qemu;
mod qemu_images;
mod repair;
mod snapshots;
