//! Operations as text, one per string.

use std::fmt;
use std::str::FromStr;

use super::{GuestOp, SetupOp, SnapshotName};
use crate::scenario::size::{Len, duration_text, parse_duration};

impl fmt::Display for GuestOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Write { offset, len } => write!(f, "write {} {}", Len(offset), Len(len)),
            Self::Read { offset, len } => write!(f, "read {} {}", Len(offset), Len(len)),
            Self::Flush => f.write_str("flush"),
            Self::Close => f.write_str("close"),
            Self::WaitForJobs => f.write_str("wait-prefetch"),
            Self::Sleep(time) => write!(f, "sleep {}", duration_text(time)),
            Self::Discard { offset, len } => write!(f, "discard {} {}", Len(offset), Len(len)),
            Self::WriteZeroes { offset, len, unmap } => {
                let verb = if unmap { "unmap" } else { "write" };
                write!(f, "{verb}-zeroes {} {}", Len(offset), Len(len))
            }
            Self::WriteCompressed { offset, len } => {
                write!(f, "write-compressed {} {}", Len(offset), Len(len))
            }
            Self::Snapshot(name) => write!(f, "snapshot {name}"),
            Self::Apply(name) => write!(f, "apply {name}"),
            Self::DeleteSnapshot(name) => write!(f, "delete-snapshot {name}"),
            Self::Resize(size) => write!(f, "resize {}", Len(size)),
        }
    }
}

impl fmt::Display for SnapshotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s{}", self.number())
    }
}

impl fmt::Display for SetupOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Guest(op) => op.fmt(f),
            Self::Reopen => f.write_str("reopen"),
            Self::ReopenReadonly => f.write_str("reopen-readonly"),
            Self::Kill => f.write_str("kill"),
            Self::Grow(size) => write!(f, "grow {}", Len(*size)),
            Self::Poke { disk, offset, bytes } => {
                write!(f, "poke {disk} {} ", Len(*offset))?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    }
}

const GUEST_OPS: &str = "`write OFFSET LEN`, `read OFFSET LEN`, `flush`, `close`, `wait-prefetch`, \
     `sleep TIME`, `discard OFFSET LEN`, `write-zeroes OFFSET LEN`, `unmap-zeroes OFFSET LEN`, \
     `write-compressed OFFSET LEN`, `snapshot NAME`, `apply NAME`, `delete-snapshot NAME` or \
     `resize SIZE`";
const SETUP_OPS: &str = "`reopen`, `reopen-readonly`, `kill`, `grow SIZE`, \
     `poke DISK OFFSET HEX`, or";

/// Why a text is not an operation: a sentence that says what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadOp(pub String);

impl FromStr for GuestOp {
    type Err = BadOp;

    fn from_str(text: &str) -> Result<Self, BadOp> {
        guest_op(text)?.ok_or_else(|| BadOp(format!("expected {GUEST_OPS}")))
    }
}

impl FromStr for SetupOp {
    type Err = BadOp;

    fn from_str(text: &str) -> Result<Self, BadOp> {
        if let Some(op) = guest_op(text)? {
            return Ok(Self::Guest(op));
        }
        let words: Vec<&str> = text.split_whitespace().collect();
        match words[..] {
            ["reopen"] => Ok(Self::Reopen),
            ["reopen-readonly"] => Ok(Self::ReopenReadonly),
            ["kill"] => Ok(Self::Kill),
            ["grow", size] => sectors(size).map(Self::Grow),
            ["poke", disk, offset, bytes] => {
                let Len(offset) = offset.parse().map_err(BadOp)?;
                Ok(Self::Poke { disk: disk.to_owned(), offset, bytes: hex(bytes)? })
            }
            _ => Err(BadOp(format!("expected {SETUP_OPS} {GUEST_OPS}"))),
        }
    }
}

/// The guest request that `text` is, or none if it begins like none.
fn guest_op(text: &str) -> Result<Option<GuestOp>, BadOp> {
    let words: Vec<&str> = text.split_whitespace().collect();
    Ok(Some(match words[..] {
        [verb, offset, len] if let Some(op) = on_range(verb) => {
            let (offset, len) = range(offset, len)?;
            op(offset, len)
        }
        [verb, ..] if on_range(verb).is_some() => {
            return Err(BadOp(format!("expected two sizes: `{verb} OFFSET LEN`")));
        }
        ["flush"] => GuestOp::Flush,
        ["close"] => GuestOp::Close,
        ["wait-prefetch"] => GuestOp::WaitForJobs,
        ["sleep", time] => GuestOp::Sleep(parse_duration(time).map_err(BadOp)?),
        ["snapshot", name] => GuestOp::Snapshot(name.parse()?),
        ["apply", name] => GuestOp::Apply(name.parse()?),
        ["delete-snapshot", name] => GuestOp::DeleteSnapshot(name.parse()?),
        ["resize", size] => GuestOp::Resize(sectors(size)?),
        _ => return Ok(None),
    }))
}

