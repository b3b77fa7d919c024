//! The shapes of a scenario file, version 1: what the TOML reader fills in. Rules beyond shape are
//! in `convert`.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use toml::Spanned;

/// A text with its place.
pub(super) type Text = Spanned<String>;
/// A number with its place.
pub(super) type Number = Spanned<u64>;

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) version: Number,
    pub(super) claim: Text,
    pub(super) system: Spanned<System>,
    #[serde(default)]
    pub(super) disks: BTreeMap<Text, Disk>,
    #[serde(default)]
    pub(super) client: Vec<Client>,
    #[serde(default)]
    pub(super) after: Vec<After>,
    pub(super) explore: Explore,
    pub(super) expect: Spanned<Expect>,
    pub(super) replay: Option<Replay>,
}

/// The keys of all kinds: which of them a kind has, its conversion says.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct System {
    pub(super) kind: Text,
    pub(super) size: Text,
    pub(super) compact: Option<Spanned<bool>>,
    pub(super) chunk: Option<Text>,
    pub(super) grow_unit: Option<Text>,
    pub(super) base: Option<Spanned<TextOr<Pattern>>>,
    pub(super) block: Option<Text>,
    pub(super) copy_on_read: Option<Spanned<bool>>,
    pub(super) max_copy_on_read: Option<Text>,
    pub(super) prefetch: Option<Spanned<Prefetch>>,
    pub(super) detect_holes: Option<Text>,
    pub(super) journal: Option<Text>,
    pub(super) version: Option<Number>,
    pub(super) cluster: Option<Text>,
    pub(super) refcount_bits: Option<Number>,
    pub(super) backing: Option<Spanned<TextOr<Pattern>>>,
    pub(super) lazy_refcounts: Option<Spanned<bool>>,
    pub(super) compression: Option<Text>,
    pub(super) extended_l2: Option<Spanned<bool>>,
    pub(super) discards: Option<Spanned<bool>>,
    pub(super) bitmap: Option<Text>,
    pub(super) slice: Option<Text>,
    pub(super) cache: Option<Number>,
    pub(super) data_file: Option<Spanned<bool>>,
    pub(super) storage: Option<Text>,
    pub(super) access: Option<Text>,
    #[serde(default)]
    pub(super) setup: Vec<Text>,
    #[serde(default)]
    pub(super) damaged: bool,
    #[serde(default)]
    pub(super) planted: Vec<Text>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pattern {
    pub(super) len: Text,
    #[serde(default)]
    pub(super) holes: Vec<Text>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Prefetch {
    pub(super) start_delay: Option<Text>,
    pub(super) slots: Option<Number>,
    pub(super) bytes: Option<Text>,
    pub(super) throttle: Option<Spanned<Throttle>>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Throttle {
    pub(super) read_measure: Option<Text>,
    pub(super) write_measure: Option<Text>,
    pub(super) alpha: Option<Number>,
    pub(super) min_read: Option<Number>,
    pub(super) min_write: Option<Number>,
    pub(super) pause: Option<Text>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Disk {
    pub(super) model: Option<Text>,
    pub(super) sector: Option<Number>,
    pub(super) tear: Option<Number>,
    pub(super) discard: Option<Text>,
    pub(super) failed_flush: Option<Text>,
    pub(super) resizable: Option<bool>,
    pub(super) latency: Option<Text>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Client {
    pub(super) ops: Spanned<Vec<Text>>,
    pub(super) repeat: Option<Number>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct After {
    pub(super) ops: Vec<Text>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Explore {
    pub(super) schedules: Spanned<TextOr<SomeSchedules>>,
    pub(super) ready: Option<Text>,
    pub(super) crashes: Option<Spanned<TextOr<SampledCrashes>>>,
    pub(super) recovery_crashes: Option<Number>,
    pub(super) paths_max: Option<Number>,
    pub(super) unreadable: Option<Number>,
    pub(super) faults: Option<AnyFaults>,
    #[serde(default)]
    pub(super) fault: Vec<Spanned<PlacedFault>>,
    pub(super) cancel: Option<Number>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SomeSchedules {
    pub(super) exhaustive: Option<Text>,
    pub(super) delays: Option<Number>,
    pub(super) random: Option<Number>,
    pub(super) seed: Option<Number>,
    pub(super) by: Option<Text>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SampledCrashes {
    pub(super) sampled: Number,
    pub(super) seed: Number,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AnyFaults {
    pub(super) errors: Number,
    pub(super) kinds: Option<Spanned<Vec<Text>>>,
    pub(super) error: Option<Spanned<Vec<Text>>>,
    #[serde(default)]
    pub(super) permanent: bool,
    #[serde(default)]
    pub(super) disks: Vec<Text>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PlacedFault {
    pub(super) disk: Text,
    pub(super) on: Option<Text>,
    pub(super) nth: Option<Number>,
    pub(super) fail: Option<Text>,
    pub(super) corrupt: Option<Spanned<bool>>,
    pub(super) misdirect: Option<Text>,
    pub(super) bad_sector: Option<Number>,
    pub(super) permanent: Option<bool>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Expect {
    pub(super) verdict: Text,
    pub(super) invariant: Option<Text>,
    #[serde(default)]
    pub(super) reach: Vec<Text>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Replay {
    pub(super) trace_version: Number,
    pub(super) invariant: Text,
    pub(super) message: Text,
    pub(super) choices: Vec<Choice>,
    #[serde(default)]
    pub(super) crash: Vec<Crash>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Choice {
    pub(super) kind: Text,
    pub(super) index: Number,
    pub(super) label: Text,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Crash {
    pub(super) session: Number,
    pub(super) at: Number,
    pub(super) disks: Spanned<BTreeMap<Text, Vec<Left>>>,
    #[serde(default)]
    pub(super) unreadable: BTreeMap<Text, Vec<Number>>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Left {
    pub(super) variable: Text,
    pub(super) option: Number,
    pub(super) of: Number,
    pub(super) label: Text,
}

/// A plain text, or a table of shape `T`.
///
/// Written out because serde's untagged enums buffer their input, and with it lose all places.
#[derive(Debug)]
pub(super) enum TextOr<T> {
    Text(String),
    Table(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for TextOr<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOrVisitor(PhantomData))
    }
}

struct TextOrVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for TextOrVisitor<T> {
    type Value = TextOr<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a table")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(TextOr::Text(text.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(TextOr::Table)
    }
}
