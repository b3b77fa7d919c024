//! The world around a storage engine: simulated disks with a volatile cache, a deterministic
//! executor, schedules, power cuts, and the oracle that judges what recovery brings back.
//!
//! Data flows one way: scenario, workload, engine over the simulated disk, recorded history,
//! crash states, recovery, oracle, verdict.

pub mod crash;
pub mod disk;
pub mod exec;
pub mod explore;
mod fingerprint;
pub mod oracle;
pub mod orders;
pub mod scenario;
pub mod schedule;
pub mod system;
pub mod verdict;
pub mod workload;
