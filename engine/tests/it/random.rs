//! Random guests on random images with power cuts, I/O errors and dropped requests.

use std::collections::BTreeMap;
use std::sync::Arc;

use plugpull_engine::Access;
use plugpull_engine::fvd::create::{
    BaseOptions, CompactOptions, CreateOptions, JournalSize, PrefetchOptions, create,
};
use plugpull_engine::fvd::planted::{Bug, PlantedBugs};
use plugpull_engine::fvd::{Fvd, OpenOptions};
use plugpull_engine::resolver::{BoxFuture, Resolver, Role};
use plugpull_engine::{ByteRange, Disk, Error, ErrorKind};

use crate::model::{Model, Value, fill, stamp};
use crate::world::{Numbers, World};

const IMAGE: usize = 0;
const DATA: usize = 1;
const BASE: usize = 2;

/// How often something was reported.
type Events = BTreeMap<&'static str, u64>;

/// What one random case is made of.
#[derive(Debug, Clone)]
struct Case {
    sectors: u64,
    base_sectors: Option<u64>,
    block: u64,
    chunk: Option<u64>,
    grow_unit: u64,
    journal: JournalSize,
    data_file: bool,
    old_content: bool,
    copy_on_read: bool,
    prefetch: bool,
    clients: u64,
    fail_one_in: u64,
    drops: bool,
    planted: PlantedBugs,
}

impl Case {
    fn draw(numbers: &mut Numbers) -> Self {
        let pick = |numbers: &mut Numbers, values: &[u64]| values[numbers.index(values.len())];
        let sectors = 8 + numbers.below(90);
        let has_base = numbers.one_in(2) || numbers.one_in(2);
        let chunk = (!numbers.one_in(3)).then(|| pick(numbers, &[4096, 8192, 12288]));
        let data_file = numbers.one_in(3);
        Self {
            sectors,
            base_sectors: has_base.then(|| 1 + numbers.below(sectors + 4)),
            block: pick(numbers, &[512, 1024, 2560, 4096, 7680, 12288, 40960]),
            chunk,
            grow_unit: pick(numbers, &[4096, 16384, 65536]),
            journal: match numbers.below(6) {
                0 => JournalSize::None,
                1 => JournalSize::Bytes(8192),
                _ => JournalSize::Bytes(4096),
            },
            data_file,
            old_content: data_file && chunk.is_some() && numbers.one_in(2),
            copy_on_read: numbers.one_in(2),
            prefetch: numbers.one_in(4),
            clients: 1 + numbers.below(3),
            fail_one_in: if numbers.one_in(2) { 0 } else { 3 + numbers.below(60) },
            drops: numbers.one_in(3),
            planted: PlantedBugs::NONE,
        }
    }

    fn options(&self) -> CreateOptions {
        CreateOptions {
            virtual_size: self.sectors * 512,
            base: self.base_sectors.map(|_| BaseOptions {
                block_size: Some(self.block),
                copy_on_read: self.copy_on_read,
                max_outstanding_copy_on_read_data: 3 * self.block,
                prefetch: PrefetchOptions {
                    start_delay: if self.prefetch { 1 } else { -1 },
                    bytes: Some(1),
                    min_write_throughput: i32::MAX,
                    write_measure_time: 1,
                    ..PrefetchOptions::default()
                },
                ..BaseOptions::new("base")
            }),
            data_file: if self.data_file { "data".into() } else { String::new() },
            compact: self.chunk.map(|chunk| CompactOptions {
                chunk_size: Some(chunk),
                storage_grow_unit: Some(self.grow_unit),
            }),
            journal_size: self.journal,
            ..CreateOptions::default()
        }
    }

    fn base_value(&self, sector: u64) -> Value {
        let in_base = self.base_sectors.is_some_and(|base| sector < base);
        if in_base { stamp(sector, 1) } else { 0 }
    }
}

struct Names {
    data: Arc<dyn Disk>,
    base: Arc<dyn Disk>,
}

impl Resolver for Names {
    fn open<'a>(
        &'a self,
        role: Role,
        name: &'a str,
        format: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Arc<dyn Disk>, Error>> {
        assert_eq!(format, None, "no format was named");
        let (expected, disk) = match role {
            Role::Base => ("base", &self.base),
            Role::Data => ("data", &self.data),
        };
        assert_eq!(name, expected);
        Box::pin(std::future::ready(Ok(Arc::clone(disk))))
    }
}

/// One life of the machine: three disks in a world.
struct Machine {
    world: World,
    disks: Vec<Arc<dyn Disk>>,
}

impl Machine {
    fn new(case: &Case, seed: u64, contents: Vec<Vec<u8>>) -> Self {
        let world = World::new(seed);
        let zero_init = |disk| disk != DATA || !case.old_content;
        let disks = (0..).zip(contents);
        let disks = disks.map(|(at, bytes)| world.add_disk(bytes, zero_init(at))).collect();
        Self { world, disks }
    }

