//! One order of each class of equivalent ones, by running again what was there before.
//!
//! Two executions are equivalent if one becomes the other by swapping neighbours that do not depend
//! on each other. What depends on what shows in the footprints, once events have happened. Where two
//! events race, a process is remembered that leads to their other order; what needs not go because it
//! would lead to a class explored before sleeps. Every class is run to its end exactly once; some more
//! executions are given up when all that is enabled sleeps.
//!
//! States that crashes can reach are those of all consistent cuts of the explored executions, not
//! only those that these executions went through: see [`Cuts`](super::Cuts).

use serde::{Deserialize, Serialize};

use super::class::Classes;
use super::clocks::Clocks;
use super::counts::{Counts, Ended};
use super::events::Events;
use super::path::{Path, Step};
use super::races::{self, Scratch};
use super::shard::{Roots, Shard, Sharding};
use super::sleep::Node;
use super::{Engine, Footprint, Moment, NotRepeated, Pick, Process, Ran, Stop, Ways, progress};

/// Explores one order of each class of equivalent ones.
///
/// Its state may be stored after [`Engine::end`] and restored before [`Engine::begin`]: the path is
/// then compared while it is run again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Dpor<P, F> {
    path: Path<P>,
    /// One for each step of the path.
    nodes: Vec<Node<P, F>>,
    events: Events<P, F>,
    sharding: Sharding,
    counts: Counts,
    classes: Classes,
    /// Why the execution under way was given up.
    stopped: Option<Stop>,
    ended: Option<Ended>,
    /// Whether all is done.
    finished: bool,
    #[serde(skip, default = "Vec::new")]
    spare: Vec<Node<P, F>>,
    #[serde(skip)]
    scratch: Scratch,
}

impl<P: Process, F: Footprint> Dpor<P, F> {
    /// A search of the classes that belong to `shard`.
    #[must_use]
    pub fn new(shard: Shard) -> Self {
        Self {
            path: Path::new(),
            nodes: Vec::new(),
            events: Events::new(),
            sharding: Sharding::new(shard),
            counts: Counts::default(),
            classes: Classes::default(),
            stopped: None,
            ended: None,
            finished: false,
            spare: Vec::new(),
            scratch: Scratch::default(),
        }
    }

    /// What was done up to now.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The classes of the complete executions.
    #[must_use]
    pub fn classes(&self) -> &Classes {
        &self.classes
    }

    /// The roots of the shards, of all of them.
    #[must_use]
    pub fn roots(&self) -> Roots {
        self.sharding.roots()
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

    /// Who went in that execution, and the options taken.
    #[must_use]
    pub fn taken(&self) -> Vec<(P, Box<[usize]>)> {
        self.path.steps().iter().map(|step| (step.process(), step.choices.taken())).collect()
    }

    /// Identifies the class of that execution, once it is complete.
    #[must_use]
    pub fn signature(&self) -> u128 {
        self.events.signature()
    }

    /// How many executions there will be, roughly: as many for what is left as for what is done.
    #[must_use]
    pub fn estimate(&self) -> Option<u128> {
        progress::estimate(self.counts.executions, self.done())
    }

    /// Moves to the next path: the deepest moment where something is left to do goes on with it.
    fn advance(&mut self) -> bool {
        while let Some(at) = self.nodes.len().checked_sub(1) {
            let (step, node) = (&self.path.steps()[at], &mut self.nodes[at]);
            let (place, process) = (step.place, step.process());
            let footprint = self.events.remove(at);
            node.explored(process, step.choices.taken(), footprint);
            if self.path.advance_choices() {
                return true;
            }
            node.finish(place);
            if let Some(place) = node.next() {
                self.path.turn(place);
                return true;
            }
            self.path.pop();
            self.spare.extend(self.nodes.pop());
        }
        false
    }

    /// A moment that was never seen: who goes first, if anybody has to.
    fn arrive(&mut self, enabled: &[P]) -> Option<usize> {
        let mut node = self.spare.pop().unwrap_or_else(Node::new);
        node.arrive(enabled, &self.nodes, self.events.list().last());
        let first = node.first_awake();
        if let Some(place) = first {
            if self.nodes.len() < self.sharding.depth() {
                node.want_all();
            }
            node.want(place);
            self.path.push(enabled, place);
            self.nodes.push(node);
        } else {
            self.spare.push(node);
        }
        first
    }

    /// After the last event of the path, these are enabled.
    fn note_disabled(&mut self, enabled: &[P]) {
        if let (Some(step), Some(node)) = (self.path.last(), self.nodes.last_mut()) {
            races::disabled(node, step, enabled);
        }
    }

    /// Whether the way the last event went sleeps.
    fn is_covered(nodes: &[Node<P, F>], path: &[Step<P>]) -> bool {
        let (Some((node, before)), Some(step)) = (nodes.split_last(), path.last()) else {
            return false;
        };
        node.is_covered(step.place, step.choices.made(), before)
    }

    fn stop(&mut self, stop: Stop) -> Stop {
        self.stopped = Some(stop);
        stop
    }

    fn done(&self) -> u64 {
        if self.finished {
            return progress::whole();
        }
        let steps = self.path.steps().iter().zip(&self.nodes);
        progress::share(steps.flat_map(|(step, node)| {
            let (before, count) = node.progress();
            step.levels(before, count)
        }))
    }
}

impl<P: Process, F: Footprint> Engine<P, F> for Dpor<P, F> {
    fn begin(&mut self) -> bool {
        if self.counts.executions > 0 && !self.advance() {
            self.finished = true;
            return false;
        }
        self.path.rewind();
        self.sharding.begin();
        self.stopped = None;
        self.counts.executions += 1;
        true
    }

