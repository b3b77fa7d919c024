//! The shape of the document, for writing and for reading.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// All of it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Document {
    pub(crate) version: u32,
    pub(crate) program: String,
    pub(crate) scenarios: Vec<Scenario>,
    pub(crate) summary: Summary,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    pub(crate) path: String,
    pub(crate) claim: String,
    pub(crate) verdict: String,
    pub(crate) as_expected: bool,
    pub(crate) violations: Vec<Violation>,
    pub(crate) schedules: Schedules,
    pub(crate) crashes: Crashes,
    pub(crate) goals: Goals,
    #[serde(serialize_with = "as_map", deserialize_with = "from_map")]
    pub(crate) disks: Vec<(String, String)>,
    pub(crate) planted: Vec<String>,
    pub(crate) seed: Option<u64>,
    pub(crate) bounds: Vec<String>,
    pub(crate) incomplete: Vec<String>,
    pub(crate) broken: Option<String>,
    pub(crate) shard: Option<Shard>,
    pub(crate) seconds: f64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Violation {
    pub(crate) invariant: String,
    pub(crate) message: String,
    pub(crate) counterexample: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Schedules {
    pub(crate) strategy: String,
    pub(crate) engine: Option<String>,
    pub(crate) executions: u64,
    pub(crate) classes: Option<u64>,
    /// Whether there may have been more classes than that.
    pub(crate) more_classes: bool,
    /// Executions that are the only one of their class, and all that were drawn.
    pub(crate) drawn_once: Option<[u64; 2]>,
    pub(crate) class_sum: Option<Hex>,
    pub(crate) states: Option<u64>,
    pub(crate) covered: Option<u64>,
    /// Events seen with exactly what they touch, and all events.
    pub(crate) precise_footprints: Option<[u64; 2]>,
    pub(crate) audited: u64,
    pub(crate) done: Option<f64>,
    pub(crate) complete: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Crashes {
    pub(crate) mode: String,
    pub(crate) points: u64,
    pub(crate) states: String,
    pub(crate) recovery_paths: u64,
    pub(crate) queries: u64,
    pub(crate) cross_checked: u64,
    pub(crate) depth: u32,
    pub(crate) certificate: bool,
    pub(crate) complete: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Goals {
    pub(crate) met: Vec<String>,
    pub(crate) unmet: Vec<String>,
}

/// The certificate of a shard.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Shard {
    /// From one.
    pub(crate) index: u64,
    pub(crate) count: u64,
    pub(crate) binary: Hex,
    pub(crate) scenario: Hex,
    pub(crate) options: Hex,
    pub(crate) expected: String,
    pub(crate) expected_invariant: Option<String>,
    /// None if the harness broke before anything was explored.
    pub(crate) part: Option<Part>,
    /// The hash of everything that is said of the scenario but this and times.
    pub(crate) seal: Hex,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Part {
    pub(crate) division: plugpull_sim::verdict::Division,
    pub(crate) depth: u64,
    pub(crate) roots: Roots,
    pub(crate) complete: u64,
    pub(crate) covered: u64,
    pub(crate) steps: u64,
    pub(crate) classes: Classes,
    pub(crate) finished: bool,
    pub(crate) schedules_complete: bool,
    pub(crate) crashes_complete: bool,
    pub(crate) missing: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Roots {
    pub(crate) count: u64,
    pub(crate) open: u64,
    pub(crate) hash: Hex,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Classes {
    pub(crate) count: u64,
    pub(crate) sum: Hex,
    pub(crate) xor: Hex,
    pub(crate) min: Hex,
    pub(crate) max: Hex,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Summary {
    pub(crate) total: usize,
    pub(crate) as_expected: usize,
    pub(crate) planted: usize,
    pub(crate) planted_found: usize,
    pub(crate) seconds: f64,
}

/// A hash: a string of 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hex(pub(crate) u128);

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:032x}", self.0))
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let value = u128::from_str_radix(&text, 16).ok().filter(|_| digits);
        value.map(Self).ok_or_else(|| {
            serde::de::Error::custom(format_args!("expected 32 hexadecimal digits, found {text:?}"))
        })
    }
}

fn as_map<S: Serializer>(pairs: &[(String, String)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(pairs.iter().map(|(name, model)| (name, model)))
}

fn from_map<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(String, String)>, D::Error> {
    struct InOrder;

    impl<'de> Visitor<'de> for InOrder {
        type Value = Vec<(String, String)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("names with models")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut pairs = Vec::new();
            while let Some(pair) = map.next_entry()? {
                pairs.push(pair);
            }
            Ok(pairs)
        }
    }

    deserializer.deserialize_map(InOrder)
}
