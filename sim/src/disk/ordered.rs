//! The ordered model: completed requests reach the medium in completion order, sector by sector,
//! and a power cut keeps a prefix of that order. Requests in flight have not reached the medium.
//!
//! Variables: one for the cut, and one for each sector of a write that failed or was dropped by a
//! failed flush. Such a sector may be old or new once the cut has reached its place in the order.

mod questions;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_128;

use super::bytes::{Change, Part, write_clipped};
use super::change_log::{Durable, Logged};
use super::image::Image;
use super::request::RequestId;
use super::start::Layer;

/// See the module.
#[derive(Debug)]
pub(crate) struct OrderedSpace {
    durable: Durable,
    sector_len: usize,
    steps: Vec<Step>,
    cuts: Vec<Cut>,
    /// Identify the cuts.
    keys: Vec<u128>,
    /// Index of the cut with everything kept.
    kept: usize,
    /// Indices of the loose steps.
    loose: Vec<usize>,
    /// For each sector the steps that write to it.
    by_sector: BTreeMap<u64, Vec<usize>>,
    /// Whether a step may cut content off, or a change of the length may be there or not: then
    /// sectors depend on more than the steps that write to them.
    cuts_content: bool,
    /// What lies beneath.
    layer: Option<Layer>,
}

/// The smallest thing that reaches the medium at once.
#[derive(Debug)]
struct Step {
    request: RequestId,
    effect: Effect,
    kind: StepKind,
    failed: bool,
}

