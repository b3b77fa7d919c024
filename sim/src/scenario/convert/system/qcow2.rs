//! `[system]` of a qcow2 image whose parts fit together.

use plugpull_engine::qcow2::header::Compression;
use plugpull_engine::qcow2::planted::Bug;

use super::{Key, access, flag, held_pattern, key, pattern, planted, storage};
use crate::scenario::convert::Result;
use crate::scenario::convert::value::{at_most, named, positive_u32, size, sparse_size};
use crate::scenario::convert::workload::{Requests, setup};
use crate::scenario::error::Problem;
use crate::scenario::file::{self, Number, Text};
use crate::scenario::{PatternSpec, Qcow2Spec, StorageContent};

/// Smallest and largest cluster, in bytes.
const CLUSTERS: [u64; 2] = [512, 2 << 20];
/// Least and most bytes per bit of a dirty bitmap.
const GRANULARITIES: [u64; 2] = [512, 64 << 20];
/// The smallest cluster that has subclusters of whole sectors.
const EXTENDED_CLUSTER_MIN: u64 = 16 << 10;

/// The keys that only such an image has.
pub(super) fn own_keys(shape: &file::System) -> Vec<Key> {
    vec![
        key("version", &shape.version),
        key("cluster", &shape.cluster),
        key("refcount_bits", &shape.refcount_bits),
        key("backing", &shape.backing),
        key("lazy_refcounts", &shape.lazy_refcounts),
        key("compression", &shape.compression),
        key("extended_l2", &shape.extended_l2),
        key("discards", &shape.discards),
        key("bitmap", &shape.bitmap),
        key("slice", &shape.slice),
        key("cache", &shape.cache),
    ]
}

pub(super) fn qcow2(shape: &file::System) -> Result<Qcow2Spec> {
    let bytes = sparse_size(&shape.size)?;
    let version = version(&shape.version)?;
    let Some(cluster_text) = &shape.cluster else {
        let expected = "expected `cluster`, such as \"64 KiB\"";
        return Err(Problem::at(&shape.kind, "no word about the cluster", expected));
    };
    let cluster = power_of_two(cluster_text, CLUSTERS)?;
    if flag(&shape.extended_l2) && cluster < EXTENDED_CLUSTER_MIN {
        let expected = format!("expected at least {EXTENDED_CLUSTER_MIN} with extended_l2 = true");
        return Err(Problem::at(cluster_text, "clusters too small for subclusters", expected));
    }
    let compressions = [("deflate", Compression::Deflate), ("zstd", Compression::Zstd)];
    let compression = match &shape.compression {
        None => Compression::Deflate,
        Some(text) => named(text, "compression", &compressions)?,
    };
    if version == 2 {
        only_version_3(shape, compression)?;
    }
    let backing = pattern(&shape.backing, "backing file", bytes)?.map(|(_, pattern)| pattern);
    let storage = storage(shape)?;
    at_most(&shape.size, held_bytes(bytes, cluster, backing.as_ref(), storage))?;
    let mut spec = Qcow2Spec {
        size: bytes,
        version,
        cluster,
        refcount_bits: refcount_bits(&shape.refcount_bits, version)?,
        backing,
        lazy_refcounts: flag(&shape.lazy_refcounts),
        compression,
        extended_l2: flag(&shape.extended_l2),
        data_file: flag(&shape.data_file),
        discards: flag(&shape.discards),
        bitmap: match &shape.bitmap {
            None => None,
            Some(text) => Some(power_of_two(text, GRANULARITIES)?),
        },
        slice: match &shape.slice {
            None => Qcow2Spec::SLICE,
            Some(text) => power_of_two(text, CLUSTERS)?,
        },
        cache: shape.cache.as_ref().map_or(Ok(Qcow2Spec::CACHE), positive_u32)?,
        storage,
        access: access(shape)?,
        setup: Vec::new(),
        damaged: shape.damaged,
        planted: planted(&shape.planted, Bug::ALL, Bug::id)?,
    };
    spec.setup = setup(&shape.setup, &mut Requests::of_qcow2(&spec), &spec.disk_names())?;
    Ok(spec)
}

fn version(shape: &Option<Number>) -> Result<u32> {
    match shape.as_ref().map(|number| (number, *number.get_ref())) {
        None => Ok(Qcow2Spec::VERSION),
        Some((_, 2)) => Ok(2),
        Some((_, 3)) => Ok(3),
        Some((number, other)) => {
            Err(Problem::at(number, format!("qcow2 version {other}"), "expected 2 or 3"))
        }
    }
}

/// Refuses what version 2 has no room for.
fn only_version_3(shape: &file::System, compression: Compression) -> Result<()> {
    let flags = [
        ("lazy_refcounts", &shape.lazy_refcounts),
        ("extended_l2", &shape.extended_l2),
        ("data_file", &shape.data_file),
    ];
    let problem = |key: &str| format!("`{key}` in version 2");
    let expected = "expected version = 3 with it";
    for (key, value) in flags {
        if let Some(place) = value.as_ref().filter(|flag| *flag.get_ref()) {
            return Err(Problem::at(place, problem(key), expected));
        }
    }
    if let Some(place) = &shape.bitmap {
        return Err(Problem::at(place, problem("bitmap"), expected));
    }
    match &shape.compression {
        Some(place) if compression == Compression::Zstd => {
            Err(Problem::at(place, problem("compression"), expected))
        }
        _ => Ok(()),
    }
}

fn refcount_bits(shape: &Option<Number>, version: u32) -> Result<u32> {
    let Some(number) = shape else { return Ok(Qcow2Spec::REFCOUNT_BITS) };
    let bits = *number.get_ref();
    let problem = format!("refcounts of {bits} bits");
    if !bits.is_power_of_two() || bits > 64 {
        return Err(Problem::at(number, problem, "expected a power of two up to 64"));
    }
    if version == 2 && bits != 16 {
        return Err(Problem::at(number, problem, "expected 16 in version 2"));
    }
    positive_u32(number)
}

fn power_of_two(text: &Text, [min, max]: [u64; 2]) -> Result<u64> {
    let bytes = size(text)?;
    if !bytes.is_power_of_two() || !(min..=max).contains(&bytes) {
        let problem = format!("{bytes} is not a power of two from {min} to {max}");
        return Err(Problem::at(text, problem, "expected a size such as \"4 KiB\" or \"64 KiB\""));
    }
    Ok(bytes)
}

/// The most that any one part of a fresh image holds in memory: the L1 table, the content of the
/// backing file outside its holes, old content of the storage.
fn held_bytes(
    size: u64,
    cluster: u64,
    backing: Option<&PatternSpec>,
    storage: StorageContent,
) -> u64 {
    let l1 = 8 * size.div_ceil(cluster).div_ceil(cluster / 16);
    let old = if storage == StorageContent::OldContent { size } else { 0 };
    l1.max(backing.map_or(0, held_pattern)).max(old)
}