/// The request on a guest range that `verb` begins.
fn on_range(verb: &str) -> Option<fn(u64, u64) -> GuestOp> {
    Some(match verb {
        "write" => |offset, len| GuestOp::Write { offset, len },
        "read" => |offset, len| GuestOp::Read { offset, len },
        "discard" => |offset, len| GuestOp::Discard { offset, len },
        "write-zeroes" => |offset, len| GuestOp::WriteZeroes { offset, len, unmap: false },
        "unmap-zeroes" => |offset, len| GuestOp::WriteZeroes { offset, len, unmap: true },
        "write-compressed" => |offset, len| GuestOp::WriteCompressed { offset, len },
        _ => return None,
    })
}

impl FromStr for SnapshotName {
    type Err = BadOp;

    fn from_str(text: &str) -> Result<Self, BadOp> {
        let number = text.strip_prefix('s').and_then(|number| number.parse().ok());
        let name = number.and_then(Self::new).filter(|name| name.to_string() == text);
        name.ok_or_else(|| BadOp(format!("expected a name from s1 to s255, found `{text}`")))
    }
}

/// Offset and length of `OFFSET LEN`: whole sectors, not empty.
pub(crate) fn range(offset: &str, len: &str) -> Result<(u64, u64), BadOp> {
    let size = |text: &str| text.parse::<Len>().map_err(BadOp);
    let (Len(offset), Len(len)) = (size(offset)?, size(len)?);
    if !offset.is_multiple_of(512) || !len.is_multiple_of(512) {
        return Err(BadOp("expected offset and length in whole sectors of 512 bytes".to_owned()));
    }
    if len == 0 {
        return Err(BadOp("expected a length above zero".to_owned()));
    }
    if offset.checked_add(len).is_none() {
        return Err(BadOp("expected a range that ends below 2^64".to_owned()));
    }
    Ok((offset, len))
}

/// A size in whole sectors, above zero.
fn sectors(text: &str) -> Result<u64, BadOp> {
    let Len(size) = text.parse().map_err(BadOp)?;
    if size == 0 || !size.is_multiple_of(512) {
        return Err(BadOp("expected a size in whole sectors of 512 bytes, above zero".to_owned()));
    }
    Ok(size)
}

/// The bytes that `text` gives in hexadecimal, at least one.
fn hex(text: &str) -> Result<Vec<u8>, BadOp> {
    let expected = || BadOp(format!("expected pairs of hexadecimal digits, found `{text}`"));
    let digits: Option<Vec<u8>> =
        text.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let digits = digits.filter(|digits| !digits.is_empty()).ok_or_else(expected)?;
    let (pairs, rest) = digits.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(expected());
    }
    Ok(pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_read_and_print() {
        let cases = [
            ("write 0 4K", "write 0 4K"),
            ("write  8192   512", "write 8K 512"),
            ("read 1M 7680", "read 1M 7680"),
            ("flush", "flush"),
            ("close", "close"),
            ("wait-prefetch", "wait-prefetch"),
            ("reopen", "reopen"),
            ("reopen-readonly", "reopen-readonly"),
            ("kill", "kill"),
            ("grow 131072", "grow 128K"),
            ("poke image 4296 00fE10", "poke image 4296 00fe10"),
            ("sleep 1500ms", "sleep 1500ms"),
            ("sleep 30s", "sleep 30s"),
            ("discard 64K 65536", "discard 64K 64K"),
            ("write-zeroes 0 512", "write-zeroes 0 512"),
            ("unmap-zeroes 0 4K", "unmap-zeroes 0 4K"),
            ("write-compressed 4K 4096", "write-compressed 4K 4K"),
            ("snapshot s1", "snapshot s1"),
            ("apply s12", "apply s12"),
            ("delete-snapshot s255", "delete-snapshot s255"),
            ("resize 1048576", "resize 1M"),
        ];
        for (text, printed) in cases {
            let op: SetupOp = text.parse().unwrap();
            assert_eq!(op.to_string(), printed);
            assert_eq!(printed.parse::<SetupOp>().unwrap(), op);
        }
    }

    #[test]
    fn what_is_no_operation_says_what_was_expected() {
        let cases = [
            ("write 0", "expected two sizes: `write OFFSET LEN`"),
            ("write 0 100", "expected offset and length in whole sectors of 512 bytes"),
            ("read 0 0", "expected a length above zero"),
            ("write 1X 512", "expected a size such as 512, 4K or 1M, found `1X`"),
            ("grow 1000", "expected a size in whole sectors of 512 bytes, above zero"),
            ("poke image 0 abc", "expected pairs of hexadecimal digits, found `abc`"),
            ("poke image 0 zz", "expected pairs of hexadecimal digits, found `zz`"),
            ("discard 0", "expected two sizes: `discard OFFSET LEN`"),
            ("snapshot before", "expected a name from s1 to s255, found `before`"),
            ("apply s0", "expected a name from s1 to s255, found `s0`"),
            ("apply s01", "expected a name from s1 to s255, found `s01`"),
            ("resize 1000", "expected a size in whole sectors of 512 bytes, above zero"),
            ("sleep 3", "expected a time such as 250us, 100ms or 2s, found `3`"),
        ];
        for (text, message) in cases {
            assert_eq!(text.parse::<SetupOp>().unwrap_err().to_string(), message, "{text}");
        }
        for text in ["kill", "grow 8K", "trim 0 4K", ""] {
            let error = text.parse::<GuestOp>().unwrap_err().to_string();
            assert_eq!(error, format!("expected {GUEST_OPS}"), "{text}");
        }
    }
}
