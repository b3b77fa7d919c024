//! Integration tests of the simulator, one module per part.

mod disk_histories;
mod disk_truth_table;
mod executor;
mod real_images;
