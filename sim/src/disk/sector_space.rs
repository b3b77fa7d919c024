//! The crash images of a disk whose sectors are independent.
//!
//! Variables, in this order: one per PREFLUSH write in flight (has its flush part been carried
//! out?), the length if it is undecided, one per undecided sector. The first two kinds are hidden
//! variables: they decide which contents the sectors may have (a *context*). Where a context has
//! fewer contents than options, the last content stands for the options that are left over, so
//! that every choice is a crash image and every crash image has a choice.

use std::collections::BTreeMap;
use std::sync::Arc;

use xxhash_rust::xxh3::{xxh3_128, xxh3_128_with_seed};

use super::bytes::{Slice, in_memory, write_clipped};
use super::cell::{Cell, CellContents};
use super::contents::{Content, Grain, Patch};
use super::image::Image;
use super::lengths::{LengthOption, LengthOptions, Lengths};
use super::remaining::{Question, Remaining};
use super::request::RequestId;
use super::sector_cache::cut_patch;
use super::start::Beneath;

/// Most PREFLUSH writes that may be in flight on one disk: each doubles the work.
const GATES_MAX: usize = 8;

/// A PREFLUSH write in flight: its data reaches the medium only after its flush part.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gate {
    /// The request.
    pub(crate) request: RequestId,
    /// When it was submitted: what its flush part covers.
    pub(crate) submitted: u64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct SectorSpace {
    durable: Image,
    grain: Grain,
    gates: Vec<Gate>,
    /// Per combination of gates: the lengths, and where their contexts start.
    lengths: Vec<(LengthOptions, usize)>,
    length_options: usize,
    sectors: Vec<Sector>,
    /// Index of the context with everything kept.
    kept: usize,
    /// What is known not to be the case: no image has all of the contents of one clause.
    clauses: Vec<Clause>,
}

/// Contents of sectors that are not all there together: somebody looked, and without learning
/// which of them is missing.
pub(crate) type Clause = Arc<[(u64, Slice)]>;

/// An undecided sector.
#[derive(Debug)]
struct Sector {
    index: u64,
    /// One for each context, or just one if contexts do not matter.
    contexts: Vec<Arc<CellContents>>,
    options: usize,
}

