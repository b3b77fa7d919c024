//! Single values: texts and numbers with a place, to what they stand for.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use toml::Spanned;

use super::Result;
use crate::scenario::error::Problem;
use crate::scenario::file::{Number, Text};
use crate::scenario::size::{LongLen, parse_duration};

/// What `text` stands for, where its type can tell what it expected.
pub(super) fn parsed<T>(text: &Text, problem: &str) -> Result<T>
where
    T: FromStr,
    T::Err: Display,
{
    text.get_ref().parse().map_err(|error: T::Err| {
        Problem::at(text, format!("{problem}: `{}`", text.get_ref()), error.to_string())
    })
}

/// What one of some names stands for.
pub(super) fn named<T: Copy>(text: &Text, what: &str, names: &[(&str, T)]) -> Result<T> {
    let found = names.iter().find(|(name, _)| name == text.get_ref());
    found.map(|&(_, value)| value).ok_or_else(|| unknown(text, what, names.iter().map(|n| n.0)))
}

/// A name that is none of those known.
pub(super) fn unknown<'a>(
    text: &Text,
    what: &str,
    names: impl Iterator<Item = &'a str>,
) -> Problem {
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    let expected = match &names[..] {
        [only] => format!("expected {only}"),
        _ => format!("expected one of {}", names.join(", ")),
    };
    Problem::at(text, format!("unknown {what} `{}`", text.get_ref()), expected)
}

/// The most bytes held for one thing: simulated disks live in memory, each with everything that a
/// power cut may leave of it, and the oracle has every sector.
const SIZE_MAX: u64 = 64 << 20;

/// The largest disk: what was never written costs nothing.
const SPARSE_SIZE_MAX: u64 = 16 << 40;

/// A size that a simulated disk can have.
pub(super) fn size(text: &Text) -> Result<u64> {
    let LongLen(bytes) = parsed(text, "not a size")?;
    at_most(text, bytes)?;
    Ok(bytes)
}

/// Refuses what simulated disks have no room for.
pub(super) fn at_most(place: &Text, bytes: u64) -> Result<()> {
    bounded(place, bytes, SIZE_MAX)
}

fn bounded(place: &Text, bytes: u64, max: u64) -> Result<()> {
    if bytes > max {
        let problem = format!("{bytes} bytes are too many: simulated disks live in memory");
        let expected = format!("expected at most {}", LongLen(max));
        return Err(Problem::at(place, problem, expected));
    }
    Ok(())
}

/// The size of a disk that may be mostly empty: a positive multiple of 512.
pub(super) fn sparse_size(text: &Text) -> Result<u64> {
    let LongLen(bytes) = parsed(text, "not a size")?;
    bounded(text, bytes, SPARSE_SIZE_MAX)?;
    multiple_of(text, bytes, 512)
}

/// A size that is a positive multiple of `unit`.
pub(super) fn multiple(text: &Text, unit: u64) -> Result<u64> {
    multiple_of(text, size(text)?, unit)
}

fn multiple_of(text: &Text, bytes: u64, unit: u64) -> Result<u64> {
    if bytes == 0 || !bytes.is_multiple_of(unit) {
        let problem = format!("{bytes} is not a positive multiple of {unit}");
        return Err(Problem::at(text, problem, format!("expected a multiple of {unit} bytes")));
    }
    Ok(bytes)
}

/// A time in whole `unit`s, small enough for a 32-bit field of them.
pub(super) fn duration(text: &Text, unit: Duration, name: &str) -> Result<Duration> {
    let time = parse_duration(text.get_ref()).map_err(|expected| {
        Problem::at(text, format!("not a time: `{}`", text.get_ref()), expected)
    })?;
    let (time_us, unit_us) = (time.as_micros(), unit.as_micros());
    let fits = i32::try_from(time_us / unit_us).is_ok();
    if time_us == 0 || !time_us.is_multiple_of(unit_us) || !fits {
        let expected = format!("expected whole {name}, at least one and below 2^31");
        return Err(Problem::at(text, format!("not whole {name}"), expected));
    }
    Ok(time)
}

/// A number that fits in 32 bits.
pub(super) fn small(number: &Number) -> Result<u32> {
    u32::try_from(*number.get_ref())
        .map_err(|_| Problem::at(number, "a number past 2^32", "expected less"))
}

/// A number above zero that fits in 32 bits.
pub(super) fn positive_u32(number: &Number) -> Result<u32> {
    let value = small(number)?;
    if value == 0 { Err(above_zero(number)) } else { Ok(value) }
}

/// A number above zero.
pub(super) fn positive(number: &Number) -> Result<u64> {
    let value = *number.get_ref();
    if value == 0 { Err(above_zero(number)) } else { Ok(value) }
}

fn above_zero<T>(place: &Spanned<T>) -> Problem {
    Problem::at(place, "zero is too little", "expected a number above zero")
}

/// A number that counts or indexes things in memory.
pub(super) fn index(number: &Number) -> Result<usize> {
    usize::try_from(*number.get_ref())
        .map_err(|_| Problem::at(number, "a number past the address space", "expected less"))
}
