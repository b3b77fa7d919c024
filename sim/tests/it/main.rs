//! Integration tests of the simulator.

mod disk_histories;
mod disk_reference;
mod disk_requests;
mod disk_truth_table;
