//! Images made here, judged by qemu-img and by our own check; options that make none.

use futures_util::FutureExt;
use plugpull_engine::qcow2::bitmap_directory;
use plugpull_engine::qcow2::check::check;
use plugpull_engine::qcow2::create::{
    BackingOptions, BitmapOptions, CreateOptions, DataFileOptions, create,
};
use plugpull_engine::qcow2::geometry::Geometry;
use plugpull_engine::qcow2::header::{Compression, Header};
use plugpull_engine::{Error, ErrorKind};

use super::qemu::Qemu;
use crate::mem_disk::{Change, MemDisk};

pub(crate) fn created(options: &CreateOptions) -> Result<MemDisk, Error> {
    let disk = MemDisk::new(b"something old".repeat(100_000));
    create(&disk, options).now_or_never().unwrap()?;
    Ok(disk)
}

/// Options of many kinds that go together.
pub(crate) fn many() -> Vec<CreateOptions> {
    let plain = CreateOptions { virtual_size: 10 << 20, ..CreateOptions::default() };
    let mut many = vec![plain.clone()];
    for cluster_bits in 9..=21 {
        many.push(CreateOptions { cluster_len: 1 << cluster_bits, ..plain.clone() });
    }
    for order in 0..=6 {
        // More metadata than one refcount block covers.
        let (refcount_bits, virtual_size) = (1 << order, 2 << 30);
        many.push(CreateOptions { refcount_bits, cluster_len: 512, virtual_size, ..plain.clone() });
    }
    for virtual_size in [0, 1, 512, (512 << 20) + 1, 1 << 40, 1 << 45] {
        many.push(CreateOptions { virtual_size, ..plain.clone() });
    }
    let backing = |format: Option<&str>| {
        Some(BackingOptions { name: "base".into(), format: format.map(Into::into) })
    };
    many.extend([
        CreateOptions { version: 2, ..plain.clone() },
        CreateOptions { version: 2, backing: backing(Some("raw")), ..plain.clone() },
        CreateOptions { backing: backing(Some("raw")), cluster_len: 512, ..plain.clone() },
        CreateOptions { lazy_refcounts: true, ..plain.clone() },
        CreateOptions { compression: Compression::Zstd, ..plain.clone() },
        CreateOptions { extended_l2: true, cluster_len: 16384, ..plain.clone() },
        CreateOptions { bitmaps: vec![bitmap("one", 65536)], ..plain.clone() },
        // The directory and the second table have more than one cluster.
        CreateOptions {
            cluster_len: 512,
            bitmaps: vec![bitmap(&"x".repeat(1000), 1 << 20), bitmap("fine", 512)],
            virtual_size: 1 << 28,
            ..plain
        },
    ]);
    many
}

fn bitmap(name: &str, granularity: u64) -> BitmapOptions {
    BitmapOptions { name: name.into(), granularity }
}

#[test]
fn created_images_are_clean_and_their_headers_read_back() {
    let qemu = Qemu::find();
    if let Some(qemu) = &qemu {
        std::fs::write(qemu.path("base"), [0; 512]).unwrap();
    }
    for options in many() {
        let disk = MemDisk::new(Vec::new());
        let header = create(&disk, &options).now_or_never().unwrap().unwrap();
        assert_eq!(Header::read(&disk).now_or_never().unwrap(), Ok(header));
        let report = check(&disk, None).now_or_never().unwrap().unwrap();
        assert!(report.is_clean(), "{options:?}: {report:?}");
        if let Some(qemu) = &qemu {
            assert_eq!(qemu.check(&disk.bytes()), Ok(()), "{options:?}");
        }
    }
}

#[test]
fn data_files_are_named() {
    for raw in [false, true] {
        let data_file = Some(DataFileOptions { name: "data".into(), raw });
        let options = CreateOptions { virtual_size: 1 << 20, data_file, ..Default::default() };
        let disk = created(&options).unwrap();
        let report = check(&disk, Some(0)).now_or_never().unwrap().unwrap();
        assert!(report.is_clean(), "{report:?}");
        if let Some(qemu) = Qemu::find() {
            std::fs::write(qemu.path("data"), vec![0; 1 << 20]).unwrap();
            assert_eq!(qemu.check(&disk.bytes()), Ok(()));
        }
    }
}

/// Old content is gone, also where a device cannot be cut off.
#[test]
fn a_device_gives_the_same_image_as_a_file() {
    for options in many().into_iter().take(12) {
        let file = created(&options).unwrap().bytes();
        let device = MemDisk::device(vec![0xaa; file.len() + 4096]);
        create(&device, &options).now_or_never().unwrap().unwrap();
        // What follows the header in its cluster is not looked at.
        let cluster_len = usize::try_from(options.cluster_len).unwrap();
        assert!(device.bytes()[cluster_len..file.len()] == file[cluster_len..], "{options:?}");
        let report = check(&device, None).now_or_never().unwrap().unwrap();
        assert!(report.is_clean(), "{report:?}");
    }
}

#[test]
fn the_magic_is_written_last() {
    let changes = created(&many()[0]).unwrap().changes();
    let [.., Change::Flush, Change::Write { offset: 0, len: 512 }, Change::Flush] = &changes[..]
    else {
        panic!("{changes:?}")
    };
    let before = &changes[..changes.len() - 3];
    let first = |change: &Change| matches!(change, Change::Write { offset: 0, .. });
    assert!(!before.iter().any(first), "{changes:?}");
}

