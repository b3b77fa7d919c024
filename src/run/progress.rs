//! The progress bar: on a terminal, on standard error; elsewhere nothing.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use indicatif::{ProgressBar, ProgressStyle};
use plugpull_sim::explore::Progress;

/// Progress over all scenarios.
pub(super) struct Bar {
    bar: ProgressBar,
    executions: AtomicU64,
    recoveries: AtomicU64,
    /// Scenarios under way.
    open: AtomicU64,
}

/// Adds the progress of one scenario to that of all.
pub(super) struct Counter<'a> {
    bar: &'a Bar,
    executions: AtomicU64,
    recoveries: AtomicU64,
}

impl Bar {
    pub(super) fn new(scenarios: usize) -> Self {
        let bar = ProgressBar::new(scenarios as u64);
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} scenarios, {msg}")
            .expect("the template is a constant");
        bar.set_style(style);
        let [executions, recoveries, open] = [0; 3].map(AtomicU64::new);
        Self { bar, executions, recoveries, open }
    }

    pub(super) fn counter(&self) -> Counter<'_> {
        self.open.fetch_add(1, Ordering::Relaxed);
        Counter { bar: self, executions: AtomicU64::new(0), recoveries: AtomicU64::new(0) }
    }

    pub(super) fn scenario_done(&self) {
        self.bar.inc(1);
    }

    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Counter<'_> {
    pub(super) fn update(&self, now: Progress) {
        let add = |seen: &AtomicU64, total: &AtomicU64, now: u64| {
            let new = now.saturating_sub(seen.swap(now, Ordering::Relaxed));
            total.fetch_add(new, Ordering::Relaxed) + new
        };
        let executions = add(&self.executions, &self.bar.executions, now.executions);
        let recoveries = add(&self.recoveries, &self.bar.recoveries, now.recoveries);
        if !self.bar.bar.is_hidden() {
            let mut message = format!("{executions} executions, {recoveries} recoveries");
            // Of several searches it would not say which is meant.
            if self.bar.open.load(Ordering::Relaxed) == 1 {
                message += &reach(now);
            }
            self.bar.bar.set_message(message);
        }
    }
}

impl Drop for Counter<'_> {
    fn drop(&mut self) {
        self.bar.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How much of a search is done, as far as that is known.
fn reach(now: Progress) -> String {
    let mut text = String::new();
    let Some(share) = now.share else { return text };
    let _ = write!(text, "; {} %", share.of(100));
    if let Some(estimate) = share.whole_of(now.executions) {
        let _ = write!(text, " of about {estimate} executions");
    }
    text
}
