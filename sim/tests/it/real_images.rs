//! Power cuts while images of the original implementation are recovered.
//!
//! Every image that the original did not close is the durable start of simulated disks. Recovery
//! runs on them, and at every moment inside it the power is cut: every state that the disks may be
//! left in is recovered again, and must read exactly as if nothing had happened. A write and a flush
//! that follow recovery are cut in the same way; they may only change their own sectors.

#[path = "../../../engine/tests/it/real_images/archive.rs"]
mod archive;
#[path = "../../../engine/tests/it/real_images/manifest.rs"]
mod manifest;

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use plugpull_engine::fvd::check::check;
use plugpull_engine::fvd::planted::{Bug, PlantedBugs};
use plugpull_engine::fvd::resolver::{BoxFuture, Resolver, Role};
use plugpull_engine::fvd::{Access, Fvd, Location, OpenOptions};
use plugpull_engine::{ByteRange, Disk, Error};
use plugpull_sim::crash::direct::CrashPoint;
use plugpull_sim::crash::{BruteForce, CrashExplorer, DirectWorld};
use plugpull_sim::disk::{DiskSpec, Image};

use archive::Images;
use manifest::{Expected, Fate, State};

/// Crash points with more states than this are sampled. Recovery has none.
const STATES_MAX: u64 = 4096;
/// The same for a write that follows recovery: it may store a whole chunk.
const WRITE_STATES_MAX: u64 = 128;

#[test]
fn recovery_of_unclean_images_can_be_cut_anywhere() {
    let Some(images) = Images::unpack(|_| true) else { return };
    let mut complaints = Vec::new();
    let mut reach = Reach::default();
    for (name, folder) in images.folders() {
        let expected = Expected::load(name, &folder);
        if expected.clean || expected.fate != Fate::Opens {
            continue;
        }
        let subject = Subject::load(&folder, expected);
        let judged = catch_unwind(AssertUnwindSafe(|| subject.judge(&mut reach)));
        let judged = judged.unwrap_or_else(|_| Err("a panic, see above".to_owned()));
        complaints.extend(judged.err().map(|complaint| format!("{name}: {complaint}")));
    }
    assert!(complaints.is_empty(), "{} complaints:\n{}", complaints.len(), complaints.join("\n"));
    // What was explored, so that silence means something.
    assert_eq!(reach.images, 81, "{reach:?}");
    assert_eq!(reach.recovery.sampled_points, 0, "{reach:?}");
    assert!(reach.recovery.states > 180, "{reach:?}");
    assert!(reach.write.states > 1000, "{reach:?}");
    assert!(reach.replayed, "{reach:?}");
}

/// Engines that are unsafe after recovery, and an image that shows it.
const PLANTED: &[(Bug, &str)] = &[
    // With all in one file, the flush of the next write's data would make up for it.
    (Bug::RecoveryReusesJournalBeforeFlush, "flat-base-b7680-coroff-data-unclean"),
    (Bug::CleanFlagBeforeMapsFlush, "compact-nobase-b512-c1x-unclean"),
    (Bug::JournalBeforeData, "flat-base-b512-coroff-unclean"),
    (Bug::ExtensionNotDurable, "journal4096-s1-compact-base-unclean"),
    (Bug::RecycledChunkShowsOldData, "bug-P2-recycle-no-flush"),
];

#[test]
fn unsafe_engines_are_caught_on_real_images() {
    let wanted = |name: &str| PLANTED.iter().any(|&(_, image)| image == name);
    let Some(images) = Images::unpack(wanted) else { return };
    for (name, folder) in images.folders() {
        for &(bug, _) in PLANTED.iter().filter(|&&(_, image)| image == name) {
            let mut subject = Subject::load(&folder, Expected::load(name, &folder));
            subject.planted = PlantedBugs::of(&[bug]);
            let judged = subject.judge(&mut Reach::default());
            assert!(judged.is_err(), "{} is not found on {name}", bug.id());
        }
    }
}

/// What was explored.
#[derive(Debug, Default)]
struct Reach {
    images: usize,
    replayed: bool,
    recovery: Explored,
    write: Explored,
}

#[derive(Debug, Default)]
struct Explored {
    /// Moments at which the power was cut.
    points: usize,
    /// Those with more states than were visited.
    sampled_points: usize,
    /// Different states of the disks.
    states: usize,
}

/// One image on simulated disks.
struct Subject {
    expected: Expected,
    specs: Vec<DiskSpec>,
    start: Vec<Image>,
    planted: PlantedBugs,
}

/// The disks' names, in their order, and the files that they start with.
const FILES: [(&str, &str); 3] =
    [("image", "test.fvd"), ("data", "data.dat"), ("base", "base.raw")];

impl Subject {
    fn load(folder: &Path, expected: Expected) -> Self {
        let mut subject =
            Self { expected, specs: Vec::new(), start: Vec::new(), planted: PlantedBugs::NONE };
        for (name, file) in FILES {
            if let Ok(bytes) = std::fs::read(folder.join(file)) {
                subject.specs.push(DiskSpec::new(name));
                subject.start.push(Image::from_bytes(&bytes));
            }
        }
        subject
    }

    fn world(&self, images: Vec<Image>, watching: bool) -> DirectWorld {
        DirectWorld::new(self.specs.iter().cloned().zip(images), watching)
    }

    fn open(&self, world: &DirectWorld) -> Result<Fvd, String> {
        let disks = world.disks();
        let named = |name: &str| self.specs.iter().position(|spec| spec.name == name);
        let disk = |name: &str| named(name).map(|index| Arc::clone(&disks[index]));
        let options = OpenOptions {
            access: Access::ReadWrite,
            background: false,
            resolver: Arc::new(Disks { data: disk("data"), base: disk("base") }),
            runtime: world.runtime(),
            planted: self.planted,
        };
        await_on(world, "open", Fvd::open(Arc::clone(&disks[0]), options))
    }

    /// Cuts the power during recovery, during the recoveries that follow, and during the life
    /// that follows recovery. The first complaint ends it.
    fn judge(&self, reach: &mut Reach) -> Result<(), String> {
        reach.images += 1;
        let world = self.world(self.start.clone(), true);
        let fvd = self.open(&world)?;
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
                let fvd = self.open(&world)?;
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
        let at_rest = CrashPoint { spaces: world.crash_spaces(), phase: 0 };
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
                let fvd = self.open(&world)?;
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
            result = recover(state.images).map_err(|error| format!("{error}; kept: {survivors}"));
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

/// Runs an operation that nothing disturbs.
fn await_on<T>(
    world: &DirectWorld,
    what: &str,
    operation: impl Future<Output = Result<T, Error>>,
) -> Result<T, String> {
    let ended = world.run(operation).map_err(|stuck| stuck.reason)?;
    ended.map_err(|error| format!("{what} fails: {error}"))
}

fn read_all(world: &DirectWorld, fvd: &Fvd) -> Result<Vec<u8>, String> {
    await_on(world, "reading", fvd.read(ByteRange::new(0, fvd.virtual_size())))
}

/// Simulated disks by role.
struct Disks {
    data: Option<Arc<dyn Disk>>,
    base: Option<Arc<dyn Disk>>,
}

impl Resolver for Disks {
    fn open<'a>(
        &'a self,
        role: Role,
        name: &'a str,
        _format: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Arc<dyn Disk>, Error>> {
        let disk = match role {
            Role::Base => self.base.clone(),
            Role::Data => self.data.clone(),
        };
        let answer = disk.ok_or_else(|| Error::Unsupported(format!("no file {name}")));
        Box::pin(std::future::ready(answer))
    }
}
