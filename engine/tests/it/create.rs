//! New images: their headers, byte by byte, and the order in which they are written.

use futures_util::FutureExt;
use plugpull_engine::fvd::create::{
    BaseOptions, CompactOptions, CreateOptions, JournalSize, PrefetchOptions, create,
};
use plugpull_engine::fvd::geometry::Geometry;
use plugpull_engine::fvd::header::{HEADER_LEN, Header};
use plugpull_engine::fvd::planted::PlantedBugs;
use plugpull_engine::{Disk, Error, ErrorKind};

use crate::mem_disk::{Change, MemDisk};

fn make(options: &CreateOptions, base: Option<Vec<u8>>) -> Result<(MemDisk, Header), Error> {
    make_on(MemDisk::new(Vec::new()), options, base)
}

fn make_on(
    disk: MemDisk,
    options: &CreateOptions,
    base: Option<Vec<u8>>,
) -> Result<(MemDisk, Header), Error> {
    let base = base.map(MemDisk::new);
    let base = base.as_ref().map(|base| base as &dyn Disk);
    let header = create(&disk, options, base).now_or_never().unwrap()?;
    Ok((disk, header))
}

/// What every header with a base has besides its sizes.
fn with_base() -> Header {
    Header {
        base_img: "base.raw".into(),
        max_outstanding_copy_on_read_data: 2_000_000,
        prefetch_start_delay: -1,
        num_prefetch_slots: 2,
        bytes_per_prefetch: 1_048_576,
        prefetch_read_throughput_measure_time: 100,
        prefetch_write_throughput_measure_time: 100,
        prefetch_perf_calc_alpha: 80,
        prefetch_min_read_throughput: 5120,
        prefetch_min_write_throughput: 5120,
        prefetch_max_read_throughput: 1_000_000_000,
        prefetch_max_write_throughput: 1_000_000_000,
        prefetch_throttle_time: 30_000,
        clean_shutdown: 1,
        unit_of_prefetch_profile_entry_len: 4096,
        profile_directed_prefetch_start_delay: -1,
        bitmap_offset: 8192,
        ..Header::default()
    }
}

/// Base names and sizes as in images by the original.
fn base() -> BaseOptions {
    BaseOptions::new("base.raw")
}

fn compact(chunk: u64) -> Option<CompactOptions> {
    Some(CompactOptions { chunk_size: Some(chunk), storage_grow_unit: Some(chunk) })
}