/// What a variable stands for.
enum Variable<'a> {
    Gate(&'a Gate),
    Length,
    Sector(&'a Sector),
}

impl SectorSpace {
    /// Takes stock of a cache.
    ///
    /// # Panics
    /// If more than [`GATES_MAX`] PREFLUSH writes are in flight.
    pub(crate) fn new(
        durable: &Image,
        cells: &BTreeMap<u64, Cell>,
        lengths: &Lengths,
        gates: &[Gate],
        grain: Grain,
        beneath: Beneath<'_>,
    ) -> Self {
        assert!(gates.len() <= GATES_MAX, "{} PREFLUSH writes in flight", gates.len());
        let mut space = Self {
            durable: durable.clone(),
            grain,
            gates: gates.to_vec(),
            lengths: Vec::with_capacity(1),
            length_options: 1,
            sectors: Vec::with_capacity(cells.len()),
            kept: 0,
            clauses: Vec::new(),
        };
        let plain = gates.is_empty() && lengths.unsettled_cuts().is_empty();
        let mut contexts = Vec::new();
        for mask in 0..1_usize << gates.len() {
            let (undone, flushed) = space.gates_in(mask);
            let options = lengths.options(&flushed);
            space.length_options = space.length_options.max(options.list.len());
            let start = contexts.len();
            space.kept = start + options.kept;
            for option in &options.list {
                contexts.push((undone.clone(), flushed.clone(), option.cuts.clone()));
            }
            space.lengths.push((options, start));
        }
        for (&index, cell) in cells {
            let contexts = if plain {
                vec![cell.contents(grain)]
            } else {
                let contents = contexts.iter().map(|(undone, flushed, cuts)| {
                    let cuts: Vec<Patch> =
                        cuts.iter().filter_map(|cut| cut_patch(cut, index, grain)).collect();
                    cell.contents_if(undone, flushed, cuts, grain)
                });
                contents.collect()
            };
            let sector = Sector::new(index, contexts);
            if !sector.is(durable, grain) {
                space.sectors.push(sector);
            }
        }
        space.show_through(cells, beneath);
        space
    }

    /// Adds the sectors without a cell that reads cannot tell since an earlier power cut.
    fn show_through(&mut self, cells: &BTreeMap<u64, Cell>, beneath: Beneath<'_>) {
        let Some(start) = beneath else { return };
        let before = self.sectors.len();
        for (index, contents) in start.unknown_contents() {
            if cells.contains_key(&index) {
                continue;
            }
            match &contents.contents.list[..] {
                // Nobody has looked, but there is nothing to find out.
                [only] => {
                    let offset = index * self.unit();
                    write_clipped(&mut self.durable, offset, &only.bytes);
                }
                _ => self.sectors.push(Sector::new(index, vec![contents])),
            }
        }
        if self.sectors.len() > before {
            self.sectors.sort_unstable_by_key(|sector| sector.index);
        }
        self.clauses = start.clauses().to_vec();
    }

    /// Number of variables.
    pub(crate) fn variables(&self) -> usize {
        self.gates.len() + self.length_variables() + self.sectors.len()
    }

    /// Number of options.
    pub(crate) fn options(&self, variable: usize) -> usize {
        match self.variable(variable) {
            Variable::Gate(_) => 2,
            Variable::Length => self.length_options,
            Variable::Sector(sector) => sector.options,
        }
    }

    /// The option with everything kept.
    pub(crate) fn kept(&self, variable: usize) -> usize {
        match self.variable(variable) {
            Variable::Gate(_) => 1,
            Variable::Length => self.lengths.last().map_or(0, |(options, _)| options.kept),
            Variable::Sector(sector) => sector.contents(self.kept).contents.kept,
        }
    }

    /// The sector that a variable stands for.
    pub(crate) fn sector(&self, variable: usize) -> Option<u64> {
        match self.variable(variable) {
            Variable::Sector(sector) => Some(sector.index),
            Variable::Gate(_) | Variable::Length => None,
        }
    }

    /// What a variable stands for.
    pub(crate) fn label(&self, variable: usize) -> String {
        match self.variable(variable) {
            Variable::Gate(gate) => format!("preflush of {}", gate.request),
            Variable::Length => "length".to_owned(),
            Variable::Sector(sector) => format!("sector {}", sector.index),
        }
    }

    /// What an option means, when `choice` decides the hidden variables; without, in a context in
    /// which no two options are the same.
    pub(crate) fn describe(
        &self,
        variable: usize,
        option: usize,
        choice: Option<&[usize]>,
    ) -> String {
        match self.variable(variable) {
            Variable::Gate(_) => if option == 0 { "not done" } else { "done" }.to_owned(),
            Variable::Length => {
                let mask = choice.map_or(self.lengths.len() - 1, |choice| self.mask(choice));
                let list = &self.lengths[mask].0.list;
                let length = &list[option.min(list.len() - 1)];
                let by = length.request.map_or("durable".to_owned(), |id| format!("set by {id}"));
                format!("{} bytes, {by}", length.len)
            }
            Variable::Sector(sector) => {
                let contents = match choice {
                    Some(choice) => sector.contents(self.context(choice).0),
                    None => sector.fullest(),
                };
                contents.describe(option)
            }
        }
    }

    /// The image for a choice.
    pub(crate) fn realize(&self, choice: &[usize]) -> Image {
        let (context, length) = self.context(choice);
        let mut image = self.durable.clone();
        for cut in &length.cuts {
            image.set_len(cut.len.min(image.len()));
            image.set_len(self.durable.len());
        }
        let options = &choice[self.gates.len() + self.length_variables()..];
        for (sector, &option) in self.sectors.iter().zip(options) {
            let list = &sector.contents(context).contents.list;
            let content = &list[option.min(list.len() - 1)];
            let offset = sector.index * self.grain.sector_len as u64;
            write_clipped(&mut image, offset, &content.bytes);
        }
        image.set_len(length.len);
        image
    }

    /// The sectors that variables stand for, in order.
    pub(crate) fn undecided_sectors(&self) -> Arc<[u64]> {
        self.sectors.iter().map(|sector| sector.index).collect()
    }

    /// See [`Clause`].
    pub(crate) fn clauses(&self) -> &[Clause] {
        &self.clauses
    }

    /// Whether no content of a sector depends on hidden variables: then each of its options is
    /// another content.
    pub(crate) fn has_simple_sectors(&self) -> bool {
        let unit = self.unit();
        let whole = |(options, _): &(LengthOptions, usize)| {
            options.list.iter().all(|option| option.len.is_multiple_of(unit))
        };
        self.lengths.iter().all(whole)
            && self.sectors.iter().all(|sector| sector.contexts.len() == 1)
    }

    /// What has to be decided before a sector can be asked for: flushes and length.
    pub(crate) fn hidden_question(&self, remaining: &[Remaining]) -> Option<Question> {
        (0..self.hidden_variables()).find_map(|variable| {
            let distinct = match self.variable(variable) {
                Variable::Length => self.lengths[self.mask(remaining)].0.list.len(),
                Variable::Gate(_) | Variable::Sector(_) => 2,
            };
            Question::each(variable, &remaining[variable], distinct)
        })
    }

    /// What has to be decided about a sector, once nothing hidden is left to ask.
    pub(crate) fn sector_question(&self, remaining: &[Remaining], at: u64) -> Option<Question> {
        let sector = self.find(at)?;
        let variable = self.hidden_variables() + sector;
        let (context, length) = self.context(remaining);
        let list = &self.sectors[sector].contents(context).contents.list;
        let content = |option: u32| &list[(option as usize).min(list.len() - 1)].bytes;
        match self.visible_len(at, length.len) {
            0 => None,
            len if len < self.grain.sector_len => {
                let visible = |option| content(option)[..len].to_vec();
                Question::by(variable, &remaining[variable], visible)
            }
            _ => Question::each(variable, &remaining[variable], list.len()),
        }
    }

    /// The content of a sector that no question is left about; bytes past the length are zero.
    pub(crate) fn sector_bytes(&self, remaining: &[Remaining], at: u64) -> Slice {
        let (context, length) = self.context(remaining);
        let len = self.visible_len(at, length.len);
        let whole = match self.find(at) {
            Some(sector) => {
                let list = &self.sectors[sector].contents(context).contents.list;
                let option = remaining[self.hidden_variables() + sector].first();
                list[(option as usize).min(list.len() - 1)].bytes.clone()
            }
            None => {
                let image = self.opened(remaining);
                Slice::new(image.bytes(at * self.unit(), self.grain.sector_len).into())
            }
        };
        clipped(whole, len)
    }

    /// The length, once nothing hidden is left to ask.
    pub(crate) fn decided_len(&self, remaining: &[Remaining]) -> u64 {
        self.context(remaining).1.len
    }

    /// The durable content with what the decided length implies, as long as that length. Undecided
    /// sectors hold any of their contents.
    pub(crate) fn opened(&self, remaining: &[Remaining]) -> Image {
        let (_, length) = self.context(remaining);
        self.cut_image(length)
    }

    /// The contents that are left of the `index`-th undecided sector, once nothing hidden is left to
    /// ask.
    pub(crate) fn contents_left(&self, remaining: &[Remaining], index: usize) -> Arc<CellContents> {
        let sector = &self.sectors[index];
        let (context, length) = self.context(remaining);
        let remaining = &remaining[self.hidden_variables() + index];
        let len = self.visible_len(sector.index, length.len);
        let contents = sector.contents(context);
        if len == self.grain.sector_len && remaining.count() == sector.options {
            return Arc::clone(contents);
        }
        let last = contents.contents.list.len() - 1;
        let options = remaining.iter().map(|option| (option as usize).min(last));
        contents.restricted(options, |bytes| clipped(bytes.clone(), len))
    }

    /// The option of a sector's variable that gives this content, if one of `remaining` does.
    pub(crate) fn option_of(
        &self,
        remaining: &[Remaining],
        at: u64,
        content: &[u8],
    ) -> Option<(usize, u32)> {
        let sector = self.find(at)?;
        let variable = self.hidden_variables() + sector;
        let (context, length) = self.context(remaining);
        let list = &self.sectors[sector].contents(context).contents.list;
        let len = self.visible_len(at, length.len);
        let is = |option: &u32| {
            let bytes = &list[(*option as usize).min(list.len() - 1)].bytes;
            bytes[..len] == content[..len]
        };
        remaining[variable].iter().find(is).map(|option| (variable, option))
    }

    /// Bytes in a sector.
    pub(crate) fn sector_len(&self) -> usize {
        self.grain.sector_len
    }

    /// A choice that may give this image: the first of the hidden variables with which every sector
    /// has its content.
    pub(crate) fn choice_for(&self, image: &Image) -> Option<Vec<usize>> {
        let hidden = self.hidden_variables();
        let options: Vec<usize> = (0..hidden).map(|variable| self.options(variable)).collect();
        let combinations = options.iter().product::<usize>();
        (0..combinations).find_map(|mut number| {
            let mut choice = Vec::with_capacity(self.variables());
            for &options in &options {
                choice.push(number % options);
                number /= options;
            }
            let (context, length) = self.context(&choice);
            if length.len != image.len() {
                return None;
            }
            for sector in &self.sectors {
                let offset = sector.index * self.unit();
                let len = self.visible_len(sector.index, length.len);
                let list = &sector.contents(context).contents.list;
                let wanted = image.bytes(offset, len);
                choice.push(list.iter().position(|content| content.bytes[..len] == wanted[..])?);
            }
            (self.realize(&choice) == *image).then_some(choice)
        })
    }

    /// A choice that gives this image's length and content where one does, and keeps the most
    /// elsewhere.
    pub(crate) fn choice_like(&self, image: &Image) -> Vec<usize> {
        let mut choice: Vec<usize> =
            (0..self.variables()).map(|variable| self.kept(variable)).collect();
        if self.length_variables() > 0 {
            let list = &self.lengths[self.mask(&choice)].0.list;
            let same = list.iter().position(|option| option.len == image.len());
            choice[self.gates.len()] = same.unwrap_or(choice[self.gates.len()]);
        }
        let (context, length) = self.context(&choice);
        let hidden = self.hidden_variables();
        for (sector, option) in self.sectors.iter().zip(&mut choice[hidden..]) {
            let len = self.visible_len(sector.index, length.len);
            let wanted = image.bytes(sector.index * self.unit(), len);
            let list = &sector.contents(context).contents.list;
            let is_same = |content: &Content| content.bytes[..len] == wanted[..];
            if !list.get(*option).is_some_and(is_same) {
                *option = list.iter().position(is_same).unwrap_or(*option);
            }
        }
        choice
    }

    fn hidden_variables(&self) -> usize {
        self.gates.len() + self.length_variables()
    }

    fn find(&self, sector: u64) -> Option<usize> {
        self.sectors.binary_search_by_key(&sector, |sector| sector.index).ok()
    }

    fn unit(&self) -> u64 {
        self.grain.sector_len as u64
    }

    /// How many bytes of a sector lie before the end of the disk.
    fn visible_len(&self, sector: u64, len: u64) -> usize {
        in_memory(len.saturating_sub(sector * self.unit()).min(self.unit()))
    }

    fn cut_image(&self, length: &LengthOption) -> Image {
        let mut image = self.durable.clone();
        for cut in &length.cuts {
            image.set_len(cut.len.min(image.len()));
            image.set_len(self.durable.len());
        }
        image.set_len(length.len);
        image
    }

    /// Makes the image of one choice into that of another, where no hidden variable differs; whether
    /// it could.
    pub(crate) fn move_to(&self, image: &mut Image, from: &[usize], to: &[usize]) -> bool {
        let hidden = self.hidden_variables();
        if from[..hidden] != to[..hidden] {
            return false;
        }
        let (context, _) = self.context(to);
        for (sector, (from, to)) in
            self.sectors.iter().zip(from[hidden..].iter().zip(&to[hidden..]))
        {
            if from != to {
                let list = &sector.contents(context).contents.list;
                let content = &list[(*to).min(list.len() - 1)];
                write_clipped(image, sector.index * self.unit(), &content.bytes);
            }
        }
        true
    }

    /// Identifies the set of images.
    pub(crate) fn key(&self) -> u128 {
        // What is durable beneath an undecided sector is one of its contents, or none.
        let beneath = self.sectors.iter().map(|sector| {
            self.durable.range_key(sector.index * self.unit(), self.grain.sector_len)
        });
        let durable = beneath.fold(self.durable.key(), u128::wrapping_sub);
        let mut parts: Vec<u8> = durable.to_le_bytes().to_vec();
        let mut add = |part: &[u8]| parts.extend_from_slice(part);
        for (options, _) in &self.lengths {
            for option in &options.list {
                add(&option.len.to_le_bytes());
                for cut in &option.cuts {
                    add(&cut.len.to_le_bytes());
                }
                add(b"option");
            }
            add(b"gates");
        }
        let sectors = self.sectors.iter().map(Sector::key).fold(0, u128::wrapping_add);
        add(&sectors.to_le_bytes());
        for clause in &self.clauses {
            for (sector, content) in &**clause {
                add(&sector.to_le_bytes());
                add(&xxh3_128(content).to_le_bytes());
            }
            add(b"clause");
        }
        xxh3_128(&parts)
    }

    fn length_variables(&self) -> usize {
        usize::from(self.length_options > 1)
    }

    fn variable(&self, variable: usize) -> Variable<'_> {
        let after_gates = match variable.checked_sub(self.gates.len()) {
            None => return Variable::Gate(&self.gates[variable]),
            Some(rest) => rest,
        };
        match after_gates.checked_sub(self.length_variables()) {
            None => Variable::Length,
            Some(index) => Variable::Sector(&self.sectors[index]),
        }
    }

    /// The requests whose flush part is not done in a combination, and the moments of those that
    /// are.
    fn gates_in(&self, mask: usize) -> (Vec<RequestId>, Vec<u64>) {
        let mut undone = Vec::new();
        let mut flushed = Vec::new();
        for (bit, gate) in self.gates.iter().enumerate() {
            if mask >> bit & 1 == 1 {
                flushed.push(gate.submitted);
            } else {
                undone.push(gate.request);
            }
        }
        (undone, flushed)
    }

    fn mask<C: Chosen>(&self, choice: &[C]) -> usize {
        (0..self.gates.len()).map(|bit| choice[bit].option() << bit).sum()
    }

    /// The context that a choice selects, and its length.
    fn context<C: Chosen>(&self, choice: &[C]) -> (usize, &LengthOption) {
        let (options, start) = &self.lengths[self.mask(choice)];
        let wanted = if self.length_options > 1 { choice[self.gates.len()].option() } else { 0 };
        let option = wanted.min(options.list.len() - 1);
        (start + option, &options.list[option])
    }
}

