//! One case: disks, what happens to them, a power cut, and what is run then.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use plugpull_sim::crash::Watch;
use plugpull_sim::disk::{CrashSpace, DiskSpec};

use super::brute::{self, Programs};
use super::counts::Counts;
use super::disks::{Fresh, sector_units};
use super::exact::{self, Explored};
use super::history::{Player, Step};
use super::images::{self, Images};
use super::random::Random;
use super::request::UNIT;
use super::{growth, partition, program};

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) fresh: Vec<Fresh>,
    pub(crate) history: Vec<Step>,
    pub(crate) programs: Programs,
    /// How many power cuts hit recovery in turn.
    pub(crate) depth: usize,
    /// What is noted inside recovery.
    pub(crate) watch: Watch,
    /// Where the order of questions is drawn from.
    pub(crate) order: u64,
}

/// Most states that the first power cut leaves, by depth.
const FIRST_MAX: [usize; 3] = [40, 16, 8];
/// Most distinct states that power cuts inside recovery leave.
const INSIDE_MAX: usize = 400;

impl Case {
    pub(crate) fn random(seed: u64, stream: u64) -> Self {
        let random = &mut Random::new(seed, stream);
        let depth = random.pick(&[0, 0, 0, 0, 0, 0, 0, 1, 1, 2]);
        let disks = 1 + usize::from(random.one_in(3));
        let fresh: Vec<Fresh> =
            ["a", "b"][..disks].iter().map(|name| Fresh::random(random, name)).collect();
        let (history, player) = history(random, &fresh, FIRST_MAX[depth]);
        let shapes: Vec<(u64, u64)> = (player.disks.iter())
            .map(|disk| (disk.len() / UNIT, sector_units(disk.spec())))
            .collect();
        let changes = if depth == 0 { 4 } else { 3 };
        let steps = 2 + random.below(8);
        let recovery = program::random(random, &shapes, steps, changes);
        let queries = (0..1 + random.below(3)).map(|_| {
            let steps = 1 + random.below(4);
            program::random(random, &shapes, steps, 0)
        });
        let queries = queries.collect();
        let watch = if random.one_in(4) { Watch::Every } else { Watch::Intervals };
        let programs = Programs { recovery, queries };
        Self { fresh, history, programs, depth, watch, order: stream }
    }

