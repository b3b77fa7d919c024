//! From a violation on undecided disks to one with an image for every power cut.
//!
//! On the way to a violation each power cut was decided as far as somebody has looked. From the
//! innermost outwards, one of the images that agree is taken, such that the one inside can follow;
//! then the cuts are taken once more, on images, as a replay takes them. What does not break then
//! was not found: the harness is broken. What does break is made smaller: no cut that is not needed,
//! as little as possible lost, or as little as possible kept, and recovery cut as early as possible.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::crash::Assignment;
use crate::disk::{CrashSpace, Image, Prefer};
use crate::explore::cuts::{Cuts, Level, Report, SETTLED, Taken, Violation, realize};
use crate::explore::found::Cut;
use crate::explore::script::{Leaves, Script, ScriptedCut};
use crate::oracle::Finding;
use crate::verdict::Invariant;

/// How often a violation is looked for on images that need not be there.
const IN_VAIN_MAX: usize = 64;
/// Most attempts to make one counterexample smaller. One that would need more is left larger.
const ATTEMPTS_MAX: usize = 2000;

impl Cuts {
    /// Reports a violation at the end of the chain.
    pub(super) fn tell(&mut self, finding: Finding, report: Report<'_>) -> ControlFlow<()> {
        if self.only_observes {
            return ControlFlow::Continue(());
        }
        if self.script.is_some() {
            let cuts = self.chain.iter().map(Level::cut).collect();
            return report(Violation { finding, cuts });
        }
        if !self.told.insert(finding.invariant) {
            return ControlFlow::Continue(());
        }
        match self.concrete(finding.invariant) {
            Some(violation) => report(violation),
            None => self.distrust(format!(
                "a violation that was found on undecided disks is not there on images that agree \
                 with them: {}: {}",
                finding.invariant, finding.message
            )),
        }
    }

    /// Whether repeated recoveries that might break F-REPLAY were not looked at any more.
    pub(super) fn gave_up_on_repetitions(&self) -> bool {
        self.repeated_in_vain == IN_VAIN_MAX
    }

    /// Reports a violation at the end of the chain if it is there on images.
    pub(super) fn tell_if_real(&mut self, finding: Finding, report: Report<'_>) -> ControlFlow<()> {
        if self.only_observes || self.script.is_some() {
            return self.tell(finding, report);
        }
        if self.told.contains(&finding.invariant) || self.repeated_in_vain == IN_VAIN_MAX {
            return ControlFlow::Continue(());
        }
        match self.concrete(finding.invariant) {
            Some(violation) => {
                self.told.insert(finding.invariant);
                report(violation)
            }
            None => {
                self.repeated_in_vain += 1;
                ControlFlow::Continue(())
            }
        }
    }

    /// The violation of an invariant at the end of the chain, with images; none if there is not.
    fn concrete(&self, invariant: Invariant) -> Option<Violation> {
        let smallest = [Prefer::Kept, Prefer::Lost].into_iter().filter_map(|extreme| {
            let first = self.follows(images(&self.chain, extreme), invariant)?;
            let first = self.shorter(first, invariant);
            Some(self.nearer(first, invariant, extreme))
        });
        let (_, violation) =
            smallest.min_by_key(|(distance, violation)| (violation.cuts.len(), *distance))?;
        Some(self.earlier(violation, invariant))
    }

    /// Leaves out power cuts. What the first one left may break the invariant by itself: on undecided
    /// disks that may have been seen only after others.
    fn shorter(&self, mut violation: Violation, invariant: Invariant) -> Violation {
        loop {
            let all = script_like(&violation.cuts).cuts;
            let starts = (1..all.len()).map(|len| all[..len].to_vec());
            let without_one = (1..all.len()).map(|left_out| {
                let mut rest = all.clone();
                rest.remove(left_out);
                rest
            });
            let mut shorter = starts.chain(without_one);
            match shorter.find_map(|cuts| self.follows(Script { cuts }, invariant)) {
                Some(other) => violation = other,
                None => return violation,
            }
        }
    }

    /// Changes one variable after the other to what an extreme says, as long as the invariant still
    /// breaks; how many are left that differ from it.
    fn nearer(
        &self,
        mut violation: Violation,
        invariant: Invariant,
        extreme: Prefer,
    ) -> (usize, Violation) {
        let mut attempts = 0;
        let mut distance = differing(&violation, extreme);
        for level in 0..violation.cuts.len() {
            for disk in 0..violation.cuts[level].spaces.len() {
                for variable in 0..violation.cuts[level].spaces[disk].variables() {
                    let Some(cut) = violation.cuts.get(level) else { break };
                    let Some(space) = cut.spaces.get(disk) else { break };
                    if variable >= space.variables() {
                        break;
                    }
                    let wanted = option(space, variable, extreme);
                    if cut.assignment.options[disk][variable] == wanted || attempts == ATTEMPTS_MAX
                    {
                        continue;
                    }
                    attempts += 1;
                    let mut script = script_like(&violation.cuts);
                    let mut changed = cut.assignment.clone();
                    changed.options[disk][variable] = wanted;
                    script.cuts[level].leaves = leaves(cut, &changed);
                    let Some(other) = self.follows(script, invariant) else { continue };
                    let other_distance = differing(&other, extreme);
                    if other_distance < distance {
                        (violation, distance) = (other, other_distance);
                    }
                }
            }
        }
        (distance, violation)
    }