    fn open_options(&self, case: &Case, access: Access) -> OpenOptions {
        let names =
            Names { data: Arc::clone(&self.disks[DATA]), base: Arc::clone(&self.disks[BASE]) };
        OpenOptions {
            access,
            background: access == Access::ReadWrite,
            resolver: Arc::new(names),
            runtime: Arc::new(self.world.clone()),
            planted: case.planted,
        }
    }

    fn open(
        &self,
        case: &Case,
        access: Access,
        cut_after: Option<u64>,
    ) -> Option<Result<Fvd, Error>> {
        let options = self.open_options(case, access);
        self.world.run(cut_after, Fvd::open(Arc::clone(&self.disks[IMAGE]), options))
    }

    fn read_all(&self, case: &Case, fvd: &Fvd) -> Vec<u8> {
        let (fvd, len) = (fvd.clone(), case.sectors * 512);
        self.world
            .run(None, async move { fvd.read(ByteRange::new(0, len)).await })
            .unwrap()
            .unwrap()
    }
}

async fn client(world: World, fvd: Fvd, model: Model, case: Case, ops: u64) {
    for _ in 0..ops {
        let first = world.number(case.sectors);
        let longest = if world.number(3) == 0 { 64 } else { 6 };
        let count = 1 + world.number((case.sectors - first).min(longest));
        let range = ByteRange::new(first * 512, count * 512);
        match world.number(8) {
            0..=3 => {
                let serial = model.new_serial();
                let values: Vec<Value> =
                    (first..first + count).map(|sector| stamp(sector, serial)).collect();
                let data = values.iter().flat_map(|&value| fill(value)).collect();
                model.begin_write(first, &values);
                let write = fvd.write(range.offset, data);
                let succeeded = if case.drops && world.number(4) == 0 {
                    drop_after(write, world.number(6)).await
                } else {
                    write.await.is_ok()
                };
                model.end_write(first, &values, succeeded);
            }
            4..=6 => {
                let begun = model.begin();
                if let Ok(bytes) = fvd.read(range).await {
                    model.check_read(begun, first, &bytes);
                }
            }
            _ => {
                let begun = model.begin();
                if fvd.flush().await.is_ok() {
                    model.end_flush(begun);
                }
            }
        }
    }
}

