//! Images made by qemu-img and qemu-io are read right.

use futures_util::FutureExt;
use plugpull_engine::Disk;
use plugpull_engine::qcow2::bitmap_directory;
use plugpull_engine::qcow2::check::{CheckReport, check};
use plugpull_engine::qcow2::compress::decompress;
use plugpull_engine::qcow2::geometry::Geometry;
use plugpull_engine::qcow2::header::{Compression, Header};
use plugpull_engine::qcow2::l2::{Cluster, L1Entry};
use plugpull_engine::qcow2::planted::PlantedBugs;
use plugpull_engine::qcow2::repair::{Repair, repair};
use plugpull_engine::qcow2::snapshot_table;

use super::qemu::Qemu;
use crate::mem_disk::MemDisk;

/// A disk with the image, its header and geometry; it has been found clean.
fn opened(bytes: Vec<u8>) -> (MemDisk, Header, Geometry, CheckReport) {
    let disk = MemDisk::new(bytes);
    let header = Header::read(&disk).now_or_never().unwrap().unwrap();
    let geometry = Geometry::validate(&header, disk.len()).unwrap();
    let report = check(&disk, None).now_or_never().unwrap().unwrap();
    assert!(report.is_clean(), "{report:#?}");
    let planted = PlantedBugs::NONE;
    repair(&disk, Repair::All, planted).now_or_never().unwrap().unwrap();
    assert!(disk.changes().is_empty(), "nothing is wrong, nothing is written");
    (disk, header, geometry, report)
}

#[test]
fn every_option_of_qemu_img() {
    let Some(qemu) = Qemu::find() else { return };
    std::fs::write(qemu.path("base.raw"), vec![1; 1 << 20]).unwrap();
    for options in [
        "cluster_size=512",
        "cluster_size=4k",
        "cluster_size=2M",
        "compat=0.10",
        "refcount_bits=1",
        "refcount_bits=2",
        "refcount_bits=64",
        "refcount_bits=8,cluster_size=512",
        "lazy_refcounts=on",
        "compression_type=zstd",
        "extended_l2=on",
        "preallocation=metadata",
        "preallocation=metadata,extended_l2=on",
        "preallocation=falloc,cluster_size=4k",
        "preallocation=full,refcount_bits=1",
        "data_file=data.raw",
        "data_file=data.raw,data_file_raw=on",
        "backing_file=base.raw,backing_fmt=raw",
        "backing_file=base.raw,backing_fmt=raw,compat=0.10",
    ] {
        for size in ["0", "1000", "20M"] {
            let args = ["create", "-q", "-f", "qcow2", "-o", options, "a.qcow2", size];
            qemu.img(&args);
            let (_, header, _, _) = opened(qemu.read("a.qcow2"));
            let again = Header::parse(&header.to_bytes().unwrap());
            assert_eq!(again, Ok(header), "{options}");
        }
    }
}

#[test]
fn data_of_all_kinds() {
    let Some(qemu) = Qemu::find() else { return };
    for options in [
        "cluster_size=512",
        "cluster_size=64k",
        "compat=0.10",
        "extended_l2=on",
        "refcount_bits=64,cluster_size=4k",
        "data_file=data.raw",
    ] {
        qemu.img(&["create", "-q", "-f", "qcow2", "-o", options, "a.qcow2", "8M"]);
        qemu.io(
            "a.qcow2",
            &["write -P 1 0 1M", "write -z 1M 64k", "write -P 2 5M 3k", "discard 128k 256k"],
        );
        if options != "data_file=data.raw" {
            qemu.io("a.qcow2", &["write -c -P 3 2M 64k", "write -c -P 4 3M 64k"]);
            qemu.img(&["snapshot", "-c", "one", "a.qcow2"]);
            qemu.io("a.qcow2", &["write -P 5 512k 1M"]);
            qemu.img(&["snapshot", "-c", "two", "a.qcow2"]);
            qemu.io("a.qcow2", &["write -P 6 0 64k", "write -P 7 2M 64k"]);
        }
        let (_, _, _, report) = opened(qemu.read("a.qcow2"));
        assert!(report.clusters.allocated > 0, "{options}");
    }
}

#[test]
fn snapshots() {
    let Some(qemu) = Qemu::find() else { return };
    qemu.img(&["create", "-q", "-f", "qcow2", "a.qcow2", "1M"]);
    qemu.img(&["snapshot", "-c", "first", "a.qcow2"]);
    qemu.img(&["snapshot", "-c", "zweiter ä", "a.qcow2"]);
    let bytes = qemu.read("a.qcow2");
    let (disk, header, geometry, _) = opened(bytes.clone());
    let read = snapshot_table::read(&disk, &header, &geometry).now_or_never().unwrap().unwrap();
    let names: Vec<_> = read.iter().map(|it| (it.id.as_str(), it.name.as_str())).collect();
    assert_eq!(names, [("1", "first"), ("2", "zweiter ä")]);
    assert!(read.iter().all(|it| it.virtual_size == Some(1 << 20) && it.l1_entries == 1));
    // What we print is what qemu-img wrote.
    let at = usize::try_from(header.snapshots_offset).unwrap();
    let printed = snapshot_table::to_bytes(&read).unwrap();
    let mut stored = bytes[at..].to_vec();
    stored.resize(stored.len().max(printed.len()), 0);
    assert_eq!(snapshot_table::read(&disk, &header, &geometry).now_or_never().unwrap(), Ok(read));
    assert_eq!(printed[..40], stored[..40]);
}