    /// Cuts recoveries as early as possible.
    fn earlier(&self, mut violation: Violation, invariant: Invariant) -> Violation {
        for level in 1..violation.cuts.len() {
            let now = violation.cuts[level].at;
            if now == SETTLED {
                continue;
            }
            let attempts = u64::try_from(ATTEMPTS_MAX).expect("a small number");
            let found = (0..now.min(attempts)).find_map(|at| {
                let mut script = script_like(&violation.cuts);
                script.cuts[level].at = at;
                self.follows(script, invariant)
            });
            violation = found.unwrap_or(violation);
        }
        violation
    }

    /// Takes cuts on images; the violation, if the invariant breaks at the end of them.
    fn follows(&self, script: Script, invariant: Invariant) -> Option<Violation> {
        let depth = script.cuts.len();
        let mut again = self.anew();
        again.follow(script);
        let mut found = None;
        let root = self.root.clone().expect("the chain began somewhere");
        let _ = again.point(root, &mut |violation| {
            let wanted = violation.finding.invariant == invariant && violation.cuts.len() == depth;
            if wanted {
                found = Some(violation);
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        found
    }
}

impl Level {
    /// The cut, when everything is decided about it.
    fn cut(&self) -> Cut {
        let Taken::All(assignment) = &self.taken else {
            unreachable!("on images, power cuts are decided")
        };
        Cut {
            at: self.at,
            spaces: Arc::clone(&self.spaces),
            assignment: assignment.clone(),
            session: self.session,
            unreadable: self.unreadable.clone(),
        }
    }
}

/// Images for every cut of a chain, each such that the next cut can follow.
fn images(chain: &[Level], extreme: Prefer) -> Script {
    let mut cuts: Vec<ScriptedCut> = Vec::new();
    // Sectors are unreadable since the first cut, whoever has found out.
    let disks = chain.iter().map(|level| level.unreadable.len()).max().unwrap_or(0);
    let mut unreadable = vec![BTreeSet::new(); disks];
    for (disk, found) in chain.iter().flat_map(|level| level.unreadable.iter().enumerate()) {
        unreadable[disk].extend(found);
    }
    // What the next cut, further inside, leaves: the space, the choice and the image of each disk.
    let mut inside: Option<(Arc<[CrashSpace]>, Assignment, Vec<Image>)> = None;
    for level in chain.iter().rev() {
        let assignment = match &level.taken {
            Taken::All(assignment) => assignment.clone(),
            Taken::Some(undecided) => {
                let disks = undecided.iter().enumerate();
                let options = disks.map(|(disk, undecided)| {
                    let mut undecided = undecided.clone();
                    if let Some((spaces, inner, images)) = &inside {
                        undecided.agree_with(&spaces[disk], &inner.options[disk], &images[disk]);
                    }
                    undecided.choice(extreme)
                });
                Assignment { options: options.collect() }
            }
        };
        let images = realize(&level.spaces, &assignment);
        cuts.push(ScriptedCut {
            session: level.session,
            at: level.at,
            leaves: Leaves::Images(images.clone(), assignment.options.clone(), Vec::new()),
        });
        inside = Some((Arc::clone(&level.spaces), assignment, images));
    }
    cuts.reverse();
    if let Some(Leaves::Images(_, _, first)) = cuts.first_mut().map(|cut| &mut cut.leaves) {
        *first = unreadable;
    }
    Script { cuts }
}

/// The same cuts, or what is most like them where something else is left than before.
fn script_like(cuts: &[Cut]) -> Script {
    let cut = |cut: &Cut| ScriptedCut {
        session: cut.session,
        at: cut.at,
        leaves: match leaves(cut, &cut.assignment) {
            Leaves::Images(images, hints, unreadable) => Leaves::Like(images, hints, unreadable),
            other => other,
        },
    };
    Script { cuts: cuts.iter().map(cut).collect() }
}

/// How many variables differ from what an extreme says.
fn differing(violation: &Violation, extreme: Prefer) -> usize {
    let differing = violation.cuts.iter().map(|cut| {
        let disks = cut.spaces.iter().zip(&cut.assignment.options);
        let differing = disks.map(|(space, options)| {
            let options = options.iter().enumerate();
            options.filter(|(variable, taken)| **taken != option(space, *variable, extreme)).count()
        });
        differing.sum::<usize>()
    });
    differing.sum()
}

fn leaves(cut: &Cut, assignment: &Assignment) -> Leaves {
    let images = realize(&cut.spaces, assignment);
    Leaves::Images(images, assignment.options.clone(), cut.unreadable.clone())
}

fn option(space: &CrashSpace, variable: usize, extreme: Prefer) -> usize {
    match extreme {
        Prefer::Kept => space.kept(variable),
        Prefer::Lost => space.lost(variable),
    }
}
