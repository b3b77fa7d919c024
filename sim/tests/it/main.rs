//! Integration tests of the simulator, one module per part.

mod executor;
//! Integration tests of the simulator.

mod disk_histories;
mod disk_truth_table;
