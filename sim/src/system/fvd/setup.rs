//! From a scenario's description to disks that are ready to explore.
//!
//! The set-up runs without planted bugs and without faults, on disks that answer at once. What the
//! guest must read afterwards is computed from the operations, not asked of the engine.

use std::time::Duration;

use plugpull_engine::Access;
use plugpull_engine::fvd::Fvd;
use plugpull_engine::fvd::create::{
    BaseOptions, CompactOptions, CreateOptions, JournalSize, PrefetchOptions, create,
};
use plugpull_engine::fvd::geometry::Geometry;
use plugpull_engine::fvd::grow::grow;
use plugpull_engine::fvd::header::Header;
use plugpull_engine::fvd::planted::PlantedBugs;
use plugpull_engine::{ByteRange, Error, SECTOR};

use crate::crash::direct::Stuck;
use crate::crash::{DirectWorld, LazyDisks, Watch};
use crate::disk::{DiskSpec, Image};
use crate::oracle::stamp::{self, Origin};
use crate::scenario::{self, BaseSpec, FvdSpec, PrefetchSpec, StorageContent};
use crate::system::fvd::describe::Layout;
use crate::system::fvd::structure;
use crate::system::fvd::{FvdSystem, Opening};
use crate::workload::{GuestOp, SetupOp};

/// Virtual disks up to this size are read back completely after recovery; of larger ones, the
/// surroundings of what the workload touches.
const READ_ALL_MAX: u64 = 1 << 20;
/// The surroundings: a touched range is rounded out to this.
const SURROUNDINGS: u64 = 64 << 10;

/// Why a scenario cannot be set up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetupFailed {
    /// The engine refused.
    #[error("set-up, {step}: {error}")]
    Refused {
        /// Which step.
        step: String,
        /// Why.
        error: Error,
    },
    /// The engine never answered.
    #[error("set-up, {step}: {reason}")]
    Stuck {
        /// Which step.
        step: String,
        /// Why.
        reason: String,
    },
    /// The disks of an open image are not to be touched.
    #[error("set-up, {step}: the image is still open; close or kill it first")]
    StillOpen {
        /// Which step.
        step: String,
    },
    /// The guest reads something else than what the set-up wrote.
    #[error("after the set-up, {0}")]
    WrongContent(String),
}

impl FvdSystem {
    /// Creates the image, runs the set-up and takes the result as the start. `touched` are the
    /// guest ranges that the workload uses.
    ///
    /// # Errors
    /// If the engine refuses a step, or what it reads back is wrong before any bug or fault.
    pub fn new(
        spec: &FvdSpec,
        disks: &[DiskSpec],
        touched: &[ByteRange],
    ) -> Result<Self, SetupFailed> {
        let opening = Opening {
            access: Access::ReadWrite,
            background: false,
            planted: PlantedBugs::NONE,
            has_data: spec.data_file,
            has_base: spec.base.is_some(),
        };
        let images = blank_disks(spec, disks);
        let mut setup = Setup { specs: disks, opening, world: world(disks, images), fvd: None };
        setup.create(spec)?;
        let mut layout = setup.layout()?;
        let initial = setup.run(spec, &mut layout)?;
        let start = setup.world.visible();
        let mut disks_at_start =
            LazyDisks::new(disks.iter().cloned().zip(start.clone()), Watch::Off);
        let clean_is_complete = (0..layout.journal_sectors()).all(|sector| {
            let disks = &mut disks_at_start;
            structure::clean_maps_are_complete(disks, spec.data_file, sector).is_none()
        });
        let starts_unclean = read_header(&start[0]).is_ok_and(|header| !header.is_clean());
        let opening = Opening {
            access: match spec.access {
                scenario::Access::ReadWrite => Access::ReadWrite,
                scenario::Access::ReadOnly => Access::ReadOnly,
            },
            background: true,
            planted: PlantedBugs::of(&spec.planted),
            ..opening
        };
        Ok(Self {
            disks: disks.to_vec(),
            start,
            starts_unclean,
            damaged: spec.damaged,
            clean_is_complete,
            queries: queries(initial.len(), touched),
            initial,
            layout,
            opening,
        })
    }
}

fn world(disks: &[DiskSpec], images: Vec<Image>) -> DirectWorld {
    DirectWorld::new(LazyDisks::new(disks.iter().cloned().zip(images), Watch::Off))
}

struct Setup<'a> {
    specs: &'a [DiskSpec],
    opening: Opening,
    world: DirectWorld,
    fvd: Option<Fvd>,
}

