//! Hostile images on the whole way: opened, read, written, flushed, checked, closed.

#[expect(clippy::disallowed_types, reason = "a test resolver, used by one thread")]
use std::sync::{Arc, Mutex};

use futures_util::FutureExt;
use plugpull_engine::Access;
use plugpull_engine::fvd::check::check;
use plugpull_engine::fvd::create::{
    BaseOptions, CompactOptions, CreateOptions, JournalSize, create,
};
use plugpull_engine::fvd::header::{Header, USED_LEN, offset};
use plugpull_engine::fvd::planted::PlantedBugs;
use plugpull_engine::fvd::{Fvd, OpenOptions};
use plugpull_engine::resolver::{BoxFuture, NoFiles, Resolver, Role};
use plugpull_engine::{ByteRange, Disk, Error, ErrorKind, LocalRuntime};

use crate::hostile::{Expect, HostileImage, hostile_images, mixed};
use crate::mem_disk::{Change, MemDisk};

/// What a request may take beyond the size of the file: pieces of long copies, and their zeros.
const REQUEST_MAX: u64 = 4 << 20;
/// What is read at each end of a disk that may be endless.
const WINDOW: u64 = 1 << 20;
/// Where a disk of these tests stops to remember what was written.
const KEEP: u64 = 1 << 24;

/// Opens every name it is asked for as an endless disk, and remembers the names.
#[derive(Clone)]
#[expect(clippy::disallowed_types, reason = "a test resolver, used by one thread")]
struct Asked {
    names: Arc<Mutex<Vec<(Role, String)>>>,
    base: MemDisk,
    data: MemDisk,
}

#[expect(clippy::disallowed_types, reason = "a test resolver, used by one thread")]
impl Asked {
    fn new() -> Self {
        let names = Arc::new(Mutex::new(Vec::new()));
        let base = MemDisk::sparse(vec![0xBA; 65536], 1 << 50);
        Self { names, base, data: MemDisk::new(Vec::new()).forgetting(KEEP) }
    }

    fn names(&self) -> Vec<(Role, String)> {
        self.names.lock().unwrap().clone()
    }
}

impl Resolver for Asked {
    fn open<'a>(
        &'a self,
        role: Role,
        name: &'a str,
        _format: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Arc<dyn Disk>, Error>> {
        self.names.lock().unwrap().push((role, name.to_owned()));
        let disk = match role {
            Role::Base => self.base.clone(),
            Role::Data => self.data.clone(),
        };
        Box::pin(std::future::ready(Ok(Arc::new(disk) as Arc<dyn Disk>)))
    }
}

fn open(disk: &MemDisk, access: Access, resolver: impl Resolver + 'static) -> Result<Fvd, Error> {
    let runtime = LocalRuntime::new(1);
    let options = OpenOptions {
        access,
        background: false,
        resolver: Arc::new(resolver),
        runtime: Arc::new(runtime.clone()),
        planted: PlantedBugs::NONE,
    };
    runtime.block_on(Fvd::open(Arc::new(disk.clone()), options))
}

fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("nothing here waits")
}

/// Reads both ends of the disk, writes there, flushes, closes.
fn use_image(fvd: &Fvd, writable: bool) -> Result<(), Error> {
    let size = fvd.virtual_size();
    let head = ByteRange::new(0, size.min(WINDOW));
    let tail = ByteRange::between(size.saturating_sub(WINDOW), size);
    for range in [head, tail] {
        now(fvd.read(range))?;
        drop(fvd.map(range));
    }
    if !writable {
        let refused = if size == 0 { Ok(()) } else { Err(Error::ReadOnly) };
        assert!(size == 0 || now(fvd.write(0, vec![1; 512])) == refused);
        return now(fvd.close());
    }
    if size > 0 {
        now(fvd.write(0, vec![0xA1; 512]))?;
        now(fvd.write(size - 512, vec![0xA2; 512]))?;
        now(fvd.flush())?;
        assert_eq!(
            now(fvd.read(ByteRange::new(0, 512)))?[0],
            if size == 512 { 0xA2 } else { 0xA1 }
        );
    }
    now(fvd.close())
}

