//! Integration tests of the simulator.

mod disk_histories;
mod disk_reference;
mod disk_truth_table;
