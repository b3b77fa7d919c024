//! Images that our engine makes and changes, read back by [`original`](crate::original): after every
//! acknowledged operation, as if our process had been killed there, and after every close.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use plugpull_engine::Access;
use plugpull_engine::fvd::create::{
    BaseOptions, CompactOptions, CreateOptions, JournalSize, create,
};
use plugpull_engine::fvd::planted::PlantedBugs;
use plugpull_engine::fvd::{Fvd, OpenOptions};
use plugpull_engine::resolver::{BoxFuture, Resolver, Role};
use plugpull_engine::{ByteRange, Disk, Error, LocalRuntime};

use crate::mem_disk::MemDisk;
use crate::original::{self, Files};

const SECTOR: usize = 512;
/// Images of one shape, each with operations of its own.
const IMAGES: u64 = 6;
/// Operations on one image.
const OPS: u32 = 60;

/// The shape of an image; everything else is the same for all.
#[derive(Debug, Clone, Copy)]
struct Shape {
    virtual_sectors: usize,
    /// Sectors of the base, and of a block.
    base: Option<(usize, u64)>,
    /// Bytes of a chunk.
    chunk: Option<u64>,
    data_file: bool,
    copy_on_read: bool,
    journal: JournalSize,
}

const FLAT: Shape = Shape {
    virtual_sectors: 2051,
    base: None,
    chunk: None,
    data_file: false,
    copy_on_read: false,
    journal: JournalSize::Bytes(4096),
};
const COMPACT: Shape = Shape { chunk: Some(4096), ..FLAT };
const BASED: Shape = Shape { base: Some((2021, 15)), ..FLAT };
const MIXED: Shape = Shape { base: Some((1301, 8)), ..COMPACT };

#[test]
fn flat_images() {
    check(FLAT, 1);
    check(Shape { data_file: true, ..FLAT }, 2);
    check(BASED, 3);
    check(Shape { base: Some((1301, 1)), data_file: true, ..BASED }, 4);
    check(Shape { base: Some((2600, 128)), copy_on_read: true, ..BASED }, 5);
}

#[test]
fn compact_images() {
    check(COMPACT, 6);
    check(Shape { chunk: Some(20480), data_file: true, ..COMPACT }, 7);
}

#[test]
fn compact_images_with_a_base() {
    check(MIXED, 8);
    check(Shape { base: Some((1301, 15)), chunk: Some(8192), ..MIXED }, 9);
    check(Shape { base: Some((1301, 15)), copy_on_read: true, data_file: true, ..MIXED }, 10);
    check(Shape { base: Some((1301, 128)), copy_on_read: true, ..MIXED }, 11);
    check(Shape { base: Some((1301, 1)), chunk: Some(65536), copy_on_read: true, ..MIXED }, 12);
}

/// Updates of several journal sectors, and blocks with more chunks than a sector has entries for.
#[test]
fn long_updates() {
    let large = Shape { virtual_sectors: 4000, ..MIXED };
    check(Shape { base: None, ..large }, 13);
    check(Shape { base: Some((3500, 8)), ..large }, 14);
    check(Shape { base: Some((3500, 1024)), ..large }, 15);
}

/// Without a journal nothing but a flush or a close makes the maps say what was written.
#[test]
fn without_a_journal() {
    let shape = Shape { journal: JournalSize::None, ..MIXED };
    check(shape, 16);
    check(Shape { copy_on_read: true, data_file: true, ..shape }, 17);
}

fn check(shape: Shape, seed: u64) {
    let mut happened = BTreeSet::new();
    for image in 0..IMAGES {
        let mut run = Run::new(shape, seed << 32 | image);
        for op in 0..OPS {
            let what = run.operate(op);
            let compared = run.compare();
            let when = || format!("{shape:?}, image {image}, operation {op}, {what}");
            assert!(compared.is_ok(), "{}: {compared:?}", when());
        }
        happened.extend(run.runtime.events().into_keys());
    }
    let has_maps = shape.base.is_some() || shape.chunk.is_some();
    let journals = has_maps && shape.journal != JournalSize::None;
    for (event, expected) in [
        ("journal-recycled", journals),
        ("journal-replayed", journals),
        ("copied-on-read", shape.copy_on_read),
    ] {
        assert_eq!(happened.contains(event), expected, "{shape:?}: {event}");
    }
}

struct Run {
    shape: Shape,
    image: MemDisk,
    data: Option<MemDisk>,
    base: Vec<u8>,
    runtime: LocalRuntime,
    fvd: Option<Fvd>,
    /// What the guest must read.
    content: Vec<u8>,
    /// Whether the files must say so: not between a write and a flush without a journal.
    settled: bool,
    random: u64,
}

impl Run {
    fn new(shape: Shape, seed: u64) -> Self {
        let base_sectors = shape.base.map_or(0, |(sectors, _)| sectors);
        let base = stamped(0, 0..base_sectors);
        let mut content = base.clone();
        content.resize(shape.virtual_sectors * SECTOR, 0);
        let mut run = Self {
            shape,
            image: MemDisk::new(Vec::new()),
            data: shape.data_file.then(|| MemDisk::new(Vec::new())),
            base,
            runtime: LocalRuntime::new(seed),
            fvd: None,
            content,
            settled: true,
            random: seed,
        };
        run.create();
        run.open();
        run
    }

