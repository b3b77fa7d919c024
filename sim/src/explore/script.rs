//! Taking given power cuts, and no others: those of a counterexample file, or those that a violation
//! on undecided disks has been boiled down to.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::crash::Assignment;
use crate::disk::{CrashSpace, Image};
use crate::explore::cuts::{Cuts, Level, Point, Report, Taken, Wrong, realize};
use crate::scenario::{DiskLeft, PowerCut};

/// The cuts to take, outermost first.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    pub(crate) cuts: Vec<ScriptedCut>,
}

/// One of them.
#[derive(Debug, Clone)]
pub(crate) struct ScriptedCut {
    pub(crate) session: usize,
    pub(crate) at: u64,
    pub(crate) leaves: Leaves,
}

/// What it leaves.
#[derive(Debug, Clone)]
pub(crate) enum Leaves {
    /// What a file says, in words that have to fit.
    Told(PowerCut),
    /// These images, with unreadable sectors. The hint says how the choice may begin.
    Images(Vec<Image>, Vec<Vec<usize>>, Vec<BTreeSet<u64>>),
    /// The same, or what is most like it where something else is left than before.
    Like(Vec<Image>, Vec<Vec<usize>>, Vec<BTreeSet<u64>>),
}

impl Script {
    /// The cuts of a counterexample.
    pub(crate) fn told(cuts: &[PowerCut]) -> Self {
        let cut = |cut: &PowerCut| ScriptedCut {
            session: cut.session as usize,
            at: cut.at,
            leaves: Leaves::Told(cut.clone()),
        };
        Self { cuts: cuts.iter().map(cut).collect() }
    }
}

impl Cuts {
    /// The one crash state that the script asks for here, if it asks for any.
    pub(super) fn scripted(&mut self, point: &Point, report: Report<'_>) -> ControlFlow<()> {
        let script = self.script.as_ref().expect("there is a script");
        let Some(cut) = script.cuts.get(self.chain.len()) else {
            return ControlFlow::Continue(());
        };
        if (cut.session, cut.at) != (point.session(), point.at) {
            return ControlFlow::Continue(());
        }
        let number = self.chain.len() + 1;
        let told = match &cut.leaves {
            Leaves::Told(told) => told_options(told, &point.spaces).map(Some),
            Leaves::Images(..) | Leaves::Like(..) => Ok(None),
        };
        let told = match told {
            Ok(told) => told,
            Err(why) => {
                self.misfit =
                    Some(format!("power cut {number} of the file, at {}: {why}", point.at));
                return ControlFlow::Break(());
            }
        };
        let options = match &cut.leaves {
            Leaves::Told(_) => told,
            Leaves::Images(images, hints, _) => {
                let mut each = point.spaces.iter().zip(images).zip(hints);
                each.try_fold(Vec::new(), |mut options, ((space, image), hint)| {
                    options.push(space.choice_for(image, hint)?);
                    Some(options)
                })
            }
            Leaves::Like(images, hints, _) => {
                let each = point.spaces.iter().zip(images).zip(hints);
                Some(each.map(|((space, image), hint)| space.choice_like(image, hint)).collect())
            }
        };
        let unreadable = match &cut.leaves {
            Leaves::Told(told) => {
                let disks = told.disks.iter();
                disks.map(|disk| disk.unreadable.iter().copied().collect()).collect()
            }
            Leaves::Images(_, _, unreadable) | Leaves::Like(_, _, unreadable) => unreadable.clone(),
        };
        let Some(options) = options else {
            self.misfit = Some(format!("no choice gives the images of power cut {number}"));
            return ControlFlow::Break(());
        };
        self.scripted = self.scripted.max(number);
        let assignment = Assignment { options };
        let images = realize(&point.spaces, &assignment);
        self.chain.push(Level {
            at: point.at,
            session: point.session(),
            spaces: Arc::clone(&point.spaces),
            taken: Taken::All(assignment),
            unreadable,
            wrong: Wrong::default(),
        });
        let answer = self.one_image(point, images, report);
        self.chain.pop();
        answer
    }
}

/// The choice that a file describes.
///
/// # Errors
/// What of its words does not fit.
fn told_options(cut: &PowerCut, spaces: &[CrashSpace]) -> Result<Vec<Vec<usize>>, String> {
    if cut.disks.len() != spaces.len() {
        return Err(format!("expected {} disks, here are {}", cut.disks.len(), spaces.len()));
    }
    let disks = cut.disks.iter().zip(spaces);
    disks.map(|(disk, space)| disk_options(disk, space)).collect()
}

fn disk_options(told: &DiskLeft, space: &CrashSpace) -> Result<Vec<usize>, String> {
    let name = &told.disk;
    if told.left.len() != space.variables() {
        let here: Vec<String> = (0..space.variables()).map(|v| space.label(v)).collect();
        return Err(format!(
            "expected {} undecided things on disk {name}, found {}: {}",
            told.left.len(),
            here.len(),
            here.join(", ")
        ));
    }
    let undecided = space.undecided_sectors();
    if let Some(sector) = told.unreadable.iter().find(|sector| !undecided.contains(sector)) {
        return Err(format!("sector {sector} of disk {name} is decided, so it can be read"));
    }
    let options = told.left.iter().enumerate().map(|(variable, left)| {
        let label = space.label(variable);
        let is_named = left.variable == label || left.variable.starts_with(&format!("{label} ("));
        if !is_named {
            return Err(format!("expected {} on disk {name}, found {label}", left.variable));
        }
        let options = space.options(variable);
        let same = left.of == options && left.option < options;
        if !same || left.label != space.describe(variable, left.option) {
            let here: Vec<String> =
                (0..options).map(|option| space.describe(variable, option)).collect();
            return Err(format!(
                "{label} of disk {name}: expected option {} of {}, `{}`, found {options}: {}",
                left.option,
                left.of,
                left.label,
                here.join("; ")
            ));
        }
        Ok(left.option)
    });
    options.collect()
}
