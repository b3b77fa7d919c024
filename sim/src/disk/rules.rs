//! What the device models promise about the moment when something becomes durable.

use super::spec::Model;

/// The promises of a model.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// Flush, PREFLUSH and FUA do what they say.
    pub(crate) flush_counts: bool,
    /// Everything is durable when it completes.
    pub(crate) durable_when_complete: bool,
}

impl Rules {
    /// The promises of `model`.
    pub(crate) fn of(model: Model) -> Self {
        Self {
            flush_counts: model != Model::LyingFlush,
            durable_when_complete: model == Model::Writethrough,
        }
    }
}
