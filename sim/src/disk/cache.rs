//! The volatile cache of a disk, in the form that its model needs.

use super::bytes::{Change, Extent, Slice};
use super::change_log::{ChangeLog, LogRule};
use super::contents::Grain;
use super::crash_space::{CrashSpace, Shape};
use super::image::Image;
use super::request::RequestId;
use super::sector_cache::SectorCache;
use super::spec::{DiskSpec, Model};
use super::start::Beneath;

/// A cache.
#[derive(Debug, Clone)]
pub(crate) enum Cache {
    /// For models in which sectors are independent.
    Sectors(SectorCache),
    /// For models in which whole requests are kept or lost.
    Log(ChangeLog),
    /// None, where nobody asks what a power cut leaves.
    Off,
}

/// Calls the method of the cache at hand.
macro_rules! either {
    ($cache:expr, $method:ident($($argument:expr),*)) => {
        match $cache {
            Cache::Sectors(cache) => cache.$method($($argument),*),
            Cache::Log(cache) => cache.$method($($argument),*),
            Cache::Off => Default::default(),
        }
    };
}

/// A flush, or a write with one before it, in flight.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flushing {
    /// Identifies it.
    pub(crate) key: u128,
    /// When it was submitted: what ended before is covered.
    pub(crate) submitted: u64,
}

impl Cache {
    /// The empty cache of a disk that durably holds `durable`, but for what an earlier power cut has
    /// left undecided in some sectors.
    pub(crate) fn new(spec: &DiskSpec, durable: Image, after_cut: bool) -> Self {
        let rule = match spec.model {
            Model::Writeback | Model::Writethrough | Model::LyingFlush => {
                let grain = Grain { sector_len: spec.sector_len, tear: spec.tear };
                return Self::Sectors(SectorCache::new(durable, grain));
            }
            Model::Ordered => LogRule::Ordered,
            Model::AtomicWrite => LogRule::AtomicWrite,
        };
        Self::Log(ChangeLog::new(rule, durable, spec.sector_len, spec.tear, after_cut))
    }

    /// Takes a change in flight; `preflush` if a flush comes first.
    pub(crate) fn begin(
        &mut self,
        id: RequestId,
        moment: u64,
        change: Change,
        preflush: bool,
        beneath: Beneath<'_>,
    ) {
        match self {
            Self::Sectors(cache) => cache.begin(id, moment, change, preflush, beneath),
            Self::Log(cache) => cache.begin(id, moment, change, preflush),
            Self::Off => {}
        }
    }

    /// It has become known what durably lies in a sector.
    pub(crate) fn decide(&mut self, sector: u64, content: &Slice) {
        either!(self, decide(sector, content));
    }

    /// Replaces the data of a write in flight: the device has damaged it.
    pub(crate) fn damage(&mut self, id: RequestId, extents: Vec<Extent>) {
        match self {
            Self::Sectors(cache) => cache.damage(id, extents),
            Self::Log(cache) => cache.replace(id, extents),
            Self::Off => {}
        }
    }

    /// Sends a write in flight elsewhere. It gets there at this moment, not before.
    pub(crate) fn misdirect(&mut self, id: RequestId, moment: u64, extents: Vec<Extent>) {
        match self {
            Self::Sectors(cache) => cache.misdirect(id, moment, extents),
            Self::Log(cache) => cache.replace(id, extents),
            Self::Off => {}
        }
    }

    /// Ends a change well. Returns whether a power cut may leave anything else than before.
    pub(crate) fn finish(&mut self, id: RequestId, moment: u64, durable: bool) -> bool {
        either!(self, finish(id, moment, durable))
    }

    /// Whether a plain end of a change may make something impossible for a power cut.
    pub(crate) fn may_settle(&self, id: RequestId) -> bool {
        match self {
            Self::Sectors(cache) => cache.may_settle(id),
            Self::Log(cache) => cache.may_settle(id),
            Self::Off => false,
        }
    }

    /// Ends a change in an error.
    pub(crate) fn fail(&mut self, id: RequestId, moment: u64) {
        either!(self, fail(id, moment));
    }

    /// A flush submitted at `moment` succeeded.
    pub(crate) fn cover(&mut self, moment: u64) {
        either!(self, cover(moment));
    }

    /// A flush submitted at `moment` failed and dropped what it should have covered.
    pub(crate) fn drop_dirty(&mut self, moment: u64) {
        either!(self, drop_dirty(moment));
    }

    /// Identifies what the cache does from here on, with these flushes in flight.
    pub(crate) fn fingerprint(&self, flushing: &[Flushing]) -> u128 {
        either!(self, fingerprint(flushing))
    }

    /// What a power cut may leave.
    ///
    /// # Panics
    /// If there is no cache.
    pub(crate) fn space(&self, beneath: Beneath<'_>) -> CrashSpace {
        CrashSpace::new(match self {
            Self::Sectors(cache) => Shape::Sectors(cache.space(beneath)),
            Self::Log(cache) => match cache.rule() {
                LogRule::Ordered => Shape::Ordered(cache.ordered_space(beneath)),
                LogRule::AtomicWrite => Shape::AtomicWrite(cache.atomic_write_space(beneath)),
            },
            Self::Off => panic!("what is durable on this disk was not kept"),
        })
    }
}
