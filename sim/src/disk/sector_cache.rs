//! The write cache of the models in which sectors are independent: writeback, writethrough and
//! lying-flush. They differ only in when the disk state says that something is durable.
//!
//! The durable image is always current; only sectors with undecided content have a [`Cell`].

mod fingerprint;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::bytes::{Change, Extent, Slice, in_memory, write_clipped};
use super::cell::Cell;
use super::contents::{Grain, Patch};
use super::image::Image;
use super::lengths::{Lengths, Resize};
use super::request::RequestId;
use super::sector_space::{Gate, SectorSpace};
use super::span::Span;
use super::start::Beneath;

/// Durable image, undecided sectors, undecided length.
#[derive(Debug, Clone)]
pub(crate) struct SectorCache {
    grain: Grain,
    /// Durable content; as long as the longest length so far, in whole sectors.
    durable: Image,
    cells: BTreeMap<u64, Cell>,
    lengths: Lengths,
    in_flight: BTreeMap<RequestId, Change>,
    /// By request: so it makes no difference which was submitted first.
    gates: Vec<Gate>,
}

impl SectorCache {
    /// A disk that holds `durable` and nothing else, but for what lies beneath.
    pub(crate) fn new(durable: Image, grain: Grain) -> Self {
        let mut cache = Self {
            grain,
            lengths: Lengths::new(durable.len(), durable.len()),
            durable,
            cells: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            gates: Vec::new(),
        };
        let len = cache.durable.len();
        cache.make_room(len);
        cache.lengths = Lengths::new(len, cache.durable.len());
        cache
    }

    /// Takes a change in flight: from now on, any of it may reach the medium. If it is `gated`, by
    /// a flush that comes first, only after that flush.
    pub(crate) fn begin(
        &mut self,
        id: RequestId,
        moment: u64,
        change: Change,
        gated: bool,
        beneath: Beneath<'_>,
    ) {
        if gated {
            let place = self.gates.partition_point(|gate| gate.request < id);
            self.gates.insert(place, Gate { request: id, submitted: moment });
        }
        match &change {
            Change::Write(extents) => self.push(id, Span::new(moment), extents, beneath),
            &Change::Resize(len) => {
                self.make_room(len);
                let resize = Resize { request: id, span: Span::new(moment), len };
                self.lengths.begin(resize, self.durable.len());
            }
        }
        self.in_flight.insert(id, change);
    }

    /// Replaces the data of a write in flight: the device has damaged it.
    pub(crate) fn damage(&mut self, id: RequestId, extents: Vec<Extent>) {
        if let Some(span) = self.withdraw(id) {
            self.push(id, span, &extents, None);
        }
        self.in_flight.insert(id, Change::Write(extents));
    }

    /// Sends a write in flight elsewhere. It gets there at this moment, not before.
    pub(crate) fn misdirect(&mut self, id: RequestId, moment: u64, extents: Vec<Extent>) {
        self.withdraw(id);
        self.push(id, Span::new(moment), &extents, None);
        self.tidy();
        self.in_flight.insert(id, Change::Write(extents));
    }

    /// Ends a change well. Returns whether a power cut may leave anything else than before.
    pub(crate) fn finish(&mut self, id: RequestId, moment: u64, durable: bool) -> bool {
        // Contents that depend on hidden variables are made from the patches with every space.
        let mut changed = !self.gates.is_empty() || !self.lengths.unsettled_cuts().is_empty();
        self.gates.retain(|gate| gate.request != id);
        let change = self.in_flight.remove(&id).expect("the request is in flight");
        match &change {
            Change::Write(_) => {
                for sector in sectors(&change, self.grain) {
                    let cell = self.cells.get_mut(&sector).expect("a sector in flight has a cell");
                    changed |= cell.finish(id, moment, durable);
                    if durable {
                        self.settle(sector);
                    }
                }
            }
            Change::Resize(_) => {
                changed = true;
                let cut = self.lengths.finish(id, moment, durable);
                self.cut(&cut);
            }
        }
        changed
    }

    /// Whether a plain end of a change may make something impossible for a power cut: what depends
    /// on flushes under way and on the length is not looked at closely.
    pub(crate) fn may_settle(&self, id: RequestId) -> bool {
        !self.gates.is_empty()
            || !self.lengths.unsettled_cuts().is_empty()
            || matches!(self.in_flight[&id], Change::Resize(_))
    }

    /// Ends a change in an error: any of its sectors may have changed.
    pub(crate) fn fail(&mut self, id: RequestId, moment: u64) {
        self.gates.retain(|gate| gate.request != id);
        let change = self.in_flight.remove(&id).expect("the request is in flight");
        match &change {
            Change::Write(_) => {
                for sector in sectors(&change, self.grain) {
                    let cell = self.cells.get_mut(&sector).expect("a sector in flight has a cell");
                    cell.fail(id, moment);
                    self.settle(sector);
                }
            }
            Change::Resize(_) => {
                self.lengths.fail(id, moment);
                self.tidy();
            }
        }
    }

