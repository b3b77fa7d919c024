//! Tests of the engine through its public interface.

mod check;
mod create;
mod grow;
mod hostile;
mod journal;
mod mem_disk;
mod model;
mod random;
mod world;

/// How many random cases to run, unless the environment asks for more.
fn cases(default: u64) -> u64 {
    std::env::var("CASES").map_or(default, |cases| cases.parse().unwrap())
}
