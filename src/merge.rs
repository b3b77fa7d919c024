//! `plugpull merge`: the report of a run from the documents of its shards.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use plugpull_engine::file_disk::shown;

use crate::failure::Failure;
use crate::run::format::{self, Format};

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The JSON documents of all shards of one run
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// How to report: `text` or `json` to standard output, `FORMAT=FILE` to a file; repeatable
    /// [default: text]
    #[arg(long = "format", value_name = "FORMAT[=FILE]")]
    formats: Vec<Format>,
}

/// The exit code is that of the whole run.
pub(crate) fn run(args: &Args) -> Result<u8, Failure> {
    let files = args.files.iter().map(|file| read(file)).collect::<Result<Vec<_>, _>>()?;
    let report = plugpull_report::merge(&files).map_err(Failure::input)?;
    format::emit(&report, &args.formats)?;
    Ok(report.summary().exit_code())
}

/// The name of a file that may be anything, and its text.
fn read(file: &Path) -> Result<(String, String), Failure> {
    let name = shown(file);
    let mut bytes = Vec::new();
    let limit = plugpull_report::LEN_MAX + 1;
    File::open(file)
        .and_then(|file| file.take(limit).read_to_end(&mut bytes))
        .map_err(|error| Failure::input(format!("{name}: {error}")))?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok((name, text)),
        Err(_) => Err(Failure::input(format!(
            "{name}: not UTF-8 text; name what `plugpull run --shard I/N --format json` has written"
        ))),
    }
}
