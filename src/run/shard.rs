//! Which shard of a run this is.

use std::str::FromStr;

use plugpull_report::ShardHeader;
use plugpull_sim::explore::Part;

use super::scenarios::Loaded;
use crate::failure::Failure;
use crate::identity;

/// Most shards: each numbers all roots, so more would do nothing else.
const COUNT_MAX: u64 = 100_000;

/// One `--shard I/N`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shard {
    /// From one.
    index: u64,
    count: u64,
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || {
            format!("expected I/N, such as 1/16 for the first of 16 shards, of at most {COUNT_MAX}")
        };
        let (index, count) = text.split_once('/').ok_or_else(expected)?;
        let number = |text: &str| {
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<u64>().ok().filter(|_| digits)
        };
        match (number(index), number(count)) {
            (Some(index @ 1..), Some(count @ ..=COUNT_MAX)) if index <= count => {
                Ok(Self { index, count })
            }
            _ => Err(expected()),
        }
    }
}

impl Shard {
    /// The part of the scenario at this place of the run.
    pub(super) fn part(self, position: usize) -> Part {
        Part { index: self.index - 1, count: self.count, position: position as u64 }
    }

    /// What it says of each scenario of the run.
    pub(super) fn headers(
        self,
        scenarios: &[Loaded],
        options: u128,
    ) -> Result<Vec<ShardHeader>, Failure> {
        let (Self { index, count }, binary) = (self, identity::program()?);
        let header = |loaded: &Loaded| {
            let scenario = identity::scenario(&loaded.scenario);
            ShardHeader { index, count, binary, scenario, options }
        };
        Ok(scenarios.iter().map(header).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_count_from_one() {
        assert_eq!("2/16".parse(), Ok(Shard { index: 2, count: 16 }));
        assert_eq!("1/1".parse(), Ok(Shard { index: 1, count: 1 }));
        for text in ["", "1", "0/2", "3/2", "1/0", "+1/2", "1/2/3", "a/b", "1/100001", "-1/2"] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
    }
}
