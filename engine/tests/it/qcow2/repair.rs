//! Repairs: judged by our check and by qemu-img, repeated, and stopped after each write.

use futures_util::FutureExt;
use plugpull_engine::qcow2::check::Severity;
use plugpull_engine::qcow2::planted::PlantedBugs;
use plugpull_engine::qcow2::repair::{Repair, RepairReport, repair};
use plugpull_engine::{
    Disk, DiskError, DiskErrorKind, DiskProperties, Error, IoFuture, WriteFlags,
};

use super::check::{checked, damages};
use super::damaged::{
    BLOCK, CLUSTER, COPIED, DATA, FREE, Image, L1, L2, TABLE, at, sound, sound_with,
};
use super::qemu::Qemu;
use crate::mem_disk::{Change, MemDisk};

fn repaired(image: &Image, what: Repair) -> (MemDisk, RepairReport) {
    let disk = MemDisk::new(image.bytes.clone());
    let report = repair(&disk, what, PlantedBugs::NONE).now_or_never().unwrap().unwrap();
    (disk, report)
}

/// A disk that fails every change after some writes.
struct Failing {
    disk: MemDisk,
    writes: usize,
}

impl Failing {
    fn is_over(&self) -> bool {
        let write = |change: &&Change| matches!(change, Change::Write { .. });
        self.disk.changes().iter().filter(write).count() >= self.writes
    }

    fn failed() -> IoFuture<()> {
        Box::pin(std::future::ready(Err(DiskError::new(DiskErrorKind::Io, "the plug is pulled"))))
    }
}

impl Disk for Failing {
    fn read(&self, offset: u64, len: usize) -> IoFuture<Vec<u8>> {
        self.disk.read(offset, len)
    }

    fn write(&self, offset: u64, data: Vec<u8>, flags: WriteFlags) -> IoFuture<()> {
        if self.is_over() { Self::failed() } else { self.disk.write(offset, data, flags) }
    }

    fn flush(&self) -> IoFuture<()> {
        if self.is_over() { Self::failed() } else { self.disk.flush() }
    }

    fn discard(&self, offset: u64, len: u64) -> IoFuture<()> {
        self.disk.discard(offset, len)
    }

    fn resize(&self, len: u64) -> IoFuture<()> {
        self.disk.resize(len)
    }

    fn len(&self) -> u64 {
        self.disk.len()
    }

    fn properties(&self) -> DiskProperties {
        self.disk.properties()
    }
}

#[test]
fn each_damage_is_repaired_and_qemu_img_agrees() {
    let qemu = Qemu::find();
    for (name, image, _) in damages() {
        let marked = image.with_bytes(79, &[3]);
        let (disk, report) = repaired(&marked, Repair::All);
        let aliased = report.after.aliases > 0;
        assert!(aliased || report.after.is_clean(), "{name}: {report:#?}");
        assert!(report.unmarked, "{name}");
        assert_eq!(checked(&Image { bytes: disk.bytes() }), Ok(report.after), "{name}");
        if let Some(qemu) = &qemu {
            assert_eq!(qemu.check(&disk.bytes()), Ok(()), "{name}");
        }
    }
}

#[test]
fn a_second_repair_writes_nothing() {
    let clean = ("sound", sound());
    let damages = damages().into_iter().map(|(name, image, _)| (name, image));
    for (name, image) in damages.chain([clean]) {
        let (disk, _) = repaired(&image, Repair::All);
        let (again, _) = repaired(&Image { bytes: disk.bytes() }, Repair::All);
        assert_eq!(again.changes(), [], "{name}");
    }
}

#[test]
fn a_repair_that_is_stopped_and_repeated_gives_the_same() {
    for (name, image, _) in damages() {
        let image = image.with_bytes(79, &[1]);
        let (whole, _) = repaired(&image, Repair::All);
        for writes in 0..whole.changes().len() {
            let disk = MemDisk::new(image.bytes.clone());
            let failing = Failing { disk: disk.clone(), writes };
            let stopped = repair(&failing, Repair::All, PlantedBugs::NONE).now_or_never().unwrap();
            if stopped.is_ok() {
                break;
            }
            let (again, _) = repaired(&Image { bytes: disk.bytes() }, Repair::All);
            assert!(again.bytes() == whole.bytes(), "{name}: stopped after {writes} writes");
        }
    }
}

#[test]
fn what_the_guest_sees_survives_lost_refcounts() {
    let Some(qemu) = Qemu::find() else { return };
    let before = qemu.guest(&sound().bytes);
    for image in [
        sound().with_bytes(BLOCK * CLUSTER, &[0; CLUSTER]),
        sound().with(TABLE, 0, 0),
        sound().with(TABLE, 0, 1 << 55),
        sound().with(TABLE, 1, at(DATA + 1)),
        sound().with(TABLE, 1, at(L2)),
    ] {
        let (disk, report) = repaired(&image, Repair::All);
        assert!(report.after.is_clean());
        assert!(qemu.guest(&disk.bytes()) == before);
    }
}

#[test]
fn leaks_alone() {
    let (_, report) =
        repaired(&sound().with_refcount(FREE, 3).with_refcount(DATA, 5), Repair::Leaks);
    assert_eq!((report.refcounts, report.copied), (2, 0));
    assert!(report.after.is_clean());
    // With other damage nobody knows what leaks.
    for (name, image, rule) in damages() {
        let (disk, report) = repaired(&image, Repair::Leaks);
        let harmless = rule.severity() <= Severity::NeedlessCopy;
        assert_eq!(report.after.is_clean(), harmless, "{name}");
        assert_eq!(disk.changes().is_empty(), !harmless, "{name}");
    }
}

