//! How long a run may take.

use std::time::Duration;

use plugpull_sim::explore::{Budget, Spent};

use crate::clock::Stopwatch;

/// What was begun when the budget ended has so long to come to its end.
const GRACE: Duration = Duration::from_secs(1);

/// A time as people write it: a number and `ms`, `s`, `m` or `h`.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    let expected = || format!("expected a time such as 30s, 10m or 2h, found `{text}`");
    let unit = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(expected)?;
    let milliseconds = match &text[unit..] {
        "ms" => 1,
        "s" => 1000,
        "m" => 60 * 1000,
        "h" => 60 * 60 * 1000,
        _ => return Err(expected()),
    };
    let count: u64 = text[..unit].parse().map_err(|_| expected())?;
    count.checked_mul(milliseconds).map(Duration::from_millis).ok_or_else(expected)
}

/// A budget of so much time since `start`.
pub(super) fn of(time: Duration, start: Stopwatch) -> Budget {
    Budget::new(move || {
        let taken = start.elapsed();
        if taken < time {
            Spent::Partly
        } else if taken - time < GRACE {
            Spent::Wholly
        } else {
            Spent::Overrun
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read() {
        let cases = [("30s", 30_000), ("10m", 600_000), ("2h", 7_200_000), ("5ms", 5), ("0s", 0)];
        for (text, milliseconds) in cases {
            assert_eq!(time(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in
            ["", "s", "30", "-1s", "1.5s", "1d", "99999999999999999999s", "9999999999999999999h"]
        {
            assert!(time(text).is_err(), "{text}");
        }
    }
}
