//! Images that nobody should have made: a table of cases, and what reading code does with them.

use futures_util::FutureExt;
use plugpull_engine::fvd::check::{CheckReport, check};
use plugpull_engine::fvd::create::{
    BaseOptions, CompactOptions, CreateOptions, JournalSize, create,
};
use plugpull_engine::fvd::geometry::Geometry;
use plugpull_engine::fvd::header::{Header, offset};
use plugpull_engine::fvd::planted::{Bug, PlantedBugs};
use plugpull_engine::{Disk, Error};
use proptest::prelude::*;

use crate::mem_disk::MemDisk;

/// What must happen to an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expect {
    /// Nothing is wrong with it.
    Accepted,
    /// Refused as unsupported, with a message that has this in it.
    Unsupported(&'static str),
    /// Refused as corrupt: the structure, and part of the rule.
    Corrupt(&'static str, &'static str),
}

/// An image and what must happen to it.
pub(crate) struct HostileImage {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) expect: Expect,
}

use Expect::{Accepted, Corrupt, Unsupported};

const CHUNK: usize = 4096;
/// Regions of the image that [`mixed`] makes.
const BITMAP: usize = 8192;
const TABLE: usize = 12288;
const JOURNAL: usize = 16384;
const DATA: usize = 20480;
/// Physical chunks in its data, and virtual chunks.
const PHYSICAL: u32 = 4;
const VIRTUAL: u32 = 16;

/// An image with base and chunks: 16 chunks of 4 KiB, 8 of them over the base, virtual chunks 0
/// and 1 in physical chunks 0 and 1 of 4.
pub(crate) fn mixed() -> Vec<u8> {
    let base = BaseOptions { block_size: Some(4096), ..BaseOptions::new("base.raw") };
    let options = CreateOptions {
        virtual_size: (VIRTUAL as usize * CHUNK) as u64,
        base: Some(base),
        compact: Some(CompactOptions { chunk_size: Some(4096), storage_grow_unit: Some(4096) }),
        journal_size: JournalSize::Bytes(4096),
        ..CreateOptions::default()
    };
    let mut bytes = created(&options, Some(8 * CHUNK));
    assert_eq!(bytes.len(), DATA);
    bytes.resize(DATA + PHYSICAL as usize * CHUNK, 0x5A);
    bytes[BITMAP] = 0b11;
    put_entry(&mut bytes, 0, 0);
    put_entry(&mut bytes, 1, 1);
    bytes
}

/// An image with a base and no chunks.
fn flat_base() -> Vec<u8> {
    let base = BaseOptions { block_size: Some(4096), ..BaseOptions::new("base.raw") };
    let options = CreateOptions {
        virtual_size: 65536,
        base: Some(base),
        journal_size: JournalSize::Bytes(4096),
        ..CreateOptions::default()
    };
    created(&options, Some(8 * CHUNK))
}

/// An image without maps.
fn flat() -> Vec<u8> {
    created(&CreateOptions { virtual_size: 65536, ..CreateOptions::default() }, None)
}

