//! Header bytes: round trips, every truncation, every field at its extremes.

use futures_util::FutureExt;
use plugpull_engine::qcow2::features::known_names;
use plugpull_engine::qcow2::geometry::Geometry;
use plugpull_engine::qcow2::header::{
    BitmapsExtension, Compression, Extension, Header, autoclear, incompatible,
};
use plugpull_engine::{Error, ErrorKind};

use crate::mem_disk::MemDisk;

/// Bytes of the file that [`plain`] is the header of.
pub(crate) const FILE_LEN: u64 = 4 * 65536;

/// A header with nothing special.
pub(crate) fn plain() -> Header {
    Header {
        version: 3,
        backing_file: None,
        backing_format: None,
        cluster_bits: 16,
        virtual_size: 1 << 20,
        l1_entries: 1,
        l1_offset: 3 << 16,
        refcount_table_offset: 1 << 16,
        refcount_table_clusters: 1,
        snapshot_count: 0,
        snapshots_offset: 0,
        incompatible: 0,
        compatible: 0,
        autoclear: 0,
        refcount_order: 4,
        header_len: 112,
        compression: Compression::Deflate,
        data_file: None,
        bitmaps: None,
        feature_names: known_names(),
        unknown_extensions: Vec::new(),
        unknown_fields: Vec::new(),
    }
}

/// A header with everything that goes together.
fn full() -> Header {
    Header {
        backing_file: Some("base.qcow2".into()),
        backing_format: Some("qcow2".into()),
        incompatible: incompatible::KNOWN,
        autoclear: autoclear::BITMAPS | 1 << 40,
        compatible: 3,
        header_len: 120,
        compression: Compression::Zstd,
        data_file: Some("data".into()),
        bitmaps: Some(BitmapsExtension { count: 2, directory_len: 64, directory_offset: 2 << 16 }),
        unknown_extensions: vec![
            Extension { kind: 77, data: b"kept".to_vec() },
            Extension { kind: 77, data: Vec::new() },
        ],
        unknown_fields: b"newer...".to_vec(),
        ..plain()
    }
}

fn version_2() -> Header {
    Header {
        version: 2,
        backing_file: Some("base".into()),
        header_len: 72,
        feature_names: Vec::new(),
        ..plain()
    }
}

fn headers() -> [Header; 4] {
    [plain(), full(), version_2(), Header { header_len: 104, ..plain() }]
}

/// Parses `header` with a number put in.
fn parsed_with(header: &Header, at: usize, number: &[u8]) -> Result<Header, Error> {
    let mut bytes = header.to_bytes().unwrap();
    bytes[at..at + number.len()].copy_from_slice(number);
    Header::parse(&bytes)
}

