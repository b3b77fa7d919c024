//! Sizes and times as people write them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

const UNITS: [(u64, &str, &str); 4] =
    [(1 << 40, "T", "TiB"), (1 << 30, "G", "GiB"), (1 << 20, "M", "MiB"), (1 << 10, "K", "KiB")];

/// A number of bytes in an operation: prints as `0`, `512`, `4K`, `1M`.
///
/// Reads that and the longer form too: `4 KiB`, `4KiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Len(pub(crate) u64);

/// A number of bytes in a value of its own: prints as `0`, `512`, `4 KiB`, `1 MiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LongLen(pub(crate) u64);

/// The largest unit that divides the size without remainder.
fn unit(bytes: u64) -> Option<(u64, &'static str, &'static str)> {
    UNITS.into_iter().find(|&(unit, ..)| bytes != 0 && bytes.is_multiple_of(unit))
}

impl fmt::Display for Len {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match unit(self.0) {
            Some((unit, short, _)) => write!(f, "{}{short}", self.0 / unit),
            None => write!(f, "{}", self.0),
        }
    }
}

impl fmt::Display for LongLen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match unit(self.0) {
            Some((unit, _, long)) => write!(f, "{} {long}", self.0 / unit),
            None => write!(f, "{}", self.0),
        }
    }
}

impl FromStr for Len {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse_size(text)
            .map(Self)
            .ok_or_else(|| format!("expected a size such as 512, 4K or 1M, found `{text}`"))
    }
}

impl FromStr for LongLen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse_size(text).map(Self).ok_or_else(|| {
            format!("expected a size such as \"512\", \"4 KiB\" or \"1 MiB\", found `{text}`")
        })
    }
}

/// The bytes that `text` stands for: digits, then perhaps a unit of 1024.
pub fn parse_size(text: &str) -> Option<u64> {
    let (number, name) = split_number(text);
    let factor = match name.trim_start() {
        "" | "B" => 1,
        name => UNITS.into_iter().find(|&(_, short, long)| name == short || name == long)?.0,
    };
    number?.checked_mul(factor)
}

/// The time that `text` stands for: digits and `us`, `ms` or `s`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split_number(text);
    let factor = match unit.trim_start() {
        "us" => Some(1),
        "ms" => Some(1_000),
        "s" => Some(1_000_000),
        _ => None,
    };
    number
        .zip(factor)
        .and_then(|(number, factor)| number.checked_mul(factor))
        .map(Duration::from_micros)
        .ok_or_else(|| format!("expected a time such as 250us, 100ms or 2s, found `{text}`"))
}

/// The shortest text that [`parse_duration`] reads as `time`, whole microseconds.
pub(crate) fn duration_text(time: Duration) -> String {
    let micros = time.as_micros();
    if micros.is_multiple_of(1_000_000) {
        format!("{}s", micros / 1_000_000)
    } else if micros.is_multiple_of(1_000) {
        format!("{}ms", micros / 1_000)
    } else {
        format!("{micros}us")
    }
}

fn split_number(text: &str) -> (Option<u64>, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (text[..end].parse().ok(), &text[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let cases = [
            ("0", Some(0)),
            ("512", Some(512)),
            ("7680", Some(7680)),
            ("4K", Some(4096)),
            ("4 KiB", Some(4096)),
            ("4KiB", Some(4096)),
            ("100 MiB", Some(100 << 20)),
            ("2T", Some(2 << 40)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("16777216T", None),
            ("", None),
            ("K", None),
            ("-1", None),
            ("4 KB", None),
            ("1.5K", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_size(text), expected, "{text}");
        }
    }

    #[test]
    fn sizes_and_times_print_in_the_largest_unit_that_fits() {
        let cases = [(0, "0"), (512, "512"), (7680, "7680"), (8192, "8 KiB"), (1 << 20, "1 MiB")];
        for (bytes, text) in cases {
            assert_eq!(LongLen(bytes).to_string(), text);
        }
        for text in ["0s", "1500us", "100ms", "30s"] {
            assert_eq!(duration_text(parse_duration(text).unwrap()), text);
        }
    }
}
