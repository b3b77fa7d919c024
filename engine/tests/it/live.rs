//! The running image, case by case.

use std::sync::Arc;

use plugpull_engine::Access;
use plugpull_engine::fvd::create::{
    BaseOptions, CompactOptions, CreateOptions, JournalSize, PrefetchOptions, create,
};
use plugpull_engine::fvd::header::Header;
use plugpull_engine::fvd::planted::{Bug, PlantedBugs};
use plugpull_engine::fvd::{Extent, Fvd, FvdDisk, Location, OpenOptions, PrefetchState, events};
use plugpull_engine::resolver::{BoxFuture, NoFiles, Resolver, Role};
use plugpull_engine::{ByteRange, Disk, Error, ErrorKind};

use crate::mem_disk::MemDisk;
use crate::world::World;

const KIB: u64 = 1024;

/// Names and what they open.
struct Files(Vec<(&'static str, Arc<dyn Disk>)>);

impl Resolver for Files {
    fn open<'a>(
        &'a self,
        _role: Role,
        name: &'a str,
        _format: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Arc<dyn Disk>, Error>> {
        let found = self.0.iter().find(|(known, _)| *known == name);
        let error = || Error::Unsupported(format!("no file called {name}"));
        let disk = found.map(|(_, disk)| Arc::clone(disk)).ok_or_else(error);
        Box::pin(std::future::ready(disk))
    }
}

fn options(world: &World, resolver: impl Resolver + 'static) -> OpenOptions {
    OpenOptions {
        access: Access::ReadWrite,
        background: false,
        resolver: Arc::new(resolver),
        runtime: Arc::new(world.clone()),
        planted: PlantedBugs::NONE,
    }
}

fn compact(virtual_size: u64, chunk: u64) -> CreateOptions {
    CreateOptions {
        virtual_size,
        compact: Some(CompactOptions { chunk_size: Some(chunk), storage_grow_unit: Some(chunk) }),
        journal_size: JournalSize::Bytes(4096),
        ..CreateOptions::default()
    }
}

fn over_base(options: CreateOptions, block: u64, copy_on_read: bool) -> CreateOptions {
    let base = BaseOptions { block_size: Some(block), copy_on_read, ..BaseOptions::new("base") };
    CreateOptions { base: Some(base), ..options }
}

fn new_image(world: &World, options: &CreateOptions, base: Option<&Arc<dyn Disk>>) -> MemDisk {
    let image = MemDisk::new(Vec::new());
    let (disk, options, base) = (image.clone(), options.clone(), base.cloned());
    let made = world.run(None, async move { create(&disk, &options, base.as_deref()).await });
    made.unwrap().unwrap();
    image
}

fn open(world: &World, image: &MemDisk, options: OpenOptions) -> Result<Fvd, Error> {
    world.run(None, Fvd::open(Arc::new(image.clone()), options)).unwrap()
}

fn write(world: &World, fvd: &Fvd, offset: u64, data: Vec<u8>) -> Result<(), Error> {
    world.run(None, fvd.write(offset, data)).unwrap()
}

fn read(world: &World, fvd: &Fvd, offset: u64, len: u64) -> Result<Vec<u8>, Error> {
    let fvd = fvd.clone();
    world.run(None, async move { fvd.read(ByteRange::new(offset, len)).await }).unwrap()
}

#[test]
fn a_closed_image_refuses_everything() {
    let world = World::new(1);
    let image = new_image(&world, &compact(64 * KIB, 4096), None);
    let fvd = open(&world, &image, options(&world, NoFiles)).unwrap();
    write(&world, &fvd, 512, vec![7; 512]).unwrap();
    assert!(!Header::parse(&image.bytes()).unwrap().is_clean());
    assert_eq!(world.run(None, fvd.close()).unwrap(), Ok(()));
    assert!(Header::parse(&image.bytes()).unwrap().is_clean());
    assert_eq!(read(&world, &fvd, 0, 512), Err(Error::Closed));
    assert_eq!(write(&world, &fvd, 0, vec![0; 512]), Err(Error::Closed));
    assert_eq!(world.run(None, fvd.flush()).unwrap(), Err(Error::Closed));
    assert_eq!(world.run(None, fvd.close()).unwrap(), Err(Error::Closed));
}

#[test]
fn requests_are_whole_sectors_of_the_virtual_disk() {
    let world = World::new(1);
    let image = new_image(&world, &compact(64 * KIB, 4096), None);
    let fvd = open(&world, &image, options(&world, NoFiles)).unwrap();
    for (offset, len) in [(1, 512), (0, 511), (64 * KIB, 512), (63 * KIB, 2048), (!511, 1024)] {
        let refused = write(&world, &fvd, offset, vec![0; usize::try_from(len).unwrap()]);
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidArgument, "{offset}+{len}");
    }
    assert_eq!(read(&world, &fvd, 1, 512).unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert_eq!(read(&world, &fvd, 64 * KIB, 0), Ok(Vec::new()));
    assert_eq!(write(&world, &fvd, 0, Vec::new()), Ok(()));
}

#[test]
fn a_reader_sees_what_recovery_would_and_writes_nothing() {
    let world = World::new(1);
    let image = new_image(&world, &compact(64 * KIB, 4096), None);
    let fvd = open(&world, &image, options(&world, NoFiles)).unwrap();
    write(&world, &fvd, 8192, vec![7; 4096]).unwrap();
    drop(fvd);
    let before = image.bytes();
    let reading = OpenOptions { access: Access::ReadOnly, ..options(&world, NoFiles) };
    let fvd = open(&world, &image, reading).unwrap();
    assert_eq!(read(&world, &fvd, 8192, 4096), Ok(vec![7; 4096]));
    assert_eq!(write(&world, &fvd, 0, vec![0; 512]), Err(Error::ReadOnly));
    assert_eq!(world.run(None, fvd.flush()).unwrap(), Ok(()));
    assert_eq!(world.run(None, fvd.close()).unwrap(), Ok(()));
    assert_eq!(image.bytes(), before);
}

#[test]
fn map_says_where_everything_lives() {
    let world = World::new(1);
    let base: Arc<dyn Disk> = Arc::new(MemDisk::new(vec![0xBB; 18 * 1024]));
    let options_made = over_base(compact(40 * KIB, 8192), 7680, false);
    let image = new_image(&world, &options_made, Some(&base));
    let fvd = open(&world, &image, options(&world, Files(vec![("base", base)]))).unwrap();
    let data = fvd.geometry().data_offset;
    let extent = |start, end, location| Extent { range: ByteRange::between(start, end), location };
    let everything = ByteRange::new(0, 40 * KIB);
    let before = [extent(0, 18 * KIB, Location::Base), extent(18 * KIB, 40 * KIB, Location::Zero)];
    assert_eq!(fvd.map(everything), before);
    // Block 1 is 7680..15360, in chunks 0 and 1; chunk 4 is past the base.
    write(&world, &fvd, 7680, vec![7; 512]).unwrap();
    write(&world, &fvd, 32 * KIB + 512, vec![7; 512]).unwrap();
    let after = [
        extent(0, 7680, Location::Base),
        extent(7680, 15360, Location::Storage { offset: data + 7680 }),
        extent(15360, 18 * KIB, Location::Base),
        extent(18 * KIB, 32 * KIB, Location::Zero),
        extent(32 * KIB, 40 * KIB, Location::Storage { offset: data + 2 * 8192 }),
    ];
    assert_eq!(fvd.map(everything), after);
    let mut expected = vec![0xBB; 18 * 1024];
    expected.resize(40 * 1024, 0);
    expected[7680..8192].fill(7);
    expected[32 * 1024 + 512..33 * 1024].fill(7);
    assert_eq!(read(&world, &fvd, 0, 40 * KIB), Ok(expected));
}

#[test]
fn flat_storage_reads_as_zero_and_grows_at_the_first_write() {
    let world = World::new(1);
    let flat = CreateOptions { virtual_size: 64 * KIB, ..CreateOptions::default() };
    let image = new_image(&world, &flat, None);
    let fvd = open(&world, &image, options(&world, NoFiles)).unwrap();
    let data = fvd.geometry().data_offset;
    let short = image.len();
    assert_eq!(read(&world, &fvd, 60 * KIB, 4096), Ok(vec![0; 4096]));
    assert_eq!(image.len(), short);
    write(&world, &fvd, 0, vec![7; 512]).unwrap();
    assert_eq!(image.len(), data + 64 * KIB);
    assert_eq!(world.events().get(events::STORAGE_GROWN), Some(&1));
}

#[test]
fn storage_that_must_be_zero_is_not_trusted_by_a_virtual_machine() {
    let world = World::new(1);
    let base: Arc<dyn Disk> = Arc::new(MemDisk::new(vec![0; 16 * 1024]));
    let flat = CreateOptions {
        virtual_size: 16 * KIB,
        data_file: "data".into(),
        ..CreateOptions::default()
    };
    let mut made = over_base(flat, 4096, false);
    made.base.as_mut().unwrap().detect_sparse_hole = Some(4096);
    let image = new_image(&world, &made, Some(&base));
    for (zero_init, background, opens) in
        [(true, true, true), (false, true, false), (false, false, true)]
    {
        let data = world.add_disk(vec![0; 16 * 1024], zero_init);
        let files = Files(vec![("base", Arc::clone(&base)), ("data", data)]);
        let opened = open(&world, &image, OpenOptions { background, ..options(&world, files) });
        assert_eq!(opened.is_ok(), opens, "zero_init {zero_init}, background {background}");
    }
}

#[test]
fn prefetching_makes_the_base_superfluous() {
    for chunk in [None, Some(8192)] {
        let world = World::new(3);
        let content: Vec<u8> = (0..60).flat_map(|n| vec![n; 512]).collect();
        let base: Arc<dyn Disk> = Arc::new(MemDisk::new(content.clone()));
        let mut made = over_base(compact(32 * KIB, chunk.unwrap_or(4096)), 7680, false);
        if chunk.is_none() {
            made.compact = None;
        }
        let prefetch = &mut made.base.as_mut().unwrap().prefetch;
        *prefetch =
            PrefetchOptions { start_delay: 5, bytes: Some(1), ..PrefetchOptions::default() };
        let image = new_image(&world, &made, Some(&base));
        let files = Files(vec![("base", base)]);
        let fvd = open(&world, &image, OpenOptions { background: true, ..options(&world, files) })
            .unwrap();
        write(&world, &fvd, 512, vec![0xAA; 512]).unwrap();
        assert_eq!(fvd.prefetch_state(), PrefetchState::Running);
        world.settle();
        assert_eq!(fvd.prefetch_state(), PrefetchState::Finished);
        assert_eq!(fvd.header().all_data_in_fvd_img, 1);
        // The image stands alone, also if nobody closes it.
        let fvd = open(&world, &image, options(&world, NoFiles)).unwrap();
        let mut expected = content;
        expected.resize(32 * 1024, 0);
        expected[512..1024].fill(0xAA);
        assert_eq!(read(&world, &fvd, 0, 32 * KIB), Ok(expected));
    }
}

#[test]
fn close_ends_prefetching_and_waits_for_copies() {
    let world = World::new(4);
    let base: Arc<dyn Disk> = world.add_disk(vec![0xBB; 64 * 1024], true);
    let mut made = over_base(compact(64 * KIB, 4096), 4096, true);
    made.base.as_mut().unwrap().prefetch =
        PrefetchOptions { start_delay: 1000, ..PrefetchOptions::default() };
    let image = new_image(&world, &made, Some(&base));
    for (bug, waits) in [(None, true), (Some(Bug::CloseLeavesCopyOnRead), false)] {
        let files = Files(vec![("base", Arc::clone(&base))]);
        let planted = bug.map_or(PlantedBugs::NONE, |bug| PlantedBugs::of(&[bug]));
        let storage = world.add_disk(image.bytes(), true);
        let disk = OpenOptions { background: true, planted, ..options(&world, files) };
        let fvd = world.run(None, Fvd::open(storage, disk)).unwrap().unwrap();
        read(&world, &fvd, 0, 16 * KIB).unwrap();
        world.run(None, fvd.close()).unwrap().unwrap();
        let copied = fvd.map(ByteRange::new(0, 16 * KIB))[0].location != Location::Base;
        assert_eq!(copied, waits, "{bug:?}");
        assert_eq!(fvd.prefetch_state(), PrefetchState::Off);
        world.settle();
    }
}

#[test]
fn an_image_can_be_the_base_of_another() {
    let world = World::new(1);
    let lower = new_image(&world, &compact(20 * KIB, 4096), None);
    let lower = open(&world, &lower, options(&world, NoFiles)).unwrap();
    write(&world, &lower, 4096, vec![0xBB; 8192]).unwrap();
    let base: Arc<dyn Disk> = Arc::new(FvdDisk::new(lower));
    assert_eq!(base.len(), 20 * KIB);
    let made = over_base(compact(32 * KIB, 4096), 4096, false);
    let upper = new_image(&world, &made, Some(&base));
    let fvd = open(&world, &upper, options(&world, Files(vec![("base", base)]))).unwrap();
    write(&world, &fvd, 4608, vec![7; 512]).unwrap();
    let mut expected = vec![0; 32 * 1024];
    expected[4096..12288].fill(0xBB);
    expected[4608..5120].fill(7);
    assert_eq!(read(&world, &fvd, 0, 32 * KIB), Ok(expected));
}

#[test]
fn a_data_file_is_the_guests_and_never_looked_into() {
    let world = World::new(1);
    let secret = vec![0x5E; 8192];
    // What the guest writes: the header of an image that names a file.
    let inner = CreateOptions {
        virtual_size: 8 * KIB,
        data_file: "secret".into(),
        ..CreateOptions::default()
    };
    let guest_data = new_image(&world, &inner, None).bytes();
    let outer = CreateOptions {
        virtual_size: 8 * KIB,
        data_file: "data".into(),
        ..CreateOptions::default()
    };
    let image = new_image(&world, &outer, None);
    for (planted, first) in
        [(PlantedBugs::NONE, guest_data[0]), (PlantedBugs::of(&[Bug::DataFileProbed]), 0x5E)]
    {
        let files = Files(vec![
            ("data", Arc::new(MemDisk::new(guest_data.clone()))),
            ("secret", Arc::new(MemDisk::new(secret.clone()))),
        ]);
        let fvd = open(&world, &image, OpenOptions { planted, ..options(&world, files) }).unwrap();
        assert_eq!(read(&world, &fvd, 0, 512).unwrap()[0], first);
    }
}

#[test]
fn no_room_fails_the_write_and_nothing_else() {
    let world = World::new(1);
    let image = new_image(&world, &compact(64 * KIB, 4096), None);
    let mut bytes = image.bytes();
    bytes.resize(bytes.len() + 4096, 0xEE);
    let device = MemDisk::device(bytes);
    let fvd = open(&world, &device, options(&world, NoFiles)).unwrap();
    write(&world, &fvd, 512, vec![7; 512]).unwrap();
    let full = write(&world, &fvd, 8192, vec![8; 512]).unwrap_err();
    assert_eq!(full.kind(), ErrorKind::NoSpace);
    write(&world, &fvd, 1024, vec![9; 512]).unwrap();
    let mut expected = vec![0; 4096];
    expected[512..1024].fill(7);
    expected[1024..1536].fill(9);
    expected.resize(64 * 1024, 0);
    assert_eq!(read(&world, &fvd, 0, 64 * KIB), Ok(expected));
    world.run(None, fvd.close()).unwrap().unwrap();
}

#[test]
fn waiters_for_journal_space_are_served_in_order() {
    let seen = |planted| {
        let mut seen = (0, 0);
        for seed in 0..40 {
            let world = World::new(seed);
            let image = new_image(&world, &compact(256 * KIB, 4096), None);
            let storage = world.add_disk(image.bytes(), true);
            let opened = Fvd::open(storage, OpenOptions { planted, ..options(&world, NoFiles) });
            let fvd = world.run(None, opened).unwrap().unwrap();
            let writes = (0..32).map(|n| fvd.write(n * 8192, vec![1; 512]));
            let writes = futures_util::future::join_all(writes);
            let done = world.run(None, writes).unwrap();
            assert!(done.iter().all(Result::is_ok), "{done:?}");
            let events = world.events();
            assert!(events[events::JOURNAL_RECYCLED] >= 3, "{events:?}");
            let count = |event| events.get(event).copied().unwrap_or(0);
            seen.0 += count(events::JOURNAL_WAIT);
            seen.1 += count(events::JOURNAL_WAITER_OVERTAKEN);
        }
        seen
    };
    let (waits, overtaken) = seen(PlantedBugs::NONE);
    assert!(waits > 0 && overtaken == 0, "{waits} waits, {overtaken} overtaken");
    let (_, overtaken) = seen(PlantedBugs::of(&[Bug::JournalWaitersLifo]));
    assert!(overtaken > 0);
}

#[test]
fn a_fork_goes_its_own_way() {
    let world = World::new(1);
    let image = new_image(&world, &compact(64 * KIB, 4096), None);
    let fvd = open(&world, &image, options(&world, NoFiles)).unwrap();
    write(&world, &fvd, 0, vec![7; 4096]).unwrap();
    let copy = Arc::new(MemDisk::new(image.bytes()));
    let mut disks = fvd.disks().clone();
    disks.metadata = copy.clone();
    disks.data = copy;
    let fork = fvd.fork(disks);
    assert_eq!(fork.state(), fvd.state());
    write(&world, &fork, 4096, vec![8; 4096]).unwrap();
    assert_eq!(read(&world, &fork, 0, 8192), Ok([vec![7; 4096], vec![8; 4096]].concat()));
    assert_eq!(read(&world, &fvd, 0, 8192), Ok([vec![7; 4096], vec![0; 4096]].concat()));
}
