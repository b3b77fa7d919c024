//! Integration tests of the simulator, one module per part.

mod collapse;
mod disk_histories;
mod disk_reference;
mod disk_requests;
mod disk_truth_table;
mod executor;
mod explore;
#[path = "../../models/mod.rs"]
mod models;
mod named_invariants;
mod orders;
mod qcow2_judged;
mod real_images;
mod reordered;
mod second_power_cut;
mod self_check;
mod snapshots;
mod toys;