    fn pick(&mut self, moment: &mut Moment<'_, P>) -> Result<Pick, NotRepeated> {
        if let Some(place) = self.path.repeat(moment.enabled)? {
            return Ok(Pick::Run(place));
        }
        self.note_disabled(moment.enabled);
        if !self.sharding.arrive(self.path.steps()) {
            return Ok(Pick::Stop(self.stop(Stop::Elsewhere)));
        }
        Ok(match self.arrive(moment.enabled) {
            Some(place) => Pick::Run(place),
            None => Pick::Stop(self.stop(Stop::Covered)),
        })
    }

    fn choose(&mut self, ways: Ways) -> Result<usize, NotRepeated> {
        self.path.choose(ways.count)
    }

    fn ran(&mut self, ran: Ran<F>) -> Result<Option<Stop>, NotRepeated> {
        self.counts.steps += 1;
        if !self.path.ran(&ran)? {
            return Ok(None);
        }
        let (nodes, path) = (&mut self.nodes, self.path.steps());
        if Self::is_covered(nodes, path) {
            // Its races were found where it was explored.
            let process = path[nodes.len() - 1].process();
            races::ignore(&mut self.events, process, ran.footprint, &mut self.scratch);
            return Ok(Some(self.stop(Stop::Covered)));
        }
        races::order(&mut self.events, nodes, path, ran, &mut self.scratch)?;
        Ok(None)
    }

    fn end(&mut self, last: Option<&mut dyn FnMut() -> u128>) -> Result<(), NotRepeated> {
        self.path.end()?;
        let mut ended = match self.stopped {
            Some(stop) => stop.into(),
            None if last.is_some() => Ended::Complete,
            None => Ended::GivenUp,
        };
        if ended == Ended::Complete {
            self.note_disabled(&[]);
        }
        if ended == Ended::GivenUp
            && let Some(node) = self.nodes.last_mut()
        {
            // Nobody knows what the last event depends on, nor what would have raced later.
            node.want_all();
        }
        if !self.sharding.end(self.path.steps()) {
            ended = Ended::Elsewhere;
        }
        if ended == Ended::Complete {
            self.classes.add(self.events.signature());
        }
        self.counts.ended(ended);
        self.ended = Some(ended);
        Ok(())
    }

    fn first_new_step(&self) -> usize {
        self.path.first_new_step()
    }

    fn progress(&self) -> Option<u64> {
        Some(self.done())
    }
}