fn kind(result: Result<Header, Error>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

#[test]
fn print_and_parse_are_inverse() {
    for header in headers() {
        let bytes = header.to_bytes().unwrap();
        assert_eq!(Header::parse(&bytes), Ok(header.clone()));
        let disk = MemDisk::sparse(bytes, FILE_LEN);
        assert_eq!(Header::read(&disk).now_or_never().unwrap(), Ok(header));
        assert!(disk.changes().is_empty());
    }
}

#[test]
fn a_truncated_header_is_refused_or_lacks_what_is_cut_off() {
    for header in headers() {
        let bytes = header.to_bytes().unwrap();
        for len in 0..bytes.len() {
            let fixed = Header::parse(&bytes[..len]);
            assert!(len >= 72 || fixed.is_err(), "{len}");
            if let Ok(short) = fixed {
                assert_eq!(short.virtual_size, header.virtual_size);
            }
        }
    }
}

/// Every byte of the header at some values: no panic, and what is accepted can be printed.
#[test]
fn any_byte_may_be_damaged() {
    for header in headers() {
        let bytes = header.to_bytes().unwrap();
        for at in 0..bytes.len() {
            for value in [0, 1, 7, 0x7f, 0x80, 0xff] {
                let mut bytes = bytes.clone();
                bytes[at] = value;
                let Ok(damaged) = Header::parse(&bytes) else { continue };
                let _ = Geometry::validate(&damaged, FILE_LEN);
                let again = damaged.to_bytes().map(|bytes| Header::parse(&bytes));
                assert!(matches!(again, Ok(Ok(_)) | Err(_)), "byte {at} is {value}: {again:?}");
            }
        }
    }
}

#[test]
fn what_does_not_fit_is_not_printed() {
    let small = Header { cluster_bits: 9, feature_names: Vec::new(), ..plain() };
    let check = |header: Header, fits| assert_eq!(header.to_bytes().is_ok(), fits, "{header:?}");
    // 112 bytes of fields, 8 for the end of the extensions.
    check(Header { backing_file: Some("x".repeat(392)), ..small.clone() }, true);
    check(Header { backing_file: Some("x".repeat(393)), ..small.clone() }, false);
    check(Header { cluster_bits: 9, ..plain() }, true);
    check(Header { backing_file: Some("x".repeat(1023)), ..plain() }, true);
    check(Header { backing_file: Some("x".repeat(1024)), ..plain() }, false);
    check(Header { backing_file: Some(String::new()), ..plain() }, false);
    check(Header { header_len: 104, compression: Compression::Zstd, ..plain() }, false);
}

#[test]
fn host_cluster_bits() {
    for bits in [0_u32, 8, 22, 63, 255, u32::MAX] {
        let result = parsed_with(&plain(), 20, &bits.to_be_bytes());
        assert_eq!(kind(result), Some(ErrorKind::Corrupt), "{bits}");
    }
}

#[test]
fn host_refcount_order() {
    for order in [7_u32, 63, 64, 255, u32::MAX] {
        let result = parsed_with(&plain(), 96, &order.to_be_bytes());
        assert_eq!(kind(result), Some(ErrorKind::Corrupt), "{order}");
    }
}

#[test]
fn host_extension_length() {
    for len in [0xffff_fff8_u32, 0x7fff_ffff, 65536, u32::MAX] {
        let result = parsed_with(&plain(), 116, &len.to_be_bytes());
        assert_eq!(kind(result), Some(ErrorKind::Corrupt), "{len}");
    }
    // A chain without an end, up to the end of the cluster.
    let mut bytes = plain().to_bytes().unwrap();
    bytes.truncate(112);
    while bytes.len() < 65536 {
        bytes.extend_from_slice(&[0, 0, 0, 77, 0, 0, 0, 0]);
    }
    assert_eq!(Header::parse(&bytes).unwrap().unknown_extensions.len(), (65536 - 112) / 8);
}

#[test]
fn host_reftable_size() {
    for (clusters, good) in [(0, false), (1, true), (129, false), (0x7fff_ffff, false)] {
        let header = Header { refcount_table_clusters: clusters, ..plain() };
        let result = Geometry::validate(&header, 1 << 40);
        assert_eq!(result.is_ok(), good, "{clusters}");
    }
}

#[test]
fn encryption_is_refused_by_name() {
    for (method, name) in [(1_u32, "AES"), (2, "LUKS"), (3, "unknown method 3")] {
        let error = parsed_with(&plain(), 32, &method.to_be_bytes()).unwrap_err();
        assert_eq!(error.to_string(), format!("unsupported: encryption ({name})"));
    }
}

#[test]
fn unknown_features_are_refused_by_the_image_s_names() {
    let names = vec![(0, 9, "wormholes".to_owned())];
    let header = Header { incompatible: 1 << 9, feature_names: names, ..plain() };
    let expected = "unsupported: incompatible features: \"wormholes\" (bit 9)";
    let bytes = header.to_bytes().unwrap();
    assert_eq!(Header::parse(&bytes).unwrap_err().to_string(), expected);
}

#[test]
fn versions() {
    for (version, expected) in [(0_u32, true), (1, true), (4, true), (u32::MAX, true)] {
        let refused = kind(parsed_with(&plain(), 4, &version.to_be_bytes()));
        assert_eq!(refused == Some(ErrorKind::Unsupported), expected, "{version}");
    }
}

#[test]
fn features_that_do_not_go_together() {
    let check = |header: Header| {
        let bytes = header.to_bytes().unwrap();
        assert_eq!(kind(Header::parse(&bytes)), Some(ErrorKind::Corrupt), "{header:?}");
    };
    check(Header { incompatible: incompatible::EXTENDED_L2, cluster_bits: 13, ..plain() });
    check(Header { incompatible: incompatible::COMPRESSION, ..plain() });
    check(Header { compression: Compression::Zstd, ..plain() });
    check(Header { autoclear: autoclear::BITMAPS, ..plain() });
    check(Header { autoclear: autoclear::DATA_FILE_RAW, ..plain() });
    check(Header { autoclear: autoclear::BITMAPS | autoclear::DATA_FILE_RAW, ..full() });
}

/// Offsets and sizes against a file of four clusters.
#[test]
fn geometry_holds_tables_against_the_file() {
    let check = |good: bool, header: Header| {
        let result = Geometry::validate(&header, FILE_LEN);
        assert_eq!(result.is_ok(), good, "{header:?}: {result:?}");
    };
    check(true, plain());
    // Alignment, the header, the end of the file, overflow.
    for (offset, good) in [
        (0, false),
        (512, false),
        (1 << 16, true),
        (3 << 16, true),
        (4 << 16, false),
        (1 << 55, false),
        (u64::MAX - 65535, false),
        (u64::MAX, false),
    ] {
        check(good, Header { l1_offset: offset, ..plain() });
        check(good, Header { refcount_table_offset: offset, ..plain() });
        check(good, Header { snapshot_count: 1, snapshots_offset: offset, ..plain() });
        check(true, Header { snapshot_count: 0, snapshots_offset: offset, ..plain() });
    }
    // One L1 entry maps 512 MiB.
    check(true, Header { virtual_size: 512 << 20, ..plain() });
    check(false, Header { virtual_size: (512 << 20) + 512, ..plain() });
    check(false, Header { virtual_size: 513, ..plain() });
    check(false, Header { virtual_size: !511, ..plain() });
    check(true, Header { l1_entries: 8192, ..plain() });
    check(false, Header { l1_entries: 8193, ..plain() });
    check(false, Header { l1_entries: u32::MAX, ..plain() });
    check(true, Header { l1_entries: 0, l1_offset: 0, virtual_size: 0, ..plain() });
    check(false, Header { snapshot_count: 65537, snapshots_offset: 1 << 16, ..plain() });
    let large = Header { l1_entries: 4 << 20, ..plain() };
    assert!(Geometry::validate(&large, 1 << 40).is_ok());
    let too_large = Header { l1_entries: (4 << 20) + 1, ..plain() };
    assert!(Geometry::validate(&too_large, 1 << 40).is_err());
}
