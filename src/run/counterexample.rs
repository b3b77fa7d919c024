//! Counterexamples as files that replay.

use std::fs;
use std::path::{Component, Path, PathBuf};

use plugpull_sim::scenario::Scenario;
use plugpull_sim::verdict::{ScenarioResult, Violation};

use crate::failure::Failure;

/// Writes the counterexample of each violation of a scenario that was read from `file` below `out`,
/// and says where.
pub(super) fn write_all(
    out: &Path,
    file: &str,
    scenario: &Scenario,
    result: &ScenarioResult,
) -> Result<Vec<Option<String>>, Failure> {
    let write = |violation: &Violation| {
        let path = place(out, Path::new(file), violation.invariant.name());
        let name = path.display().to_string();
        let failed = |error| Failure::input(format!("cannot write counterexample {name}: {error}"));
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        fs::write(&path, text(file, &name, violation, scenario)).map_err(failed)?;
        Ok(Some(name))
    };
    result.violations.iter().map(write).collect()
}

/// Below `out`, at the place of the scenario, with the invariant in the name: counterexamples of
/// different scenarios never share a file.
fn place(out: &Path, scenario: &Path, invariant: &str) -> PathBuf {
    let mut path = out.to_owned();
    for part in scenario.parent().into_iter().flat_map(Path::components) {
        match part {
            Component::Normal(name) => path.push(name),
            Component::ParentDir => path.push("_"),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    let stem = scenario.file_stem().unwrap_or_default().to_string_lossy();
    path.push(format!("{stem}-{invariant}.toml"));
    path
}

/// The file: the story as comments, then the scenario.
fn text(file: &str, name: &str, violation: &Violation, scenario: &Scenario) -> String {
    let invariant = violation.invariant;
    let mut lines = vec![
        format!("{invariant}: {}", violation.message),
        invariant.sentence().to_owned(),
        format!("Found in {file}. Replay it: plugpull replay {name}"),
    ];
    if !violation.story.is_empty() {
        lines.push(String::new());
        lines.extend(violation.story.iter().cloned());
    }
    let mut text = String::new();
    for line in lines.iter().flat_map(|line| if line.is_empty() { "\n" } else { line }.lines()) {
        // Comments end at control characters, and may not hold them.
        let line: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        text.push_str(format!("# {line}").trim_end());
        text.push('\n');
    }
    text.push_str(&scenario.counterexample(violation).to_toml());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_has_its_own_place() {
        let cases = [
            ("scenarios/fvd/x.toml", "out/scenarios/fvd/x-D-DUR.toml"),
            ("./x.toml", "out/x-D-DUR.toml"),
            ("../a/x.toml", "out/_/a/x-D-DUR.toml"),
            ("/a/x.toml", "out/a/x-D-DUR.toml"),
        ];
        for (scenario, expected) in cases {
            assert_eq!(place(Path::new("out"), Path::new(scenario), "D-DUR"), Path::new(expected));
        }
    }
}
