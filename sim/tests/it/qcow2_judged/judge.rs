//! The judgement of one crash image: as it is, repaired, and read.

use std::fmt;
use std::fs;
use std::ops::AddAssign;

use plugpull_engine::qcow2::check::{CheckReport, check};
use plugpull_engine::qcow2::planted::PlantedBugs;
use plugpull_engine::qcow2::repair::{Repair, repair};
use plugpull_engine::{ByteRange, Error};
use plugpull_sim::crash::{DirectWorld, LazyDisks, Watch};
use plugpull_sim::disk::Image;
use plugpull_sim::system::{Purpose, System};
use tempfile::TempDir;

use super::qemu::{self, Judgement};

/// Of so many images of a scenario one is read.
const READ_ONE_IN: usize = 8;
/// Larger disks are not read.
const READ_LEN_MAX: u64 = 4 << 20;

/// How many images were judged, and what they were like.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) scenarios: usize,
    /// Different ones that were met; the rest is of those that were judged.
    pub(super) distinct: usize,
    pub(super) clean: usize,
    /// Of these, those in which our check finds leaks.
    pub(super) clean_to_qemu_only: usize,
    pub(super) leaking: usize,
    pub(super) copied_clear: usize,
    /// Judged after repair only.
    pub(super) dirty: usize,
    /// Judged after repair.
    pub(super) after: usize,
    /// Of these, those that it has changed.
    pub(super) repaired: usize,
    /// Read by both.
    pub(super) read: usize,
    pub(super) with_backing: usize,
    pub(super) with_data_file: usize,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.scenarios += other.scenarios;
        self.distinct += other.distinct;
        self.clean += other.clean;
        self.clean_to_qemu_only += other.clean_to_qemu_only;
        self.leaking += other.leaking;
        self.copied_clear += other.copied_clear;
        self.dirty += other.dirty;
        self.after += other.after;
        self.repaired += other.repaired;
        self.read += other.read;
        self.with_backing += other.with_backing;
        self.with_data_file += other.with_data_file;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let before = self.clean + self.leaking + self.copied_clear;
        write!(
            f,
            "{} distinct images of {} scenarios; {before} judged as they are ({} clean, {} of them \
             not to us, {} leaking, {} with COPIED clear), {} dirty; {} judged after repair, which changed {}; {} read; {} \
             with a backing file, {} with a data file",
            self.distinct,
            self.scenarios,
            self.clean,
            self.clean_to_qemu_only,
            self.leaking,
            self.copied_clear,
            self.dirty,
            self.after,
            self.repaired,
            self.read,
            self.with_backing,
            self.with_data_file
        )
    }
}

/// A folder in which images are judged, one after the other.
pub(super) struct Judge {
    folder: TempDir,
}

impl Judge {
    pub(super) fn new() -> Self {
        Self { folder: TempDir::new().expect("a temporary folder") }
    }

    /// Judges what the disks of a system hold.
    ///
    /// # Errors
    /// What is wrong.
    pub(super) fn judge(
        &self,
        system: &dyn System,
        number: usize,
        images: Vec<Image>,
        counts: &mut Counts,
    ) -> Result<(), String> {
        let found = |name| usize::from(system.disks().iter().any(|spec| spec.name == name));
        counts.with_backing += found("backing");
        counts.with_data_file += found("data");
        for (spec, image) in system.disks().iter().zip(&images) {
            self.write(&spec.name, image);
        }
        let mut clean = false;
        if is_dirty(&images[0]) {
            counts.dirty += 1;
        } else {
            let judgement = qemu::check(self.folder.path())?;
            clean = judgement == Judgement::Clean;
            *match judgement {
                Judgement::Clean => &mut counts.clean,
                Judgement::Leaks => &mut counts.leaking,
                Judgement::CopiedClear => &mut counts.copied_clear,
            } += 1;
        }
        let (before, repaired) = repaired(system, images.clone())?;
        let changed = repaired[0].to_bytes() != images[0].to_bytes();
        if changed && before.is_clean() {
            return Err("repair changes an image that is clean".to_owned());
        }
        if clean && changed {
            // QEMU does not look at refcounts of clusters behind the end of the file.
            counts.clean_to_qemu_only += 1;
        }
        if changed {
            counts.repaired += 1;
            self.write(qemu::IMAGE, &repaired[0]);
        }
        counts.after += 1;
        // What is clean and has not changed was judged.
        let judgement =
            if clean && !changed { Judgement::Clean } else { qemu::check(self.folder.path())? };
        if judgement != Judgement::Clean {
            return Err(format!("after repair QEMU still finds {judgement:?}"));
        }
        if number.is_multiple_of(READ_ONE_IN) && virtual_size(&repaired[0]) <= READ_LEN_MAX {
            counts.read += 1;
            self.same_content(system, repaired)?;
        }
        Ok(())
    }

    fn same_content(&self, system: &dyn System, images: Vec<Image>) -> Result<(), String> {
        let ours = content(system, images)?;
        let theirs = qemu::content(self.folder.path())?;
        if ours.len() != theirs.len() {
            return Err(format!("QEMU reads {} bytes, we read {}", theirs.len(), ours.len()));
        }
        match ours.iter().zip(&theirs).position(|(ours, theirs)| ours != theirs) {
            None => Ok(()),
            Some(at) => Err(format!("QEMU reads {:#x} at {at}, we {:#x}", theirs[at], ours[at])),
        }
    }

    fn write(&self, name: &str, image: &Image) {
        fs::write(self.folder.path().join(name), image.to_bytes()).expect("room for an image");
    }
}

/// What our check says before a repair, and the images after it.
fn repaired(system: &dyn System, images: Vec<Image>) -> Result<(CheckReport, Vec<Image>), String> {
    let world = world(system, images);
    let disks = world.disks();
    let ended = world.run(async {
        let before = check(&*disks[0], None).await?;
        let report = repair(&*disks[0], Repair::All, PlantedBugs::NONE).await?;
        Ok::<_, Error>((before, report.after))
    });
    let ended = ended.map_err(|stuck| stuck.reason)?;
    let (before, after) = ended.map_err(|error| format!("repair: {error}"))?;
    if !after.is_clean() {
        return Err(format!("after repair we still find {after:#?}"));
    }
    Ok((before, world.visible()))
}

/// What the guest reads, to our engine.
fn content(system: &dyn System, images: Vec<Image>) -> Result<Vec<u8>, String> {
    let len = virtual_size(&images[0]);
    let world = world(system, images);
    let opened = world.run(system.open(world.disks(), world.runtime(), Purpose::Recovery));
    let opened = opened.map_err(|stuck| stuck.reason)?.map_err(|error| format!("open: {error}"))?;
    let read = world.run(opened.read(ByteRange::new(0, len))).map_err(|stuck| stuck.reason)?;
    read.map_err(|error| format!("read: {error}"))
}

fn world(system: &dyn System, images: Vec<Image>) -> DirectWorld {
    let disks = system.disks().iter().cloned().zip(images);
    DirectWorld::new(LazyDisks::new(disks, Watch::Off))
}

/// Incompatible feature bit 0, which there is from version 3 on.
fn is_dirty(image: &Image) -> bool {
    u64_at(image, 0) & 0xffff_ffff >= 3 && u64_at(image, 72) & 1 == 1
}

fn virtual_size(image: &Image) -> u64 {
    u64_at(image, 24)
}

fn u64_at(image: &Image, offset: u64) -> u64 {
    let bytes = image.bytes(offset, 8);
    u64::from_be_bytes(bytes.try_into().expect("eight bytes"))
}
