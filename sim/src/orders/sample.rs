//! Orders drawn at random.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::choices::Choice;
use super::clocks::Clocks;
use super::counts::{Counts, Ended};
use super::drawn::Drawn;
use super::draws::Draws;
use super::events::Events;
use super::outlook::{Outlook, Pilot};
use super::{Engine, Footprint, Moment, NotRepeated, Pick, Process, Ran, Stop, Ways, progress};

/// How the next event is drawn.
pub trait Rule<P: Process, F: Footprint> {
    /// What reports call it.
    const NAME: &'static str;

    /// Another execution begins; nothing is left of the one before.
    fn begin(&mut self, outlook: &Outlook<P, F>, draws: &mut Draws);

    /// Which of the enabled processes goes: its place, in `among`.
    fn pick(
        &mut self,
        enabled: &[P],
        among: Range<usize>,
        outlook: &Outlook<P, F>,
        draws: &mut Draws,
    ) -> usize;

    /// The event of `process` has happened.
    fn ran(&mut self, process: P, footprint: &F, outlook: &Outlook<P, F>, draws: &mut Draws);
}

/// Which executions of a campaign to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Iterations {
    /// These,
    pub range: Range<u64>,
    /// of them those that leave, divided by this,
    pub of: u64,
    /// this remainder.
    pub index: u64,
}

impl Iterations {
    /// All of a range.
    #[must_use]
    pub fn all(range: Range<u64>) -> Self {
        Self { range, of: 1, index: 0 }
    }

    /// The first one from `from` on.
    fn next(&self, from: u64) -> Option<u64> {
        let missing = (self.index + self.of - from % self.of) % self.of;
        from.checked_add(missing).filter(|next| self.range.contains(next))
    }
}

/// Runs executions that a rule draws, each independent of all others.
///
/// Execution `i` of a campaign draws from ChaCha8 stream `i` of its seed. The first execution of all is
/// the *pilot*, in which nothing is reordered and nothing goes wrong: it is not one of the campaign,
/// and the same whatever part of the campaign is run. So any execution can be run alone, and
/// [`Iterations`] of different remainders are the shards of a campaign.
///
/// Mishaps, among what may happen next and among the ways of an event, are taken once in
/// [`Draws::MISHAP_ONE_IN`], if there is anything else.
///
/// Its state may be stored between two executions, after the pilot.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(bound(
    serialize = "P: Serialize, F: Serialize",
    deserialize = "P: Ord + Deserialize<'de>, F: Deserialize<'de>, R: Default"
))]
pub struct Sample<P, F, R> {
    campaign: u64,
    iterations: Iterations,
    /// Where to look for the next iteration.
    next: u64,
    /// The iteration that runs or ran last.
    iteration: Option<u64>,
    /// The pilot, until it has ended.
    #[serde(skip, default = "Option::default")]
    pilot: Option<Pilot<P, F>>,
    outlook: Outlook<P, F>,
    /// Both begin anew with each execution.
    #[serde(skip)]
    rule: R,
    #[serde(skip, default = "Draws::unused")]
    draws: Draws,
    events: Events<P, F>,
    /// The process whose event is under way, and the choices made in it.
    #[serde(skip, default = "Option::default")]
    current: Option<P>,
    #[serde(skip)]
    choices: Vec<Choice>,
    counts: Counts,
    drawn: Drawn,
    ended: Option<Ended>,
    /// A set of steps, kept for its memory.
    #[serde(skip)]
    row: Vec<u64>,
}

impl<P: Process, F: Footprint, R: Rule<P, F> + Default> Sample<P, F, R> {
    /// These executions of a campaign.
    ///
    /// # Panics
    /// If the remainder is not one.
    #[must_use]
    pub fn new(campaign: u64, iterations: Iterations) -> Self {
        let Iterations { range, of, index } = &iterations;
        assert!(index < of, "a remainder is less than what was divided by");
        Self {
            campaign,
            next: range.start,
            iterations,
            iteration: None,
            pilot: Some(Pilot::new()),
            outlook: Outlook::new(),
            rule: R::default(),
            draws: Draws::new(campaign, 0),
            events: Events::new(),
            current: None,
            choices: Vec::new(),
            counts: Counts::default(),
            drawn: Drawn::new(Drawn::CLASSES_MAX),
            ended: None,
            row: Vec::new(),
        }
    }
}

