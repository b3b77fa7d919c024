//! The atomic-write model: each write, discard and length change persists whole or not at all,
//! from its submission on. Where they overlap, the one that completed later wins; one in flight
//! wins over a completed one, and two in flight may persist in either order.
//!
//! Variables: one boolean for each change that is not durable, and for each group of overlapping
//! changes in flight the order in which they reach the medium.

mod questions;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_128;

use super::bytes::Change;
use super::change_log::{self, Durable, Logged};
use super::image::Image;
use super::start::Layer;
use crate::fingerprint::{Parts, sum};

/// Most changes of one group of overlapping ones in flight: there are 720 orders of six.
const GROUP_MAX: usize = 6;

/// See the module.
#[derive(Debug)]
pub(crate) struct AtomicWriteSpace {
    durable: Durable,
    sector_len: usize,
    /// Completed ones in completion order, then those in flight in submission order.
    changes: Vec<Arc<Logged>>,
    /// Indices of the changes that are not durable.
    undecided: Vec<usize>,
    /// Groups of overlapping changes in flight, with their orders.
    groups: Vec<Group>,
    /// For each sector the writes that touch it, as indices of changes.
    by_sector: BTreeMap<u64, Vec<usize>>,
    /// The changes of the length.
    resizes: Vec<usize>,
    /// Whether one of them may cut content off: then sectors depend on it, too.
    cuts_content: bool,
    /// What lies beneath.
    layer: Option<Layer>,
}

/// Overlapping changes in flight.
#[derive(Debug)]
struct Group {
    /// Indices of the changes, in submission order.
    members: Vec<usize>,
    /// Permutations of the members; the first is submission order.
    orders: Vec<Vec<usize>>,
}

impl AtomicWriteSpace {
    /// Takes stock of a cache.
    ///
    /// # Panics
    /// If more than [`GROUP_MAX`] changes in flight overlap.
    pub(crate) fn new(
        durable: Durable,
        completed: &[Arc<Logged>],
        in_flight: &[Arc<Logged>],
        sector_len: usize,
        layer: Option<Layer>,
    ) -> Self {
        let changes: Vec<Arc<Logged>> = completed.iter().chain(in_flight).cloned().collect();
        let undecided = (0..changes.len()).filter(|&index| !changes[index].span.required).collect();
        let groups = groups(&changes, completed.len());
        let mut by_sector: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        let mut resizes = Vec::new();
        for (index, logged) in changes.iter().enumerate() {
            if matches!(logged.change, Change::Resize(_)) {
                resizes.push(index);
            }
            let sectors: BTreeSet<u64> =
                logged.parts(sector_len).iter().map(|part| part.sector).collect();
            for sector in sectors {
                by_sector.entry(sector).or_default().push(index);
            }
        }
        let room = durable.image.len();
        let cuts_content = resizes
            .iter()
            .any(|&index| matches!(changes[index].change, Change::Resize(len) if len < room));
        Self {
            durable,
            sector_len,
            changes,
            undecided,
            groups,
            by_sector,
            resizes,
            cuts_content,
            layer,
        }
    }

    /// What lies beneath.
    pub(crate) fn layer(&self) -> Option<&Layer> {
        self.layer.as_ref()
    }

    /// Number of variables.
    pub(crate) fn variables(&self) -> usize {
        self.own_variables() + self.layer.as_ref().map_or(0, |layer| layer.space().variables())
    }

    /// Number of options.
    pub(crate) fn options(&self, variable: usize) -> usize {
        if let Some((layer, variable)) = self.beneath(variable) {
            return layer.space().options(variable);
        }
        match variable.checked_sub(self.undecided.len()) {
            None => 2,
            Some(group) => self.groups[group].orders.len(),
        }
    }

    /// The option with everything kept.
    pub(crate) fn kept(&self, variable: usize) -> usize {
        if let Some((layer, variable)) = self.beneath(variable) {
            return layer.space().kept(variable);
        }
        match self.undecided.get(variable) {
            Some(&index) => usize::from(!self.changes[index].span.failed),
            None => 0,
        }
    }

    /// What a variable stands for.
    pub(crate) fn label(&self, variable: usize) -> String {
        if let Some((layer, variable)) = self.beneath(variable) {
            return format!("beneath, {}", layer.space().label(variable));
        }
        let Some(&index) = self.undecided.get(variable) else {
            let names = self.names(&self.groups[variable - self.undecided.len()].members);
            return format!("order of {names}");
        };
        let logged = &self.changes[index];
        match &logged.change {
            Change::Write(_) => format!("write {}", logged.request),
            Change::Resize(len) => format!("length {len} of {}", logged.request),
        }
    }

    /// What an option means.
    pub(crate) fn describe(&self, variable: usize, option: usize) -> String {
        if let Some((layer, variable)) = self.beneath(variable) {
            return layer.space().describe(variable, option);
        }
        match variable.checked_sub(self.undecided.len()) {
            None => if option == 0 { "lost" } else { "kept" }.to_owned(),
            Some(group) => self.names(&self.groups[group].orders[option]),
        }
    }