/// The names that the header of these bytes gives away, if it is one.
fn named(bytes: &[u8]) -> Vec<(Role, String)> {
    let Ok(header) = Header::parse(bytes) else { return Vec::new() };
    vec![(Role::Base, header.base_img), (Role::Data, header.data_file)]
}

/// Opens a copy of the image both ways, uses it, and holds everything against the bounds. Returns
/// how opening for reading ended.
fn try_image(name: &str, bytes: &[u8]) -> Result<(), Error> {
    let len = bytes.len() as u64;
    let mut answers = Vec::new();
    for access in [Access::ReadOnly, Access::ReadWrite] {
        let disk = MemDisk::new(bytes.to_vec()).forgetting(KEEP);
        let files = Asked::new();
        let opened = open(&disk, access, files.clone());
        let what = format!("{name}, {access:?}");
        assert!(disk.read_bytes() <= 2 * len, "{what}: {} of {len} read", disk.read_bytes());
        let names = files.names();
        let declared = named(bytes);
        assert!(names.iter().all(|name| declared.contains(name)), "{what}: asked for {names:?}");
        assert_eq!(files.base.read_bytes() + files.data.read_bytes(), 0, "{what}: probed");
        let writable = access == Access::ReadWrite;
        if opened.is_err() || !writable {
            assert_eq!(disk.changes(), [], "{what}: written when it was opened");
            assert_eq!(files.data.changes(), [], "{what}: written when it was opened");
        }
        if let Ok(fvd) = &opened {
            let used = use_image(fvd, writable);
            assert!(used.is_ok(), "{what}: {used:?}");
        }
        if !writable {
            assert_eq!(disk.bytes(), bytes, "{what}");
            assert_eq!(disk.changes().iter().filter(|it| **it != Change::Flush).count(), 0);
        }
        for disk in [&disk, &files.base, &files.data] {
            let most = len + REQUEST_MAX;
            assert!(disk.largest_read() as u64 <= most, "{what}: reads {}", disk.largest_read());
            assert!(disk.largest_write() <= most, "{what}: writes {}", disk.largest_write());
        }
        if writable && opened.is_ok() {
            let again = MemDisk::new(disk.bytes_up_to(KEEP));
            if disk.len() <= KEEP {
                now(check(&again, Some(files.data.len()))).unwrap();
            }
        }
        answers.push(opened.map(drop));
    }
    let [reading, writing] = answers.try_into().unwrap();
    // What can be read can be written, but for data that does not start on a sector.
    let unaligned = |error: &Error| error.to_string().contains("can only be read");
    let same = reading == writing || writing.as_ref().is_err_and(unaligned);
    assert!(same, "{name}: {reading:?} for reading, {writing:?} for writing");
    reading
}

fn assert_expected(case: &HostileImage, answer: &Result<(), Error>) {
    // A bit without its chunks is what images of the original may have, so it is only reported.
    let lenient = matches!(case.expect, Expect::Corrupt("bitmap", "a local block has its chunks"));
    let fits = match (case.expect, answer) {
        (Expect::Accepted, Ok(())) => true,
        (Expect::Unsupported(part), Err(Error::Unsupported(text))) => text.contains(part),
        (Expect::Corrupt(structure, part), Err(Error::Corrupt { structure: found, rule, .. })) => {
            structure == found && rule.contains(part)
        }
        (Expect::Corrupt(..), Ok(())) => lenient,
        _ => false,
    };
    assert!(fits, "{}: expected {:?}, got {answer:?}", case.name, case.expect);
}

#[test]
fn every_hostile_image_is_opened_or_refused_for_the_same_reason() {
    for case in hostile_images() {
        let answer = try_image(&case.name, &case.bytes);
        assert_expected(&case, &answer);
    }
}