    /// A flush submitted at `moment` succeeded.
    pub(crate) fn cover(&mut self, moment: u64) {
        let cut = self.lengths.cover(moment);
        let mut covered = Vec::new();
        for (&sector, cell) in &mut self.cells {
            if cell.cover(moment) {
                covered.push(sector);
            }
        }
        if cut.is_empty() {
            for sector in covered {
                self.settle(sector);
            }
        } else {
            self.cut(&cut);
        }
    }

    /// A flush submitted at `moment` failed and dropped what it should have covered.
    pub(crate) fn drop_dirty(&mut self, moment: u64) {
        self.lengths.drop_dirty(moment);
        for cell in self.cells.values_mut() {
            cell.drop_dirty(moment);
        }
    }

    /// It has become known what durably lies in a sector.
    pub(crate) fn decide(&mut self, sector: u64, content: &Slice) {
        write_clipped(&mut self.durable, sector * self.grain.sector_len as u64, content);
        if let Some(cell) = self.cells.get_mut(&sector) {
            cell.decide_base(content.clone());
        }
    }

    /// What a power cut may leave.
    pub(crate) fn space(&self, beneath: Beneath<'_>) -> SectorSpace {
        let Self { durable, cells, lengths, gates, grain, .. } = self;
        SectorSpace::new(durable, cells, lengths, gates, *grain, beneath)
    }

    /// Takes a write in flight out of its sectors, which may need tidying. Returns its span.
    fn withdraw(&mut self, id: RequestId) -> Option<Span> {
        let mut span = None;
        for sector in sectors(&self.in_flight[&id], self.grain) {
            let cell = self.cells.get_mut(&sector).expect("a sector in flight has a cell");
            span = span.or(cell.withdraw(id));
        }
        span
    }

    fn push(&mut self, request: RequestId, span: Span, extents: &[Extent], beneath: Beneath<'_>) {
        let Self { cells, durable, grain, .. } = self;
        for part in extents.iter().flat_map(|extent| extent.parts(grain.sector_len)) {
            let base = || {
                let unknown = beneath.and_then(|start| start.unknown_sector(part.sector));
                Cell::new(unknown.unwrap_or_else(|| vec![sector_of(durable, part.sector, *grain)]))
            };
            let cell = cells.entry(part.sector).or_insert_with(base);
            cell.push(Patch { request, span, start: part.start, bytes: part.bytes });
        }
    }

    /// Folds what is settled of one sector into the durable image.
    fn settle(&mut self, sector: u64) {
        let Some(cell) = self.cells.get_mut(&sector) else { return };
        let unit = self.grain.sector_len as u64;
        let cuts: Vec<Span> = (self.lengths.unsettled_cuts().iter())
            .filter(|cut| cut.len < (sector + 1) * unit)
            .map(|cut| cut.span)
            .collect();
        if let Some(content) = cell.settle(&cuts, self.grain) {
            write_clipped(&mut self.durable, sector * unit, &content);
        }
        if cell.is_decided() {
            self.cells.remove(&sector);
        }
    }

    /// Folds what is settled everywhere.
    fn tidy(&mut self) {
        let sectors: Vec<u64> = self.cells.keys().copied().collect();
        for sector in sectors {
            self.settle(sector);
        }
    }

    /// Carries out shrinks that have become durable.
    fn cut(&mut self, shrinks: &[Resize]) {
        for shrink in shrinks {
            let room = self.durable.len();
            self.durable.set_len(shrink.len);
            self.durable.set_len(room);
            for (&sector, cell) in &mut self.cells {
                if let Some(patch) = cut_patch(shrink, sector, self.grain) {
                    cell.push(patch);
                }
            }
        }
        self.tidy();
    }

    fn make_room(&mut self, len: u64) {
        let unit = self.grain.sector_len as u64;
        let room = len.div_ceil(unit) * unit;
        if room > self.durable.len() {
            self.durable.set_len(room);
        }
    }
}

/// The content of a sector of an image that is whole sectors long.
fn sector_of(image: &Image, sector: u64, grain: Grain) -> Slice {
    Slice::new(image.bytes(sector * grain.sector_len as u64, grain.sector_len).into())
}

/// What a shrink that has taken place, even if it reported a failure, does to a sector, if it cuts
/// it: a durable patch of zeros to the sector's end.
pub(crate) fn cut_patch(shrink: &Resize, sector: u64, grain: Grain) -> Option<Patch> {
    let unit = grain.sector_len as u64;
    let start = in_memory(shrink.len.saturating_sub(sector * unit).min(unit));
    (start < grain.sector_len).then(|| Patch {
        request: shrink.request,
        span: Span { required: true, failed: false, ..shrink.span },
        start,
        bytes: Slice::new(Arc::from(vec![0; grain.sector_len - start])),
    })
}

/// The sectors that a write touches, each once.
fn sectors(change: &Change, grain: Grain) -> Vec<u64> {
    let Change::Write(extents) = change else { return Vec::new() };
    let unit = grain.sector_len as u64;
    let mut sectors: Vec<u64> =
        extents.iter().flat_map(|extent| extent.range().units(unit)).collect();
    if extents.len() > 1 {
        sectors.sort_unstable();
        sectors.dedup();
    }
    sectors
}
