//! Taking given power cuts, and no others: those of a counterexample file, or those that a violation
//! on undecided disks has been boiled down to.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::crash::Assignment;
use crate::disk::{CrashSpace, Image};
use crate::explore::cuts::{Cuts, Level, Point, Report, Taken, Wrong, realize};
use crate::scenario::PowerCut;

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
        let options = match &cut.leaves {
            Leaves::Told(told) => told_options(told, &point.spaces),
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
            self.misfit = Some(format!(
                "power cut {} of the file does not fit what the disks may be left with here",
                self.chain.len() + 1
            ));
            return ControlFlow::Break(());
        };
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

/// The choice that a file describes, if its words fit.
fn told_options(cut: &PowerCut, spaces: &[CrashSpace]) -> Option<Vec<Vec<usize>>> {
    let fits = cut.disks.len() == spaces.len()
        && cut.disks.iter().zip(spaces).all(|(disk, space)| {
            disk.left.len() == space.variables()
                && disk.left.iter().enumerate().all(|(variable, left)| {
                    left.of == space.options(variable)
                        && left.option < left.of
                        && left.label == space.describe(variable, left.option)
                })
        });
    let options = cut.disks.iter().map(|disk| disk.left.iter().map(|left| left.option).collect());
    fits.then(|| options.collect())
}