#[test]
fn images_that_name_nothing_need_no_resolver() {
    for case in hostile_images() {
        let disk = MemDisk::new(case.bytes.clone());
        if let Err(error) = open(&disk, Access::ReadWrite, NoFiles) {
            assert_eq!(disk.changes(), [], "{}: {error}", case.name);
        }
    }
}

#[test]
fn every_length_is_answered() {
    let whole = mixed();
    let sectors = (0..=whole.len()).step_by(512);
    let around = sectors.clone().flat_map(|len| [len.saturating_sub(1), len + 1]);
    let mut opened = Vec::new();
    for len in sectors.chain(around).filter(|&len| len <= whole.len()) {
        match try_image(&format!("cut to {len}"), &whole[..len]) {
            Ok(()) => opened.push(len),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "cut to {len}: {error}"),
        }
    }
    opened.sort_unstable();
    // Two of the four chunks are in use.
    assert_eq!(opened.first(), Some(&(20480 + 8192)));
}

/// Every numeric field of the header.
const INTS: [usize; 23] = [
    offset::version,
    offset::all_data_in_fvd_img,
    offset::block_size,
    offset::copy_on_read,
    offset::prefetch_start_delay,
    offset::num_prefetch_slots,
    offset::bytes_per_prefetch,
    offset::prefetch_read_throughput_measure_time,
    offset::prefetch_write_throughput_measure_time,
    offset::prefetch_perf_calc_alpha,
    offset::prefetch_min_read_throughput,
    offset::prefetch_min_write_throughput,
    offset::prefetch_max_read_throughput,
    offset::prefetch_max_write_throughput,
    offset::prefetch_throttle_time,
    offset::compact_image,
    offset::clean_shutdown,
    offset::need_zero_init,
    offset::generate_prefetch_profile,
    offset::unit_of_prefetch_profile_entry_len,
    offset::profile_directed_prefetch_start_delay,
    offset::magic,
    offset::write_updates_base_img,
];
const LONGS: [usize; 13] = [
    offset::virtual_disk_size,
    offset::metadata_size,
    offset::base_img_size,
    offset::bitmap_offset,
    offset::bitmap_size,
    offset::max_outstanding_copy_on_read_data,
    offset::prefetch_profile_offset,
    offset::prefetch_profile_entries,
    offset::table_offset,
    offset::chunk_size,
    offset::storage_grow_unit,
    offset::journal_offset,
    offset::journal_size,
];

#[test]
fn every_field_at_its_extremes_is_answered() {
    let mut opened = 0;
    let mut run = |at: usize, value: &[u8]| {
        let mut bytes = mixed();
        bytes[at..at + value.len()].copy_from_slice(value);
        for unclean in [false, true] {
            if unclean {
                bytes[offset::clean_shutdown..][..4].fill(0);
            }
            let name = format!("{value:02X?} at {at}, unclean: {unclean}");
            opened += u32::from(try_image(&name, &bytes).is_ok());
        }
    };
    for at in INTS {
        for value in [0, 1, -1, 511, 512, 4096, i32::MAX, i32::MAX & !511, i32::MIN, 1 << 28] {
            run(at, &value.to_le_bytes());
        }
    }
    for at in LONGS {
        for value in [0, 1, -1, 512, 4096, 65536, 1 << 31, 1 << 40, 1 << 62] {
            run(at, &i64::to_le_bytes(value));
        }
        for value in [i64::MAX, i64::MAX & !511, i64::MAX & !4095, i64::MIN] {
            run(at, &value.to_le_bytes());
        }
    }
    assert!(opened > 100, "only {opened} images opened: nothing was tried behind the header");
}

#[test]
fn every_bit_of_the_header_flipped_is_answered() {
    let whole = mixed();
    for bit in 0..USED_LEN * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let disk = MemDisk::new(bytes);
        let files = Asked::new();
        let opened = open(&disk, Access::ReadOnly, files.clone());
        assert_eq!(disk.changes(), [], "bit {bit}");
        if let Ok(fvd) = opened {
            use_image(&fvd, false).unwrap();
        }
        let read = files.base.largest_read().max(disk.largest_read()) as u64;
        assert!(read <= whole.len() as u64 + REQUEST_MAX, "bit {bit}: {read} bytes at once");
    }
}