#[test]
fn bitmaps() {
    let Some(qemu) = Qemu::find() else { return };
    qemu.img(&["create", "-q", "-f", "qcow2", "a.qcow2", "1G"]);
    qemu.img(&["bitmap", "--add", "-g", "4096", "a.qcow2", "fine"]);
    qemu.img(&["bitmap", "--add", "--disable", "a.qcow2", "coarse"]);
    qemu.io("a.qcow2", &["write -P 1 3M 1M"]);
    let (disk, header, geometry, _) = opened(qemu.read("a.qcow2"));
    let extension = header.consistent_bitmaps().unwrap();
    let read = bitmap_directory::read(&disk, extension, &geometry).now_or_never().unwrap().unwrap();
    let seen: Vec<_> =
        read.iter().map(|it| (it.name.as_str(), it.granularity_bits, it.auto)).collect();
    assert_eq!(seen, [("fine", 12, true), ("coarse", 16, false)]);
    let directory = bitmap_directory::to_bytes(&read).unwrap();
    assert_eq!(directory.len() as u64, extension.directory_len);
    let at = usize::try_from(extension.directory_offset).unwrap();
    assert_eq!(disk.bytes()[at..at + directory.len()], directory);
}

#[test]
fn compressed_data() {
    let Some(qemu) = Qemu::find() else { return };
    for (name, compression) in [("zlib", Compression::Deflate), ("zstd", Compression::Zstd)] {
        let raw: Vec<u8> = (0..1_u32 << 18).flat_map(|n| (n / 7).to_be_bytes()).collect();
        std::fs::write(qemu.path("a.raw"), &raw).unwrap();
        let options = format!("compression_type={name}");
        qemu.img(&["convert", "-c", "-O", "qcow2", "-o", &options, "a.raw", "a.qcow2"]);
        let (disk, header, geometry, report) = opened(qemu.read("a.qcow2"));
        assert_eq!((header.compression, report.clusters.compressed), (compression, 16));
        let bytes = disk.bytes();
        let place = |offset: u64| usize::try_from(offset).unwrap();
        let word = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap());
        let l2 = place(L1Entry(word(place(geometry.l1.offset))).table().unwrap());
        for (index, expected) in raw.chunks(65536).enumerate() {
            let entry = geometry.entry_format.parse(&bytes[l2 + 8 * index..]);
            let Cluster::Compressed(data) = geometry.entry_format.cluster(entry) else {
                panic!("cluster {index} is not compressed")
            };
            let (start, end) = (place(data.offset), place(data.offset + data.len));
            let data = &bytes[start..end.min(bytes.len())];
            assert!(decompress(compression, data, 65536).unwrap() == expected);
        }
    }
}

/// Images with many refcount blocks, all of which are lost.
#[test]
fn lost_refcounts_are_built_anew() {
    let Some(qemu) = Qemu::find() else { return };
    for options in [
        "cluster_size=512,refcount_bits=64",
        "cluster_size=512,refcount_bits=16,compat=0.10",
        "cluster_size=64k",
        "cluster_size=2M",
        "extended_l2=on",
    ] {
        qemu.img(&["create", "-q", "-f", "qcow2", "-o", options, "a.qcow2", "8M"]);
        qemu.io("a.qcow2", &["write -P 1 0 2M", "write -c -P 3 4M 2M"]);
        qemu.img(&["snapshot", "-c", "one", "a.qcow2"]);
        qemu.io("a.qcow2", &["write -P 5 512k 1M"]);
        let bytes = qemu.read("a.qcow2");
        let (_, _, geometry, _) = opened(bytes.clone());
        let place = |offset: u64| usize::try_from(offset).unwrap();
        let table = place(geometry.refcount_table.offset)..place(geometry.refcount_table.end());
        let first = place(u64::from_be_bytes(bytes[table.start..][..8].try_into().unwrap()));
        for lost in [table, first..first + place(geometry.cluster_len)] {
            let mut damaged = bytes.clone();
            damaged[lost].fill(0);
            let disk = MemDisk::new(damaged);
            let repaired = repair(&disk, Repair::All, PlantedBugs::NONE).now_or_never().unwrap();
            let report = repaired.unwrap();
            assert!(report.after.is_clean(), "{options}: {report:#?}");
            assert_eq!(qemu.check(&disk.bytes()), Ok(()), "{options}");
            assert!(qemu.guest(&disk.bytes()) == qemu.guest(&bytes), "{options}");
        }
    }
}