/// Headers of images that the original made with the same options.
#[test]
fn headers_are_those_of_the_original() {
    let mib = 1 << 20;
    let cases = [
        (
            "flat, no base",
            CreateOptions { virtual_size: mib, ..CreateOptions::default() },
            None,
            Header {
                all_data_in_fvd_img: 1,
                virtual_disk_size: 1_048_576,
                metadata_size: 8192,
                clean_shutdown: 1,
                ..Header::default()
            },
        ),
        (
            "flat, no base, data file",
            CreateOptions {
                virtual_size: mib,
                data_file: "data.dat".into(),
                ..CreateOptions::default()
            },
            None,
            Header {
                all_data_in_fvd_img: 1,
                virtual_disk_size: 1_048_576,
                metadata_size: 8192,
                data_file: "data.dat".into(),
                clean_shutdown: 1,
                ..Header::default()
            },
        ),
        (
            "compact, no base, chunk rounded up",
            CreateOptions {
                virtual_size: mib,
                compact: compact(1536),
                journal_size: JournalSize::Bytes(4096),
                ..CreateOptions::default()
            },
            None,
            Header {
                all_data_in_fvd_img: 1,
                virtual_disk_size: 1_048_576,
                metadata_size: 16384,
                compact_image: 1,
                table_offset: 8192,
                chunk_size: 4096,
                storage_grow_unit: 4096,
                journal_offset: 12288,
                journal_size: 4096,
                clean_shutdown: 1,
                ..Header::default()
            },
        ),
        (
            "compact, no base, no journal",
            CreateOptions {
                virtual_size: mib,
                compact: compact(4096),
                journal_size: JournalSize::None,
                ..CreateOptions::default()
            },
            None,
            Header {
                all_data_in_fvd_img: 1,
                virtual_disk_size: 1_048_576,
                metadata_size: 12288,
                compact_image: 1,
                table_offset: 8192,
                chunk_size: 4096,
                storage_grow_unit: 4096,
                clean_shutdown: 1,
                ..Header::default()
            },
        ),
        (
            "defaults with base and chunks",
            CreateOptions {
                virtual_size: 4 * mib,
                base: Some(base()),
                compact: Some(CompactOptions {
                    storage_grow_unit: Some(mib),
                    ..CompactOptions::default()
                }),
                ..CreateOptions::default()
            },
            Some(1_048_576),
            Header {
                virtual_disk_size: 4_194_304,
                metadata_size: 16_793_600,
                base_img_size: 1_048_576,
                bitmap_size: 4096,
                block_size: 512,
                compact_image: 1,
                table_offset: 12288,
                chunk_size: 1_048_576,
                storage_grow_unit: 1_048_576,
                journal_offset: 16384,
                journal_size: 16_777_216,
                ..with_base()
            },
        ),
        (
            "flat with base, odd block, copy-on-read",
            CreateOptions {
                virtual_size: mib,
                base: Some(BaseOptions { block_size: Some(7680), copy_on_read: true, ..base() }),
                journal_size: JournalSize::Bytes(4096),
                ..CreateOptions::default()
            },
            Some(615_900),
            Header {
                virtual_disk_size: 1_048_576,
                metadata_size: 16384,
                base_img_size: 615_936,
                bitmap_size: 4096,
                block_size: 7680,
                copy_on_read: 1,
                bytes_per_prefetch: 1_052_160,
                journal_offset: 12288,
                journal_size: 4096,
                ..with_base()
            },
        ),
        (
            "mixed with data file",
            CreateOptions {
                virtual_size: mib,
                base: Some(BaseOptions { block_size: Some(7680), ..base() }),
                data_file: "data.dat".into(),
                compact: compact(23040),
                journal_size: JournalSize::Bytes(4096),
                ..CreateOptions::default()
            },
            Some(615_936),
            Header {
                virtual_disk_size: 1_048_576,
                metadata_size: 20480,
                base_img_size: 615_936,
                bitmap_size: 4096,
                block_size: 7680,
                bytes_per_prefetch: 1_052_160,
                data_file: "data.dat".into(),
                compact_image: 1,
                table_offset: 12288,
                chunk_size: 24576,
                storage_grow_unit: 24576,
                journal_offset: 16384,
                journal_size: 4096,
                ..with_base()
            },
        ),
        (
            "holes and prefetching",
            CreateOptions {
                virtual_size: mib,
                base: Some(BaseOptions {
                    block_size: Some(512),
                    detect_sparse_hole: Some(512),
                    prefetch: PrefetchOptions { start_delay: 1, ..PrefetchOptions::default() },
                    ..base()
                }),
                journal_size: JournalSize::Bytes(4096),
                ..CreateOptions::default()
            },
            Some(1_048_576),
            Header {
                virtual_disk_size: 1_048_576,
                metadata_size: 16384,
                base_img_size: 1_048_576,
                bitmap_size: 4096,
                block_size: 512,
                prefetch_start_delay: 1,
                journal_offset: 12288,
                journal_size: 4096,
                need_zero_init: 1,
                ..with_base()
            },
        ),
    ];
    for (name, options, base_len, expected) in cases {
        let (disk, header) = make(&options, base_len.map(|len| vec![7; len])).unwrap();
        assert_eq!(header, expected, "{name}");
        let bytes = disk.bytes();
        assert_eq!(bytes[..HEADER_LEN], expected.encode(), "{name}");
        assert_eq!(bytes.len() as u64, header.metadata_size.unsigned_abs(), "{name}");
        let geometry =
            Geometry::validate(&header, disk.len(), PlantedBugs::NONE).expect("sound").compact;
        let table = geometry.map_or(0..0, |compact| {
            usize::try_from(compact.table.offset).unwrap()
                ..usize::try_from(compact.table.end()).unwrap()
        });
        let mut maps = vec![0; bytes.len()];
        maps[table].fill(0xFF);
        assert!(bytes[HEADER_LEN..] == maps[HEADER_LEN..], "{name}: maps");
    }
}