/// An image over a base, with blocks of 256 MiB, in chunks or not.
fn long_blocks(chunk: Option<u64>) -> MemDisk {
    let base = BaseOptions { block_size: Some(1 << 28), ..BaseOptions::new("base.raw") };
    let compact = |chunk| CompactOptions { chunk_size: Some(chunk), storage_grow_unit: None };
    let options = CreateOptions {
        virtual_size: 1 << 29,
        base: Some(base),
        compact: chunk.map(compact),
        journal_size: JournalSize::Bytes(65536),
        ..CreateOptions::default()
    };
    let disk = MemDisk::new(Vec::new());
    now(create(&disk, &options, Some(&MemDisk::sparse(Vec::new(), 1 << 29)))).unwrap();
    disk.forgetting(KEEP)
}

#[test]
fn copying_a_long_block_takes_little_memory() {
    for chunk in [None, Some(1 << 20), Some(1 << 30)] {
        let disk = long_blocks(chunk);
        let files = Asked::new();
        let fvd = open(&disk, Access::ReadWrite, files.clone()).unwrap();
        now(fvd.write(3 << 20, vec![7; 4096])).unwrap();
        assert!(disk.largest_write() <= REQUEST_MAX, "{chunk:?}: {}", disk.largest_write());
        let copied = files.base.read_bytes();
        assert_eq!(copied, (1 << 28) - 4096, "{chunk:?}: what the guest writes is not copied");
        assert!(files.base.largest_read() as u64 <= REQUEST_MAX, "{chunk:?}");
        let around = now(fvd.read(ByteRange::new((3 << 20) - 512, 8192))).unwrap();
        let head = now(fvd.read(ByteRange::new(0, 65536))).unwrap();
        assert!(head.iter().all(|&byte| byte == 0xBA), "{chunk:?}: the base's bytes");
        let sevens = around
            .iter()
            .enumerate()
            .all(|(at, &byte)| byte == if (512..4608).contains(&at) { 7 } else { 0 });
        assert!(sevens, "{chunk:?}: the guest's bytes, and the base's around them");
        now(fvd.close()).unwrap();
    }
}

#[test]
fn a_long_chunk_is_zeroed_only_where_it_may_be_old() {
    // The file ends inside the first chunk of a tebibyte.
    let compact = CompactOptions { chunk_size: Some(1 << 40), storage_grow_unit: None };
    let options = CreateOptions {
        virtual_size: 1 << 41,
        compact: Some(compact),
        journal_size: JournalSize::Bytes(4096),
        ..CreateOptions::default()
    };
    for (leftover, guest) in [(1024, 0), (1024, 512), (700, 1 << 39), (0, 1 << 39)] {
        let made = MemDisk::new(Vec::new());
        now(create(&made, &options, None)).unwrap();
        let mut bytes = made.bytes();
        let end = bytes.len() + leftover;
        bytes.resize(end, 0xEE);
        let disk = MemDisk::new(bytes).forgetting(KEEP);
        let fvd = open(&disk, Access::ReadWrite, NoFiles).unwrap();
        now(fvd.write(guest, vec![7; 512])).unwrap();
        assert!(disk.written_bytes() < 16384, "{leftover}: {} written", disk.written_bytes());
        let head = now(fvd.read(ByteRange::new(0, 4096))).unwrap();
        let start = usize::try_from(guest.min(4096)).unwrap();
        let expected = |at| if (start..start + 512).contains(&at) { 7 } else { 0 };
        let seen = head.iter().enumerate().all(|(at, &byte)| byte == expected(at));
        assert!(seen, "{leftover} old bytes shine through");
        now(fvd.close()).unwrap();
    }
}
