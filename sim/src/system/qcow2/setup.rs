//! From a scenario's description of a qcow2 image to disks that are ready to explore.

use std::sync::Arc;

use plugpull_engine::qcow2::create::{
    BackingOptions, BitmapOptions, CreateOptions, DataFileOptions, create,
};
use plugpull_engine::qcow2::planted::PlantedBugs;
use plugpull_engine::{Access, Error, SECTOR};

use crate::disk::{DiskSpec, Image};
use crate::oracle::stamp::Origin;
use crate::scenario::{self, Qcow2Spec, StorageContent};
use crate::system::qcow2::describe::Places;
use crate::system::qcow2::structure::Known;
use crate::system::qcow2::views::Views;
use crate::system::qcow2::{Held, Opening, Qcow2System, structure};
use crate::system::setup::{GuestContent, Setup, SetupFailed, Touched, pattern_content, stamped};
use crate::system::{BoxFuture, Device, ReadDisks};

/// Of images with no more slices than this, all are looked at.
const SLICES_ALL_MAX: u64 = 16;
/// Sectors of the refcount table that are looked at. One is for more than a mebibyte even with the
/// smallest clusters and the widest refcounts.
const REFCOUNT_SECTORS: u64 = 2;

impl Qcow2System {
    /// Creates the image, runs the set-up and takes the result as the start. `touched` is what the
    /// workload uses.
    ///
    /// # Errors
    /// If the engine refuses a step, or what it reads back is wrong before any bug or fault.
    pub fn new(
        spec: &Qcow2Spec,
        disks: &[DiskSpec],
        touched: &Touched,
    ) -> Result<Self, SetupFailed> {
        let opening = Opening {
            access: Access::ReadWrite,
            planted: PlantedBugs::NONE,
            has_data: spec.data_file,
            has_backing: spec.backing.is_some(),
            discards: spec.discards,
            slice_len: spec.slice.min(spec.cluster),
            slices_max: usize::try_from(spec.cache).expect("a number that counts things in memory"),
        };
        let open = move |disks, runtime, access| -> BoxFuture<Result<Arc<dyn Device>, Error>> {
            let opening = Opening { access, ..opening };
            Box::pin(opening.device(disks, runtime))
        };
        let mut setup = Setup::new(disks, blank_disks(spec, disks), &open);
        create_image(&setup, spec)?;
        let content = run(&mut setup, spec)?;
        let start = setup.visible();
        let views = Views::of(&content, touched);
        let opening = Opening {
            access: match spec.access {
                scenario::Access::ReadWrite => Access::ReadWrite,
                scenario::Access::ReadOnly => Access::ReadOnly,
            },
            planted: PlantedBugs::of(&spec.planted),
            ..opening
        };
        let held = &mut Held(&start);
        let len = content.active.len();
        let snapshots = content.snapshots.values().map(Image::len);
        let known = Known {
            start: start.clone(),
            content: content.active.clone(),
            len,
            sizes: snapshots.chain([len]).collect(),
        };
        let slices = slices(held, &views, touched);
        let mut questions = structure::questions(&slices, REFCOUNT_SECTORS);
        if structure::has_bitmaps(held) {
            let asked = touched.queries(len);
            let sectors = asked.iter().flat_map(|range| range.units(SECTOR));
            questions.extend(structure::bitmap_questions(&slices, sectors));
        }
        if spec.damaged {
            // What is broken at the start stays broken.
            questions.retain(|&question| structure::ask(held, question, &known).is_none());
        }
        Ok(Self {
            disks: disks.to_vec(),
            starts_dirty: structure::is_dirty(held),
            exact: structure::exact(held).is_none(),
            places: Places::of(held),
            questions,
            known,
            start,
            damaged: spec.damaged,
            initial: views.content(&content),
            missing: views.missing(&content),
            queries: views.queries(touched),
            views,
            opening,
        })
    }
}

/// The slices in which anything can be mapped: all of a small image, of a large one those in which
/// something is at the start, and those that the workload touches.
fn slices(disks: &mut dyn ReadDisks, views: &Views, touched: &Touched) -> Vec<u64> {
    let Some((slice_len, _)) = structure::slice_and_cluster_len(disks) else { return Vec::new() };
    let all = views.largest().div_ceil(slice_len);
    if all <= SLICES_ALL_MAX {
        return (0..all).collect();
    }
    let mut slices = structure::mapped_slices(disks, all);
    slices.extend(touched.ranges.iter().flat_map(|range| range.units(slice_len)));
    slices.sort_unstable();
    slices.dedup();
    slices
}

fn create_image(setup: &Setup<'_>, spec: &Qcow2Spec) -> Result<(), SetupFailed> {
    let options = CreateOptions {
        virtual_size: spec.size,
        version: spec.version,
        cluster_len: spec.cluster,
        refcount_bits: spec.refcount_bits.into(),
        backing: spec
            .backing
            .as_ref()
            .map(|_| BackingOptions { name: "backing".to_owned(), format: Some("raw".to_owned()) }),
        lazy_refcounts: spec.lazy_refcounts,
        compression: spec.compression,
        extended_l2: spec.extended_l2,
        data_file: spec.data_file.then(|| DataFileOptions { name: "data".to_owned(), raw: false }),
        bitmaps: spec
            .bitmap
            .iter()
            .map(|&granularity| BitmapOptions { name: "changes".to_owned(), granularity })
            .collect(),
    };
    let disks = setup.disks();
    setup.step("create", async move { create(disks[0].as_ref(), &options).await.map(drop) })
}

/// Runs the operations; what the guest must read afterwards.
fn run(setup: &mut Setup<'_>, spec: &Qcow2Spec) -> Result<GuestContent, SetupFailed> {
    let mut content = GuestContent::fresh(spec.size, spec.backing.as_ref());
    setup.open("open", Access::ReadWrite)?;
    for (index, op) in (0..).zip(&spec.setup) {
        let step = format!("step {} ({op})", index + 1);
        setup.op(&step, index, op, &mut content)?;
    }
    setup.close("close")?;
    Ok(content)
}

/// Disks before creation: empty, or full of what was there before.
fn blank_disks(spec: &Qcow2Spec, disks: &[DiskSpec]) -> Vec<Image> {
    let old_len = |disk: &DiskSpec| match (spec.storage, disk.name.as_str()) {
        (StorageContent::OldContent, "data") => 2 * spec.size.next_multiple_of(1 << 16),
        // Room for the tables as well.
        (StorageContent::OldContent, "image") if !spec.data_file => {
            2 * spec.size.next_multiple_of(1 << 16) + (1 << 20)
        }
        _ => 0,
    };
    disks
        .iter()
        .map(|disk| match &spec.backing {
            Some(backing) if disk.name == "backing" => pattern_content(backing),
            _ => stamped(old_len(disk), |sector| Origin::Old { sector }),
        })
        .collect()
}
