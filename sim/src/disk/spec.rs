//! What kind of disk is simulated: the device model and its modifiers, as data.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use plugpull_engine::DiskProperties;

/// Byte that fills a discarded range under [`DiscardContent::Garbage`].
pub const GARBAGE: u8 = 0xDB;

/// Everything that decides how one disk behaves, except its content and its faults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskSpec {
    /// Name in scenarios and reports.
    pub name: String,
    /// What a completion, a flush and a power cut mean.
    pub model: Model,
    /// Bytes that the medium writes atomically: 512 or 4096.
    pub sector_len: usize,
    /// If set, a power cut may also leave a mix of old and new inside one sector, changing sides
    /// once, at a multiple of this many bytes. Has no effect under [`Model::AtomicWrite`].
    pub tear: Option<usize>,
    /// What a discarded range reads as.
    pub discard: DiscardContent,
    /// What becomes of cached data after a failed flush.
    pub failed_flush: FailedFlush,
    /// Whether the length can change.
    pub resizable: bool,
    /// Whether never-written bytes are promised to be zero; only passed on to the engine.
    pub zero_init: bool,
    /// Virtual time that every request takes. The clock moves only when nothing else can happen,
    /// so this changes no order, only what code that measures time finds.
    pub latency: Duration,
}

impl DiskSpec {
    /// The default disk: writeback, 512-byte sectors, no tears inside a sector, discards read as
    /// zeros, a failed flush keeps the cached data, resizable, zeros where never written.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            model: Model::Writeback,
            sector_len: 512,
            tear: None,
            discard: DiscardContent::Zeros,
            failed_flush: FailedFlush::Keep,
            resizable: true,
            zero_init: true,
            latency: Duration::ZERO,
        }
    }

    /// What the engine may know of it.
    #[must_use]
    pub fn properties(&self) -> DiskProperties {
        DiskProperties {
            sector_len: self.sector_len,
            resizable: self.resizable,
            zero_init: self.zero_init,
            writable: true,
        }
    }
}

/// `writeback/512`, as verdicts print it; modifiers that are not the default follow.
impl fmt::Display for DiskSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.model, self.sector_len)?;
        if let Some(tear) = self.tear {
            write!(f, " tear={tear}")?;
        }
        if self.discard != DiscardContent::Zeros {
            write!(f, " discard={}", self.discard)?;
        }
        if self.failed_flush != FailedFlush::Keep {
            write!(f, " failed-flush={}", self.failed_flush)?;
        }
        Ok(())
    }
}

/// Declares an enum of plain names with one spelling for `Display` and `FromStr`.
macro_rules! named {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$doc])* $variant,)+ }

        impl $name {
            /// Every value, in declaration order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(match self { $(Self::$variant => $text,)+ })
            }
        }

        impl FromStr for $name {
            type Err = UnknownName;

            fn from_str(text: &str) -> Result<Self, UnknownName> {
                Self::ALL
                    .iter()
                    .copied()
                    .find(|value| value.to_string() == text)
                    .ok_or_else(|| UnknownName {
                        found: text.to_owned(),
                        expected: &[$($text,)+],
                    })
            }
        }
    };
}

named! {
    /// A device model: what reaches the medium, and when.
    Model {
        /// A volatile write cache; a power cut keeps any subset of the cached sectors.
        Writeback = "writeback",
        /// Every write, discard and length change is durable when it completes; in flight, any
        /// subset of its sectors may be.
        Writethrough = "writethrough",
        /// Completed requests reach the medium in completion order; a power cut keeps a prefix,
        /// with the request at the cut torn to a prefix of its sectors.
        Ordered = "ordered",
        /// Each write persists whole or not at all.
        AtomicWrite = "atomic-write",
        /// Flush, PREFLUSH and FUA succeed and do nothing; otherwise as writeback.
        LyingFlush = "lying-flush",
    }
}

named! {
    /// What a discarded range reads as.
    DiscardContent {
        /// Zero bytes.
        Zeros = "zeros",
        /// What was there before: the discard changes nothing.
        Old = "old",
        /// Bytes of value [`GARBAGE`].
        Garbage = "garbage",
    }
}

named! {
    /// What a failed flush does to the cached data that it should have covered.
    FailedFlush {
        /// Nothing: a later successful flush makes it durable.
        Keep = "keep",
        /// The cache forgets that it is dirty: reads still see it and it may or may not have
        /// reached the medium, but no later flush covers it until its sector is written again.
        Drop = "drop",
    }
}

/// A name that is none of the known ones.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is not one of {}", expected.join(", "))]
pub struct UnknownName {
    /// The text.
    pub found: String,
    /// What would have been accepted.
    pub expected: &'static [&'static str],
}
