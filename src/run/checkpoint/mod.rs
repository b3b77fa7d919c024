//! Where a run is kept, so that it can go on after it was killed.
//!
//! Kept are the results of scenarios in which nothing is violated, and the state of the searches under
//! way. What is violated is explored again, which takes no longer than it took to find it; so are
//! searches whose strategy does not say where it is.

mod file;

use std::path::{Path, PathBuf};
#[expect(clippy::disallowed_types, reason = "the program, not what is simulated, has threads")]
use std::sync::Mutex;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use plugpull_engine::file_disk::shown;
use plugpull_sim::explore::{Keeper, SharedKeeper};
use plugpull_sim::scenario::Scenario;
use plugpull_sim::verdict::{ScenarioResult, Verdict};

use super::PROGRAM;
use super::scenarios::Loaded;
use crate::clock::Stopwatch;
use crate::failure::Failure;
use crate::identity;
use file::{Content, Done, Identity, State};

/// The checkpoint of a run.
#[derive(Debug, Clone)]
pub(super) struct Checkpoint(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    every: Duration,
    #[expect(clippy::disallowed_types, reason = "the program, not what is simulated, has threads")]
    run: Mutex<Run>,
}

#[derive(Debug)]
struct Run {
    content: Content,
    /// Why something could not be written.
    failed: Option<String>,
}

/// The state of one scenario.
#[derive(Debug)]
struct Slot {
    run: Arc<Shared>,
    scenario: usize,
    #[expect(clippy::disallowed_types, reason = "the program, not what is simulated, has threads")]
    kept: Mutex<Stopwatch>,
}

impl Checkpoint {
    /// Goes on with the run that is kept at `path`, or begins a new one.
    pub(super) fn open(
        path: &Path,
        every: Duration,
        scenarios: &[Loaded],
        options: u128,
    ) -> Result<Self, Failure> {
        let refused = |why: String| {
            let path = shown(path);
            Failure::input(format!(
                "{path}: {why}; delete it to begin anew, or name another checkpoint"
            ))
        };
        // Better now than after the first stretch of the search.
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
            let (path, folder) = (shown(path), shown(folder));
            let why = format!("{path}: there is no folder {folder}; make it, or name another");
            return Err(Failure::input(why));
        }
        let hash = |loaded: &Loaded| (loaded.path.clone(), identity::scenario(&loaded.scenario));
        let identity = Identity {
            program: (PROGRAM.to_owned(), identity::program()?),
            options,
            scenarios: scenarios.iter().map(hash).collect(),
        };
        let content = match file::read(path).map_err(refused)? {
            Some(content) => {
                fits(&content, &identity).map_err(|why| refused(why.to_owned()))?;
                content
            }
            None => Content { scenarios: vec![State::default(); scenarios.len()], identity },
        };
        #[expect(clippy::disallowed_types, reason = "see the field")]
        let run = Mutex::new(Run { content, failed: None });
        Ok(Self(Arc::new(Shared { path: path.to_owned(), every, run })))
    }

    /// The result of a scenario that was explored before, and how long it took.
    pub(super) fn done(&self, scenario: usize, of: &Scenario) -> Option<(ScenarioResult, f64)> {
        self.0.with(|run| match &run.content.scenarios[scenario] {
            State::Done(done) => Some(result(done, of)),
            State::Unexplored | State::UnderWay(_) => None,
        })
    }

    /// Who keeps the state of a scenario.
    pub(super) fn keeper(&self, scenario: usize) -> SharedKeeper {
        #[expect(clippy::disallowed_types, reason = "see the field")]
        let kept = Mutex::new(Stopwatch::start());
        Arc::new(Slot { run: Arc::clone(&self.0), scenario, kept })
    }

    /// A scenario has come to its end.
    pub(super) fn ended(&self, scenario: usize, result: &ScenarioResult, seconds: f64) {
        if let Some(done) = done(result, seconds) {
            self.0.put(scenario, State::Done(Box::new(done)));
        }
    }

    /// The run has ended: what is kept of it goes, unless something is left to do.
    pub(super) fn close(self, something_is_left: bool) -> Result<(), Failure> {
        let path = shown(&self.0.path);
        if let Some(why) = self.0.with(|run| run.failed.take()) {
            return Err(Failure::input(format!("cannot write the checkpoint {path}: {why}")));
        }
        if something_is_left {
            return Ok(());
        }
        file::remove(&self.0.path).map_err(|error| {
            Failure::input(format!("cannot remove the checkpoint {path}: {error}"))
        })
    }
}

/// Whether a run can go on from what is kept; why not.
fn fits(content: &Content, identity: &Identity) -> Result<(), &'static str> {
    let kept = &content.identity;
    if kept.program != identity.program {
        Err("the checkpoint was written by another build of plugpull")
    } else if kept.options != identity.options {
        Err("the checkpoint is of a run with other options")
    } else if kept.scenarios != identity.scenarios {
        Err("the checkpoint is of a run over other scenarios")
    } else if content.scenarios.len() != kept.scenarios.len() {
        Err("the checkpoint is damaged")
    } else {
        Ok(())
    }
}

impl Shared {
    fn with<T>(&self, work: impl FnOnce(&mut Run) -> T) -> T {
        work(&mut self.run.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn put(&self, scenario: usize, state: State) {
        self.with(|run| {
            run.content.scenarios[scenario] = state;
            if let Err(error) = file::write(&self.path, &run.content) {
                run.failed.get_or_insert(error.to_string());
            }
        });
    }
}

impl Keeper for Slot {
    fn is_due(&self) -> bool {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).elapsed() >= self.run.every
    }

    fn keep(&self, state: Vec<u8>) {
        self.run.put(self.scenario, State::UnderWay(state));
        // Writing may take longer than what is between: the search goes on in any case.
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Stopwatch::start();
    }

    fn kept(&self) -> Option<Vec<u8>> {
        self.run.with(|run| match &run.content.scenarios[self.scenario] {
            State::UnderWay(state) => Some(state.clone()),
            State::Unexplored | State::Done(_) => None,
        })
    }
}

/// What is kept of a result; none if it has to be found again, or the search is not done.
fn done(result: &ScenarioResult, seconds: f64) -> Option<Done> {
    let holds = match result.verdict {
        Verdict::Holds => true,
        Verdict::Incomplete if !result.stopped => false,
        Verdict::Incomplete | Verdict::Violated | Verdict::HarnessBroken => return None,
    };
    let milliseconds = Duration::try_from_secs_f64(seconds).unwrap_or_default().as_millis();
    Some(Done {
        holds,
        schedules: result.schedules.clone(),
        crashes: result.crashes.clone(),
        goals: result.goals.clone(),
        seed: result.seed,
        bounds: result.bounds.clone(),
        incomplete: result.incomplete.clone(),
        shard: result.shard.clone(),
        milliseconds: u64::try_from(milliseconds).unwrap_or(u64::MAX),
    })
}

fn result(done: &Done, scenario: &Scenario) -> (ScenarioResult, f64) {
    let result = ScenarioResult {
        verdict: if done.holds { Verdict::Holds } else { Verdict::Incomplete },
        schedules: done.schedules.clone(),
        crashes: done.crashes.clone(),
        goals: done.goals.clone(),
        seed: done.seed,
        bounds: done.bounds.clone(),
        incomplete: done.incomplete.clone(),
        shard: done.shard.clone(),
        ..ScenarioResult::nothing_seen(scenario)
    };
    (result, Duration::from_millis(done.milliseconds).as_secs_f64())
}
