//! Tests of the engine through its public interface.

mod cell;
mod check;
mod create;
mod grow;
mod hostile;
mod hostile_open;
mod journal;
mod lints;
mod live;
mod mem_disk;
mod model;
mod original;
mod original_reads_ours;
mod qcow2;
mod qcow2_judged;
mod random;
mod real_images;
mod world;
