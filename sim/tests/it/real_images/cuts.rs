//! Every power cut during recovery, and during a short life that follows it.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use plugpull_engine::ByteRange;
use plugpull_engine::fvd::check::check;
use plugpull_engine::fvd::{Fvd, Location};
use plugpull_sim::crash::{BruteForce, CrashExplorer, CrashPoint, DirectWorld};
use plugpull_sim::disk::Image;

use super::manifest::State;
use super::subject::{Subject, await_on, read_all};

/// Crash points with more states than this are sampled. Recovery has none.
const STATES_MAX: u64 = 4096;
/// The same for a write that follows recovery: it may store a whole chunk.
const WRITE_STATES_MAX: u64 = 128;

/// What was explored.
#[derive(Debug, Default)]
pub(super) struct Reach {
    pub(super) images: usize,
    pub(super) replayed: bool,
    pub(super) recovery: Explored,
    pub(super) write: Explored,
}

#[derive(Debug, Default)]
pub(super) struct Explored {
    /// Moments at which the power was cut.
    pub(super) points: usize,
    /// Those with more states than were visited.
    pub(super) sampled_points: usize,
    /// Different states of the disks.
    pub(super) states: usize,
}

impl Subject {
    /// Cuts the power during recovery, during the recoveries that follow, and during the life
    /// that follows recovery. The first complaint ends it.
    pub(super) fn judge(&self, reach: &mut Reach) -> Result<(), String> {
        reach.images += 1;
        let world = self.world(self.start.clone(), true);
        let fvd = self.open(&world, false)?;
        let content = read_all(&world, &fvd)?;
        if let Some(complaint) = self.expected.judge(&content).first() {
            return Err(complaint.clone());
        }
        reach.replayed |= world.events().contains("journal-replayed");
        self.cut_recoveries(world.take_points(), &content, &mut reach.recovery)?;
        self.cut_write(&world, &fvd, content, &mut reach.write)
    }

    /// Follows recovery from crash state to crash state until no new one appears: any number of
    /// power cuts.
    fn cut_recoveries(
        &self,
        points: Vec<CrashPoint>,
        content: &[u8],
        explored: &mut Explored,
    ) -> Result<(), String> {
        let mut seen = BTreeSet::new();
        let mut todo = points;
        while let Some(point) = todo.pop() {
            self.visit(&point, STATES_MAX, explored, &mut seen, |images| {
                let world = self.world(images, true);
                let fvd = self.open(&world, false)?;
                if read_all(&world, &fvd)? != content {
                    return Err("the content depends on where recovery was cut".to_owned());
                }
                todo.extend(world.take_points());
                self.close_and_check(&world, fvd, State::Untouched)
            })?;
        }
        Ok(())
    }

    /// Writes a sector, flushes and closes, and cuts the power at every moment of it.
    fn cut_write(
        &self,
        world: &DirectWorld,
        fvd: &Fvd,
        content: Vec<u8>,
        explored: &mut Explored,
    ) -> Result<(), String> {
        let offset = place_to_write(fvd);
        let data = vec![0xA5; 512];
        let start = usize::try_from(offset).expect("a small disk");
        let mut changed = content.clone();
        changed[start..start + 512].copy_from_slice(&data);

        await_on(world, "a write", fvd.write(offset, data))?;
        await_on(world, "a flush", fvd.flush())?;
        let before = world.take_points();
        await_on(world, "close", fvd.close())?;
        let after = world.take_points();
        let at_rest = world.point();
        let either = [content, changed.clone()];
        self.cut_life(&before, &either, explored)?;
        self.cut_life(&after, &[changed.clone()], explored)?;
        self.cut_life(&[at_rest], &[changed], explored)
    }

    fn cut_life(
        &self,
        points: &[CrashPoint],
        allowed: &[Vec<u8>],
        explored: &mut Explored,
    ) -> Result<(), String> {
        let mut seen = BTreeSet::new();
        for point in points {
            self.visit(point, WRITE_STATES_MAX, explored, &mut seen, |images| {
                let world = self.world(images, false);
                let fvd = self.open(&world, false)?;
                if !allowed.contains(&read_all(&world, &fvd)?) {
                    return Err("a write changes, or loses, something else".to_owned());
                }
                self.close_and_check(&world, fvd, State::Written)
            })?;
        }
        Ok(())
    }

    /// Recovers the states of one crash point that were not seen before.
    fn visit(
        &self,
        point: &CrashPoint,
        states_max: u64,
        explored: &mut Explored,
        seen: &mut BTreeSet<Vec<u128>>,
        mut recover: impl FnMut(Vec<Image>) -> Result<(), String>,
    ) -> Result<(), String> {
        let mut result = Ok(());
        let coverage = BruteForce::new(states_max, 1).explore(&point.spaces, &mut |state| {
            if !seen.insert(state.images.iter().map(Image::key).collect()) {
                return ControlFlow::Continue(());
            }
            explored.states += 1;
            let survivors = format!("{:?}", state.assignment.options);
            result = recover(state.images.clone())
                .map_err(|error| format!("{error}; kept: {survivors}"));
            if result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        explored.points += 1;
        explored.sampled_points += usize::from(!coverage.complete());
        result
    }

    fn close_and_check(&self, world: &DirectWorld, fvd: Fvd, state: State) -> Result<(), String> {
        await_on(world, "close", fvd.close())?;
        let disks = world.disks();
        let data = self.specs.iter().position(|spec| spec.name == "data");
        let data_len = data.map(|index| disks[index].len());
        let report = await_on(world, "check", check(&*disks[0], data_len))?;
        match self.expected.judge_check(&report, true, state).first() {
            Some(complaint) => Err(complaint.clone()),
            None => Ok(()),
        }
    }
}

/// A sector whose write has to change the maps, and as little else as possible: past the base if
/// there is unused space, else in a block that is still the base's.
fn place_to_write(fvd: &Fvd) -> u64 {
    let extents = fvd.map(ByteRange::new(0, fvd.virtual_size()));
    let last = |location: Location| {
        let found = extents.iter().rev().find(|extent| extent.location == location);
        found.map(|extent| extent.range.end() - 512)
    };
    last(Location::Zero).or_else(|| last(Location::Base)).unwrap_or(0)
}
