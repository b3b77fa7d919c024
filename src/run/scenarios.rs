//! Finding and reading scenario files.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use plugpull_engine::file_disk::shown;
use plugpull_sim::scenario::Scenario;

use crate::failure::Failure;

/// The longest scenario file; a counterexample with all its choices has a small part of it.
const LEN_MAX: u64 = 16 << 20;

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
            let path = shown(path);
            Failure::input(format!("{path}: {error}; name a scenario file or a folder of them"))
        })?;
    }
    if files.is_empty() {
        let paths: Vec<String> = paths.iter().map(|path| shown(path)).collect();
        return Err(Failure::input(format!("no scenario files (*.toml) in {}", paths.join(", "))));
    }
    files.iter().map(|file| load_one(file)).collect()
}

/// Reads one scenario file.
pub(crate) fn load_one(file: &Path) -> Result<Loaded, Failure> {
    let path = shown(file);
    let text = read(file).map_err(|error| Failure::input(format!("{path}: {error}")))?;
    let scenario = Scenario::parse(&path, &text)?;
    Ok(Loaded { path, scenario })
}

/// The text of a file that may be anything.
fn read(file: &Path) -> io::Result<String> {
    let other = |message: String| io::Error::other(message);
    let mut bytes = Vec::new();
    File::open(file)?.take(LEN_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LEN_MAX {
        return Err(other(format!("longer than {LEN_MAX} bytes, so it is not a scenario")));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..at].iter().filter(|&&byte| byte == b'\n').count() + 1;
        other(format!("line {line}, byte {at}: not UTF-8 text; a scenario is a TOML file"))
    })
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