/// Polls the request a few times, then drops it. Whether it succeeded before.
async fn drop_after(request: impl Future<Output = Result<(), Error>>, mut polls: u64) -> bool {
    let mut request = Box::pin(request);
    std::future::poll_fn(|context| {
        if let std::task::Poll::Ready(result) = request.as_mut().poll(context) {
            return std::task::Poll::Ready(result.is_ok());
        }
        if polls == 0 {
            return std::task::Poll::Ready(false);
        }
        polls -= 1;
        context.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await
}

fn create_image(case: &Case) -> Vec<Vec<u8>> {
    let base: Vec<u8> = (0..case.base_sectors.unwrap_or(0))
        .flat_map(|sector| fill(case.base_value(sector)))
        .collect();
    let data = if case.old_content { vec![0xEE; 20000 / 512 * 512] } else { Vec::new() };
    let machine = Machine::new(case, 1, vec![Vec::new(), data.clone(), base.clone()]);
    let options = case.options();
    let image = Arc::clone(&machine.disks[IMAGE]);
    let base_disk = case.base_sectors.map(|_| Arc::clone(&machine.disks[BASE]));
    let created = machine
        .world
        .run(None, async move { create(&*image, &options, base_disk.as_deref()).await });
    created.unwrap().unwrap();
    vec![machine.world.visible(IMAGE), data, base]
}

/// Several sessions on one image, each ended by a close, a power cut, or the loss of the program.
fn run(seed: u64, adjust: impl FnOnce(&mut Case)) -> Events {
    let mut numbers = Numbers(seed);
    let mut case = Case::draw(&mut numbers);
    adjust(&mut case);
    let model = Model::new((0..case.sectors).map(|sector| case.base_value(sector)));
    let mut contents = create_image(&case);
    let mut seen = Events::new();
    for _ in 0..5 {
        let machine = Machine::new(&case, numbers.next(), contents);
        // Recovery itself may fail or be cut.
        machine.world.fail_one_in(case.fail_one_in);
        let cut = numbers.one_in(3).then(|| 1 + numbers.below(8));
        let opened = machine.open(&case, Access::ReadWrite, cut);
        machine.world.fail_one_in(0);
        match &opened {
            Some(Err(error)) => {
                assert_eq!(error.kind(), ErrorKind::Io, "seed {seed}: {error}");
            }
            Some(Ok(fvd)) => session_of(&machine, &case, fvd, &model, &mut numbers),
            None => {}
        }
        for (event, count) in machine.world.events() {
            *seen.entry(event).or_default() += count;
        }
        contents = machine.world.cut_power();
        contents[BASE].clone_from(&machine.world.visible(BASE));
        // What a reader sees without writing is what recovery makes durable.
        let reader = Machine::new(&case, numbers.next(), contents.clone());
        let read_only = reader.open(&case, Access::ReadOnly, None).unwrap();
        let read_only = read_only.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let bytes = reader.read_all(&case, &read_only);
        assert_eq!(reader.world.visible(IMAGE), contents[IMAGE], "a reader wrote");
        let recovered = Machine::new(&case, numbers.next(), contents.clone());
        let fvd = recovered.open(&case, Access::ReadWrite, None).unwrap().unwrap();
        assert_eq!(bytes, recovered.read_all(&case, &fvd), "seed {seed}: two recoveries");
        model.check_recovered(&bytes);
    }
    seen
}

fn session_of(machine: &Machine, case: &Case, fvd: &Fvd, model: &Model, numbers: &mut Numbers) {
    machine.world.fail_one_in(case.fail_one_in);
    let (world, fvd) = (machine.world.clone(), fvd.clone());
    let longest = if numbers.one_in(4) { 60 } else { 12 };
    let ops = 1 + numbers.below(longest);
    let clients = (0..case.clients).map({
        let (world, fvd, model, case) = (world.clone(), fvd.clone(), model.clone(), case.clone());
        move |_| {
            let (world, fvd, model) = (world.clone(), fvd.clone(), model.clone());
            client(world, fvd, model, case.clone(), ops)
        }
    });
    let clients = futures_util::future::join_all(clients);
    let cut = (!numbers.one_in(3)).then(|| numbers.below(5 * ops * case.clients));
    if world.run(cut, async move { clients.await.len() }).is_none() {
        return;
    }
    // Half of the sessions that come to their end are closed; then nothing may be lost.
    if numbers.one_in(2) {
        return;
    }
    let begun = model.begin();
    let closing = fvd.clone();
    let closed = world.run(None, async move { closing.close().await }).unwrap();
    machine.world.fail_one_in(0);
    if closed.is_ok() {
        model.end_flush(begun);
        world.settle();
    }
    let after = fvd.clone();
    let refused = world.run(None, async move { after.flush().await }).unwrap();
    assert_eq!(refused, Err(Error::Closed));
    if !numbers.one_in(3) {
        return;
    }
    world.settle();
    let reopened = machine.open(case, Access::ReadWrite, None).unwrap();
    let reopened = reopened.unwrap_or_else(|error| panic!("reopen: {error}"));
    model.check_reopened(&machine.read_all(case, &reopened), closed.is_ok());
    let (world, model) = (machine.world.clone(), model.clone());
    let ops = client(world.clone(), reopened, model, case.clone(), 6);
    world.run(Some(numbers.below(60)), ops);
}

/// The first of `seeds` for which a run fails.
fn first_failure(
    seeds: std::ops::Range<u64>,
    adjust: impl Fn(&mut Case) + std::panic::RefUnwindSafe,
    seen: &mut Events,
) -> Option<u64> {
    for seed in seeds {
        match std::panic::catch_unwind(|| run(seed, &adjust)) {
            Ok(events) => {
                events
                    .into_iter()
                    .for_each(|(event, count)| *seen.entry(event).or_default() += count);
            }
            Err(_) => return Some(seed),
        }
    }
    None
}

#[test]
fn survives_whatever_happens() {
    let mut seen = Events::new();
    assert_eq!(first_failure(0..300, |_| {}, &mut seen), None);
    let expected = [
        "barrier-lost",
        "chunk-allocated",
        "chunk-reused",
        "chunk-zero-filled",
        "closed-clean",
        "copied-on-read",
        "copy-on-write",
        "journal-cleared",
        "journal-recycled",
        "journal-replayed",
        "journal-written",
        "lock-wait",
        "maps-written",
        "prefetch-finished",
        "storage-grown",
        "write-detached",
    ];
    for event in expected {
        assert!(seen.contains_key(event), "{event} never happened: {seen:#?}");
    }
    assert!(!seen.contains_key("journal-waiter-overtaken"));
}

/// The test above would notice these; it is not blind.
#[test]
fn notices_planted_bugs() {
    for bug in [
        Bug::JournalBeforeData,
        Bug::ExtensionNotDurable,
        Bug::CopyOnReadBitsBeforeData,
        Bug::FillNotJournaled,
        Bug::RecycledChunkShowsOldData,
        Bug::FailedOpenMarksClean,
        Bug::ReadonlyOpenSkipsRecovery,
        Bug::CloseIgnoresMapError,
        Bug::NewChunkTakenForZero,
        Bug::FlushWithoutJournal,
    ] {
        let plant = |case: &mut Case| case.planted = PlantedBugs::of(&[bug]);
        let found = first_failure(0..300, plant, &mut Events::new());
        assert!(found.is_some(), "{bug:?} was not noticed");
    }
}
