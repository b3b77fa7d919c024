//! `plugpull run`: explores scenarios.

mod budget;
mod checkpoint;
mod counterexample;
mod first;
pub(crate) mod format;
mod parts;
mod progress;
pub(crate) mod scenarios;
mod shard;

use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::Duration;

use plugpull_report::{RunReport, ScenarioReport};
use plugpull_sim::explore::RunOptions;
use plugpull_sim::scenario::{Reduction, Scenario};
use plugpull_sim::verdict::ScenarioResult;
use rayon::iter::{IndexedParallelIterator, IntoParallelRefIterator, ParallelIterator};

use crate::clock::Stopwatch;
use crate::failure::Failure;
use crate::identity;
use checkpoint::Checkpoint;
use format::Format;
use progress::Bar;
use scenarios::Loaded;
use shard::Shard;

/// What workers share has an implementation of its own in the model of it (`tests/loom.rs`).
mod atomic {
    pub(super) use std::sync::atomic::{AtomicUsize, Ordering};
}

/// Most workers; more would have nothing to do on any machine.
const JOBS_MAX: usize = 1024;

/// Name and version, as reports carry them.
const PROGRAM: &str = concat!("plugpull ", env!("CARGO_PKG_VERSION"));

#[derive(clap::Args, Debug, Default)]
pub(crate) struct Args {
    /// Scenario files, and folders that are searched for `*.toml` [default: scenarios]
    paths: Vec<PathBuf>,
    /// How to report: `text` or `json` to standard output, `FORMAT=FILE` to a file; repeatable
    /// [default: text]
    #[arg(long = "format", value_name = "FORMAT[=FILE]")]
    formats: Vec<Format>,
    /// How many scenarios to explore at once [default: one per processor]
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// Start the random part of every search here
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    seed: Option<u64>,
    /// Enumerate crash points of up to 65,536 states as well, and compare everything that is seen
    #[arg(long)]
    cross_check: bool,
    /// What exhaustive searches leave out: `plain` nothing, `dpor` orders of independent events,
    /// `stateful` what follows a state reached before [default: what the scenario says]
    #[arg(long, value_name = "ENGINE", value_parser = engine)]
    engine: Option<Reduction>,
    /// End after so much time, such as `30s`, `10m` or `2h`, and say how far the searches are
    #[arg(long, value_name = "TIME", value_parser = budget::time)]
    budget: Option<Duration>,
    /// Explore one of N shards of the run, counted from 1: the JSON reports of all are put together by
    /// `plugpull merge`. Exhaustive searches are divided (by `dpor`, unless the scenario names another
    /// engine), so are random ones; other scenarios are dealt in turn
    #[arg(long, value_name = "I/N", conflicts_with = "cross_check")]
    shard: Option<Shard>,
    /// Keep the state of the run in this file, and go on from it if it exists: a run that was killed
    /// says in the end what it would have said. The file is removed when everything is explored
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// How often to write it, such as `30s` or `10m` [default: 10s]
    #[arg(long, value_name = "TIME", requires = "checkpoint", value_parser = budget::time)]
    checkpoint_every: Option<Duration>,
    /// Where to write counterexamples [default: plugpull-out]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl Args {
    /// Identifies the options that make a difference to results.
    fn identity(&self) -> u128 {
        let Self { seed, cross_check, engine, .. } = self;
        identity::options(&format!("{seed:?} {cross_check} {engine:?}"))
    }

    /// The checkpoint of the run, if it is to have one.
    fn open_checkpoint(&self, scenarios: &[Loaded]) -> Result<Option<Checkpoint>, Failure> {
        const EVERY: Duration = Duration::from_secs(10);
        let Some(path) = &self.checkpoint else { return Ok(None) };
        let options = identity::options(&format!("{:x} {:?}", self.identity(), self.shard));
        let every = self.checkpoint_every.unwrap_or(EVERY);
        Checkpoint::open(path, every, scenarios, options).map(Some)
    }
}

fn engine(name: &str) -> Result<Reduction, String> {
    Reduction::from_name(name).ok_or_else(|| "expected plain, dpor or stateful".to_owned())
}

