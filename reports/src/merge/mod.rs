//! The report of a whole run from the documents of its shards.
//!
//! A document that does not belong to the others is refused, and the message says what to do: every
//! shard has to be there once, of one run of one program over the same scenarios. What a document says
//! is believed only as far as its seals hold; they show accidents, not forgeries.

mod scenario;

use std::collections::BTreeMap;

use plugpull_sim::verdict::Division;

use crate::json::VERSION;
use crate::json::document::{Document, Scenario, Shard};
use crate::{RunReport, ScenarioReport};

/// The longest document that is read.
pub const LEN_MAX: u64 = 256 << 20;

/// One shard of the run.
struct Given<'a> {
    file: &'a str,
    document: Document,
}

/// Puts the documents of all shards of a run together: names of files with what they hold.
///
/// # Errors
/// The file that cannot be used, why, and what to do about it.
pub fn merge(files: &[(String, String)]) -> Result<RunReport, String> {
    let mut shards: BTreeMap<u64, Given<'_>> = BTreeMap::new();
    let mut count = None;
    for (file, text) in files {
        let fail = |why: String| format!("{file}: {why}");
        let (index, of, document) = read(text).map_err(fail)?;
        let before = *count.get_or_insert(of);
        if of != before {
            let why = format!(
                "shard {index} of {of}, but others are of {before}; name shards of one run"
            );
            return Err(fail(why));
        }
        if let Some(other) = shards.insert(index, Given { file, document }) {
            let other = other.file;
            return Err(fail(format!("shard {index} of {of}, and so is {other}; leave one out")));
        }
    }
    let count = count.ok_or("no shards; name the JSON documents of all shards of a run")?;
    all_there(&shards, count)?;
    let shards: Vec<Given<'_>> = shards.into_values().collect();
    let (first, others) = shards.split_first().expect("at least one was read");
    others.iter().try_for_each(|other| same_run(first, other))?;
    let scenarios = (0..first.document.scenarios.len()).map(|at| whole(&shards, at));
    Ok(RunReport {
        program: first.document.program.clone(),
        scenarios: scenarios.collect::<Result<_, _>>()?,
        seconds: shards.iter().map(|shard| shard.document.summary.seconds).sum(),
    })
}

/// Reads one document: which shard it is, of how many.
fn read(text: &str) -> Result<(u64, u64, Document), String> {
    const WHAT: &str = "name what `plugpull run --shard I/N --format json` has written";
    if text.len() as u64 > LEN_MAX {
        return Err(format!(
            "longer than {LEN_MAX} bytes, so it is no document of a shard; {WHAT}"
        ));
    }
    let mut document: Document = serde_json::from_str(text)
        .map_err(|error| format!("not the document of a shard: {error}; {WHAT}"))?;
    let version = document.version;
    if version != VERSION {
        return Err(format!("version {version} of the document, expected {VERSION}; {WHAT}"));
    }
    let mut which = None;
    for scenario in &mut document.scenarios {
        let path = scenario.path.escape_default().to_string();
        let (index, count) = match &scenario.shard {
            None => return Err(format!("{path} was not explored by a shard; {WHAT}")),
            Some(shard) => (shard.index, shard.count),
        };
        if *which.get_or_insert((index, count)) != (index, count) || index == 0 || index > count {
            return Err(format!("{path} has shard {index} of {count}; {WHAT}"));
        }
        if !scenario.is_sealed() {
            return Err(format!("the document was changed at {path}; run this shard again"));
        }
    }
    let (index, count) = which.ok_or_else(|| format!("no scenarios; {WHAT}"))?;
    Ok((index, count, document))
}

/// No shard is missing.
fn all_there(shards: &BTreeMap<u64, Given<'_>>, count: u64) -> Result<(), String> {
    const SHOWN_MAX: usize = 16;
    if shards.len() as u64 == count {
        return Ok(());
    }
    let missing = (1..=count).filter(|index| !shards.contains_key(index)).take(SHOWN_MAX);
    let missing: Vec<String> = missing.map(|index| index.to_string()).collect();
    Err(format!(
        "shards are missing of {count}: {}{}; run `plugpull run --shard {}/{count} --format json=FILE` \
         and the others, and name their files as well",
        missing.join(", "),
        if missing.len() == SHOWN_MAX { ", ..." } else { "" },
        missing[0],
    ))
}

/// Whether two shards are of one run.
fn same_run(first: &Given<'_>, other: &Given<'_>) -> Result<(), String> {
    let refuse = |what: &str, remedy: &str| {
        Err(format!("{}: {what} than {}; {remedy}", other.file, first.file))
    };
    let (one, two) = (&first.document, &other.document);
    let (one_program, two_program) = (&one.program, &two.program);
    if one.scenarios.len() != two.scenarios.len() {
        return refuse("a run over other scenarios", "name the same ones to each shard");
    }
    for (one, two) in one.scenarios.iter().zip(&two.scenarios) {
        let (Some(header), Some(other_header)) = (&one.shard, &two.shard) else { continue };
        let path = two.path.escape_default();
        if one_program != two_program || header.binary != other_header.binary {
            return refuse("explored by another program", "run all shards with the same one");
        }
        if one.path != two.path || header.scenario != other_header.scenario {
            let what = format!("{path} is another scenario");
            return refuse(&what, "run all shards over the same files");
        }
        if header.options != other_header.options {
            let what = format!("{path} was explored with other options");
            return refuse(&what, "run all shards with the same ones");
        }
        if !same_division(header, other_header) {
            let what = format!("{path} was divided in another way");
            return refuse(&what, "the program is not deterministic, or the file was changed");
        }
    }
    Ok(())
}

/// Whether two shards saw the same roots, if both have seen them all.
fn same_division(one: &Shard, two: &Shard) -> bool {
    let (Some(one), Some(two)) = (&one.part, &two.part) else { return true };
    let both = one.finished && two.finished && one.division != Division::Whole;
    one.division == two.division && (!both || (one.depth == two.depth && one.roots == two.roots))
}

/// The whole of one scenario.
fn whole(shards: &[Given<'_>], at: usize) -> Result<ScenarioReport, String> {
    let parts: Vec<&Scenario> = shards.iter().map(|shard| &shard.document.scenarios[at]).collect();
    scenario::whole(&parts).map_err(|(part, why)| {
        let (file, path) = (shards[part].file, parts[part].path.escape_default());
        format!("{file}: {path}: {why}; run this shard again")
    })
}