#[test]
fn sizes_follow_from_defaults_and_minimums() {
    // Base length, block that is chosen, bitmap bytes.
    for (base_len, block, bitmap) in [
        (0, 512, 0),
        (1, 512, 4096),
        (1 << 24, 512, 4096),
        ((1 << 24) + 1, 512, 8192),
        (16 << 30, 512, 4 << 20),
        ((16 << 30) + 512, 1024, 2_101_248),
        (1 << 40, 32768, 4 << 20),
    ] {
        let options =
            CreateOptions { virtual_size: 1 << 41, base: Some(base()), ..CreateOptions::default() };
        let header = options.header(base_len).unwrap();
        assert_eq!((header.block_size, header.bitmap_size), (block, bitmap), "base of {base_len}");
    }
    // Virtual size in chunks of 4 KiB, wanted journal, journal that results.
    for (chunks, wanted, len) in [
        (1, JournalSize::Bytes(1), 4096),
        (121 * 8, JournalSize::Bytes(512), 4096),
        (121 * 8 + 1, JournalSize::Bytes(512), 8192),
        (1 << 20, JournalSize::Bytes(4096), 4_440_064),
        (1, JournalSize::Bytes(4097), 8192),
        (1, JournalSize::Default, 16 << 20),
        (1, JournalSize::None, 0),
    ] {
        let options = CreateOptions {
            virtual_size: chunks * 4096,
            compact: compact(4096),
            journal_size: wanted,
            ..CreateOptions::default()
        };
        let header = options.header(0).unwrap();
        assert_eq!(header.journal_size, len, "{chunks} chunks, {wanted:?}");
    }
    let options = CreateOptions {
        virtual_size: 1000,
        compact: Some(CompactOptions { chunk_size: Some(8192), storage_grow_unit: Some(1) }),
        journal_size: JournalSize::Default,
        ..CreateOptions::default()
    };
    let header = options.header(0).unwrap();
    assert_eq!((header.virtual_disk_size, header.storage_grow_unit), (1024, 8192));
    let flat = CreateOptions { journal_size: JournalSize::Bytes(5000), ..CreateOptions::default() };
    assert_eq!(flat.header(0).unwrap().metadata_size, 8192, "an unused journal moves nothing");
}

#[test]
fn holes_of_the_base_are_local() {
    // Sectors of the base that are not zero, window, blocks that must be local of 16 of 1 KiB.
    let block = 1024;
    for (data_sectors, window, local) in [
        (vec![], 1, 0xFFFF_u16),
        (vec![0], 1024, 0xFFFE),
        (vec![1, 31], 512, 0x7FFE),
        (vec![9], 4096, 0xFF0F),
        (vec![9], 5000, 0xFFE0),
        (vec![3], 1 << 40, 0),
        (vec![], 1 << 40, 0xFFFF),
    ] {
        let mut bytes = vec![0; 16 * block];
        for sector in &data_sectors {
            bytes[sector * 512 + 100] = 1;
        }
        let options = CreateOptions {
            virtual_size: 1 << 20,
            base: Some(BaseOptions {
                block_size: Some(block as u64),
                detect_sparse_hole: Some(window),
                ..base()
            }),
            ..CreateOptions::default()
        };
        let (disk, _) = make(&options, Some(bytes)).unwrap();
        let bitmap = disk.bytes()[8192..8194].to_vec();
        assert_eq!(bitmap, local.to_le_bytes(), "data in {data_sectors:?}, window {window}");
        assert!(disk.bytes()[8194..12288].iter().all(|&byte| byte == 0));
    }
}