    /// Compares everything, and turns panics into errors.
    pub(crate) fn check(&self, counts: &mut Counts) -> Result<(), String> {
        let checked = catch_unwind(AssertUnwindSafe(|| self.compare(counts)));
        checked.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or(panic.downcast_ref::<&str>().copied());
            Err(format!("panic: {}", text.unwrap_or("without a text")))
        })
    }

    fn compare(&self, counts: &mut Counts) -> Result<(), String> {
        let specs: Vec<DiskSpec> = self.fresh.iter().map(|fresh| fresh.spec.clone()).collect();
        counts.add_disks(&specs);
        let spaces = self.play(counts)?;
        let Some(states) = images::count(&spaces, 8 * FIRST_MAX[0]) else {
            // Only cases that were made smaller by leaving out flushes get here.
            counts.not_enumerated += 1;
            return Ok(());
        };
        counts.states += states as u64;
        let random = &mut Random::new(self.order, 0);
        for (spec, space) in specs.iter().zip(&spaces) {
            counts.leaves += partition::check(spec, space, random)? as u64;
        }
        self.explore(&specs, spaces, counts)
    }

    /// What the first power cut may leave, which must not depend on who asked in between.
    fn play(&self, counts: &mut Counts) -> Result<Vec<CrashSpace>, String> {
        let mut player = Player::new(&self.fresh);
        let mut unasked = player.clone();
        for step in &self.history {
            if let Some(act) = player.act(step) {
                unasked.play(act.clone());
                counts.grown += u64::from(growth::play(&mut player, act)?);
            }
        }
        let spaces = player.spaces();
        let keys = |spaces: &[CrashSpace]| spaces.iter().map(CrashSpace::key).collect::<Vec<_>>();
        if keys(&spaces) != keys(&unasked.spaces()) {
            return Err("the crash space depends on when it was asked for".to_owned());
        }
        Ok(spaces)
    }

    /// Level by level: after the first power cut, after one inside recovery, and so on.
    fn explore(
        &self,
        specs: &[DiskSpec],
        spaces: Vec<CrashSpace>,
        counts: &mut Counts,
    ) -> Result<(), String> {
        let mut states: Vec<Images> = images::all(&spaces);
        let mut points = vec![spaces];
        for level in 0..=self.depth {
            let at = |error: String| format!("after {level} power cuts inside recovery: {error}");
            let inside = self.explore_level(specs, &points, &states, level, counts).map_err(at)?;
            let next = (level < self.depth)
                .then(|| brute::cut_inside(specs, &self.programs, &states, INSIDE_MAX))
                .flatten();
            let Some(next) = next else {
                counts.depth[level] += 1;
                counts.less_deep += u64::from(level < self.depth);
                return Ok(());
            };
            counts.add_inside(specs, inside.len());
            points = inside.into_values().collect();
            if let Some(reached) = exact::images_of(points.iter(), 4 * INSIDE_MAX) {
                let missing = next.keys().filter(|key| !reached.contains(*key)).count();
                let extra = reached.iter().filter(|key| !next.contains_key(*key)).count();
                if missing + extra > 0 {
                    return Err(at(format!(
                        "a cut leaves {} images: {missing} were not found, and {extra} that it \
                         cannot leave",
                        next.len()
                    )));
                }
            }
            states = next.into_values().collect();
        }
        unreachable!("the last level returns")
    }

    /// Explores every crash point of a level; returns those inside recovery.
    fn explore_level(
        &self,
        specs: &[DiskSpec],
        points: &[Vec<CrashSpace>],
        states: &[Images],
        level: usize,
        counts: &mut Counts,
    ) -> Result<BTreeMap<Vec<u128>, Vec<CrashSpace>>, String> {
        let watch = if level < self.depth { self.watch } else { Watch::Off };
        let mut inside = BTreeMap::new();
        let mut found = brute::Seen::default();
        for spaces in points {
            let explored = exact::explore(specs, &self.programs, spaces, watch);
            let Explored { seen, inside: cuts, paths } = explored.map_err(|broken| broken.0)?;
            if images::count(spaces, 8 * FIRST_MAX[0]).is_some() {
                let own = brute::outcomes(specs, &self.programs, &images::all(spaces));
                if own != seen {
                    return Err(format!("outcomes {seen:?} and not {own:?}"));
                }
            } else {
                counts.not_enumerated += 1;
            }
            counts.ways += paths;
            if level == 0 {
                counts.more_ways += u64::from(paths > 1);
                counts.merged += u64::from(seen.outcomes.values().any(|&states| states > 1));
            }
            inside.extend(cuts);
            found.outcomes.extend(seen.outcomes);
            found.answers.extend(seen.answers);
        }
        let expected = brute::outcomes(specs, &self.programs, states);
        if !expected.outcomes.keys().eq(found.outcomes.keys()) {
            let (found, expected) = (found.outcomes.keys(), expected.outcomes.keys());
            return Err(format!("outcomes {found:?} and not {expected:?}"));
        }
        if !expected.answers.keys().eq(found.answers.keys()) {
            return Err("answers to queries differ".to_owned());
        }
        Ok(inside)
    }
}

/// A history that ends in a crash point with no more than so many states.
fn history(random: &mut Random, fresh: &[Fresh], states_max: usize) -> (Vec<Step>, Player) {
    let mut player = Player::new(fresh);
    let mut history = Vec::new();
    for _ in 0..2 + random.below(9) {
        let step = player.random_step(random);
        let mut next = player.clone();
        if let Some(act) = next.act(&step) {
            next.play(act);
        }
        // What would lead to too many states has not happened; a flush may come yet.
        if images::count(&next.spaces(), states_max).is_some() {
            player = next;
            history.push(step);
        }
    }
    (history, player)
}

/// Everything that is needed to do it again.
impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Fresh { spec, letters } in &self.fresh {
            let fixed = if spec.resizable { "" } else { " fixed" };
            writeln!(f, "disk {} {spec}{fixed}: {letters:?}", spec.name)?;
        }
        for step in &self.history {
            writeln!(f, "  {step:?}")?;
        }
        writeln!(f, "recovery, cut {} times, watched for {:?}", self.depth, self.watch)?;
        for step in &self.programs.recovery {
            writeln!(f, "  {step:?}")?;
        }
        for query in &self.programs.queries {
            writeln!(f, "query {query:?}")?;
        }
        Ok(())
    }
}