#[test]
fn host_refcount_order_one_bit_cannot_count_a_snapshot() {
    let mut image = sound_with(2);
    image = image.with_bytes(99, &[0]);
    let disk = MemDisk::new(image.bytes);
    let result = repair(&disk, Repair::All, PlantedBugs::NONE).now_or_never().unwrap();
    assert!(matches!(result, Err(Error::Unsupported(_))), "{result:?}");
    assert!(disk.changes().is_empty());
}

#[test]
fn structures_that_overlap_are_not_touched() {
    let image = sound().with_bytes(40, &at(super::damaged::SNAPSHOTS).to_be_bytes());
    let disk = MemDisk::new(image.bytes);
    let result = repair(&disk, Repair::All, PlantedBugs::NONE).now_or_never().unwrap();
    assert!(matches!(result, Err(Error::Corrupt { .. })), "{result:?}");
    assert!(disk.changes().is_empty());
}

/// 1 TiB of virtual disk and a zeroed refcount block in a file of 56 KiB.
#[test]
fn host_rebuild_inflates_file() {
    use plugpull_engine::qcow2::create::CreateOptions;
    let options = CreateOptions { virtual_size: 1 << 40, ..Default::default() };
    let bytes = super::create::created(&options).unwrap().bytes();
    for damage in [(2 << 16, 65536), (1 << 16, 8)] {
        let mut image = Image { bytes: bytes.clone() };
        image.bytes[damage.0..damage.0 + damage.1].fill(0);
        let (disk, report) = repaired(&image, Repair::All);
        assert!(report.after.is_clean(), "{report:#?}");
        assert!(disk.len() <= bytes.len() as u64 + (2 << 16));
        assert!(disk.written_bytes() <= 3 << 16);
    }
}

#[test]
fn host_allocation_at_zero() {
    let image = sound().with_bytes(BLOCK * CLUSTER, &[0; CLUSTER]).with(TABLE, 0, 0);
    let (disk, report) = repaired(&image, Repair::All);
    assert!(report.rebuilt && report.after.is_clean());
    let writes_header =
        |change: &&Change| matches!(change, Change::Write { offset, .. } if *offset < at(1));
    assert_eq!(disk.changes().iter().filter(writes_header).count(), 1, "the switch only");
}

#[test]
fn host_overlapping_metadata() {
    let image = sound().with(L1, 1, at(BLOCK)).with(L2, 9, at(L1)).with(L2, 10, at(BLOCK) | COPIED);
    let (disk, report) = repaired(&image, Repair::All);
    assert!(report.rebuilt, "{report:#?}");
    assert_eq!(report.after.corruptions, 0, "{report:#?}");
    assert_eq!(Image { bytes: disk.bytes() }.get(L2, 9), 0);
}

/// Every byte of header and tables at some values: no panic; a repair that ends leaves no wrong
/// refcount behind.
#[test]
fn any_byte_may_be_damaged() {
    let image = sound();
    let clusters = [TABLE, BLOCK, L1, L2];
    let places = clusters.iter().flat_map(|cluster| (0..32).map(move |at| cluster * CLUSTER + at));
    for place in (0..112).chain(places) {
        for value in [0, 1, 0x10, 0x40, 0x80, 0xff] {
            let disk = MemDisk::new(image.clone().with_bytes(place, &[value]).bytes);
            let result = repair(&disk, Repair::All, PlantedBugs::NONE).now_or_never().unwrap();
            match result {
                Err(_) => assert!(disk.changes().is_empty(), "byte {place} is {value}"),
                Ok(report) => {
                    let wrong = report.after.leaks + report.after.refcounts_too_low;
                    assert_eq!(wrong, 0, "byte {place} is {value}: {report:#?}");
                    assert_eq!(report.after.corruptions, 0, "byte {place} is {value}");
                }
            }
        }
    }
}

/// In an external data file a guest cluster may be at offset 0, which COPIED tells from nowhere.
#[test]
fn the_first_cluster_of_a_data_file_stays() {
    use plugpull_engine::qcow2::create::{CreateOptions, DataFileOptions};
    let data_file = Some(DataFileOptions { name: "data".into(), raw: false });
    for extended_l2 in [false, true] {
        let data_file = data_file.clone();
        let options = CreateOptions {
            virtual_size: 1 << 20,
            cluster_len: 16384,
            extended_l2,
            data_file,
            ..CreateOptions::default()
        };
        let mut bytes = super::create::created(&options).unwrap().bytes();
        // The L1 table is in the fourth cluster, the L2 table behind it.
        let l2 = 4_u64 * 16384;
        bytes.resize(5 * 16384, 0);
        bytes[3 * 16384..][..8].copy_from_slice(&(l2 | COPIED).to_be_bytes());
        bytes[4 * 16384..][..8].copy_from_slice(&COPIED.to_be_bytes());
        bytes[4 * 16384 + 8..][..8]
            .copy_from_slice(&u64::from(u32::from(extended_l2)).to_be_bytes());
        // The refcount of the table is missing.
        let (disk, report) = repaired(&Image { bytes: bytes.clone() }, Repair::All);
        assert!(report.after.is_clean(), "{report:#?}");
        assert_eq!(disk.bytes()[4 * 16384..], bytes[4 * 16384..], "{extended_l2}");
    }
}
