//! The atomic-write model: each write, discard and length change persists whole or not at all,
//! from its submission on. Where they overlap, the one that completed later wins; one in flight
//! wins over a completed one, and two in flight may persist in either order.
//!
//! Variables: one boolean for each change that is not durable, and for each group of overlapping
//! changes in flight the order in which they reach the medium.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_128;

use super::bytes::{Change, Slice, in_memory};
use super::change_log::{Durable, Logged};
use super::image::Image;
use super::remaining::{Question, Remaining};
use super::start::Layer;

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

    /// Identifies the set of images.
    pub(crate) fn key(&self) -> u128 {
        let mut parts: Vec<u8> = self.durable.image.key().to_le_bytes().to_vec();
        parts.extend_from_slice(&self.durable.len.to_le_bytes());
        for logged in &self.changes {
            let span = &logged.span;
            let preflush = logged.preflush && span.ended.is_none();
            parts.push(u8::from(span.required) | u8::from(span.ended.is_some()) << 1);
            if preflush {
                for earlier in &self.changes {
                    parts.push(u8::from(earlier.span.covered_by(span.submitted)));
                }
            }
            for part in logged.parts(self.sector_len) {
                parts.extend_from_slice(&part.offset(self.sector_len).to_le_bytes());
                parts.extend_from_slice(&xxh3_128(&part.bytes).to_le_bytes());
            }
            if let Change::Resize(len) = logged.change {
                parts.extend_from_slice(&len.to_le_bytes());
            }
            parts.extend_from_slice(b"change");
        }
        if let Some(layer) = &self.layer {
            layer.add_to_key(&mut parts);
        }
        xxh3_128(&parts)
    }

    /// The sectors that variables decide about, in order.
    pub(crate) fn undecided_sectors(&self) -> Arc<[u64]> {
        let beneath = self.layer.iter().flat_map(Layer::sectors);
        let all: BTreeSet<u64> = self.by_sector.keys().copied().chain(beneath).collect();
        all.into_iter().collect()
    }

    /// What has to be decided before a sector can be asked for: changes of the length, and all
    /// changes if content may have been cut off.
    pub(crate) fn hidden_question(&self, remaining: &[Remaining]) -> Option<Question> {
        if self.cuts_content {
            return (0..self.own_variables()).find_map(|variable| {
                Question::each(variable, &remaining[variable], self.options(variable))
            });
        }
        let newest_first = self.in_order(remaining, &self.resizes);
        let order = self.order_question(remaining, &self.resizes);
        order.or_else(|| {
            for index in newest_first.into_iter().rev() {
                match self.is_kept(index, remaining) {
                    Err(question) => return Some(question),
                    Ok(true) => return None,
                    Ok(false) => {}
                }
            }
            None
        })
    }

    /// What has to be decided next about a sector.
    pub(crate) fn sector_question(&self, remaining: &[Remaining], at: u64) -> Option<Question> {
        let touching = self.by_sector.get(&at).map_or(&[][..], Vec::as_slice);
        if let Some(question) = self.order_question(remaining, touching) {
            return Some(question);
        }
        // What shows, from the top, until nothing beneath can show.
        let mut shows = vec![true; self.sector_len];
        for index in self.in_order(remaining, touching).into_iter().rev() {
            match self.is_kept(index, remaining) {
                Err(question) => return Some(question),
                Ok(false) => continue,
                Ok(true) => {}
            }
            for part in self.changes[index].parts(self.sector_len) {
                if part.sector == at {
                    shows[part.start..part.start + part.bytes.len()].fill(false);
                }
            }
            if !shows.contains(&true) {
                return None;
            }
        }
        self.layer.as_ref()?.question(self.own_variables(), remaining, at)
    }

    /// The content of a sector that no question is left about.
    pub(crate) fn sector_bytes(&self, remaining: &[Remaining], at: u64) -> Slice {
        let offset = at * self.sector_len as u64;
        let beneath = self.layer.as_ref();
        let beneath = beneath.and_then(|layer| layer.bytes(self.own_variables(), remaining, at));
        let mut bytes = beneath.map_or_else(
            || self.durable.image.bytes(offset, self.sector_len),
            |beneath| beneath.to_vec(),
        );
        let mut relevant = self.by_sector.get(&at).cloned().unwrap_or_default();
        if self.cuts_content {
            relevant.extend_from_slice(&self.resizes);
            relevant.sort_unstable();
        }
        let within = |len: u64| in_memory(len.saturating_sub(offset).min(self.sector_len as u64));
        for index in self.in_order(remaining, &relevant) {
            if self.is_kept(index, remaining) != Ok(true) {
                continue;
            }
            if let Change::Resize(len) = self.changes[index].change {
                bytes[within(len)..].fill(0);
            }
            for part in self.changes[index].parts(self.sector_len) {
                if part.sector == at {
                    bytes[part.start..part.start + part.bytes.len()].copy_from_slice(&part.bytes);
                }
            }
        }
        bytes[within(self.decided_len(remaining))..].fill(0);
        Slice::new(bytes.into())
    }

    /// The length, once nothing hidden is left to ask.
    pub(crate) fn decided_len(&self, remaining: &[Remaining]) -> u64 {
        let newest_first = self.in_order(remaining, &self.resizes).into_iter().rev();
        let mut kept = newest_first.filter(|&index| self.is_kept(index, remaining) == Ok(true));
        kept.find_map(|index| match self.changes[index].change {
            Change::Resize(len) => Some(len),
            Change::Write(_) => None,
        })
        .unwrap_or(self.durable.len)
    }

    /// An image of the decided length that is right but for undecided sectors.
    pub(crate) fn opened(&self, remaining: &[Remaining]) -> Image {
        let mut durable = self.durable.clone();
        for index in self.in_order(remaining, &self.resizes) {
            if self.is_kept(index, remaining) == Ok(true) {
                durable.apply(&self.changes[index].change, self.sector_len);
            }
        }
        durable.into_image()
    }

    /// Bytes in a sector.
    pub(crate) fn sector_len(&self) -> usize {
        self.sector_len
    }

    /// A choice that may give this image: one of the extremes, the only ones that are looked at.
    pub(crate) fn choice_for(&self, image: &Image) -> Option<Vec<usize>> {
        let kept: Vec<usize> = (0..self.variables()).map(|variable| self.kept(variable)).collect();
        let lost = vec![0; self.variables()];
        [kept, lost].into_iter().find(|choice| self.realize(choice) == *image)
    }

    fn own_variables(&self) -> usize {
        self.undecided.len() + self.groups.len()
    }

    fn beneath(&self, variable: usize) -> Option<(&Layer, usize)> {
        let variable = variable.checked_sub(self.own_variables())?;
        Some((self.layer.as_ref()?, variable))
    }

    /// Whether a change is there, or what has to be asked first. A lost one is there all the same
    /// if a PREFLUSH write in flight is, whose flush part covers it.
    fn is_kept(&self, index: usize, remaining: &[Remaining]) -> Result<bool, Question> {
        let Ok(variable) = self.undecided.binary_search(&index) else { return Ok(true) };
        let ask = |variable: usize| match Question::each(variable, &remaining[variable], 2) {
            Some(question) => Err(question),
            None => Ok(remaining[variable].first() == 1),
        };
        if ask(variable)? {
            return Ok(true);
        }
        let span = &self.changes[index].span;
        for (place, &flushing) in self.undecided.iter().enumerate() {
            let logged = &self.changes[flushing];
            let flushes = logged.preflush && logged.span.ended.is_none();
            if flushes && span.covered_by(logged.span.submitted) && ask(place)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What has to be decided about the order of some changes in flight.
    fn order_question(&self, remaining: &[Remaining], some: &[usize]) -> Option<Question> {
        (self.undecided.len()..).zip(&self.groups).find_map(|(variable, group)| {
            let concerned = group.members.iter().filter(|member| some.contains(member)).count();
            if concerned < 2 {
                return None;
            }
            Question::by(variable, &remaining[variable], |order| {
                let order = group.orders[order as usize].iter().copied();
                order.filter(|member| some.contains(member)).collect::<Vec<usize>>()
            })
        })
    }

    /// Some changes in the order in which they reach the medium.
    fn in_order(&self, remaining: &[Remaining], some: &[usize]) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.changes.len()).collect();
        for (variable, group) in (self.undecided.len()..).zip(&self.groups) {
            let chosen = &group.orders[remaining[variable].first() as usize];
            for (&place, &index) in group.members.iter().zip(chosen) {
                order[place] = index;
            }
        }
        order.retain(|index| some.contains(index));
        order
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
