//! One execution of which the steps are known, but not the choices.

use super::{Divergence, Mismatch, Strategy};
use crate::exec::{ChoiceKind, ChoicePoint, Label};

/// Takes steps that were put together from those of another execution; after the last, option 0.
#[derive(Debug, Clone)]
pub(crate) struct Guided {
    steps: Vec<GuidedStep>,
    /// The first step that the other execution did not have in its place.
    first_new: usize,
    begun: bool,
    choices: usize,
    /// The step of the last coin, and how many coins were flipped in it.
    coins: (usize, usize),
}

/// One step to take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GuidedStep {
    /// Which event.
    pub(crate) event: Label,
    /// The coins that are flipped in it, in order.
    pub(crate) coins: Vec<Label>,
}

impl Guided {
    /// An execution that has not begun, with the same first steps as an earlier one.
    pub(crate) fn new(steps: Vec<GuidedStep>, first_new: usize) -> Self {
        Self { steps, first_new, begun: false, choices: 0, coins: (0, 0) }
    }

    /// What to take; none after the last step.
    fn wanted(&mut self, point: &ChoicePoint<'_>) -> Option<Option<&Label>> {
        if point.kind == ChoiceKind::Event {
            return self.steps.get(point.step).map(|step| Some(&step.event));
        }
        if self.coins.0 != point.step {
            self.coins = (point.step, 0);
        }
        self.coins.1 += 1;
        self.steps.get(point.step).map(|step| step.coins.get(self.coins.1 - 1))
    }
}

impl Strategy for Guided {
    fn begin(&mut self) -> bool {
        !std::mem::replace(&mut self.begun, true)
    }

    fn choose(&mut self, point: &ChoicePoint<'_>) -> Result<usize, Box<Divergence>> {
        let choice = self.choices;
        self.choices += 1;
        let Some(wanted) = self.wanted(point) else { return Ok(0) };
        let place = wanted.and_then(|label| point.options.iter().position(|other| other == label));
        place.ok_or_else(|| {
            let found = point.options.iter().map(ToString::to_string).collect();
            let expected = wanted.map_or_else(|| "no coin".to_owned(), ToString::to_string);
            Divergence::at(choice, point, Mismatch::Options { expected, found })
        })
    }

    fn end(&mut self) -> Result<(), Box<Divergence>> {
        Ok(())
    }

    fn first_new_step(&self) -> usize {
        self.first_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::{Step, World, WorldOptions};

    /// Tasks that flip two coins each.
    fn world() -> World {
        let mut world = World::new(Vec::new(), WorldOptions::default());
        for name in ["c0", "c1"] {
            let runtime = world.runtime();
            world.spawn(name, async move {
                let _sides = (runtime.coin("first"), runtime.coin("second"));
            });
        }
        world
    }

    /// Takes the first steps of an execution that another strategy has led, with only so many
    /// coins in the second.
    fn again(coins: usize) -> Step {
        let mut random: Box<dyn Strategy> = Box::new(crate::schedule::Random::new(3, 0..1));
        assert!(random.begin());
        let mut first = world();
        let mut steps = Vec::new();
        loop {
            let choices = first.choices();
            let Step::Ran(event) = first.step(&mut random) else { break };
            steps.push(GuidedStep { event, coins: first.coins_after(choices) });
        }
        steps[1].coins.truncate(coins);
        let mut guided: Box<dyn Strategy> = Box::new(Guided::new(steps, 0));
        let mut second = world();
        let end = second.run(&mut guided);
        assert_eq!(second.past() == first.past(), coins == 2);
        end
    }

    #[test]
    fn events_and_coins_are_those_of_the_plan() {
        assert_eq!(again(2), Step::Finished);
        assert!(matches!(again(1), Step::Diverged(_)));
    }
}