impl Setup<'_> {
    fn create(&mut self, spec: &FvdSpec) -> Result<(), SetupFailed> {
        let options = create_options(spec);
        let disks = self.world.disks();
        let base = spec.base.as_ref().map(|_| disks.last().expect("the base").clone());
        self.step("create", async move {
            create(disks[0].as_ref(), &options, base.as_deref()).await.map(drop)
        })
    }

    /// Where everything is now.
    fn layout(&self) -> Result<Layout, SetupFailed> {
        let image = &self.world.visible()[0];
        let header = read_header(image)?;
        Geometry::validate(&header, image.len(), PlantedBugs::NONE)
            .map(Layout::new)
            .map_err(|error| refused("validate", error))
    }

    /// Runs the operations; what the guest must read afterwards.
    fn run(&mut self, spec: &FvdSpec, layout: &mut Layout) -> Result<Image, SetupFailed> {
        let mut content = initial_content(spec);
        self.open("open", Access::ReadWrite)?;
        for (index, op) in (0..).zip(&spec.setup) {
            let step = format!("step {} ({op})", index + 1);
            self.op(&step, index, op, &mut content)?;
            if let SetupOp::Grow(size) = *op {
                self.grow(&step, size, PlantedBugs::of(&spec.planted), spec.data_file)?;
                content.set_len(size);
                // A planted bug may leave an image that nobody can lay out.
                if let Ok(grown) = self.layout() {
                    *layout = grown;
                }
            }
        }
        if let Some(fvd) = self.fvd.take() {
            self.step("close", async move { fvd.close().await })?;
        }
        Ok(content)
    }

    fn op(
        &mut self,
        step: &str,
        index: u64,
        op: &SetupOp,
        content: &mut Image,
    ) -> Result<(), SetupFailed> {
        match op {
            SetupOp::Kill => {
                self.fvd = None;
                let images = self.world.visible();
                self.world = world(self.specs, images);
            }
            SetupOp::Reopen => self.reopen(step, Access::ReadWrite)?,
            SetupOp::ReopenReadonly => self.reopen(step, Access::ReadOnly)?,
            SetupOp::Guest(op) => self.guest(step, index, *op, content)?,
            SetupOp::Grow(_) | SetupOp::Poke { .. } if self.fvd.is_some() => {
                return Err(SetupFailed::StillOpen { step: step.to_owned() });
            }
            SetupOp::Grow(_) => {}
            SetupOp::Poke { disk, offset, bytes } => self.poke(disk, *offset, bytes),
        }
        Ok(())
    }

    fn guest(
        &mut self,
        step: &str,
        index: u64,
        op: GuestOp,
        content: &mut Image,
    ) -> Result<(), SetupFailed> {
        let Some(fvd) = self.fvd.clone() else {
            return Err(refused(step, Error::Closed));
        };
        match op {
            GuestOp::Write { offset, len } => {
                let serial = stamp::serial(0, 0, index);
                let data = stamp::write_content(offset / SECTOR, len / SECTOR, serial);
                content.write(offset, &data);
                self.step(step, async move { fvd.write(offset, data).await })
            }
            GuestOp::Read { offset, len } => {
                let range = ByteRange::new(offset, len);
                let bytes = self.step(step, async move { fvd.read(range).await })?;
                let mut expected = vec![0; bytes.len()];
                content.read(offset, &mut expected);
                if bytes == expected {
                    return Ok(());
                }
                Err(SetupFailed::WrongContent(format!("{step} returns other data")))
            }
            GuestOp::Flush => self.step(step, async move { fvd.flush().await }),
            GuestOp::Close => {
                self.fvd = None;
                self.step(step, async move { fvd.close().await })
            }
            GuestOp::WaitForJobs => Ok(()),
            GuestOp::Sleep(time) => {
                let runtime = self.world.runtime();
                self.step(step, async move {
                    runtime.sleep(time).await;
                    Ok(())
                })
            }
        }
    }

    /// Makes the virtual disk larger. Unlike the rest of the set-up with the planted bugs, since
    /// what they do to it happens here and not later.
    fn grow(
        &mut self,
        step: &str,
        size: u64,
        planted: PlantedBugs,
        has_data: bool,
    ) -> Result<(), SetupFailed> {
        let disks = self.world.disks();
        let data = has_data.then(|| disks[1].clone());
        self.step(step, async move {
            grow(disks[0].as_ref(), data.as_deref(), size, planted).await.map(drop)
        })
    }

    fn poke(&mut self, disk: &str, offset: u64, bytes: &[u8]) {
        let mut images = self.world.visible();
        let place = self.specs.iter().position(|spec| spec.name == disk);
        let image = &mut images[place.expect("the reader of scenarios knows the disks")];
        image.set_len(image.len().max(offset + bytes.len() as u64));
        image.write(offset, bytes);
        self.world = world(self.specs, images);
    }

    fn reopen(&mut self, step: &str, access: Access) -> Result<(), SetupFailed> {
        if let Some(fvd) = self.fvd.take() {
            self.step(step, async move { fvd.close().await })?;
        }
        self.open(step, access)
    }

    fn open(&mut self, step: &str, access: Access) -> Result<(), SetupFailed> {
        let opening = Opening { access, ..self.opening };
        let (disks, runtime) = (self.world.disks(), self.world.runtime());
        self.fvd = Some(self.step(step, opening.open(disks, runtime))?);
        Ok(())
    }

    fn step<T>(
        &self,
        step: &str,
        future: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, SetupFailed> {
        match self.world.run(future) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(refused(step, error)),
            Err(Stuck { reason }) => Err(SetupFailed::Stuck { step: step.to_owned(), reason }),
        }
    }
}

