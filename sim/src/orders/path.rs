//! The path of the execution under way, and whether it is repeated exactly.

use serde::{Deserialize, Serialize};

use super::choices::Choices;
use super::{Difference, Footprint, NotRepeated, Process, Ran};

/// The steps of the current path. Those before [`Path::first_new_step`] have been run before: each
/// is compared when it is run again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Path<P> {
    steps: Vec<Step<P>>,
    /// The step under way, or that comes next.
    at: usize,
    first_new_step: usize,
    /// Steps that are no longer used, for their memory.
    #[serde(skip, default = "Vec::new")]
    spare: Vec<Step<P>>,
}

/// One step: who could go, and who went.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Step<P> {
    pub(super) enabled: Vec<P>,
    /// Who goes, by its place among the enabled ones.
    pub(super) place: usize,
    pub(super) choices: Choices,
    /// What the event was; none until it has been run.
    event: Option<Event>,
}

/// What is compared when an event is run again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Event {
    footprint: u64,
    past: u64,
    enabled_by: Option<usize>,
    waited_for_all: bool,
}

impl<P: Process> Path<P> {
    pub(super) fn new() -> Self {
        Self { steps: Vec::new(), at: 0, first_new_step: 0, spare: Vec::new() }
    }

    /// Before the path is run.
    pub(super) fn rewind(&mut self) {
        self.at = 0;
    }

    /// Who goes next, if the path knows; otherwise this moment is new.
    pub(super) fn repeat(&mut self, enabled: &[P]) -> Result<Option<usize>, NotRepeated> {
        let Some(step) = self.steps.get_mut(self.at) else { return Ok(None) };
        if step.enabled != enabled {
            return Err(Difference::Enabled.at(self.at));
        }
        step.choices.rewind();
        Ok(Some(step.place))
    }

    /// A new moment, where the process at `place` goes.
    pub(super) fn push(&mut self, enabled: &[P], place: usize) {
        assert!(self.at == self.steps.len(), "moments are new at the end of the path only");
        let mut step = self.spare.pop().unwrap_or_else(Step::new);
        step.enabled.clear();
        step.enabled.extend_from_slice(enabled);
        step.go(place);
        self.steps.push(step);
    }

    pub(super) fn choose(&mut self, count: usize) -> Result<usize, NotRepeated> {
        assert!(count >= 2, "a choice has two options or more");
        let at = self.at;
        let step = self.steps.get_mut(at).expect("an event is under way");
        step.choices.choose(count).map_err(|what| what.at(at))
    }

    /// The event under way has been run. Whether it is new.
    pub(super) fn ran<F: Footprint>(&mut self, ran: &Ran<F>) -> Result<bool, NotRepeated> {
        let at = self.at;
        let step = self.steps.get_mut(at).expect("an event is under way");
        step.choices.close().map_err(|what| what.at(at))?;
        self.at += 1;
        let event = Event::of(ran);
        match step.event {
            None => step.event = Some(event),
            Some(before) => return before.same(&event).map(|()| false).map_err(|what| what.at(at)),
        }
        Ok(true)
    }

    /// The execution ends here.
    pub(super) fn end(&self) -> Result<(), NotRepeated> {
        match self.steps.get(self.at) {
            Some(step) if step.event.is_some() => Err(Difference::Ended.at(self.at)),
            _ => Ok(()),
        }
    }

    /// The last event goes the next way its choices leave, if there is one.
    pub(super) fn advance_choices(&mut self) -> bool {
        let last = self.steps.last_mut().expect("a step");
        let more = last.choices.advance();
        if more {
            last.event = None;
            self.first_new_step = self.steps.len() - 1;
        }
        more
    }

    /// The last step is taken by the process at `place` instead.
    pub(super) fn turn(&mut self, place: usize) {
        self.steps.last_mut().expect("a step").go(place);
        self.first_new_step = self.steps.len() - 1;
    }

    pub(super) fn pop(&mut self) {
        self.spare.extend(self.steps.pop());
    }

    /// Whether the step under way is the last one that the path knows.
    pub(super) fn is_last(&self) -> bool {
        self.at + 1 == self.steps.len()
    }

    pub(super) fn last(&self) -> Option<&Step<P>> {
        self.steps.last()
    }

    pub(super) fn steps(&self) -> &[Step<P>] {
        &self.steps
    }

    pub(super) fn first_new_step(&self) -> usize {
        self.first_new_step
    }
}

impl<P: Process> Step<P> {
    fn new() -> Self {
        Self { enabled: Vec::new(), place: 0, choices: Choices::default(), event: None }
    }

    fn go(&mut self, place: usize) {
        self.place = place;
        self.choices.clear();
        self.event = None;
    }

    pub(super) fn process(&self) -> P {
        self.enabled[self.place]
    }

    /// The branchings at this step, where `before` of `count` processes have gone already.
    pub(super) fn levels(
        &self,
        before: usize,
        count: usize,
    ) -> impl Iterator<Item = (usize, usize)> {
        let choices = self.choices.made().iter().map(|choice| (choice.index, choice.count));
        std::iter::once((before, count)).chain(choices)
    }
}

impl Event {
    fn of<F: Footprint>(ran: &Ran<F>) -> Self {
        Self {
            footprint: ran.footprint.key(),
            past: ran.past,
            enabled_by: ran.enabled_by,
            waited_for_all: ran.waited_for_all,
        }
    }

    fn same(&self, now: &Self) -> Result<(), Difference> {
        if self == now {
            return Ok(());
        }
        Err(if self.footprint != now.footprint {
            Difference::Footprint
        } else if self.past != now.past {
            Difference::Past
        } else {
            Difference::EnabledBy
        })
    }
}
