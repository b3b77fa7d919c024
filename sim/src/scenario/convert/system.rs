//! `[system]`: an FVD image whose parts fit together.

use std::time::Duration;

use plugpull_engine::ByteRange;
use plugpull_engine::fvd::planted::Bug;
use toml::Spanned;

use super::value::{
    at_most, duration, multiple, named, positive_u32, size, small, sparse_size, unknown,
};
use super::{Result, setup};
use crate::scenario::error::Problem;
use crate::scenario::file::{self, Text, TextOr};
use crate::scenario::{
    Access, BaseSpec, CompactSpec, FvdSpec, PrefetchSpec, StorageContent, ThrottleSpec,
};
use crate::workload::range;

pub(super) fn fvd(system: &Spanned<file::System>) -> Result<FvdSpec> {
    let shape = system.get_ref();
    named(&shape.kind, "kind of system", &[("fvd", ())])?;
    let bytes = sparse_size(&shape.size)?;
    let compact = compact(system)?;
    let base = base(system, bytes)?;
    if let (Some(holes), Some(_)) = (&shape.detect_holes, &compact) {
        let expected = "expected no `chunk` beside it";
        return Err(Problem::at(holes, "hole detection in a compact image", expected));
    }
    let journal = journal(system, compact.is_some() || base.is_some())?;
    let present = [("image", true), ("data", shape.data_file), ("base", base.is_some())];
    let disks = present.into_iter().filter(|&(_, present)| present).map(|(name, _)| name);
    let setup = setup(&shape.setup, bytes, &disks.collect::<Vec<_>>())?;
    let storage = [("zero", StorageContent::Zero), ("old-content", StorageContent::OldContent)];
    let access = [("read-write", Access::ReadWrite), ("read-only", Access::ReadOnly)];
    let storage = optional(&shape.storage, |text| named(text, "storage", &storage))?;
    at_most(&shape.size, held_bytes(bytes, compact, base.as_ref(), storage))?;
    Ok(FvdSpec {
        size: bytes,
        compact,
        base,
        journal,
        data_file: shape.data_file,
        storage,
        access: optional(&shape.access, |text| named(text, "access", &access))?,
        setup,
        damaged: shape.damaged,
        planted: planted(&shape.planted)?,
    })
}