/// One option of a variable: chosen, or what is left of several that make no difference.
trait Chosen {
    fn option(&self) -> usize;
}

impl Chosen for usize {
    fn option(&self) -> usize {
        *self
    }
}

impl Chosen for Remaining {
    fn option(&self) -> usize {
        self.first() as usize
    }
}

/// The first `len` bytes, the rest zero.
fn clipped(bytes: Slice, len: usize) -> Slice {
    if len == bytes.len() {
        return bytes;
    }
    let mut clipped = vec![0; bytes.len()];
    clipped[..len].copy_from_slice(&bytes[..len]);
    Slice::new(clipped.into())
}

impl Sector {
    fn new(index: u64, contexts: Vec<Arc<CellContents>>) -> Self {
        let options = contexts.iter().map(|context| context.contents.list.len()).max();
        Self { index, options: options.expect("at least one context"), contexts }
    }

    fn contents(&self, context: usize) -> &Arc<CellContents> {
        self.contexts.get(context).unwrap_or(&self.contexts[0])
    }

    /// The contents in a context that has as many as there are options.
    fn fullest(&self) -> &CellContents {
        let full = |contents: &&Arc<CellContents>| contents.contents.list.len() == self.options;
        self.contexts.iter().rev().find(full).expect("options are the most of any context")
    }