    /// The image for a choice.
    pub(crate) fn realize(&self, choice: &[usize]) -> Image {
        let mut kept: Vec<bool> = self.changes.iter().map(|logged| logged.span.required).collect();
        for (&index, &option) in self.undecided.iter().zip(choice) {
            kept[index] = option == 1;
        }
        self.keep_what_preflushes_cover(&mut kept);
        let mut order: Vec<usize> = (0..self.changes.len()).collect();
        for (group, &option) in self.groups.iter().zip(&choice[self.undecided.len()..]) {
            for (&place, &index) in group.members.iter().zip(&group.orders[option]) {
                order[place] = index;
            }
        }
        let mut durable = self.durable.clone();
        if let Some(layer) = &self.layer {
            let beneath = &choice[self.own_variables()..];
            layer.show(beneath, self.sector_len, &mut durable.image);
        }
        for index in order.into_iter().filter(|&index| kept[index]) {
            durable.apply(&self.changes[index].change, self.sector_len);
        }
        durable.into_image()
    }

    /// Identifies the set of images, whatever the order of changes that do not overlap.
    pub(crate) fn key(&self) -> u128 {
        let mut parts: Vec<u8> = self.durable.image.key().to_le_bytes().to_vec();
        parts.extend_from_slice(&self.durable.len.to_le_bytes());
        let completed =
            self.changes.iter().take_while(|logged| logged.span.ended.is_some()).count();
        let keys = change_log::keys(&self.changes);
        // Those in flight come after all others, and in any order.
        let order = change_log::order_key(&self.changes[..completed], &keys[..completed]);
        let in_flight = sum(keys[completed..].iter().copied());
        parts.extend_from_slice(&order.to_le_bytes());
        parts.extend_from_slice(&in_flight.to_le_bytes());
        parts.extend_from_slice(&self.preflush_key(&keys).to_le_bytes());
        if let Some(layer) = &self.layer {
            layer.add_to_key(&mut parts);
        }
        xxh3_128(&parts)
    }

    /// What the flush parts of writes in flight make durable.
    fn preflush_key(&self, keys: &[u128]) -> u128 {
        let flushing = (0..keys.len()).filter(|&index| self.changes[index].is_flushing());
        sum(flushing.flat_map(|index| {
            let moment = self.changes[index].span.submitted;
            let covered = self.undecided.iter().copied();
            covered
                .filter(move |&earlier| self.changes[earlier].span.covered_by(moment))
                .map(move |earlier| Parts::of("covers").key(keys[index]).key(keys[earlier]).end())
        }))
    }

    /// Bytes in a sector.
    pub(crate) fn sector_len(&self) -> usize {
        self.sector_len
    }

    fn own_variables(&self) -> usize {
        self.undecided.len() + self.groups.len()
    }

    fn beneath(&self, variable: usize) -> Option<(&Layer, usize)> {
        let variable = variable.checked_sub(self.own_variables())?;
        Some((self.layer.as_ref()?, variable))
    }

    /// If the data of a PREFLUSH write in flight is there, its flush part has been carried out.
    fn keep_what_preflushes_cover(&self, kept: &mut [bool]) {
        let flushed: Vec<u64> = (self.changes.iter().zip(&*kept))
            .filter(|(logged, kept)| **kept && logged.preflush && logged.span.ended.is_none())
            .map(|(logged, _)| logged.span.submitted)
            .collect();
        for (logged, kept) in self.changes.iter().zip(kept) {
            *kept |= flushed.iter().any(|&moment| logged.span.covered_by(moment));
        }
    }

    fn names(&self, members: &[usize]) -> String {
        let names: Vec<String> =
            members.iter().map(|&index| self.changes[index].request.to_string()).collect();
        names.join(", ")
    }
}

/// The groups among `changes[first..]` whose members overlap, directly or through others.
fn groups(changes: &[Arc<Logged>], first: usize) -> Vec<Group> {
    let mut all: Vec<Vec<usize>> = Vec::new();
    for index in first..changes.len() {
        let touches = |members: &Vec<usize>| {
            members.iter().any(|&member| overlap(&changes[member].change, &changes[index].change))
        };
        let (joined, mut apart): (Vec<_>, Vec<_>) = all.into_iter().partition(touches);
        let mut group: Vec<usize> = joined.concat();
        group.push(index);
        group.sort_unstable();
        apart.push(group);
        all = apart;
    }
    let overlapping = all.into_iter().filter(|members| members.len() > 1);
    overlapping
        .map(|members| {
            assert!(members.len() <= GROUP_MAX, "{} overlapping changes in flight", members.len());
            Group { orders: permutations(&members), members }
        })
        .collect()
}

/// Whether the order of two changes matters.
pub(crate) fn overlap(a: &Change, b: &Change) -> bool {
    match (a, b) {
        (Change::Write(a), Change::Write(b)) => {
            a.iter().any(|a| b.iter().any(|b| a.range().overlaps(b.range())))
        }
        (Change::Write(extents), Change::Resize(len))
        | (Change::Resize(len), Change::Write(extents)) => {
            extents.iter().any(|extent| extent.range().end() > *len)
        }
        (Change::Resize(_), Change::Resize(_)) => true,
    }
}

/// All orders of some items, the given one first.
fn permutations(items: &[usize]) -> Vec<Vec<usize>> {
    if items.len() <= 1 {
        return vec![items.to_vec()];
    }
    let mut all = Vec::new();
    for index in 0..items.len() {
        let mut rest = items.to_vec();
        let head = rest.remove(index);
        all.extend(permutations(&rest).into_iter().map(|tail| [vec![head], tail].concat()));
    }
    all
}