#[test]
fn the_magic_is_written_last_after_flushes() {
    let old = vec![0xEE; 100_000];
    let options =
        CreateOptions { virtual_size: 1 << 20, compact: compact(4096), ..CreateOptions::default() };
    for disk in [MemDisk::new(Vec::new()), MemDisk::new(old.clone())] {
        let (disk, header) = make_on(disk, &options, None).unwrap();
        let changes = disk.changes();
        let ends = [
            Change::Flush,
            Change::Write { offset: 512, len: 7680 },
            Change::Flush,
            Change::Write { offset: 0, len: 512 },
            Change::Flush,
        ];
        assert!(changes.ends_with(&ends), "{changes:?}");
        assert_eq!(Header::parse(&disk.bytes()).unwrap(), header);
        assert_eq!(disk.len(), header.metadata_size.unsigned_abs());
    }
    // A device cannot be shortened: its old header goes first, and nothing of it stays.
    let options = CreateOptions { journal_size: JournalSize::Bytes(8192), ..options };
    let (disk, header) = make_on(MemDisk::device(old), &options, None).unwrap();
    let starts = [Change::Write { offset: 0, len: 512 }, Change::Flush];
    assert!(disk.changes().starts_with(&starts), "{:?}", disk.changes());
    let bytes = disk.bytes();
    assert_eq!(bytes[..HEADER_LEN], header.encode());
    assert!(bytes[8192..12288].iter().all(|&byte| byte == 0xFF));
    assert!(bytes[12288..20480].iter().all(|&byte| byte == 0));
    assert!(bytes[20480..].iter().all(|&byte| byte == 0xEE));
}

#[test]
fn options_that_make_no_image_are_refused_before_anything_is_written() {
    let none = CreateOptions::default;
    let over = |base: BaseOptions| CreateOptions {
        virtual_size: 1 << 20,
        base: Some(base),
        ..CreateOptions::default()
    };
    let prefetch = |prefetch: PrefetchOptions| over(BaseOptions { prefetch, ..base() });
    let defaults = PrefetchOptions::default;
    let cases = [
        ("virtual size", CreateOptions { virtual_size: u64::MAX, ..none() }),
        ("virtual size", CreateOptions { virtual_size: i64::MAX as u64 + 1, ..none() }),
        ("options", CreateOptions { virtual_size: i64::MAX as u64 & !511, ..none() }),
        ("base name", over(BaseOptions::new("x".repeat(1024)))),
        ("base name", over(BaseOptions::new(""))),
        ("base name", over(BaseOptions::new("a\0b"))),
        ("base format", over(BaseOptions { format: "x".repeat(16), ..base() })),
        ("data file", CreateOptions { data_file: "x".repeat(1024), ..none() }),
        ("data file format", CreateOptions { data_file_fmt: "x".repeat(16), ..none() }),
        ("storage command", CreateOptions { add_storage_cmd: "x".repeat(2048), ..none() }),
        ("block size", over(BaseOptions { block_size: Some(0), ..base() })),
        ("block size", over(BaseOptions { block_size: Some(1 << 31), ..base() })),
        ("hole window", over(BaseOptions { detect_sparse_hole: Some(0), ..base() })),
        (
            "hole detection",
            CreateOptions {
                compact: compact(4096),
                ..over(BaseOptions { detect_sparse_hole: Some(4096), ..base() })
            },
        ),
        ("chunk size", CreateOptions { compact: compact(0), ..none() }),
        ("chunk size", CreateOptions { compact: compact(u64::MAX), ..none() }),
        ("options", CreateOptions { virtual_size: 1 << 50, compact: compact(4096), ..none() }),
        ("prefetch slots", prefetch(PrefetchOptions { slots: 0, ..defaults() })),
        ("prefetch bytes", prefetch(PrefetchOptions { bytes: Some(0), ..defaults() })),
        ("prefetch bytes", prefetch(PrefetchOptions { bytes: Some(i32::MAX), ..defaults() })),
        ("prefetch alpha", prefetch(PrefetchOptions { alpha: 101, ..defaults() })),
        ("prefetch delay", prefetch(PrefetchOptions { start_delay: -2, ..defaults() })),
    ];
    for (expected, options) in cases {
        let disk = MemDisk::new(vec![1; 512]);
        let base = options.base.is_some().then(|| vec![1; 1 << 20]);
        let error = make_on(disk.clone(), &options, base).map(|_| ()).unwrap_err();
        let Error::InvalidArgument { what, .. } = &error else { panic!("{error:?}") };
        assert_eq!(*what, expected, "{error}");
        assert_eq!(disk.changes(), [], "{expected}");
    }
    let missing = make(&over(base()), None).map(|_| ()).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::InvalidArgument);
    let small = make_on(MemDisk::device(vec![0; 4096]), &none(), None).map(|_| ()).unwrap_err();
    assert_eq!(small.kind(), ErrorKind::InvalidArgument);
}
