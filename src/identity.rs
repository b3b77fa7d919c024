//! What makes two runs the same: the program, the options and the scenarios, as hashes.

use std::fs;

use plugpull_sim::scenario::Scenario;
use xxhash_rust::xxh3::xxh3_128;

use crate::failure::Failure;

/// The hash of the program that is running.
pub(crate) fn program() -> Result<u128, Failure> {
    let bytes = std::env::current_exe().and_then(fs::read).map_err(|error| {
        Failure::Broken(format!("cannot read the program itself, to identify it: {error}"))
    })?;
    Ok(xxh3_128(&bytes))
}

/// The hash of a scenario: of what it says, however it is written down.
pub(crate) fn scenario(scenario: &Scenario) -> u128 {
    xxh3_128(scenario.to_toml().as_bytes())
}

/// The hash of options that make a difference to results, as text.
pub(crate) fn options(text: &str) -> u128 {
    xxh3_128(text.as_bytes())
}
