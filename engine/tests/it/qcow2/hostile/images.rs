//! Good images, each small, together with every structure there is.

use std::sync::Arc;

use plugpull_engine::qcow2::bitmap_directory::{BitmapEntry, to_bytes};
use plugpull_engine::qcow2::create::{BackingOptions, CreateOptions, DataFileOptions, create};
use plugpull_engine::qcow2::header::{
    BitmapsExtension, Compression, Extension, Header, autoclear, incompatible,
};
use plugpull_engine::qcow2::planted::PlantedBugs;
use plugpull_engine::qcow2::repair::{Repair, repair};
use plugpull_engine::qcow2::{OpenOptions, Qcow2};
use plugpull_engine::resolver::{BoxFuture, Resolver, Role};
use plugpull_engine::{Access, ByteRange, Disk, Error, LocalRuntime};

use super::disk::Counted;
use crate::mem_disk::MemDisk;

/// A good image, and what it needs.
pub(super) struct Good {
    pub(super) name: &'static str,
    pub(super) bytes: Vec<u8>,
    pub(super) cluster_len: usize,
    /// Of how many mutants one is tried, because each takes long.
    pub(super) stride: u64,
    pub(super) data: Arc<Vec<u8>>,
}

/// Gives any data file and any backing file.
#[derive(Clone)]
pub(super) struct Files {
    pub(super) data: Counted,
    pub(super) base: Counted,
}

impl Resolver for Files {
    fn open<'a>(
        &'a self,
        role: Role,
        _name: &'a str,
        _format: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Arc<dyn Disk>, Error>> {
        let disk = match role {
            Role::Base => self.base.clone(),
            Role::Data => self.data.clone(),
        };
        Box::pin(std::future::ready(Ok(Arc::new(disk) as Arc<dyn Disk>)))
    }
}

pub(super) fn now<T>(future: impl Future<Output = T>) -> T {
    LocalRuntime::new(1).block_on(future)
}

impl Files {
    pub(super) fn new(data: &Arc<Vec<u8>>) -> Self {
        let base = Counted::new(Arc::new(vec![0xBA; 16384]));
        Self { data: Counted::new(Arc::clone(data)), base }
    }

    pub(super) fn open_disk(
        &self,
        disk: impl Disk + 'static,
        access: Access,
    ) -> Result<Qcow2, Error> {
        let resolver = Arc::new(self.clone());
        let options = OpenOptions::new(access, resolver, Arc::new(LocalRuntime::new(1)));
        now(Qcow2::open(Arc::new(disk), options))
    }
}

/// What is done to an image after it was created.
#[derive(Clone, Copy)]
struct Made {
    snapshots: bool,
    bitmap: bool,
    dirty: bool,
}

const PLAIN: Made = Made { snapshots: false, bitmap: false, dirty: false };

/// An image with all kinds of clusters in two L2 tables.
fn made(name: &'static str, options: &CreateOptions, what: Made) -> Good {
    let disk = MemDisk::new(Vec::new());
    now(create(&disk, options)).expect("good options");
    let files = Files::new(&Arc::default());
    let image = files.open_disk(disk.clone(), Access::ReadWrite).expect("a new image");
    let len = options.cluster_len;
    let cluster = |fill: u8| vec![fill; usize::try_from(len).expect("a cluster")];
    let range = |index: u64| ByteRange::new(index * len, len);
    for index in [0, 1, 4, 5, 6] {
        let fill = u8::try_from(0x10 + index).expect("a byte");
        now(image.write(index * len, cluster(fill))).expect("a write");
    }
    now(image.write(options.virtual_size - 512, vec![0x1F; 512])).expect("a write");
    if options.data_file.is_none() {
        now(image.write_compressed(2 * len, cluster(0x12))).expect("a write");
        now(image.write_compressed(3 * len, cluster(0x13))).expect("a write");
    }
    now(image.write_zeroes(range(4), false)).expect("zeros");
    now(image.write_zeroes(range(5), true)).expect("zeros");
    if what.snapshots {
        now(image.create_snapshot("first")).expect("a snapshot");
        now(image.write(0, cluster(0x20))).expect("a write");
        now(image.write(2 * len + 512 % len, vec![0x21; 512])).expect("a write");
        now(image.create_snapshot("second")).expect("a snapshot");
        now(image.write(len, vec![0x22; 512])).expect("a write");
    }
    now(image.close()).expect("a close");
    let mut bytes = disk.bytes();
    if what.bitmap {
        bytes = with_bitmap(bytes);
    }
    let disk = MemDisk::new(bytes);
    now(repair(&disk, Repair::All, PlantedBugs::NONE)).expect("a repair");
    let mut bytes = disk.bytes();
    if what.dirty {
        change_header(&mut bytes, |header| header.incompatible |= incompatible::DIRTY);
    }
    let cluster_len = usize::try_from(len).expect("a cluster");
    let stride = match cluster_len {
        0..=4096 => 1,
        4097..=16384 => 7,
        _ => {
            if cfg!(debug_assertions) {
                7
            } else {
                23
            }
        }
    };
    Good {
        name,
        bytes,
        cluster_len,
        stride,
        data: Arc::new(files.data.peek(0, file_len(&files.data))),
    }
}

