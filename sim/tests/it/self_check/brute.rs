//! What comes out of a program on every concrete crash image, and which crash images power cuts
//! inside it leave.

use std::collections::BTreeMap;

use plugpull_sim::crash::{LazyDisks, Watch};
use plugpull_sim::disk::DiskSpec;

use super::images::{self, Images};
use super::program::{self, Outcome, Step};

/// What came out how often.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) outcomes: BTreeMap<Outcome, u64>,
    /// By outcome of recovery, query and its answer.
    pub(crate) answers: BTreeMap<(Outcome, usize, Outcome), u64>,
}

/// Recovery, and what is asked after it.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    pub(crate) recovery: Vec<Step>,
    /// These change nothing.
    pub(crate) queries: Vec<Vec<Step>>,
}

/// The task that recovery runs as.
pub(crate) const RECOVERY: u32 = 1;
/// The task that queries run as.
pub(crate) const QUERY: u32 = 2;

fn disks(specs: &[DiskSpec], images: &Images, watch: Watch) -> LazyDisks {
    LazyDisks::new(specs.iter().cloned().zip(images.iter().cloned()), watch)
}

/// Runs recovery and all queries on each of `all`.
pub(crate) fn outcomes(specs: &[DiskSpec], programs: &Programs, all: &[Images]) -> Seen {
    let mut seen = Seen::default();
    for images in all {
        let mut disks = disks(specs, images, Watch::Off);
        let outcome = program::run(&programs.recovery, RECOVERY, &mut disks);
        for (index, query) in programs.queries.iter().enumerate() {
            let answer = program::run(query, QUERY, &mut disks.clone());
            *seen.answers.entry((outcome.clone(), index, answer)).or_default() += 1;
        }
        *seen.outcomes.entry(outcome).or_default() += 1;
    }
    seen
}

/// The distinct images that a power cut may leave at any point of recovery from any of `all`; none
/// if there are more than `most`.
pub(crate) fn cut_inside(
    specs: &[DiskSpec],
    programs: &Programs,
    all: &[Images],
    most: usize,
) -> Option<BTreeMap<Vec<u128>, Images>> {
    let mut left = BTreeMap::new();
    for images in all {
        let mut disks = disks(specs, images, Watch::Every);
        program::run(&programs.recovery, RECOVERY, &mut disks);
        for point in disks.take_points() {
            images::count(&point.spaces, most)?;
            left.extend(
                images::all(&point.spaces).into_iter().map(|images| (images::key(&images), images)),
            );
            if left.len() > most {
                return None;
            }
        }
    }
    Some(left)
}
