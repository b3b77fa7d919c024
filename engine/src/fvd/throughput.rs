//! Measuring how fast prefetching gets on.

use std::time::Duration;

/// A running average of throughput, measured over windows of busy time.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Throughput {
    /// Busy time that makes a measurement.
    window: Duration,
    /// Percentage that the past weighs.
    alpha: u64,
    /// KB/s below which the average counts as slow.
    least: u64,
    busy: Duration,
    bytes: u64,
    average: Option<u64>,
}

impl Throughput {
    /// Nothing measured yet. Values below zero, which a header may hold, count as zero.
    pub(super) fn new(window_ms: i32, alpha_percent: i32, least_kb_per_s: i32) -> Self {
        let value = |value: i32| u64::try_from(value).unwrap_or(0);
        Self {
            window: Duration::from_millis(value(window_ms)),
            alpha: value(alpha_percent).min(100),
            least: value(least_kb_per_s),
            busy: Duration::ZERO,
            bytes: 0,
            average: None,
        }
    }

    /// Counts a transfer. Returns whether a window has ended and the average is slow.
    pub(super) fn add(&mut self, bytes: u64, took: Duration) -> bool {
        self.bytes = self.bytes.saturating_add(bytes);
        self.busy = self.busy.saturating_add(took);
        if self.busy.is_zero() || self.busy < self.window {
            return false;
        }
        let now = kb_per_second(self.bytes, self.busy);
        let average = match self.average {
            None => now,
            Some(past) => {
                let weighed = u128::from(past) * u128::from(self.alpha)
                    + u128::from(now) * u128::from(100 - self.alpha);
                u64::try_from(weighed / 100).unwrap_or(u64::MAX)
            }
        };
        self.average = Some(average);
        self.bytes = 0;
        self.busy = Duration::ZERO;
        average < self.least
    }

    /// Forgets the average, after a pause.
    pub(super) fn reset(&mut self) {
        self.average = None;
        self.bytes = 0;
        self.busy = Duration::ZERO;
    }
}

fn kb_per_second(bytes: u64, took: Duration) -> u64 {
    let rate = u128::from(bytes) * 1_000_000_000 / 1024 / took.as_nanos().max(1);
    u64::try_from(rate).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check((window, alpha, least): (i32, i32, i32), transfers: &[(u64, u64)], expected: &[bool]) {
        let mut throughput = Throughput::new(window, alpha, least);
        let add = |&(kb, ms): &(u64, u64)| throughput.add(kb * 1024, Duration::from_millis(ms));
        let slow: Vec<bool> = transfers.iter().map(add).collect();
        assert_eq!(slow, expected);
    }

    #[test]
    fn slow_only_at_the_end_of_a_window() {
        // 10 KB in 100 ms are 100 KB/s.
        check((100, 80, 200), &[(5, 50), (5, 50), (5, 50), (5, 50)], &[false, true, false, true]);
        check((100, 80, 100), &[(10, 100)], &[false]);
    }

    #[test]
    fn the_past_weighs_alpha() {
        // 1000 KB/s, then 0: 800, 640, 512, ...
        let transfers = [(100, 100), (0, 100), (0, 100), (0, 100)];
        check((100, 80, 600), &transfers, &[false, false, false, true]);
        check((100, 0, 600), &transfers, &[false, true, true, true]);
    }

    #[test]
    fn no_time_and_odd_headers_are_no_reason_to_pause() {
        check((0, 80, 100), &[(1, 0), (1, 0)], &[false, false]);
        check((-1, -1, -1), &[(0, 10)], &[false]);
        check((-1, 300, i32::MAX), &[(0, 10)], &[true]);
    }
}
