//! The processor time spent by this program, as far as the host tells.

/// Seconds of the main thread up to now; zero where the host does not tell.
fn seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let nanoseconds = text.split_whitespace().next().and_then(|first| first.parse::<u64>().ok());
    std::time::Duration::from_nanos(nanoseconds.unwrap_or(0)).as_secs_f64()
}

/// What `work` returns, and the seconds it took.
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let before = seconds();
    let result = work();
    (result, seconds() - before)
}
