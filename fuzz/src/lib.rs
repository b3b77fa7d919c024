//! What the fuzz targets share: small images on simulated disks.
//!
//! The targets themselves are thin: they turn bytes into input, call a function of the engine or
//! the simulator, and assert what must hold whatever the input is.

pub mod config;
pub mod damage;
pub mod qcow2;
pub mod session;
