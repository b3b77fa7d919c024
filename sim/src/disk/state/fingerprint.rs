//! What a disk is, whatever happened on the way: states that behave the same have the same
//! fingerprint.
//!
//! Moments are not part of it, only what may still be asked about their order: within one sector,
//! which change ended before which other was submitted or ended; and for each flush in flight, what
//! ended before it was submitted. So the order of events on different sectors leaves no mark, nor
//! does the order in which flushes are submitted or complete if nothing happens between them.
//!
//! Not part of it either: what kind of disk it is, with its faults, which must be the same; who
//! wrote what has completed; and in which order requests in flight are listed.

use plugpull_engine::DiskError;

use super::{DiskState, Pending, flags};
use crate::disk::cache::Flushing;
use crate::disk::faults::Faults;
use crate::disk::request::{Op, RequestId};
use crate::fingerprint::{Parts, sum};

impl DiskState {
    /// The same, ready to be asked often for its [fingerprint](DiskState::fingerprint): the key of
    /// what reads see is kept up to date with every change.
    #[must_use]
    pub fn with_fingerprints(mut self) -> Self {
        self.visible = self.visible.with_key();
        self
    }

    /// Identifies what the disk does from here on, among disks of the same kind, start and fault
    /// plan: with equal fingerprints, the same requests and outcomes have the same replies, leave
    /// the same outcomes to choose from, and [crash spaces](DiskState::crash_space) with the same
    /// keys. Up to a hash collision (128 bits).
    ///
    /// # Panics
    /// On a disk that began with a power cut: what is undecided there has no fingerprint.
    #[must_use]
    pub fn fingerprint(&self) -> u128 {
        assert!(self.start.is_none(), "a disk after a power cut has no fingerprint");
        let flushing: Vec<Flushing> = (self.in_flight.iter())
            .filter(|pending| self.rules.flush_counts && pending.flushes())
            .map(|pending| Flushing {
                key: pending.fingerprint(&self.faults),
                submitted: pending.submitted,
            })
            .collect();
        let pending = self.in_flight.iter().map(|pending| pending.fingerprint(&self.faults));
        Parts::of("disk")
            .key(self.visible.key())
            .key(self.cache.fingerprint(&flushing))
            .key(self.faults.fingerprint())
            .key(sum(pending))
            .end()
    }
}

impl Pending {
    /// Whether what completed before its submission is durable once it succeeds.
    fn flushes(&self) -> bool {
        self.rejected.is_none() && (self.op == Op::Flush || flags(&self.op).preflush)
    }

    /// Who asks for what, whether it is rejected, and its number if a fault waits for that.
    fn fingerprint(&self, faults: &Faults) -> u128 {
        *self.fingerprint.get_or_init(|| {
            let counts = faults.waits_for(self.op.kind(), self.number);
            let rejected = self.rejected.as_ref().map_or(0, error_key);
            Parts::of("pending")
                .key(self.id.fingerprint())
                .key(self.op.fingerprint())
                .key(rejected)
                .word(u64::from(if counts { self.number } else { 0 }))
                .end()
        })
    }
}

impl RequestId {
    /// Identifies the request among all of its disk.
    pub(crate) fn fingerprint(&self) -> u128 {
        Parts::of("request").word(self.key).end()
    }
}

impl Op {
    fn fingerprint(&self) -> u128 {
        let parts = Parts::of("op").word(self.kind() as u64);
        match *self {
            Self::Read { offset, len } => parts.word(offset).count(len),
            Self::Write { offset, ref data, flags } => parts
                .word(offset)
                .content(data)
                .word(u64::from(flags.preflush))
                .word(u64::from(flags.fua)),
            Self::Flush => parts,
            Self::Discard { offset, len } => parts.word(offset).word(len),
            Self::Resize { len } => parts.word(len),
        }
        .end()
    }
}

fn error_key(error: &DiskError) -> u128 {
    Parts::of("error").word(error.kind as u64).content(error.detail.as_bytes()).end()
}

#[cfg(test)]
mod tests;
