//! `[system]` of an FVD image whose parts fit together.

use std::time::Duration;

use plugpull_engine::fvd::planted::Bug;
use toml::Spanned;

use super::{Key, access, flag, held_pattern, key, pattern, planted, storage, without};
use crate::scenario::convert::Result;
use crate::scenario::convert::value::{
    at_most, duration, multiple, positive_u32, size, small, sparse_size,
};
use crate::scenario::convert::workload::{Requests, setup};
use crate::scenario::error::Problem;
use crate::scenario::file::{self, Text};
use crate::scenario::{BaseSpec, CompactSpec, FvdSpec, PrefetchSpec, StorageContent, ThrottleSpec};

/// The keys that only such an image has.
pub(super) fn own_keys(shape: &file::System) -> Vec<Key> {
    vec![
        key("compact", &shape.compact),
        key("chunk", &shape.chunk),
        key("grow_unit", &shape.grow_unit),
        key("base", &shape.base),
        key("block", &shape.block),
        key("copy_on_read", &shape.copy_on_read),
        key("max_copy_on_read", &shape.max_copy_on_read),
        key("prefetch", &shape.prefetch),
        key("detect_holes", &shape.detect_holes),
        key("journal", &shape.journal),
    ]
}

pub(super) fn fvd(system: &Spanned<file::System>) -> Result<FvdSpec> {
    let shape = system.get_ref();
    let bytes = sparse_size(&shape.size)?;
    let compact = compact(system)?;
    let base = base(system, bytes)?;
    if let (Some(holes), Some(_)) = (&shape.detect_holes, &compact) {
        let expected = "expected no `chunk` beside it";
        return Err(Problem::at(holes, "hole detection in a compact image", expected));
    }
    let journal = journal(system, compact.is_some() || base.is_some())?;
    let storage = storage(shape)?;
    at_most(&shape.size, held_bytes(bytes, compact, base.as_ref(), storage))?;
    let mut spec = FvdSpec {
        size: bytes,
        compact,
        base,
        journal,
        data_file: flag(&shape.data_file),
        storage,
        access: access(shape)?,
        setup: Vec::new(),
        damaged: shape.damaged,
        planted: planted(&shape.planted, Bug::ALL, Bug::id)?,
    };
    spec.setup = setup(&shape.setup, &mut Requests::of_fvd(&spec), &spec.disk_names())?;
    Ok(spec)
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
    let bitmap = base.map_or(0, |base| base.pattern.len.div_ceil(base.block).div_ceil(8));
    let content = base.map_or(0, |base| held_pattern(&base.pattern));
    let old = if storage == StorageContent::OldContent { size } else { 0 };
    table.max(bitmap).max(content).max(old)
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
    let Some((place, pattern)) = pattern(&shape.base, "base", size_of_disk)? else {
        let part = "a `base`";
        without(&shape.block, "block", part)?;
        without(&shape.copy_on_read, "copy_on_read", part)?;
        without(&shape.max_copy_on_read, "max_copy_on_read", part)?;
        without(&shape.prefetch, "prefetch", part)?;
        without(&shape.detect_holes, "detect_holes", part)?;
        return Ok(None);
    };
    let Some(block) = &shape.block else {
        return Err(Problem::at(place, "a base without `block`", "expected `block` beside it"));
    };
    let block = multiple(block, 512)?;
    Ok(Some(BaseSpec {
        pattern,
        block,
        copy_on_read: flag(&shape.copy_on_read),
        max_copy_on_read: match &shape.max_copy_on_read {
            None => BaseSpec::MAX_COPY_ON_READ,
            Some(text) => size(text)?,
        },
        prefetch: shape.prefetch.as_ref().map(prefetch).transpose()?,
        detect_holes: shape.detect_holes.as_ref().map(|text| multiple(text, 512)).transpose()?,
    }))
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