impl<P: Process, F: Footprint, R> Sample<P, F, R> {
    /// What was done up to now, the pilot included.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The classes of the complete executions, without the pilot.
    #[must_use]
    pub fn drawn(&self) -> &Drawn {
        &self.drawn
    }

    /// The execution of the campaign that is run or was run last; none before the first, so also in the
    /// pilot.
    #[must_use]
    pub fn iteration(&self) -> Option<u64> {
        self.iteration
    }

    /// Whether the pilot has come to its end.
    #[must_use]
    pub fn has_pilot(&self) -> bool {
        self.pilot.is_none()
    }

    /// How the last execution ended; none before the first [`Engine::end`].
    #[must_use]
    pub fn ended(&self) -> Option<Ended> {
        self.ended
    }

    /// What comes before what in the execution that was run last, up to the next [`Engine::begin`].
    #[must_use]
    pub fn clocks(&self) -> &Clocks {
        self.events.clocks()
    }

    /// Identifies each event of that execution with all that comes before it, up to the order of what
    /// does not depend on each other.
    pub fn keys(&self) -> impl Iterator<Item = u128> + '_ {
        self.events.keys()
    }

    /// Identifies the class of that execution, once it is complete.
    #[must_use]
    pub fn signature(&self) -> u128 {
        self.events.signature()
    }
}

impl<P: Process, F: Footprint, R: Rule<P, F>> Engine<P, F> for Sample<P, F, R> {
    fn begin(&mut self) -> bool {
        let Some(next) = self.iterations.next(self.next) else { return false };
        self.events.clear();
        self.counts.executions += 1;
        if self.pilot.is_none() {
            self.next = next + 1;
            self.iteration = Some(next);
            self.draws = Draws::new(self.campaign, next);
            self.outlook.begin();
            self.rule.begin(&self.outlook, &mut self.draws);
        }
        true
    }

    fn pick(&mut self, moment: &mut Moment<'_, P>) -> Result<Pick, NotRepeated> {
        let mut place = 0;
        if self.pilot.is_none() {
            let among = self.draws.options(moment.enabled.len(), moment.mishaps);
            place = self.rule.pick(moment.enabled, among, &self.outlook, &mut self.draws);
        }
        self.current = Some(moment.enabled[place]);
        self.choices.clear();
        Ok(Pick::Run(place))
    }

    fn choose(&mut self, ways: Ways) -> Result<usize, NotRepeated> {
        let mut index = 0;
        if self.pilot.is_none() {
            let among = self.draws.options(ways.count, ways.mishaps);
            index = among.start + self.draws.below(among.len());
        }
        self.choices.push(Choice { index, count: ways.count });
        Ok(index)
    }

    fn ran(&mut self, ran: Ran<F>) -> Result<Option<Stop>, NotRepeated> {
        self.counts.steps += 1;
        let process = self.current.take().expect("an event is under way");
        match &mut self.pilot {
            Some(pilot) => pilot.ran(process, ran.clone()),
            None => {
                self.outlook.ran(process, ran.footprint.clone());
                self.rule.ran(process, &ran.footprint, &self.outlook, &mut self.draws);
            }
        }
        self.events.order(process, &self.choices, ran, &mut self.row, |_, _, _| Ok(()))?;
        Ok(None)
    }

    fn end(&mut self, last: Option<&mut dyn FnMut() -> u128>) -> Result<(), NotRepeated> {
        let ended = if last.is_some() { Ended::Complete } else { Ended::GivenUp };
        self.counts.ended(ended);
        self.ended = Some(ended);
        match self.pilot.take() {
            Some(pilot) => self.outlook = Outlook::of(pilot),
            None if ended == Ended::Complete => self.drawn.add(self.events.signature()),
            None => {}
        }
        Ok(())
    }

    fn first_new_step(&self) -> usize {
        0
    }

    fn progress(&self) -> Option<u64> {
        let Range { start, end } = self.iterations.range;
        let all = u128::from(end.saturating_sub(start).max(1));
        let done = u128::from(self.next - start);
        u64::try_from(done * u128::from(progress::whole()) / all).ok()
    }
}