pub(crate) fn run(args: &Args) -> Result<u8, Failure> {
    let watch = Stopwatch::start();
    let scenarios = scenarios::load(&args.paths)?;
    let options = RunOptions {
        seed: args.seed,
        cross_check: args.cross_check,
        engine: args.engine,
        budget: args.budget.map(|time| budget::of(time, watch)),
        part: None,
        executions_max: None,
        keeper: None,
    };
    let headers = args.shard.map(|shard| shard.headers(&scenarios, args.identity())).transpose()?;
    let checkpoint = args.open_checkpoint(&scenarios)?;
    let bar = Bar::new(scenarios.len());
    let jobs = args.jobs.map(|jobs| jobs.get().min(JOBS_MAX));
    let options_of = |position| RunOptions {
        part: args.shard.map(|shard| shard.part(position)),
        keeper: checkpoint.as_ref().map(|checkpoint| checkpoint.keeper(position)),
        ..options.clone()
    };
    let results = explore_all(&scenarios, &options_of, checkpoint.as_ref(), &bar, jobs)?;
    let stopped = results.iter().any(|(result, _)| result.stopped);
    bar.finish();
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from("plugpull-out"));
    let mut unwritten = None;
    let mut report_one =
        |position: usize, loaded: Loaded, (result, seconds): (ScenarioResult, f64)| {
            let mut explored = loaded.scenario.clone();
            options_of(position).apply_to(&mut explored.explore);
            let written = counterexample::write_all(&out, &loaded.path, &explored, &result);
            ScenarioReport {
                counterexamples: written.unwrap_or_else(|failure| {
                    unwritten.get_or_insert(failure);
                    vec![None; result.violations.len()]
                }),
                path: loaded.path,
                claim: loaded.scenario.claim,
                expect: loaded.scenario.expect,
                result,
                shard: headers.as_ref().map(|headers| headers[position]),
                seconds,
            }
        };
    let explored = scenarios.into_iter().zip(results).enumerate();
    let reports =
        explored.map(|(position, (loaded, result))| report_one(position, loaded, result)).collect();
    let report =
        RunReport { program: PROGRAM.to_owned(), scenarios: reports, seconds: watch.seconds() };
    format::emit(&report, &args.formats)?;
    checkpoint.map_or(Ok(()), |checkpoint| checkpoint.close(stopped))?;
    // Only now: the report is what the time was spent on.
    unwritten.map_or_else(|| Ok(report.summary().exit_code()), Err)
}

/// Result and duration of every scenario, in input order.
fn explore_all(
    scenarios: &[Loaded],
    options_of: &(dyn Fn(usize) -> RunOptions + Sync),
    checkpoint: Option<&Checkpoint>,
    bar: &Bar,
    jobs: Option<usize>,
) -> Result<Vec<(ScenarioResult, f64)>, Failure> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(jobs.unwrap_or(0))
        .build()
        .map_err(|error| Failure::Broken(format!("cannot start threads: {error}")))?;
    Ok(pool.install(|| {
        scenarios
            .par_iter()
            // No batches: a long scenario must not hold up others behind it.
            .with_max_len(1)
            .enumerate()
            .map(|(position, loaded)| {
                let before = checkpoint.and_then(|it| it.done(position, &loaded.scenario));
                let explored = before.unwrap_or_else(|| {
                    let watch = Stopwatch::start();
                    let result = explore_one(&loaded.scenario, &options_of(position), bar);
                    let seconds = watch.seconds();
                    checkpoint.iter().for_each(|it| it.ended(position, &result, seconds));
                    (result, seconds)
                });
                bar.scenario_done();
                explored
            })
            .collect()
    }))
}

/// A panic outside the engine breaks one scenario, not the run.
fn explore_one(scenario: &Scenario, options: &RunOptions, bar: &Bar) -> ScenarioResult {
    let counter = bar.counter();
    let work = AssertUnwindSafe(|| parts::explore(scenario, options, &|now| counter.update(now)));
    catch_unwind(work).unwrap_or_else(|payload| {
        let message = payload
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| payload.downcast_ref::<&str>().copied())
            .unwrap_or("no message");
        ScenarioResult::broken(scenario, format!("a panic in the harness: {message}"))
    })
}
