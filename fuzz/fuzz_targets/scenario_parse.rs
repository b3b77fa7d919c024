//! Any text as a scenario file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plugpull_sim::scenario::Scenario;

fuzz_target!(|text: &str| {
    match Scenario::parse("fuzz.toml", text) {
        Ok(scenario) => {
            let printed = scenario.to_toml();
            let again = Scenario::parse("printed.toml", &printed);
            let again = again.unwrap_or_else(|error| panic!("{error}\nin\n{printed}"));
            assert_eq!(again, scenario, "printed and read again");
            assert_eq!(again.to_toml(), printed, "printed again");
        }
        Err(error) => assert!(!error.render(false).is_empty()),
    }
});
