//! `[system]`: an image whose parts fit together. Here is what the kinds have in common.

mod fvd;
mod qcow2;

use std::ops::Range;

use plugpull_engine::ByteRange;
use toml::Spanned;

use super::Result;
use super::value::{named, sparse_size, unknown};
use crate::scenario::error::Problem;
use crate::scenario::file::{self, Text, TextOr};
use crate::scenario::{Access, PatternSpec, StorageContent, SystemSpec};
use crate::workload::range;

#[derive(Clone, Copy)]
enum Kind {
    Fvd,
    Qcow2,
}

pub(super) fn system(system: &Spanned<file::System>) -> Result<SystemSpec> {
    let shape = system.get_ref();
    let kinds = [("fvd", Kind::Fvd), ("qcow2", Kind::Qcow2)];
    match named(&shape.kind, "kind of system", &kinds)? {
        Kind::Fvd => {
            refuse(qcow2::own_keys(shape), "an FVD image", "kind = \"qcow2\"")?;
            fvd::fvd(system).map(SystemSpec::Fvd)
        }
        Kind::Qcow2 => {
            refuse(fvd::own_keys(shape), "a qcow2 image", "kind = \"fvd\"")?;
            qcow2::qcow2(shape).map(SystemSpec::Qcow2)
        }
    }
}

/// A key with the place of its value, if it is there.
type Key = (&'static str, Option<Range<usize>>);

fn key<T>(name: &'static str, value: &Option<Spanned<T>>) -> Key {
    (name, value.as_ref().map(Spanned::span))
}

/// Refuses the keys that another kind of image has.
fn refuse(keys: Vec<Key>, of: &str, other: &str) -> Result<()> {
    let given = keys.into_iter().find_map(|(key, span)| Some((key, span?)));
    given.map_or(Ok(()), |(key, span)| {
        Err(Problem::on(span, format!("`{key}` of {of}"), format!("expected it with {other}")))
    })
}

fn flag(value: &Option<Spanned<bool>>) -> bool {
    value.as_ref().is_some_and(|flag| *flag.get_ref())
}

fn storage(shape: &file::System) -> Result<StorageContent> {
    let names = [("zero", StorageContent::Zero), ("old-content", StorageContent::OldContent)];
    optional(&shape.storage, |text| named(text, "storage", &names))
}

fn access(shape: &file::System) -> Result<Access> {
    let names = [("read-write", Access::ReadWrite), ("read-only", Access::ReadOnly)];
    optional(&shape.access, |text| named(text, "access", &names))
}

/// A value, or the default if it is not given.
fn optional<S, T: Default>(shape: &Option<S>, convert: impl Fn(&S) -> Result<T>) -> Result<T> {
    shape.as_ref().map_or_else(|| Ok(T::default()), convert)
}

/// Refuses a key that means nothing without another part of the image.
fn without<T>(shape: &Option<Spanned<T>>, key: &str, part: &str) -> Result<()> {
    match shape {
        Some(place) => {
            let problem = format!("`{key}` without {part}");
            Err(Problem::at(place, problem, format!("expected {part} beside it")))
        }
        None => Ok(()),
    }
}

/// What a file says of a base image or backing file.
type PatternShape = Spanned<TextOr<file::Pattern>>;

/// The content that `name` says, with its place; none if it says that there is none.
fn pattern<'a>(
    shape: &'a Option<PatternShape>,
    name: &str,
    size_of_disk: u64,
) -> Result<Option<(&'a PatternShape, PatternSpec)>> {
    let Some(place) = shape else { return Ok(None) };
    let pattern = match place.get_ref() {
        TextOr::Text(text) if text == "none" => return Ok(None),
        TextOr::Text(text) if text == "pattern" => {
            PatternSpec { len: size_of_disk, holes: Vec::new() }
        }
        TextOr::Text(text) => {
            let expected = "expected \"none\", \"pattern\" or { len = SIZE }";
            return Err(Problem::at(place, format!("unknown {name} `{text}`"), expected));
        }
        TextOr::Table(table) => {
            let len = sparse_size(&table.len)?;
            let hole = |text| hole(text, name, len);
            PatternSpec { len, holes: table.holes.iter().map(hole).collect::<Result<_>>()? }
        }
    };
    Ok(Some((place, pattern)))
}

/// `OFFSET LEN` inside a file of `len_of_file` bytes.
fn hole(text: &Text, name: &str, len_of_file: u64) -> Result<ByteRange> {
    let problem = |expected: String| Problem::at(text, "not a hole", expected);
    let words: Vec<&str> = text.get_ref().split_whitespace().collect();
    let [offset, len] = words[..] else {
        return Err(problem("expected `OFFSET LEN`, such as \"8K 4K\"".to_owned()));
    };
    let (offset, len) = range(offset, len).map_err(|error| problem(error.to_string()))?;
    let hole = ByteRange::new(offset, len);
    if hole.end() > len_of_file {
        return Err(problem(format!("expected a range inside the {name}, {len_of_file} bytes")));
    }
    Ok(hole)
}

/// The bytes of a pattern that have to be held: what lies outside of its holes.
fn held_pattern(pattern: &PatternSpec) -> u64 {
    let holes = pattern.holes.iter().map(|hole| hole.len).fold(0, u64::saturating_add);
    pattern.len.saturating_sub(holes)
}

fn planted<B: Copy + PartialEq>(
    ids: &[Text],
    all: &[B],
    id_of: impl Fn(B) -> &'static str,
) -> Result<Vec<B>> {
    let mut bugs = Vec::new();
    for id in ids {
        let bug = all.iter().copied().find(|&bug| id_of(bug) == id.get_ref());
        let bug =
            bug.ok_or_else(|| unknown(id, "planted bug", all.iter().map(|&bug| id_of(bug))))?;
        if bugs.contains(&bug) {
            return Err(Problem::at(id, "a bug planted twice", "expected each bug once"));
        }
        bugs.push(bug);
    }
    Ok(bugs)
}