    /// Whether, whatever happens, it is what the durable image says.
    fn is(&self, durable: &Image, grain: Grain) -> bool {
        self.options == 1 && self.contexts.len() == 1 && {
            let offset = self.index * grain.sector_len as u64;
            durable.holds(offset, &self.contexts[0].contents.list[0].bytes)
        }
    }

    fn key(&self) -> u128 {
        if let [only] = &*self.contexts {
            return xxh3_128_with_seed(&only.key.to_le_bytes(), self.index);
        }
        let keys = self.contexts.iter().flat_map(|context| context.key.to_le_bytes());
        xxh3_128_with_seed(&keys.collect::<Vec<u8>>(), self.index)
    }
}

impl CellContents {
    /// Which requests an option loses.
    fn describe(&self, option: usize) -> String {
        let list = &self.contents.list;
        let content = &list[option.min(list.len() - 1)];
        let survives = |index: usize| content.survivors.contains(&index);
        let mut words = Vec::new();
        for (index, patch) in self.patches.iter().enumerate() {
            let overwritten = || {
                let later = content.survivors.iter().map(|&survivor| &self.patches[survivor]);
                later.into_iter().any(|later| patch.span.precedes(&later.span))
            };
            if survives(index) {
                words.push(format!("{} kept", patch.request));
            } else if !overwritten() {
                words.push(format!("{} lost", patch.request));
            }
        }
        if content.torn {
            words.push("torn inside".to_owned());
        }
        if words.is_empty() { "durable content".to_owned() } else { words.join(", ") }
    }
}