#[derive(Debug)]
enum Effect {
    Sector(Part),
    Resize(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StepKind {
    /// Durable, though something undecided lies before it.
    Durable,
    /// Subject to the cut.
    InOrder,
    /// There or not, if the cut has come so far.
    Loose,
}

/// A place where the order is cut: before the step of this index, which may be torn.
#[derive(Debug, Clone, Copy)]
struct Cut {
    step: usize,
    torn: Option<Tear>,
}

/// A step of which only one side reached the medium.
#[derive(Debug, Clone, Copy)]
struct Tear {
    /// First byte of the second side, within the sector.
    boundary: usize,
    /// Whether the first side is the new one.
    first_is_new: bool,
}

impl OrderedSpace {
    /// Takes stock of a cache.
    pub(crate) fn new(
        durable: Durable,
        completed: &[Arc<Logged>],
        sector_len: usize,
        tear: Option<usize>,
        layer: Option<Layer>,
    ) -> Self {
        let mut steps: Vec<Step> = Vec::new();
        for logged in completed {
            let kind = match logged.span.required {
                _ if logged.is_loose() => StepKind::Loose,
                true => StepKind::Durable,
                false => StepKind::InOrder,
            };
            let mut push = |effect| {
                steps.push(Step {
                    request: logged.request,
                    effect,
                    kind,
                    failed: logged.span.failed,
                });
            };
            if let Change::Resize(len) = logged.change {
                push(Effect::Resize(len));
            }
            for part in logged.parts(sector_len) {
                push(Effect::Sector(part));
            }
        }
        let of_kind = |kind| {
            let steps = steps.iter().enumerate();
            steps.filter(move |(_, step)| step.kind == kind).map(|(index, _)| index)
        };
        let loose: Vec<usize> = of_kind(StepKind::Loose).collect();
        let mut cuts: Vec<Cut> = Vec::new();
        for step in of_kind(StepKind::InOrder) {
            cuts.push(Cut { step, torn: None });
            if let (Some(tear), Effect::Sector(part)) = (tear, &steps[step].effect) {
                cuts.extend(tears(part, tear).map(|torn| Cut { step, torn: Some(torn) }));
            }
        }
        cuts.push(Cut { step: steps.len(), torn: None });
        let mut by_sector: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        for (index, step) in steps.iter().enumerate() {
            if let Effect::Sector(part) = &step.effect {
                by_sector.entry(part.sector).or_default().push(index);
            }
        }
        let room = durable.image.len();
        let cuts_content = steps.iter().any(|step| {
            let resize = matches!(step.effect, Effect::Resize(len) if len < room);
            resize || matches!((&step.effect, step.kind), (Effect::Resize(_), StepKind::Loose))
        });
        let (keys, kept) = (Vec::new(), 0);
        let mut space = Self {
            durable,
            sector_len,
            steps,
            cuts,
            keys,
            kept,
            loose,
            by_sector,
            cuts_content,
            layer,
        };
        space.merge_equal_cuts();
        space
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
        match self.loose_index(variable) {
            Some(_) => 2,
            None => self.cuts.len(),
        }
    }

    /// The option with everything kept.
    pub(crate) fn kept(&self, variable: usize) -> usize {
        if let Some((layer, variable)) = self.beneath(variable) {
            return layer.space().kept(variable);
        }
        match self.loose_index(variable) {
            // Reads see a dropped write, not a failed one.
            Some(index) => usize::from(!self.steps[index].failed),
            None => self.kept,
        }
    }

    /// What a variable stands for.
    pub(crate) fn label(&self, variable: usize) -> String {
        if let Some((layer, variable)) = self.beneath(variable) {
            return format!("beneath, {}", layer.space().label(variable));
        }
        match self.loose_index(variable) {
            Some(index) => self.steps[index].to_string(),
            None => "cut".to_owned(),
        }
    }

    /// What an option means.
    pub(crate) fn describe(&self, variable: usize, option: usize) -> String {
        if let Some((layer, variable)) = self.beneath(variable) {
            return layer.space().describe(variable, option);
        }
        if self.loose_index(variable).is_some() {
            return if option == 0 { "lost" } else { "kept" }.to_owned();
        }
        let cut = self.cuts[option];
        match self.steps.get(cut.step) {
            None => "everything kept".to_owned(),
            Some(step) if cut.torn.is_some() => format!("cut inside {step}, torn"),
            Some(step) => format!("cut before {step}"),
        }
    }

    /// The image for a choice.
    pub(crate) fn realize(&self, choice: &[usize]) -> Image {
        let cut = match self.cut_variables() {
            0 => self.cuts[0],
            _ => self.cuts[choice[0]],
        };
        let loose = &choice[self.cut_variables()..self.own_variables()];
        let kept: Vec<usize> = (self.loose.iter().zip(loose))
            .filter(|&(&step, &option)| option == 1 && step < cut.step)
            .map(|(&step, _)| step)
            .collect();
        let mut durable = self.durable.clone();
        if let Some(layer) = &self.layer {
            let beneath = &choice[self.own_variables()..];
            layer.show(beneath, self.sector_len, &mut durable.image);
        }
        self.image(durable, cut, &kept)
    }

    /// Bytes in a sector.
    pub(crate) fn sector_len(&self) -> usize {
        self.sector_len
    }

    fn own_variables(&self) -> usize {
        self.cut_variables() + self.loose.len()
    }

    fn beneath(&self, variable: usize) -> Option<(&Layer, usize)> {
        let variable = variable.checked_sub(self.own_variables())?;
        Some((self.layer.as_ref()?, variable))
    }

    /// Identifies the set of images.
    pub(crate) fn key(&self) -> u128 {
        let mut parts: Vec<u8> = self.keys.iter().flat_map(|key| key.to_le_bytes()).collect();
        if !self.loose.is_empty() || self.layer.is_some() {
            // Loose steps interact with those between them: identify them all.
            parts.extend_from_slice(&self.durable.image.key().to_le_bytes());
            parts.extend_from_slice(&self.durable.len.to_le_bytes());
            for step in &self.steps {
                step.add_to_key(&mut parts);
            }
        }
        if let Some(layer) = &self.layer {
            layer.add_to_key(&mut parts);
        }
        xxh3_128(&parts)
    }

    fn cut_variables(&self) -> usize {
        usize::from(self.cuts.len() > 1)
    }

    fn loose_index(&self, variable: usize) -> Option<usize> {
        variable.checked_sub(self.cut_variables()).map(|index| self.loose[index])
    }

    /// The durable image with all steps before the cut, of the loose ones only some.
    fn image(&self, mut durable: Durable, cut: Cut, kept_loose: &[usize]) -> Image {
        for (index, step) in self.steps.iter().enumerate() {
            let there = match step.kind {
                StepKind::Durable => true,
                StepKind::InOrder => index < cut.step,
                StepKind::Loose => kept_loose.contains(&index),
            };
            if there {
                step.effect.apply(&mut durable, self.sector_len);
            } else if let (true, Some(tear)) = (index == cut.step, cut.torn) {
                step.effect.apply_torn(tear, &mut durable, self.sector_len);
            }
        }
        durable.into_image()
    }

    /// Drops cuts that give the image of an earlier one, unless a loose step or what lies beneath
    /// makes more than one image of each. Notes which cut keeps everything.
    fn merge_equal_cuts(&mut self) {
        let keys = self.cut_keys();
        if self.loose.is_empty() && self.layer.is_none() {
            let mut seen = BTreeSet::new();
            let all = std::mem::take(&mut self.cuts);
            for (cut, &key) in all.into_iter().zip(&keys) {
                if seen.insert(key) {
                    self.cuts.push(cut);
                    self.keys.push(key);
                }
            }
        } else {
            self.keys.clone_from(&keys);
        }
        let last = keys.last().expect("at least one cut");
        let kept = self.keys.iter().rposition(|key| key == last);
        self.kept = kept.expect("its key is among them");
    }

    /// The key of the image of each cut without loose steps, in one pass.
    fn cut_keys(&self) -> Vec<u128> {
        let mut keys = Vec::with_capacity(self.cuts.len());
        let mut running = self.durable.clone();
        let mut next = 0;
        for cut in &self.cuts {
            for step in &self.steps[next..cut.step] {
                if step.kind != StepKind::Loose {
                    step.effect.apply(&mut running, self.sector_len);
                }
            }
            next = cut.step;
            let mut image = running.clone();
            if let Some(tear) = cut.torn {
                self.steps[cut.step].effect.apply_torn(tear, &mut image, self.sector_len);
            }
            // Durable steps lie before every cut: what is durable is a prefix of the order.
            keys.push(image.into_image().key());
        }
        keys
    }
}

impl Effect {
    fn apply(&self, durable: &mut Durable, sector_len: usize) {
        match self {
            Self::Sector(part) => part.write_to(&mut durable.image, sector_len),
            Self::Resize(len) => durable.set_len(*len),
        }
    }

    /// Writes the new side only.
    fn apply_torn(&self, tear: Tear, durable: &mut Durable, sector_len: usize) {
        let Self::Sector(part) = self else { return };
        let middle = tear.boundary - part.start;
        let offset = part.offset(sector_len);
        if tear.first_is_new {
            write_clipped(&mut durable.image, offset, &part.bytes[..middle]);
        } else {
            let second = offset + middle as u64;
            write_clipped(&mut durable.image, second, &part.bytes[middle..]);
        }
    }
}

/// The ways to tear one step.
fn tears(part: &Part, tear: usize) -> impl Iterator<Item = Tear> + use<> {
    let end = part.start + part.bytes.len();
    let first = (part.start / tear + 1) * tear;
    (first..end)
        .step_by(tear)
        .flat_map(|boundary| [true, false].map(|first_is_new| Tear { boundary, first_is_new }))
}

impl Step {
    fn add_to_key(&self, key: &mut Vec<u8>) {
        key.push(match self.kind {
            StepKind::Durable => 0,
            StepKind::InOrder => 1,
            StepKind::Loose => 2,
        });
        match &self.effect {
            Effect::Sector(part) => {
                key.extend_from_slice(&part.sector.to_le_bytes());
                key.extend_from_slice(&(part.start as u64).to_le_bytes());
                key.extend_from_slice(&xxh3_128(&part.bytes).to_le_bytes());
            }
            Effect::Resize(len) => key.extend_from_slice(&len.to_le_bytes()),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.effect {
            Effect::Sector(part) => write!(f, "sector {} of {}", part.sector, self.request),
            Effect::Resize(len) => write!(f, "length {len} of {}", self.request),
        }
    }
}
