//! Collecting what power cuts leave: a system that looks at every crash image before it is recovered.

#![expect(clippy::disallowed_types, reason = "no engine shares what is collected")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use plugpull_engine::{ByteRange, Disk, Error, Runtime};
use plugpull_sim::disk::{DiskSpec, Image};
use plugpull_sim::explore::{Exploration, RunOptions, run_system};
use plugpull_sim::oracle::{Finding, View};
use plugpull_sim::scenario::{Crashes, Draw, Scenario, Schedules, SystemSpec};
use plugpull_sim::system::qcow2::Qcow2System;
use plugpull_sim::system::{BoxFuture, Device, Forbidden, Purpose, ReadDisks, System};
use plugpull_sim::verdict::Verdict;
use xxhash_rust::xxh3::Xxh3;

/// Crash states of one crash point that are realised at most: everything lost, everything kept, what
/// differs from these in one variable, then seeded draws.
const STATES_MAX: u64 = if cfg!(debug_assertions) { 24 } else { 200 };
/// Random executions, after the one in which nothing is reordered.
const RANDOM: u64 = if cfg!(debug_assertions) { 2 } else { 30 };

/// What was collected of a scenario.
pub(super) struct Collected {
    pub(super) system: Arc<dyn System>,
    /// Images of all disks.
    pub(super) images: Vec<Vec<Image>>,
    /// How many distinct ones were met.
    pub(super) distinct: usize,
}

/// Cuts some executions of a scenario, and keeps at most `images_max` of the images.
pub(super) fn collect(scenario: &Scenario, images_max: usize) -> Collected {
    let SystemSpec::Qcow2(spec) = &scenario.system else { unreachable!("only qcow2 is judged") };
    let mut exploration = Exploration::of(scenario);
    let requests = exploration.clients.iter().chain(&exploration.after).flatten();
    let system = Qcow2System::new(spec, &scenario.disks, &requests.collect());
    let system = Arc::new(system.expect("a system that can be set up"));
    let images = Mutex::new(Kept { images: BTreeMap::new(), images_max, seen: BTreeSet::new() });
    let witness = Arc::new(Witness { system: Arc::clone(&system), kept: images });
    let explored: Arc<dyn System> = Arc::clone(&witness) as _;
    exploration.explore.crashes = Crashes::Sampled { count: STATES_MAX, seed: 1 };
    for schedules in [Schedules::Fifo, Schedules::Random { count: RANDOM, seed: 1, by: Draw::Walk }]
    {
        exploration.explore.schedules = schedules;
        let result = run_system(&explored, &exploration, &RunOptions::default(), &|_| ());
        let bad = matches!(result.verdict, Verdict::Violated | Verdict::HarnessBroken);
        assert!(!bad, "{}: {result:#?}", scenario.claim);
    }
    drop(explored);
    let kept = Arc::into_inner(witness).expect("the search is over").kept;
    let kept = kept.into_inner().expect("no panic");
    let images = kept.images.into_values();
    let images = images.map(|disks| disks.iter().map(|bytes| Image::from_bytes(bytes)).collect());
    Collected { system, images: images.collect(), distinct: kept.seen.len() }
}

/// Images by the hashes of their bytes. Those with the smallest are kept: a sample that does not
/// depend on the order in which they are met.
struct Kept {
    images: BTreeMap<u128, Vec<Vec<u8>>>,
    images_max: usize,
    seen: BTreeSet<u128>,
}

impl Kept {
    fn add(&mut self, disks: Vec<Vec<u8>>) {
        let mut hash = Xxh3::new();
        for bytes in &disks {
            hash.update(&(bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        }
        let hash = hash.digest128();
        if self.seen.insert(hash) {
            self.images.insert(hash, disks);
        }
        if self.images.len() > self.images_max {
            self.images.pop_last();
        }
    }
}

/// A system whose images are looked at.
struct Witness {
    system: Arc<Qcow2System>,
    kept: Mutex<Kept>,
}

impl System for Witness {
    fn disks(&self) -> &[DiskSpec] {
        self.system.disks()
    }

    fn start(&self) -> &[Image] {
        self.system.start()
    }

    fn initial(&self) -> &Image {
        self.system.initial()
    }

    fn extent(&self, view: View) -> u64 {
        self.system.extent(view)
    }

    fn missing(&self) -> &[ByteRange] {
        self.system.missing()
    }

    fn is_read_only(&self) -> bool {
        self.system.is_read_only()
    }

    fn is_tracked(&self) -> bool {
        self.system.is_tracked()
    }

    fn recovers_at_start(&self) -> bool {
        self.system.recovers_at_start()
    }

    fn image_questions(&self) -> usize {
        1
    }

    fn check_image(&self, _: usize, disks: &mut dyn ReadDisks) -> Option<Finding> {
        let all = 0..self.system.disks().len();
        let bytes = all.map(|disk| {
            let len = disks.len(disk);
            disks.read(disk, ByteRange::new(0, len))
        });
        let bytes = bytes.collect();
        self.kept.lock().expect("no panic").add(bytes);
        None
    }

    fn open(
        &self,
        disks: Vec<Arc<dyn Disk>>,
        runtime: Arc<dyn Runtime>,
        purpose: Purpose,
    ) -> BoxFuture<Result<Arc<dyn Device>, Error>> {
        self.system.open(disks, runtime, purpose)
    }

    /// None: what the guest reads is judged elsewhere.
    fn queries(&self) -> &[ByteRange] {
        &[]
    }

    fn forbidden(&self) -> &[Forbidden] {
        self.system.forbidden()
    }
}
