//! The progress bar of a long copy: on a terminal, on standard error; elsewhere nothing.

use indicatif::{ProgressBar, ProgressStyle};

/// How much of a disk is done.
pub(super) struct Bar(ProgressBar);

impl Bar {
    /// A bar for `len` bytes.
    pub(super) fn new(len: u64) -> Self {
        let bar = ProgressBar::new(len);
        let style = ProgressStyle::with_template(
            "{bar:30} {percent} % of {binary_total_bytes}, {binary_bytes_per_sec}, {eta} left",
        )
        .expect("the template is a constant");
        bar.set_style(style);
        Self(bar)
    }

    /// Everything before byte `offset` is done.
    pub(super) fn reached(&self, offset: u64) {
        self.0.set_position(offset);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
