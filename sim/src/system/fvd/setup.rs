//! From a scenario's description of an FVD image to disks that are ready to explore.

use std::sync::Arc;
use std::time::Duration;

use plugpull_engine::Access;
use plugpull_engine::Error;
use plugpull_engine::fvd::create::{
    BaseOptions, CompactOptions, CreateOptions, JournalSize, PrefetchOptions, create,
};
use plugpull_engine::fvd::geometry::Geometry;
use plugpull_engine::fvd::grow::grow;
use plugpull_engine::fvd::header::Header;
use plugpull_engine::fvd::planted::PlantedBugs;

use crate::crash::{LazyDisks, Watch};
use crate::disk::{DiskSpec, Image};
use crate::oracle::stamp::Origin;
use crate::scenario::{self, BaseSpec, FvdSpec, PrefetchSpec, StorageContent};
use crate::system::fvd::describe::Layout;
use crate::system::fvd::structure;
use crate::system::fvd::{FvdSystem, Opening};
use crate::system::setup::{
    GuestContent, Setup, SetupFailed, Touched, pattern_content, refused, stamped,
};
use crate::system::{BoxFuture, Device};
use crate::workload::SetupOp;

impl FvdSystem {
    /// Creates the image, runs the set-up and takes the result as the start. `touched` is what the
    /// workload uses.
    ///
    /// # Errors
    /// If the engine refuses a step, or what it reads back is wrong before any bug or fault.
    pub fn new(spec: &FvdSpec, disks: &[DiskSpec], touched: &Touched) -> Result<Self, SetupFailed> {
        let opening = Opening {
            access: Access::ReadWrite,
            background: false,
            planted: PlantedBugs::NONE,
            has_data: spec.data_file,
            has_base: spec.base.is_some(),
        };
        let open = move |disks, runtime, access| -> BoxFuture<Result<Arc<dyn Device>, Error>> {
            let opening = Opening { access, ..opening };
            Box::pin(opening.device(disks, runtime))
        };
        let mut setup = Setup::new(disks, blank_disks(spec, disks), &open);
        create_image(&setup, spec)?;
        let mut layout = layout(&setup)?;
        let initial = run(&mut setup, spec, &mut layout)?;
        let start = setup.visible();
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
            queries: touched.queries(initial.len()),
            initial,
            layout,
            opening,
        })
    }
}

fn create_image(setup: &Setup<'_>, spec: &FvdSpec) -> Result<(), SetupFailed> {
    let options = create_options(spec);
    let disks = setup.disks();
    let base = spec.base.as_ref().map(|_| disks.last().expect("the base").clone());
    setup.step("create", async move {
        create(disks[0].as_ref(), &options, base.as_deref()).await.map(drop)
    })
}

/// Where everything is now.
fn layout(setup: &Setup<'_>) -> Result<Layout, SetupFailed> {
    let image = &setup.visible()[0];
    let header = read_header(image)?;
    Geometry::validate(&header, image.len(), PlantedBugs::NONE)
        .map(Layout::new)
        .map_err(|error| refused("validate", error))
}

/// Runs the operations; what the guest must read afterwards.
fn run(
    setup: &mut Setup<'_>,
    spec: &FvdSpec,
    layout_now: &mut Layout,
) -> Result<Image, SetupFailed> {
    let base = spec.base.as_ref().map(|base| &base.pattern);
    let mut content = GuestContent::fresh(spec.size, base);
    setup.open("open", Access::ReadWrite)?;
    for (index, op) in (0..).zip(&spec.setup) {
        let step = format!("step {} ({op})", index + 1);
        setup.op(&step, index, op, &mut content)?;
        if let SetupOp::Grow(size) = *op {
            grow_image(setup, &step, size, spec)?;
            content.active.set_len(size);
            // A planted bug may leave an image that nobody can lay out.
            if let Ok(grown) = layout(setup) {
                *layout_now = grown;
            }
        }
    }
    setup.close("close")?;
    Ok(content.active)
}

/// Makes the virtual disk larger. Unlike the rest of the set-up with the planted bugs, since
/// what they do to it happens here and not later.
fn grow_image(setup: &Setup<'_>, step: &str, size: u64, spec: &FvdSpec) -> Result<(), SetupFailed> {
    let disks = setup.disks();
    let data = spec.data_file.then(|| disks[1].clone());
    let planted = PlantedBugs::of(&spec.planted);
    setup.step(step, async move {
        grow(disks[0].as_ref(), data.as_deref(), size, planted).await.map(drop)
    })
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
            Some(base) if disk.name == "base" => pattern_content(&base.pattern),
            _ => stamped(old_len(disk), |sector| Origin::Old { sector }),
        })
        .collect()
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
