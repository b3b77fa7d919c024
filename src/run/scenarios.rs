//! Finding and reading scenario files.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use plugpull_sim::scenario::Scenario;

use crate::failure::Failure;

/// A scenario and the name of its file.
pub(crate) struct Loaded {
    pub(crate) path: String,
    pub(crate) scenario: Scenario,
}

/// Reads the scenarios that `paths` name: files as they are, folders with everything called
/// `*.toml` in them, sorted by name at each level. The default is the folder `scenarios`.
pub(super) fn load(paths: &[PathBuf]) -> Result<Vec<Loaded>, Failure> {
    let default = [PathBuf::from("scenarios")];
    let paths = if paths.is_empty() { &default[..] } else { paths };
    let mut files = Vec::new();
    for path in paths {
        find(path, &mut files).map_err(|error| {
            Failure::input(format!(
                "{}: {error}; name a scenario file or a folder of them",
                path.display()
            ))
        })?;
    }
    if files.is_empty() {
        let paths: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
        return Err(Failure::input(format!("no scenario files (*.toml) in {}", paths.join(", "))));
    }
    files.iter().map(|file| load_one(file)).collect()
}

/// Reads one scenario file.
pub(crate) fn load_one(file: &Path) -> Result<Loaded, Failure> {
    let path = file.display().to_string();
    let text =
        fs::read_to_string(file).map_err(|error| Failure::input(format!("{path}: {error}")))?;
    let scenario = Scenario::parse(&path, &text)?;
    Ok(Loaded { path, scenario })
}

fn find(path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if !fs::metadata(path)?.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in sorted_entries(path)? {
        let is_scenario = entry.extension().is_some_and(|extension| extension == "toml");
        if is_scenario || entry.is_dir() {
            find(&entry, files)?;
        }
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "sorted right away")]
fn sorted_entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
    let mut entries: Vec<PathBuf> = entries.collect::<io::Result<_>>()?;
    entries.sort();
    Ok(entries)
}