fn refused(step: &str, error: Error) -> SetupFailed {
    SetupFailed::Refused { step: step.to_owned(), error }
}

fn read_header(image: &Image) -> Result<Header, SetupFailed> {
    let mut bytes = vec![0; plugpull_engine::fvd::header::HEADER_LEN];
    image.read(0, &mut bytes);
    Header::parse(&bytes).map_err(|error| refused("read the header", error))
}

/// Disks before creation: empty, or full of what was there before.
fn blank_disks(spec: &FvdSpec, disks: &[DiskSpec]) -> Vec<Image> {
    let old_len = |disk: &DiskSpec| match (spec.storage, disk.name.as_str()) {
        (StorageContent::OldContent, "data") => 2 * spec.size.next_multiple_of(1 << 16),
        // Room for the maps as well.
        (StorageContent::OldContent, "image") if !spec.data_file => {
            2 * spec.size.next_multiple_of(1 << 16) + (1 << 20)
        }
        _ => 0,
    };
    disks
        .iter()
        .map(|disk| match &spec.base {
            Some(base) if disk.name == "base" => base_content(base),
            _ => stamped(old_len(disk), |sector| Origin::Old { sector }),
        })
        .collect()
}

fn stamped(len: u64, origin: impl Fn(u64) -> Origin) -> Image {
    let mut image = Image::zeroed(len);
    for sector in 0..len / SECTOR {
        image.write(sector * SECTOR, &origin(sector).content());
    }
    image
}

/// Stamped sectors and holes; a hole costs nothing, however large.
fn base_content(base: &BaseSpec) -> Image {
    let mut image = Image::zeroed(base.len);
    let mut sector = 0;
    while sector < base.len / SECTOR {
        let at = sector * SECTOR;
        match base.holes.iter().find(|hole| hole.offset <= at && at < hole.end()) {
            Some(hole) => sector = hole.end() / SECTOR,
            None => {
                image.write(at, &Origin::Base { sector }.content());
                sector += 1;
            }
        }
    }
    image
}

/// What the guest reads of a fresh image.
fn initial_content(spec: &FvdSpec) -> Image {
    let mut content = match &spec.base {
        Some(base) => base_content(base),
        None => Image::zeroed(0),
    };
    content.set_len(spec.size);
    content
}

/// What is read back after recovery.
fn queries(size: u64, touched: &[ByteRange]) -> Vec<ByteRange> {
    if size <= READ_ALL_MAX {
        return vec![ByteRange::new(0, size)];
    }
    let mut ranges: Vec<ByteRange> = touched
        .iter()
        .map(|range| range.aligned_out(SURROUNDINGS).intersection(ByteRange::new(0, size)))
        .filter(|range| !range.is_empty())
        .collect();
    ranges.sort();
    let mut merged: Vec<ByteRange> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.offset <= last.end() => {
                *last = ByteRange::between(last.offset, last.end().max(range.end()));
            }
            _ => merged.push(range),
        }
    }
    merged
}

/// What the scenario leaves out takes the engine's defaults.
fn create_options(spec: &FvdSpec) -> CreateOptions {
    CreateOptions {
        virtual_size: spec.size,
        base: spec.base.as_ref().map(base_options),
        data_file: if spec.data_file { "data".to_owned() } else { String::new() },
        compact: spec.compact.map(|compact| CompactOptions {
            chunk_size: Some(compact.chunk),
            storage_grow_unit: Some(compact.grow_unit),
        }),
        journal_size: spec.journal.map_or(JournalSize::None, JournalSize::Bytes),
        ..CreateOptions::default()
    }
}

fn base_options(base: &BaseSpec) -> BaseOptions {
    BaseOptions {
        block_size: Some(base.block),
        copy_on_read: base.copy_on_read,
        max_outstanding_copy_on_read_data: base.max_copy_on_read,
        detect_sparse_hole: base.detect_holes,
        prefetch: base.prefetch.as_ref().map(prefetch_options).unwrap_or_default(),
        ..BaseOptions::new("base")
    }
}

fn prefetch_options(prefetch: &PrefetchSpec) -> PrefetchOptions {
    let number = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
    let millis = |time: Duration| i32::try_from(time.as_millis()).unwrap_or(i32::MAX);
    let options = PrefetchOptions {
        start_delay: number(prefetch.start_delay),
        slots: number(prefetch.slots),
        bytes: Some(i32::try_from(prefetch.bytes).unwrap_or(i32::MAX)),
        throttle_time: 0,
        ..PrefetchOptions::default()
    };
    let Some(throttle) = &prefetch.throttle else { return options };
    PrefetchOptions {
        read_measure_time: millis(throttle.read_measure),
        write_measure_time: millis(throttle.write_measure),
        alpha: number(throttle.alpha),
        min_read_throughput: number(throttle.min_read),
        min_write_throughput: number(throttle.min_write),
        throttle_time: millis(throttle.pause),
        ..options
    }
}