    fn create(&self) {
        let shape = self.shape;
        let base = shape.base.map(|(_, block)| BaseOptions {
            block_size: Some(block * SECTOR as u64),
            copy_on_read: shape.copy_on_read,
            ..BaseOptions::new("base")
        });
        let options = CreateOptions {
            virtual_size: (shape.virtual_sectors * SECTOR) as u64,
            base,
            data_file: if shape.data_file { "data".to_owned() } else { String::new() },
            compact: shape.chunk.map(|chunk| CompactOptions {
                chunk_size: Some(chunk),
                storage_grow_unit: Some(3 * chunk),
            }),
            journal_size: shape.journal,
            ..CreateOptions::default()
        };
        let base = shape.base.map(|_| MemDisk::new(self.base.clone()));
        let base = base.as_ref().map(|base| base as &dyn Disk);
        self.runtime.block_on(create(&self.image, &options, base)).expect("valid options");
    }

    fn open(&mut self) {
        let resolver = Named {
            data: self.data.clone().map(|data| Arc::new(data) as Arc<dyn Disk>),
            base: Arc::new(MemDisk::new(self.base.clone())),
        };
        let options = OpenOptions {
            access: Access::ReadWrite,
            background: true,
            resolver: Arc::new(resolver),
            runtime: Arc::new(self.runtime.clone()),
            planted: PlantedBugs::NONE,
        };
        let opening = Fvd::open(Arc::new(self.image.clone()), options);
        self.fvd = Some(self.runtime.block_on(opening).expect("our image"));
    }

    /// One random operation; says which.
    fn operate(&mut self, serial: u32) -> String {
        let fvd = self.fvd.clone().expect("open between operations");
        match self.below(40) {
            0 => {
                self.runtime.block_on(fvd.close()).expect("nothing fails");
                self.settled = true;
                let closed = self.compare();
                assert!(closed.is_ok(), "{:?}: closed: {closed:?}", self.shape);
                assert!(original::is_clean(&self.image.bytes()), "closed, but not marked clean");
                self.open();
                "close and open".to_owned()
            }
            1 if self.settled => {
                // Killed: what is in the files is all there is.
                self.image = MemDisk::new(self.image.bytes());
                self.data = self.data.as_ref().map(|data| MemDisk::new(data.bytes()));
                self.open();
                "kill and open".to_owned()
            }
            2..=4 => {
                self.runtime.block_on(fvd.flush()).expect("nothing fails");
                self.settled = true;
                "flush".to_owned()
            }
            5..=14 => {
                let (sector, count) = self.place();
                let range = ByteRange::new((sector * SECTOR) as u64, (count * SECTOR) as u64);
                let bytes = self.runtime.block_on(fvd.read(range)).expect("nothing fails");
                // Lets copy-on-read store it.
                self.runtime.drain();
                let expected = &self.content[sector * SECTOR..(sector + count) * SECTOR];
                assert!(bytes == expected, "{:?}: a read of {range}", self.shape);
                format!("read {range}")
            }
            _ => {
                let (sector, count) = self.place();
                let data = stamped(serial + 1, sector..sector + count);
                let bytes = sector * SECTOR..(sector + count) * SECTOR;
                self.content[bytes.clone()].copy_from_slice(&data);
                self.runtime.block_on(fvd.write(bytes.start as u64, data)).expect("nothing fails");
                self.settled = self.shape.journal != JournalSize::None;
                format!("write {bytes:?}")
            }
        }
    }

    /// Holds what the original reads against what the guest was told.
    fn compare(&self) -> Result<(), String> {
        let image = self.image.bytes();
        original::tidiness(&image)?;
        if !self.settled {
            return Ok(());
        }
        let data = self.data.as_ref().map(MemDisk::bytes);
        let files = Files { image: &image, data: data.as_deref(), base: &self.base };
        let content = original::read(files)?;
        let sectors = content.chunks(SECTOR).zip(self.content.chunks(SECTOR));
        match sectors.into_iter().position(|(found, expected)| found != expected) {
            Some(sector) => Err(format!("the original reads something else in sector {sector}")),
            None => Ok(()),
        }
    }

    /// A random range, as sector and count: mostly short, sometimes anything.
    fn place(&mut self) -> (usize, usize) {
        let all = self.shape.virtual_sectors;
        let longest = [1, 1, 3, 3, 8, 8, 40, 40, 130, all][self.below(10)];
        let count = 1 + self.below(longest);
        (self.below(all - count + 1), count)
    }

    /// A number below `end` (SplitMix64).
    fn below(&mut self, end: usize) -> usize {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.random ^ self.random >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ mixed >> 31) % end as u64).expect("below a usize")
    }
}

/// The content of sectors: each says which write it is from (0: the base) and where it belongs.
fn stamped(serial: u32, sectors: Range<usize>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(sectors.len() * SECTOR);
    for sector in sectors {
        let sector = u32::try_from(sector).expect("a small disk");
        let stamp = [0x5A5A_5A5A, serial, sector, !serial].map(u32::to_le_bytes).concat();
        bytes.extend_from_slice(&stamp.repeat(32));
    }
    bytes
}

struct Named {
    data: Option<Arc<dyn Disk>>,
    base: Arc<dyn Disk>,
}

impl Resolver for Named {
    fn open<'a>(
        &'a self,
        role: Role,
        name: &'a str,
        format: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Arc<dyn Disk>, Error>> {
        assert_eq!(format, None, "no format was given");
        let disk = match (role, name) {
            (Role::Base, "base") => Ok(Arc::clone(&self.base)),
            (Role::Data, "data") => Ok(self.data.clone().expect("there is a data file")),
            _ => Err(Error::Unsupported(format!("no file {name}"))),
        };
        Box::pin(std::future::ready(disk))
    }
}