fn file_len(disk: &Counted) -> usize {
    usize::try_from(disk.len()).expect("a small file")
}

/// Prints the header anew.
fn change_header(bytes: &mut [u8], change: impl FnOnce(&mut Header)) {
    let mut header = now(Header::read(&MemDisk::new(bytes.to_vec()))).expect("a good header");
    change(&mut header);
    let printed = header.to_bytes().expect("a header that fits");
    bytes[..printed.len()].copy_from_slice(&printed);
}

/// Adds a directory of two bitmaps, of which one is in use and one has a cluster of bits.
fn with_bitmap(mut bytes: Vec<u8>) -> Vec<u8> {
    let header = now(Header::read(&MemDisk::new(bytes.clone()))).expect("a good header");
    let len = usize::try_from(header.cluster_len()).expect("a cluster");
    let start = bytes.len().next_multiple_of(len);
    bytes.resize(start + 4 * len, 0);
    let at = |cluster: usize| (start + cluster * len) as u64;
    let bitmap = |name: &str, table_offset, in_use| BitmapEntry {
        name: name.into(),
        table_offset,
        table_entries: 1,
        in_use,
        auto: true,
        extra_data_compatible: true,
        granularity_bits: 9,
        extra: vec![7; 8],
    };
    let entries = [bitmap("kept", at(1), false), bitmap("lost", at(2), true)];
    let directory = to_bytes(&entries).expect("a directory");
    bytes[start..start + directory.len()].copy_from_slice(&directory);
    bytes[start + len..start + len + 8].copy_from_slice(&at(3).to_be_bytes());
    bytes[start + 2 * len..start + 2 * len + 8].copy_from_slice(&1_u64.to_be_bytes());
    bytes[start + 3 * len] = 0x55;
    change_header(&mut bytes, |header| {
        let directory_len = directory.len() as u64;
        header.bitmaps =
            Some(BitmapsExtension { count: 2, directory_len, directory_offset: at(0) });
        header.autoclear |= autoclear::BITMAPS;
        header.feature_names.truncate(2);
        let data = b"unknown".to_vec();
        header.unknown_extensions.push(Extension { kind: 77, data });
    });
    bytes
}

fn backing() -> Option<BackingOptions> {
    Some(BackingOptions { name: "base".into(), format: Some("raw".into()) })
}

fn options(cluster_len: u64, virtual_size: u64) -> CreateOptions {
    CreateOptions { cluster_len, virtual_size, ..CreateOptions::default() }
}

pub(super) fn version_2() -> Good {
    let options = CreateOptions { version: 2, backing: backing(), ..options(512, 40 << 10) };
    made("version 2", &options, Made { snapshots: true, ..PLAIN })
}

pub(super) fn sectors() -> Good {
    let options = CreateOptions { backing: backing(), ..options(512, 40 << 10) };
    made("clusters of a sector", &options, Made { snapshots: true, bitmap: true, ..PLAIN })
}

pub(super) fn one_bit_refcounts() -> Good {
    let options = CreateOptions { refcount_bits: 1, ..options(512, 40 << 10) };
    // Compressed clusters share a host cluster, which one bit cannot count.
    made("refcounts of one bit", &options, Made { bitmap: true, ..PLAIN })
}

pub(super) fn wide_refcounts_and_bitmaps() -> Good {
    let zstd = Compression::Zstd;
    let options =
        CreateOptions { refcount_bits: 64, compression: zstd, ..options(4096, 2100 << 10) };
    made("refcounts of 64 bits", &options, Made { snapshots: true, bitmap: true, ..PLAIN })
}

pub(super) fn lazy_and_dirty() -> Good {
    let options = CreateOptions { lazy_refcounts: true, ..options(4096, 2100 << 10) };
    made("lazy and dirty", &options, Made { snapshots: true, bitmap: true, dirty: true })
}

pub(super) fn extended_l2() -> Good {
    let options =
        CreateOptions { extended_l2: true, backing: backing(), ..options(16384, 17 << 20) };
    made("extended L2 entries", &options, Made { snapshots: true, ..PLAIN })
}

pub(super) fn large_clusters() -> Good {
    made("clusters of 64 KiB", &options(65536, 513 << 20), Made { snapshots: true, ..PLAIN })
}

pub(super) fn data_file() -> Good {
    let data_file = Some(DataFileOptions { name: "data".into(), raw: false });
    let options = CreateOptions { data_file, ..options(4096, 2100 << 10) };
    made("external data file", &options, Made { bitmap: true, ..PLAIN })
}