#[test]
fn options_that_make_no_image_write_nothing() {
    let plain = CreateOptions { virtual_size: 1 << 20, ..CreateOptions::default() };
    let data_file = |raw| Some(DataFileOptions { name: "data".into(), raw });
    let backing = |name: &str| Some(BackingOptions { name: name.into(), format: None });
    for options in [
        CreateOptions { version: 1, ..plain.clone() },
        CreateOptions { version: 4, ..plain.clone() },
        CreateOptions { cluster_len: 0, ..plain.clone() },
        CreateOptions { cluster_len: 256, ..plain.clone() },
        CreateOptions { cluster_len: 65535, ..plain.clone() },
        CreateOptions { cluster_len: 4 << 20, ..plain.clone() },
        CreateOptions { refcount_bits: 0, ..plain.clone() },
        CreateOptions { refcount_bits: 12, ..plain.clone() },
        CreateOptions { refcount_bits: 128, ..plain.clone() },
        CreateOptions { version: 2, refcount_bits: 8, ..plain.clone() },
        CreateOptions { version: 2, lazy_refcounts: true, ..plain.clone() },
        CreateOptions { version: 2, compression: Compression::Zstd, ..plain.clone() },
        CreateOptions { version: 2, extended_l2: true, ..plain.clone() },
        CreateOptions { version: 2, data_file: data_file(false), ..plain.clone() },
        CreateOptions { extended_l2: true, cluster_len: 8192, ..plain.clone() },
        CreateOptions { virtual_size: u64::MAX, ..plain.clone() },
        CreateOptions { virtual_size: 1 << 60, ..plain.clone() },
        CreateOptions { virtual_size: 1 << 50, cluster_len: 512, ..plain.clone() },
        CreateOptions { backing: backing(""), ..plain.clone() },
        CreateOptions { backing: backing(&"x".repeat(1024)), ..plain.clone() },
        CreateOptions { backing: backing(&"x".repeat(500)), cluster_len: 512, ..plain.clone() },
        CreateOptions { backing: backing("b"), data_file: data_file(true), ..plain.clone() },
        CreateOptions { version: 2, bitmaps: vec![bitmap("b", 512)], ..plain.clone() },
        CreateOptions { bitmaps: vec![bitmap("b", 512)], virtual_size: 0, ..plain.clone() },
        CreateOptions { bitmaps: vec![bitmap("", 512)], ..plain.clone() },
        CreateOptions { bitmaps: vec![bitmap(&"x".repeat(1024), 512)], ..plain.clone() },
        CreateOptions { bitmaps: vec![bitmap("b", 512), bitmap("b", 1024)], ..plain.clone() },
        CreateOptions { bitmaps: vec![bitmap("b", 256)], ..plain.clone() },
        CreateOptions { bitmaps: vec![bitmap("b", 3 << 10)], ..plain.clone() },
        CreateOptions { bitmaps: vec![bitmap("b", 4 << 30)], ..plain.clone() },
    ] {
        let disk = MemDisk::new(vec![1; 512]);
        let result = create(&disk, &options).now_or_never().unwrap();
        let kind = result.err().map(|error| error.kind());
        assert_eq!(kind, Some(ErrorKind::InvalidArgument), "{options:?}");
        assert!(disk.changes().is_empty());
    }
}

/// New bitmaps are enabled and consistent, for us and for qemu.
#[test]
fn bitmaps_are_there_from_the_start() {
    let bitmaps = vec![bitmap("fine", 512), bitmap("coarse", 1 << 20)];
    let options = CreateOptions { virtual_size: 10 << 20, bitmaps, ..Default::default() };
    let disk = created(&options).unwrap();
    let header = Header::read(&disk).now_or_never().unwrap().unwrap();
    let geometry = Geometry::validate(&header, plugpull_engine::Disk::len(&disk)).unwrap();
    let extension = header.consistent_bitmaps().unwrap();
    let read = bitmap_directory::read(&disk, extension, &geometry).now_or_never().unwrap().unwrap();
    let facts: Vec<_> = read
        .iter()
        .map(|bitmap| (bitmap.name.as_str(), bitmap.granularity_bits, bitmap.auto, bitmap.in_use))
        .collect();
    assert_eq!(facts, [("fine", 9, true, false), ("coarse", 20, true, false)]);
    let Some(qemu) = Qemu::find() else { return };
    std::fs::write(qemu.path("a.qcow2"), disk.bytes()).unwrap();
    let info = qemu.said(&["info", "--output=json", "a.qcow2"]);
    let parts = ["\"name\": \"fine\"", "\"granularity\": 512", "\"name\": \"coarse\"", "\"auto\""];
    for part in parts {
        assert!(info.contains(part), "{part} in {info}");
    }
    assert!(!info.contains("in-use"), "{info}");
    // It finds its way through the tables.
    qemu.io("a.qcow2", &["write 0 4k"]);
    qemu.img(&["bitmap", "--clear", "a.qcow2", "fine"]);
    qemu.img(&["bitmap", "--remove", "a.qcow2", "coarse"]);
    assert_eq!(qemu.check(&qemu.read("a.qcow2")), Ok(()));
}