/// The most that any one part of a fresh image holds in memory: table, bitmap, content of the base
/// outside its holes, old content of the storage.
fn held_bytes(
    size: u64,
    compact: Option<CompactSpec>,
    base: Option<&BaseSpec>,
    storage: StorageContent,
) -> u64 {
    let table = compact.map_or(0, |compact| 4 * size.div_ceil(compact.chunk));
    let bitmap = base.map_or(0, |base| base.len.div_ceil(base.block).div_ceil(8));
    let content = base.map_or(0, |base| {
        let holes = base.holes.iter().map(|hole| hole.len).fold(0, u64::saturating_add);
        base.len.saturating_sub(holes)
    });
    let old = if storage == StorageContent::OldContent { size } else { 0 };
    table.max(bitmap).max(content).max(old)
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

fn compact(system: &Spanned<file::System>) -> Result<Option<CompactSpec>> {
    let shape = system.get_ref();
    let compact = shape.compact.as_ref().map(|flag| *flag.get_ref());
    let Some(chunk) = &shape.chunk else {
        without(&shape.grow_unit, "grow_unit", "`chunk`")?;
        return match (&shape.compact, compact) {
            (Some(flag), Some(true)) => {
                Err(Problem::at(flag, "a compact image without `chunk`", "expected `chunk` too"))
            }
            _ => Ok(None),
        };
    };
    if compact == Some(false) {
        let expected = "expected compact = true, or no `chunk`";
        return Err(Problem::at(chunk, "a chunk size in a flat image", expected));
    }
    let chunk = multiple(chunk, 4096)?;
    let grow_unit = match &shape.grow_unit {
        None => chunk,
        Some(text) => {
            let unit = multiple(text, 512)?;
            if unit < chunk {
                let expected = format!("expected at least the chunk size, {chunk}");
                return Err(Problem::at(text, "a grow unit below the chunk size", expected));
            }
            unit
        }
    };
    Ok(Some(CompactSpec { chunk, grow_unit }))
}

fn base(system: &Spanned<file::System>, size_of_disk: u64) -> Result<Option<BaseSpec>> {
    let shape = system.get_ref();
    let (len, holes) = match shape.base.as_ref().map(|base| (base, base.get_ref())) {
        Some((_, TextOr::Text(text))) if text == "pattern" => (size_of_disk, Vec::new()),
        Some((_, TextOr::Table(base))) => {
            let len = sparse_size(&base.len)?;
            let hole = |text| hole(text, len);
            (len, base.holes.iter().map(hole).collect::<Result<_>>()?)
        }
        Some((place, TextOr::Text(text))) if text != "none" => {
            let expected = "expected \"none\", \"pattern\" or { len = SIZE }";
            return Err(Problem::at(place, format!("unknown base `{text}`"), expected));
        }
        _ => {
            let part = "a `base`";
            without(&shape.block, "block", part)?;
            without(&shape.copy_on_read, "copy_on_read", part)?;
            without(&shape.max_copy_on_read, "max_copy_on_read", part)?;
            without(&shape.prefetch, "prefetch", part)?;
            without(&shape.detect_holes, "detect_holes", part)?;
            return Ok(None);
        }
    };
    let Some(block) = &shape.block else {
        let place = shape.base.as_ref().unwrap_or_else(|| unreachable!("there is a base"));
        return Err(Problem::at(place, "a base without `block`", "expected `block` beside it"));
    };
    let block = multiple(block, 512)?;
    Ok(Some(BaseSpec {
        len,
        holes,
        block,
        copy_on_read: shape.copy_on_read.as_ref().is_some_and(|flag| *flag.get_ref()),
        max_copy_on_read: match &shape.max_copy_on_read {
            None => BaseSpec::MAX_COPY_ON_READ,
            Some(text) => size(text)?,
        },
        prefetch: shape.prefetch.as_ref().map(prefetch).transpose()?,
        detect_holes: shape.detect_holes.as_ref().map(|text| multiple(text, 512)).transpose()?,
    }))
}

/// `OFFSET LEN` inside a base of `base_len` bytes.
fn hole(text: &Text, base_len: u64) -> Result<ByteRange> {
    let problem = |expected: String| Problem::at(text, "not a hole", expected);
    let words: Vec<&str> = text.get_ref().split_whitespace().collect();
    let [offset, len] = words[..] else {
        return Err(problem("expected `OFFSET LEN`, such as \"8K 4K\"".to_owned()));
    };
    let (offset, len) = range(offset, len).map_err(|error| problem(error.to_string()))?;
    let hole = ByteRange::new(offset, len);
    if hole.end() > base_len {
        return Err(problem(format!("expected a range inside the base, {base_len} bytes")));
    }
    Ok(hole)
}

fn prefetch(prefetch: &Spanned<file::Prefetch>) -> Result<PrefetchSpec> {
    let shape = prefetch.get_ref();
    let second = Duration::from_secs(1);
    let start_delay = match &shape.start_delay {
        None => 1,
        Some(text) => {
            let time = duration(text, second, "seconds")?;
            u32::try_from(time.as_secs()).unwrap_or_else(|_| unreachable!("below 2^31 seconds"))
        }
    };
    Ok(PrefetchSpec {
        start_delay,
        slots: shape.slots.as_ref().map_or(Ok(PrefetchSpec::SLOTS), positive_u32)?,
        bytes: match &shape.bytes {
            None => PrefetchSpec::BYTES,
            Some(text) => multiple(text, 512)?,
        },
        throttle: shape.throttle.as_ref().map(throttle).transpose()?,
    })
}

fn throttle(throttle: &Spanned<file::Throttle>) -> Result<ThrottleSpec> {
    let shape = throttle.get_ref();
    let default = ThrottleSpec::default();
    let time = |text: &Option<Text>, default| match text {
        None => Ok(default),
        Some(text) => duration(text, Duration::from_millis(1), "milliseconds"),
    };
    let number =
        |number: &Option<file::Number>, default| number.as_ref().map_or(Ok(default), small);
    Ok(ThrottleSpec {
        read_measure: time(&shape.read_measure, default.read_measure)?,
        write_measure: time(&shape.write_measure, default.write_measure)?,
        alpha: match &shape.alpha {
            Some(alpha) if *alpha.get_ref() > 100 => {
                return Err(Problem::at(alpha, "more than 100 percent", "expected 0 to 100"));
            }
            alpha => number(alpha, default.alpha)?,
        },
        min_read: number(&shape.min_read, default.min_read)?,
        min_write: number(&shape.min_write, default.min_write)?,
        pause: time(&shape.pause, default.pause)?,
    })
}

fn journal(system: &Spanned<file::System>, has_map: bool) -> Result<Option<u64>> {
    match &system.get_ref().journal {
        Some(text) if text.get_ref() == "none" => Ok(None),
        Some(text) if has_map => multiple(text, 4096).map(Some),
        Some(text) => {
            let expected = "expected \"none\": without chunks or a base there is no map";
            Err(Problem::at(text, "a journal with nothing to journal", expected))
        }
        None if has_map => {
            let expected = "expected `journal`: \"none\" or a size";
            Err(Problem::at(&system.get_ref().kind, "no word about the journal", expected))
        }
        None => Ok(None),
    }
}

fn planted(ids: &[Text]) -> Result<Vec<Bug>> {
    let mut bugs = Vec::new();
    for id in ids {
        let bug = Bug::from_id(id.get_ref())
            .ok_or_else(|| unknown(id, "planted bug", Bug::ALL.iter().map(|bug| bug.id())))?;
        if bugs.contains(&bug) {
            return Err(Problem::at(id, "a bug planted twice", "expected each bug once"));
        }
        bugs.push(bug);
    }
    Ok(bugs)
}