fn created(options: &CreateOptions, base_len: Option<usize>) -> Vec<u8> {
    let base = base_len.map(|len| MemDisk::new(vec![0xBA; len]));
    let base = base.as_ref().map(|base| base as &dyn Disk);
    let disk = MemDisk::new(Vec::new());
    create(&disk, options, base).now_or_never().unwrap().unwrap();
    disk.bytes()
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

fn put_entry(bytes: &mut [u8], v: usize, entry: u32) {
    put(bytes, TABLE + 4 * v, &entry.to_le_bytes());
}

/// A table record as bytes, `count` as stated, not as true.
fn table_record(first: u32, count: u32, entries: &[u32]) -> Vec<u8> {
    let words = [0xB4E6_F7AC, first, count].into_iter().chain(entries.iter().copied());
    words.flat_map(u32::to_le_bytes).collect()
}

fn bitmap_record(sectors: u32, first: i64) -> Vec<u8> {
    let mut bytes = 0x3F2A_B8ED_u32.to_le_bytes().to_vec();
    bytes.extend(sectors.to_le_bytes());
    bytes.extend(first.to_le_bytes());
    bytes
}

/// Valid records that fill a sector up to its last `left` bytes.
fn filler(left: usize) -> Vec<u8> {
    // Records of 16 and 20 bytes, of which 4 and 5 words add up to any larger number.
    let words = (512 - left) / 4;
    let long = words % 4;
    let short = (words - 5 * long) / 4;
    let long = std::iter::repeat_n(table_record(0, 2, &[0, 1]), long);
    let bytes: Vec<u8> =
        long.chain(std::iter::repeat_n(table_record(0, 1, &[0]), short)).flatten().collect();
    assert_eq!(bytes.len(), 512 - left);
    bytes
}

#[derive(Default)]
struct Cases(Vec<HostileImage>);

impl Cases {
    fn add(&mut self, name: impl Into<String>, bytes: Vec<u8>, expect: Expect) {
        self.0.push(HostileImage { name: name.into(), bytes, expect });
    }

    /// The image with one field of 4 bytes changed.
    fn int(&mut self, image: fn() -> Vec<u8>, at: usize, value: i32, expect: Expect) {
        let mut bytes = image();
        put(&mut bytes, at, &value.to_le_bytes());
        self.add(format!("int {value} at {at}"), bytes, expect);
    }

    /// The image with one field of 8 bytes changed.
    fn long(&mut self, image: fn() -> Vec<u8>, at: usize, value: i64, expect: Expect) {
        let mut bytes = image();
        put(&mut bytes, at, &value.to_le_bytes());
        self.add(format!("long {value} at {at}"), bytes, expect);
    }

    /// The mixed image with these table entries changed.
    fn entries(&mut self, name: &str, entries: &[(usize, u32)], expect: Expect) {
        let mut bytes = mixed();
        for &(v, entry) in entries {
            put_entry(&mut bytes, v, entry);
        }
        self.add(name, bytes, expect);
    }

    /// The image, not closed, with this in its first journal sector.
    fn record(&mut self, name: &str, image: fn() -> Vec<u8>, record: &[u8], expect: Expect) {
        let mut bytes = image();
        let header = Header::parse(&bytes).unwrap();
        let at = usize::try_from(header.journal_offset).unwrap();
        put(&mut bytes, at, record);
        put(&mut bytes, offset::clean_shutdown, &0_i32.to_le_bytes());
        self.add(name, bytes, expect);
    }
}

/// The table of cases.
pub(crate) fn hostile_images() -> Vec<HostileImage> {
    let mut cases = Cases::default();
    not_a_header(&mut cases);
    sizes(&mut cases);
    base_fields(&mut cases);
    prefetch_fields(&mut cases);
    chunk_fields(&mut cases);
    journal_fields(&mut cases);
    regions(&mut cases);
    table_entries(&mut cases);
    table_records(&mut cases);
    bitmap_records(&mut cases);
    odd_but_fine(&mut cases);
    cases.0
}

fn not_a_header(cases: &mut Cases) {
    let magic = Corrupt("header", "magic is A9 F5 43 51");
    let whole = Corrupt("header", "a whole header");
    cases.add("no bytes", Vec::new(), magic);
    cases.add("three bytes", mixed()[..3].to_vec(), magic);
    cases.add(
        "magic the other way round",
        [&[0x51, 0x43, 0xF5, 0xA9], &mixed()[4..]].concat(),
        magic,
    );
    cases.add("only the magic", mixed()[..4].to_vec(), whole);
    cases.add("cut in the last field", mixed()[..4335].to_vec(), whole);
    cases.add("cut in the padding", mixed()[..8191].to_vec(), whole);
    let variant = Unsupported("published specification");
    cases.add("specification variant", [b"FVD\0", &mixed()[4..]].concat(), variant);
    cases.add("specification variant, cut", b"FVD\0".to_vec(), variant);
    for version in [0, 2, -1] {
        cases.int(mixed, offset::version, version, Unsupported("version"));
    }
    for at in [4336, 5000, 8191] {
        let mut bytes = mixed();
        bytes[at] = 1;
        cases.add(format!("unknown field at {at}"), bytes, Unsupported("incompatible feature"));
    }
    for (at, len, rule) in [
        (offset::base_img, 1024, "base_img ends with a NUL"),
        (offset::base_img_fmt, 16, "base_img_fmt ends with a NUL"),
        (offset::data_file, 1024, "data_file ends with a NUL"),
        (offset::data_file_fmt, 16, "data_file_fmt ends with a NUL"),
    ] {
        let mut bytes = mixed();
        bytes[at..at + len].fill(b'x');
        cases.add(rule, bytes, Corrupt("header", rule));
    }
    let mut bytes = mixed();
    bytes[offset::base_img] = 0xFF;
    cases.add("a name that is no text", bytes, Corrupt("header", "base_img is UTF-8"));
    for (at, rule) in [
        (offset::all_data_in_fvd_img, "all_data_in_fvd_img is 0 or 1"),
        (offset::compact_image, "compact_image is 0 or 1"),
        (offset::clean_shutdown, "clean_shutdown is 0 or 1"),
        (offset::need_zero_init, "need_zero_init is 0 or 1"),
        (offset::copy_on_read, "copy_on_read is 0 or 1"),
    ] {
        for value in [2, -1, i32::MIN] {
            cases.int(mixed, at, value, Corrupt("header", rule));
        }
    }
}

fn sizes(cases: &mut Cases) {
    let size = Corrupt("header", "virtual_disk_size is a multiple of 512");
    for value in [-1, -512, 1, 511, i64::MIN, i64::MAX] {
        cases.long(mixed, offset::virtual_disk_size, value, size);
    }
    for value in [0, 512] {
        let rule = Corrupt("header", "base_img_size is at most virtual_disk_size");
        cases.long(mixed, offset::virtual_disk_size, value, rule);
    }
    // 8 EiB but one sector: more chunks than any table has, or just too many for this file.
    let most = i64::MAX & !511;
    let end = Corrupt("header", "metadata_size + virtual_disk_size is below 2^63");
    cases.long(mixed, offset::virtual_disk_size, most, end);
    cases.long(flat, offset::virtual_disk_size, most, end);
    let chunks = Corrupt("header", "at most 4294967295 chunks");
    cases.long(mixed, offset::virtual_disk_size, 1 << 62, chunks);
    let room = Corrupt("header", "is within the file");
    cases.long(mixed, offset::virtual_disk_size, 1 << 40, room);
    let overlap = Corrupt("header", "table and journal do not overlap");
    cases.long(mixed, offset::virtual_disk_size, 4096 * 1025, overlap);

    let metadata = Corrupt("header", "metadata_size is at least 8192");
    for value in [0, -1, 1, 8191, i64::MIN] {
        cases.long(mixed, offset::metadata_size, value, metadata);
        cases.long(flat, offset::metadata_size, value, metadata);
    }
    cases.long(mixed, offset::metadata_size, i64::MAX, end);
    cases.long(mixed, offset::metadata_size, 8192, Corrupt("header", "the end of the bitmap"));
    cases.long(mixed, offset::metadata_size, 12288, Corrupt("header", "the end of the table"));
    cases.long(mixed, offset::metadata_size, 16384, Corrupt("header", "the end of the journal"));
}

fn base_fields(cases: &mut Cases) {
    let named = Corrupt("header", "base_img is named");
    let mut bytes = mixed();
    bytes[offset::base_img] = 0;
    cases.add("a base without a name", bytes, named);
    cases.int(flat, offset::all_data_in_fvd_img, 0, named);
    let size = Corrupt("header", "base_img_size is a multiple of 512");
    for value in [-1, -512, 1, 513, i64::MIN, i64::MAX] {
        cases.long(mixed, offset::base_img_size, value, size);
    }
    let most = Corrupt("header", "base_img_size is at most virtual_disk_size");
    cases.long(mixed, offset::base_img_size, 65536 + 512, most);
    cases.long(mixed, offset::base_img_size, i64::MAX & !511, most);
    let block = Corrupt("header", "block_size is a positive multiple of 512");
    for value in [0, -1, -512, 1, 511, 513, i32::MIN, i32::MAX] {
        cases.int(mixed, offset::block_size, value, block);
        cases.int(flat_base, offset::block_size, value, block);
    }
    let bits = Corrupt("header", "bitmap_size has a bit for every block");
    cases.long(mixed, offset::bitmap_size, 0, bits);
    let mut bytes = created(
        &CreateOptions {
            virtual_size: 1 << 30,
            base: Some(BaseOptions::new("b")),
            ..CreateOptions::default()
        },
        None.or(Some(1 << 24)),
    );
    put(&mut bytes, offset::base_img_size, &(1_i64 << 25).to_le_bytes());
    cases.add("a base twice as long as its bitmap", bytes, bits);
}

fn prefetching() -> Vec<u8> {
    let mut bytes = mixed();
    put(&mut bytes, offset::prefetch_start_delay, &1_i32.to_le_bytes());
    bytes
}

fn prefetch_fields(cases: &mut Cases) {
    let bytes = Corrupt("header", "bytes_per_prefetch is a positive multiple of block_size");
    for value in [0, -4096, 1, 4097, i32::MAX, i32::MIN] {
        cases.int(prefetching, offset::bytes_per_prefetch, value, bytes);
    }
    for (at, rule) in [
        (offset::num_prefetch_slots, "num_prefetch_slots is positive"),
        (offset::prefetch_perf_calc_alpha, "prefetch_perf_calc_alpha is 0 to 100"),
        (offset::prefetch_read_throughput_measure_time, "read_throughput_measure_time is not"),
        (offset::prefetch_write_throughput_measure_time, "write_throughput_measure_time is not"),
        (offset::prefetch_throttle_time, "prefetch_throttle_time is not negative"),
    ] {
        cases.int(prefetching, at, -1, Corrupt("header", rule));
    }
    cases.int(prefetching, offset::num_prefetch_slots, i32::MAX, Accepted);
    cases.int(mixed, offset::bytes_per_prefetch, -1, Accepted);
}

fn chunk_fields(cases: &mut Cases) {
    let chunk = Corrupt("header", "chunk_size is a positive multiple of 4096");
    for value in [0, -1, -4096, 1, 512, 4095, 4097, i64::MIN, i64::MAX] {
        cases.long(mixed, offset::chunk_size, value, chunk);
    }
    let below = Corrupt("header", "chunk_size * chunks + metadata_size is below 2^63");
    cases.long(mixed, offset::chunk_size, i64::MAX & !4095, below);
    let grow = Corrupt("header", "storage_grow_unit is at least chunk_size");
    for value in [0, -1, 1, 4095, i64::MIN] {
        cases.long(mixed, offset::storage_grow_unit, value, grow);
    }
}

fn journal_fields(cases: &mut Cases) {
    let size = Corrupt("header", "journal_size is a multiple of 4096");
    for value in [-1, -4096, 1, 512, i64::MIN, i64::MAX] {
        cases.long(mixed, offset::journal_size, value, size);
    }
    let end = Corrupt("header", "journal_offset + journal_size is within the file");
    cases.long(mixed, offset::journal_size, 1 << 20, end);
    cases.long(mixed, offset::journal_size, i64::MAX & !4095, end);
    let metadata = Corrupt("header", "metadata_size is not less than the end of the journal");
    cases.long(mixed, offset::journal_size, 8192, metadata);
}

fn regions(cases: &mut Cases) {
    for (at, rule, end) in [
        (
            offset::bitmap_offset,
            "bitmap_offset is a multiple",
            "bitmap_offset + bitmap_size is within",
        ),
        (offset::table_offset, "table_offset is a multiple", "table_offset + 4"),
        (
            offset::journal_offset,
            "journal_offset is a multiple",
            "journal_offset + journal_size is within",
        ),
    ] {
        for value in [0, -1, -8192, 1, 4096, 8193, 12800, i64::MIN, i64::MAX] {
            cases.long(mixed, at, value, Corrupt("header", rule));
        }
        for value in [1 << 20, i64::MAX & !4095] {
            cases.long(mixed, at, value, Corrupt("header", end));
        }
    }
    let bitmap_size = Corrupt("header", "bitmap_size is a multiple of 4096");
    for value in [-1, 1, 4095, i64::MIN, i64::MAX] {
        cases.long(mixed, offset::bitmap_size, value, bitmap_size);
    }
    let long = |value: usize| i64::try_from(value).unwrap();
    let with_table = Corrupt("header", "bitmap and table do not overlap");
    cases.long(mixed, offset::bitmap_size, 8192, with_table);
    cases.long(mixed, offset::bitmap_offset, long(TABLE), with_table);
    let with_journal = Corrupt("header", "bitmap and journal do not overlap");
    cases.long(mixed, offset::journal_offset, long(BITMAP), with_journal);
    let table_journal = Corrupt("header", "table and journal do not overlap");
    cases.long(mixed, offset::journal_offset, long(TABLE), table_journal);
    let in_data = Corrupt("header", "the end of the bitmap");
    cases.long(mixed, offset::bitmap_offset, long(DATA), in_data);
    cases.long(mixed, offset::table_offset, long(DATA), Corrupt("header", "the end of the table"));
    for (len, end) in [
        (BITMAP, "bitmap_size is within the file"),
        (BITMAP + 4095, "bitmap_size is within the file"),
        (TABLE, "chunk_size) is within the file"),
        (TABLE + 100, "chunk_size) is within the file"),
        (JOURNAL, "journal_size is within the file"),
        (DATA - 1, "journal_size is within the file"),
    ] {
        cases.add(format!("cut to {len}"), mixed()[..len].to_vec(), Corrupt("header", end));
    }
}

fn table_entries(cases: &mut Cases) {
    let past = Corrupt("table", "an entry lies within the data");
    cases.entries("one above the last chunk", &[(2, PHYSICAL)], past);
    cases.entries("the largest id", &[(2, 0x7FFF_FFFE)], past);
    cases.entries("empty without its top bit", &[(2, 0x7FFF_FFFF)], past);
    cases.add("data cut off", mixed()[..DATA].to_vec(), past);
    cases.add("data cut in a chunk", mixed()[..DATA + CHUNK + 512].to_vec(), past);
    let dirty = Corrupt("table", "bit 31 is clear");
    cases.entries("a dirty entry on disk", &[(2, 0x8000_0002)], dirty);
    cases.entries("the largest dirty id", &[(2, 0xFFFF_FFFE)], dirty);
    let shared = Corrupt("table", "no two entries share a chunk");
    cases.entries("a shared chunk", &[(15, 1)], shared);
    let all: Vec<_> = (0..VIRTUAL as usize).map(|v| (v, 3)).collect();
    cases.entries("one chunk for all", &all, shared);
    let zeroed: Vec<_> = (0..VIRTUAL as usize).map(|v| (v, 0)).collect();
    cases.entries("a table of zeros", &zeroed, shared);
    let local = Corrupt("bitmap", "a local block has its chunks");
    let mut bytes = mixed();
    bytes[BITMAP] = 0b111;
    cases.add("a local block that lives nowhere", bytes, local);
}

fn table_records(cases: &mut Cases) {
    let mut case = |name: &str, record: &[u8], rule| {
        cases.record(name, mixed, record, Corrupt("journal sector 0", rule));
    };
    let fits = "has its entries in the sector";
    case("2^30 entries", &table_record(0, 0x4000_0000, &[0]), fits);
    case("2^32 - 1 entries", &table_record(0, u32::MAX, &[0]), fits);
    case("126 entries", &table_record(0, 126, &[0]), fits);
    case("2^31 entries from 2^31", &table_record(1 << 31, 1 << 31, &[0]), fits);
    case("one entry too many at the end", &[filler(16), table_record(0, 2, &[0])].concat(), fits);
    case("no entries", &table_record(0, 0, &[]), "has an entry");
    let within = "stays within the table";
    case("the chunk after the last", &table_record(VIRTUAL, 1, &[2]), within);
    case("the last two and one more", &table_record(VIRTUAL - 1, 2, &[2, 3]), within);
    case("chunk 2^32 - 1", &table_record(u32::MAX, 1, &[2]), within);
    case("chunk 2^32 - 1 and the next", &table_record(u32::MAX, 2, &[2, 3]), within);
    case("an empty entry", &table_record(2, 1, &[u32::MAX]), "is allocated");
    case("an empty entry without its top bit", &table_record(2, 1, &[0x7FFF_FFFF]), "is allocated");
    let past = "lies within the data";
    case("an id above the last", &table_record(2, 1, &[PHYSICAL]), past);
    case("a dirty id above the last", &table_record(2, 1, &[PHYSICAL | 1 << 31]), past);
    case("the largest id", &table_record(2, 1, &[0x7FFF_FFFE]), past);
    case("a chunk moves", &table_record(0, 1, &[2]), "a chunk keeps its physical chunk");
    let shared = "no two chunks share a physical chunk";
    case("a chunk in use", &table_record(2, 1, &[0]), shared);
    case("a chunk twice in one record", &table_record(2, 2, &[2, 2]), shared);
    case(
        "a chunk twice in one sector",
        &[table_record(2, 1, &[2]), table_record(3, 1, &[2])].concat(),
        shared,
    );
    for left in [4, 8] {
        let mut sector = filler(left);
        sector.extend(&table_record(0, 1, &[0])[..left]);
        case(&format!("a record in the last {left} bytes"), &sector, "has its first 12 bytes");
    }
    let on_flat = Corrupt("journal sector 0", "is of a compact image");
    cases.record("a table record without a table", flat_base, &table_record(0, 1, &[0]), on_flat);
}

fn bitmap_records(cases: &mut Cases) {
    for image in [mixed as fn() -> Vec<u8>, flat_base] {
        let mut case = |name: &str, record: &[u8], rule| {
            cases.record(name, image, record, Corrupt("journal sector 0", rule));
        };
        let within = "stays within the virtual disk";
        case("no sectors", &bitmap_record(0, 0), "covers a guest sector");
        case("2^32 - 1 sectors", &bitmap_record(u32::MAX, 0), within);
        case("one past the last", &bitmap_record(1, 128), within);
        case("the last and one more", &bitmap_record(2, 127), within);
        case("sector -1", &bitmap_record(1, -1), within);
        case("the most negative sector", &bitmap_record(1, i64::MIN), within);
        case("the largest sector", &bitmap_record(1, i64::MAX), within);
        case("a negative start that ends inside", &bitmap_record(u32::MAX, -0xFFFF_FFFE), within);
    }
    for left in [4, 8, 12] {
        let mut sector = filler(left);
        sector.extend(&bitmap_record(1, 0)[..left]);
        let rule = Corrupt("journal sector 0", "a BITMAP record has its 16 bytes");
        cases.record(&format!("a bitmap record in the last {left} bytes"), mixed, &sector, rule);
    }
    let mut bytes = mixed();
    put(&mut bytes, JOURNAL + 7 * 512, &bitmap_record(1, -1));
    put(&mut bytes, offset::clean_shutdown, &0_i32.to_le_bytes());
    let rule = Corrupt("journal sector 7", "stays within the virtual disk");
    cases.add("a bad record in the last sector", bytes, rule);
}

fn odd_but_fine(cases: &mut Cases) {
    cases.long(flat, offset::virtual_disk_size, 1 << 62, Accepted);
    cases.long(flat, offset::virtual_disk_size, 0, Accepted);
    cases.long(flat, offset::metadata_size, 13192, Accepted);
    cases.long(flat, offset::metadata_size, 8704, Accepted);
    cases.long(mixed, offset::storage_grow_unit, i64::MAX, Accepted);
    cases.long(mixed, offset::journal_size, 0, Accepted);
    cases.long(flat, offset::journal_size, -1, Accepted);
    cases.long(mixed, offset::max_outstanding_copy_on_read_data, i64::MIN, Accepted);
    cases.record("an unknown record type", mixed, b"what is this", Accepted);
    cases.record("a full sector", mixed, &filler(0), Accepted);
    cases.record("a bit past the base", mixed, &bitmap_record(64, 64), Accepted);
    let after_bitmap = [bitmap_record(1, 0), table_record(2, 1, &[2])].concat();
    cases.record("a record after a bitmap record", mixed, &after_bitmap, Accepted);

    let mut bytes = mixed();
    put(&mut bytes, JOURNAL, &table_record(0, u32::MAX, &[]));
    cases.add("leftovers in the journal of a closed image", bytes, Accepted);
    let mut bytes = mixed();
    put(&mut bytes, offset::all_data_in_fvd_img, &1_i32.to_le_bytes());
    bytes[offset::base_img_size..offset::block_size + 4].fill(0xFF);
    cases.add("nonsense about a base no longer needed", bytes, Accepted);
    let mut bytes = mixed();
    put(&mut bytes, offset::add_storage_cmd, &[b'x'; 2048]);
    cases.add("a storage command without an end", bytes, Accepted);
}

/// The verdict on an image: an error of the first function that refuses it, or a problem listed.
fn verdict(disk: &MemDisk) -> (Option<CheckReport>, Option<Error>) {
    match check(disk, None).now_or_never().unwrap() {
        Ok(report) => {
            let problem = report.problems.first().cloned();
            let error = problem.map(|it| Error::corrupt(it.structure, it.rule, it.found));
            (Some(report), error)
        }
        Err(error) => (None, Some(error)),
    }
}

fn assert_expected(case: &HostileImage, error: Option<&Error>) {
    let fits = match (case.expect, error) {
        (Accepted, None) => true,
        (Unsupported(part), Some(Error::Unsupported(text))) => text.contains(part),
        (Corrupt(structure, part), Some(Error::Corrupt { structure: found, rule, .. })) => {
            structure == found && rule.contains(part)
        }
        _ => false,
    };
    assert!(fits, "{}: expected {:?}, got {error:?}", case.name, case.expect);
}

#[test]
fn every_hostile_image_gets_its_answer() {
    let cases = hostile_images();
    assert!(cases.len() >= 60, "only {} cases", cases.len());
    for case in &cases {
        let disk = MemDisk::new(case.bytes.clone());
        let (_, error) = verdict(&disk);
        assert_expected(case, error.as_ref());
        assert_eq!(disk.changes(), [], "{}", case.name);
        assert!(disk.largest_read() <= 64 * 1024, "{}", case.name);
        assert!(disk.read_bytes() <= 2 * case.bytes.len() as u64, "{}", case.name);
    }
}

#[test]
fn a_header_that_is_trusted_still_gives_bounded_maps() {
    let planted = PlantedBugs::of(&[Bug::HostGeometry]);
    for case in hostile_images() {
        let Ok(header) = Header::parse(&case.bytes) else { continue };
        let len = case.bytes.len() as u64;
        // A zero chunk or block size panics, as the planted bug is meant to.
        let trusting = std::panic::catch_unwind(|| Geometry::validate(&header, len, planted));
        let Ok(geometry) = trusting else { continue };
        let geometry = geometry.unwrap();
        let journal = geometry.journal.iter().map(|journal| journal.range);
        let table = geometry.compact.iter().map(|compact| compact.table);
        for region in geometry.base.iter().map(|base| base.bitmap).chain(table).chain(journal) {
            assert!(region.end() <= len, "{}: {region} of {len}", case.name);
        }
        let entries = geometry.compact.map_or(0, |compact| compact.entries);
        assert!(u64::from(entries) * 4 <= len, "{}: {entries} entries in {len}", case.name);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any few changes to a header, a table or a journal: an answer, no panic, nothing written.
    #[test]
    fn damage_is_answered(
        changes in prop::collection::vec((0_usize..36864, any::<[u8; 8]>()), 0..6),
        in_header in prop::collection::vec((0_usize..120, any::<[u8; 4]>()), 0..3),
        unclean: bool,
        len in 0_usize..=36864,
        cut: bool,
    ) {
        let mut bytes = mixed();
        for (at, value) in changes {
            let at = at.min(bytes.len() - 8);
            put(&mut bytes, at, &value);
        }
        for (field, value) in in_header {
            // Fields of numbers lie at 8..28, 1068..1108, 2148..2236 and 4284..4304.
            let at = [8, 1068, 2148, 4284][field % 4] + field / 4 % 5 * 4;
            put(&mut bytes, at, &value);
        }
        if unclean {
            put(&mut bytes, offset::clean_shutdown, &0_i32.to_le_bytes());
        }
        if cut {
            bytes.truncate(len);
        }
        let len = bytes.len() as u64;
        let disk = MemDisk::new(bytes);
        let (report, _) = verdict(&disk);
        prop_assert!(disk.changes().is_empty());
        prop_assert!(disk.read_bytes() <= 2 * len);
        if let Some(report) = report {
            prop_assert!(report.problems.len() <= 100);
        }
    }
}
