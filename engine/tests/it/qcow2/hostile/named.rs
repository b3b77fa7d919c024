//! One test for each entry of the catalogue of bugs, with the geometry of its scenario.

use std::sync::Arc;

use plugpull_engine::qcow2::bitmap_directory::{BitmapEntry, to_bytes};
use plugpull_engine::qcow2::check::check;
use plugpull_engine::qcow2::compress::compress;
use plugpull_engine::qcow2::create::{BackingOptions, CreateOptions, create};
use plugpull_engine::qcow2::header::{BitmapsExtension, Compression, Header, autoclear};
use plugpull_engine::qcow2::planted::PlantedBugs;
use plugpull_engine::qcow2::repair::{Repair, repair};
use plugpull_engine::qcow2::{OpenOptions, Qcow2, Qcow2Disk};
use plugpull_engine::resolver::{BoxFuture, Resolver, Role};
use plugpull_engine::{Access, ByteRange, Disk, Error, LocalRuntime};

use super::disk::Counted;
use super::images::{Files, now};
use crate::mem_disk::MemDisk;
use crate::qcow2::damaged::{
    BLOCK, CLUSTER, COPIED, DATA, FREE, Image, L1, L2, SNAPSHOTS, TABLE, at, sound, sound_with,
};

/// Opens, reads all, writes each of the first guest clusters, flushes, closes: the first error. The
/// header keeps its fixed fields, the file stays small, and an open that fails writes nothing.
fn used(image: &Image, access: Access) -> Result<(), Error> {
    let disk = Counted::new(Arc::new(image.bytes.clone()));
    let result = session(&disk, access);
    drop(now(check(&disk, None)));
    let traffic = disk.traffic();
    let fair = 16 * image.bytes.len() as u64 + (4 << 20);
    assert!(traffic.read + traffic.written < fair, "{traffic:?}");
    assert!(disk.len() <= 2 * image.bytes.len() as u64, "grown to {}", disk.len());
    let header = disk.peek(0, CLUSTER);
    assert!(header[..24] == image.bytes[..24] && header[96..] == image.bytes[96..CLUSTER]);
    result
}

fn session(disk: &Counted, access: Access) -> Result<(), Error> {
    let opened = Files::new(&Arc::default()).open_disk(disk.clone(), access);
    let Ok(image) = opened else {
        assert_eq!(disk.traffic().changes, 0);
        return opened.map(drop);
    };
    let result = requests(&image, access);
    let closed = now(image.close());
    result.and(closed)
}

fn requests(image: &Qcow2, access: Access) -> Result<(), Error> {
    now(image.read(ByteRange::new(0, image.virtual_size().min(1 << 20))))?;
    if access == Access::ReadWrite {
        for index in (0..4).chain([9, 10]) {
            now(image.write(index * CLUSTER as u64, vec![0xEE; 512]))?;
        }
        now(image.flush())?;
    }
    Ok(())
}

#[track_caller]
fn assert_corrupt<T: std::fmt::Debug>(result: Result<T, Error>, structure: &str, rule: &str) {
    match &result {
        Err(Error::Corrupt { structure: at, rule: broken, .. })
            if at == structure && broken.contains(rule) => {}
        _ => panic!("{structure}: {rule}: got {result:?}"),
    }
}

/// That it cannot be opened, for this reason.
#[track_caller]
fn refused(image: &Image, structure: &str, rule: &str) {
    assert_corrupt(used(image, Access::ReadOnly), structure, rule);
    assert_corrupt(used(image, Access::ReadWrite), structure, rule);
}

/// That it cannot be used for writing, for this reason.
#[track_caller]
fn not_written(image: &Image, structure: &str, rule: &str) {
    assert_corrupt(used(image, Access::ReadWrite), structure, rule);
}

#[test]
fn the_image_of_these_tests_is_good() {
    assert_eq!(used(&sound(), Access::ReadOnly), Ok(()));
    assert_eq!(used(&sound(), Access::ReadWrite), Ok(()));
}

#[test]
fn host_eviction_writes_header() {
    let twice = sound().with(L1, 1, at(L2) | COPIED);
    not_written(&twice, "host cluster 4", "structures do not overlap");
    // Entry 0 at cluster 0 means that there is no block; a new one would be at cluster 0.
    let zero = sound().with(TABLE, 0, 0);
    let rule = "the cluster of the header has a refcount above zero";
    not_written(&zero, "refcount table entry 0", rule);
    let inside = sound().with(TABLE, 0, 512);
    not_written(&inside, "refcount table entry 0", "points to a cluster of the file");
}

#[test]
fn host_overlapping_metadata() {
    let table = sound().with(L1, 1, at(BLOCK) | COPIED);
    not_written(&table, "host cluster 2", "structures do not overlap");
    for (index, flag) in [(1, COPIED), (1, 0), (9, 0)] {
        let data = sound().with(L2, index, at(L1) | flag);
        not_written(&data, "host cluster 3", "guest data is not where metadata is");
    }
}

/// What was found to be corrupt is marked, and nothing is written any more.
#[test]
fn host_overlapping_metadata_is_marked() {
    let image = sound().with(L2, 1, at(L1) | COPIED);
    let disk = MemDisk::new(image.bytes);
    let files = Files::new(&Arc::default());
    let open = || files.open_disk(disk.clone(), Access::ReadWrite);
    let image = open().unwrap();
    let rule = "guest data is not where metadata is";
    assert_corrupt(now(image.write(4096, vec![0xEE; 512])), "host cluster 3", rule);
    let rule = "an image that was found to be corrupt is not written before a repair";
    assert_corrupt(now(image.write(0, vec![0xEE; 512])), "image", rule);
    assert_corrupt(now(image.close()), "image", rule);
    let rule = "an image that is marked corrupt is not written before a repair";
    assert_corrupt(open().map(drop), "header", rule);
}

/// Giving up a cluster of metadata would make it free for guest data.
#[test]
fn host_overlapping_metadata_is_not_given_up() {
    let rule = "guest data is not where metadata is";
    let compressed = 1 << 62 | at(SNAPSHOTS);
    for (cluster, entry) in [(L1, at(L1)), (L1, at(L1) | 1), (SNAPSHOTS, compressed)] {
        let disk = MemDisk::new(sound().with(L2, 9, entry).bytes);
        let files = Files::new(&Arc::default());
        let image = files.open_disk(disk.clone(), Access::ReadWrite).unwrap();
        let discarded = now(image.discard(ByteRange::new(9 * 4096, 4096)));
        assert_corrupt(discarded, &format!("host cluster {cluster}"), rule);
    }
    for request in ["create", "delete", "apply"] {
        let disk = MemDisk::new(sound().with(L2, 9, at(L1)).bytes);
        let disk = if request == "create" {
            disk
        } else {
            let mut bytes = sound().bytes;
            bytes[11 * CLUSTER + 72..][..8].copy_from_slice(&at(L1).to_be_bytes());
            MemDisk::new(bytes)
        };
        let files = Files::new(&Arc::default());
        let image = files.open_disk(disk.clone(), Access::ReadWrite).unwrap();
        let result = match request {
            "create" => now(image.create_snapshot("new")).map(drop),
            "delete" => now(image.delete_snapshot("1")),
            _ => now(image.apply_snapshot("1")),
        };
        assert_corrupt(result, "host cluster 3", rule);
    }
}

/// A cluster in use whose refcount is zero: an L2 table takes it while the guest's reference is given
/// up, so that afterwards it would count as free, with the table in it.
#[test]
fn host_overlapping_metadata_of_a_cluster_that_counts_as_free() {
    let image = sound().with_refcount(DATA + 1, 0).with_bytes(24, &(4_u64 << 20).to_be_bytes());
    let disk = MemDisk::new(image.bytes);
    let files = Files::new(&Arc::default());
    let image = files.open_disk(disk.clone(), Access::ReadWrite).unwrap();
    now(image.discard(ByteRange::new(4096, 4096))).unwrap();
    let mut result = Ok(());
    for index in [512, 20, 21, 22] {
        result = result.and(now(image.write(index * 4096, vec![0xEE; 4096])));
    }
    result = result.and(now(image.flush()));
    for index in [30, 31, 32] {
        result = result.and(now(image.write(index * 4096, vec![0xEE; 4096])));
    }
    drop(now(image.close()));
    // A flush finds out, and says so of the image as a whole.
    let rule = "an image that was found to be corrupt is not written before a repair";
    assert_corrupt(result, "image", rule);
    let table = disk.bytes()[at_len(DATA + 1)..][..4096].to_vec();
    assert!(table.iter().filter(|&&byte| byte == 0xEE).count() < 16, "guest data in a table");
}

#[test]
fn host_refcount_order() {
    for order in [7_u32, 255] {
        let image = sound().with_bytes(96, &order.to_be_bytes());
        let disk = Counted::new(Arc::new(image.bytes));
        let opened = session(&disk, Access::ReadWrite);
        assert_corrupt(opened, "header", "refcount_order is at most 6");
    }
    let options = CreateOptions {
        virtual_size: 1 << 20,
        cluster_len: 4096,
        refcount_bits: 1,
        ..CreateOptions::default()
    };
    let disk = MemDisk::new(Vec::new());
    now(create(&disk, &options)).unwrap();
    let image = Files::new(&Arc::default()).open_disk(disk.clone(), Access::ReadWrite).unwrap();
    now(image.write(0, vec![1; 4096])).unwrap();
    let made = now(image.create_snapshot("s")).unwrap_err().to_string();
    let expected = "unsupported: refcounts of 1 bits cannot count 2 references to one cluster";
    assert_eq!(made, expected);
    now(image.close()).unwrap();
    assert!(now(check(&disk, None)).unwrap().is_clean());
}

#[test]
fn host_allocation_at_zero() {
    let zeroed = sound().with_bytes(BLOCK * CLUSTER, &[0; CLUSTER]);
    // The first guest cluster is shared with a snapshot, so that its copy needs a place.
    not_written(&zeroed, "host cluster 0", "a cluster of metadata has a refcount above zero");
}

fn with_bitmaps(bitmaps: &[BitmapEntry], directory: usize) -> Image {
    let mut image = sound();
    let bytes = to_bytes(bitmaps).unwrap();
    let mut header = now(Header::read(&MemDisk::new(image.bytes.clone()))).unwrap();
    header.bitmaps = Some(BitmapsExtension {
        count: u32::try_from(bitmaps.len()).unwrap(),
        directory_len: bytes.len() as u64,
        directory_offset: at(directory),
    });
    header.autoclear |= autoclear::BITMAPS;
    let printed = header.to_bytes().unwrap();
    image.bytes.resize(image.bytes.len().max(at_len(directory) + bytes.len()), 0);
    image.with_bytes(0, &printed).with_bytes(at_len(directory), &bytes)
}

fn at_len(cluster: usize) -> usize {
    cluster * CLUSTER
}

fn bitmap(name: &str) -> BitmapEntry {
    BitmapEntry {
        name: name.into(),
        table_offset: at(FREE + 1),
        table_entries: 1,
        in_use: false,
        auto: true,
        extra_data_compatible: false,
        granularity_bits: 9,
        extra: Vec::new(),
    }
}

#[test]
fn host_bitmaps_extension() {
    let entry = "bitmap directory entry 0";
    let bits = BitmapEntry { granularity_bits: 63, ..bitmap("b") };
    not_written(&with_bitmaps(&[bits], FREE), entry, "granularity_bits is 9 to 31");
    let long = BitmapEntry { table_entries: 1 << 31, ..bitmap("b") };
    not_written(&with_bitmaps(&[long], FREE), entry, "the bitmap table has at most 1 GiB");
    let over = with_bitmaps(&[bitmap("b")], L2);
    not_written(&over, "host cluster 4", "structures do not overlap");
    let mut cut = with_bitmaps(&[bitmap("b")], 14);
    cut.bytes.truncate(at_len(14));
    let rule = "the directory is within the file, behind the header";
    not_written(&cut, "bitmap directory", rule);
}

/// Many bitmaps with one long table: it would be read, and kept, once for each.
#[test]
fn host_bitmaps_extension_of_one_table() {
    let names = (0..500).map(|index| BitmapEntry {
        table_entries: 1 << 16,
        in_use: true,
        ..bitmap(&format!("{index}"))
    });
    let mut image = with_bitmaps(&names.collect::<Vec<_>>(), 150);
    image.bytes.resize(1 << 20, 0);
    not_written(&image, "table of bitmap \"1\"", "structures do not overlap");
}

#[test]
fn host_compressed_span() {
    let entry = |sectors: u64, offset: u64| 1 << 62 | sectors << 58 | offset;
    let structure = "L2 entry of guest cluster 9";
    let end = sound().with(L2, 9, entry(15, at(14) - 512));
    refused(&end, structure, "compressed data is inside the file");
    let header = sound().with(L2, 9, entry(0, 0));
    refused(&header, structure, "compressed data is not in the header");
    // A bomb: a megabyte in a cluster.
    let bomb = compress(Compression::Deflate, &vec![0; 1 << 20]).unwrap();
    let bomb = sound().with(L2, 9, entry(7, at(FREE))).with_bytes(at_len(FREE), &bomb);
    refused(&bomb, "compressed cluster", "the stream holds exactly one cluster");
}

/// Opens images by name in memory, each over the next, like the program does with files.
#[derive(Clone)]
struct Chain {
    depth: usize,
}

impl Resolver for Chain {
    fn open<'a>(
        &'a self,
        _role: Role,
        name: &'a str,
        _format: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Arc<dyn Disk>, Error>> {
        Box::pin(async move {
            if self.depth == 16 {
                return Err(Error::Unsupported("more than 16 images on top of each other".into()));
            }
            let chain = Chain { depth: self.depth + 1 };
            let image = chain.image(name).await?;
            Ok(Arc::new(Qcow2Disk::new(image, Access::ReadOnly)) as Arc<dyn Disk>)
        })
    }
}

impl Chain {
    async fn image(&self, name: &str) -> Result<Qcow2, Error> {
        let backing = Some(BackingOptions { name: name.into(), format: Some("qcow2".into()) });
        let options = CreateOptions { virtual_size: 1 << 20, backing, ..CreateOptions::default() };
        let disk = MemDisk::new(Vec::new());
        create(&disk, &options).await?;
        let runtime = Arc::new(LocalRuntime::new(1));
        let options = OpenOptions::new(Access::ReadOnly, Arc::new(self.clone()), runtime);
        Qcow2::open(Arc::new(disk), options).await
    }
}

/// The engine asks for each backing file once, so that the resolver's bound is one; what the program
/// answers is tested with it.
#[test]
fn host_backing_cycle() {
    let opened = now(Chain { depth: 0 }.image("itself")).map(drop);
    let expected = "more than 16 images on top of each other";
    assert_eq!(opened, Err(Error::Unsupported(expected.into())));
}

#[test]
fn host_reftable_size() {
    let image = |clusters: u32| sound().with_bytes(56, &clusters.to_be_bytes());
    refused(&image(0), "header", "refcount_table_clusters is at least 1");
    refused(&image(0x7fff_ffff), "header", "the refcount table has at most 8 MiB");
}

#[test]
fn host_unaligned_entries() {
    let l1 = sound().with(L1, 0, (at(L2) + 512) | COPIED);
    assert_corrupt(used(&l1, Access::ReadOnly), "L1 entry 0", "the L2 table starts at a cluster");
    not_written(&l1, "L1 entry 0", "points to a cluster of the file");
    let rule = "the host cluster starts at a multiple of the cluster size";
    for entry in [at(DATA + 1) + 512, (at(DATA + 1) + 512) | COPIED, (at(DATA + 1) + 512) | 1] {
        refused(&sound().with(L2, 1, entry), "L2 entry of guest cluster 1", rule);
    }
    let block = sound().with(TABLE, 0, at(BLOCK) + 512);
    not_written(&block, "refcount table entry 0", "points to a cluster of the file");
}

#[test]
fn host_rebuild_inflates_file() {
    let options =
        CreateOptions { virtual_size: 1 << 40, lazy_refcounts: true, ..CreateOptions::default() };
    let disk = MemDisk::new(Vec::new());
    now(create(&disk, &options)).unwrap();
    let mut bytes = disk.bytes();
    let len = bytes.len() as u64;
    // The refcount block is in the third cluster; the image is dirty, so that opening repairs it.
    bytes[2 << 16..3 << 16].fill(0);
    bytes[79] |= 1;
    let disk = Counted::new(Arc::new(bytes.clone()));
    let image = Files::new(&Arc::default()).open_disk(disk.clone(), Access::ReadWrite).unwrap();
    now(image.close()).unwrap();
    assert_eq!(disk.len(), len);
    assert!(disk.traffic().read < 16 * len, "{:?}", disk.traffic());
    // Without any block a new structure is made.
    bytes[1 << 16..2 << 16].fill(0);
    let disk = Counted::new(Arc::new(bytes));
    let report = now(repair(&disk, Repair::All, PlantedBugs::NONE)).unwrap();
    assert!(report.rebuilt && report.after.is_clean(), "{report:#?}");
    assert!(disk.len() <= len + (2 << 16), "{} of {len}", disk.len());
}

#[test]
fn host_snapshot_table() {
    let many = sound().with_bytes(60, &65537_u32.to_be_bytes());
    refused(&many, "header", "nb_snapshots is at most 65536");
    let entry = "snapshot table entry 0";
    let long = sound().with_bytes(at_len(SNAPSHOTS) + 12, &[0xff; 4]);
    let rule = "the table ends within the file and has at most 64 MiB";
    refused(&long, entry, rule);
    let extra = sound().with_bytes(at_len(SNAPSHOTS) + 36, &(1_u32 << 31).to_be_bytes());
    refused(&extra, entry, "extra data has at most 1024 bytes");
}

/// A snapshot of a huge disk with one L1 entry: applying it would make an L1 table of 32 MiB.
#[test]
fn host_snapshot_table_with_a_huge_size() {
    let size = 1_u64 << 42;
    let image = sound().with_bytes(at_len(SNAPSHOTS) + 48, &size.to_be_bytes());
    let disk = Counted::new(Arc::new(image.bytes));
    let image = Files::new(&Arc::default()).open_disk(disk.clone(), Access::ReadWrite).unwrap();
    let rule = "its L1 table covers its virtual size";
    assert_corrupt(now(image.apply_snapshot("1")), "snapshot \"1\"", rule);
    assert_eq!(disk.traffic().changes, 0);
}

#[test]
fn host_extension_length() {
    let image = sound().with_bytes(116, &0xffff_fff8_u32.to_be_bytes());
    refused(&image, "header extension", "the length is within the extension area");
    // A chain without an end: it ends with the cluster.
    let chain: Vec<u8> = [0, 0, 0, 77, 0, 0, 0, 0].repeat((CLUSTER - 112) / 8);
    assert_eq!(used(&sound().with_bytes(112, &chain), Access::ReadWrite), Ok(()));
}

#[test]
fn host_cluster_index_overflow() {
    let structure = "L2 entry of guest cluster 9";
    refused(&sound().with(L2, 9, 1 << 55), structure, "the host cluster is inside the file");
    let rule = "the host cluster starts at a multiple of the cluster size";
    refused(&sound().with(L2, 9, (1 << 56) - 512), structure, rule);
}

#[test]
fn host_cluster_bits() {
    for bits in [0_u32, 8, 22, 63, 255] {
        let disk = Counted::new(Arc::new(sound().with_bytes(20, &bits.to_be_bytes()).bytes));
        for access in [Access::ReadOnly, Access::ReadWrite] {
            assert_corrupt(session(&disk, access), "header", "cluster_bits is 9 to 21");
        }
    }
}

/// One L1 entry in a sector of 64: what follows in the sector is written as zeros or as it was.
#[test]
fn host_l1_sector_overread() {
    for bits in [16, 64] {
        let image = sound_with(bits).with_bytes(36, &1_u32.to_be_bytes()).with(L1, 0, 0);
        let disk = Counted::new(Arc::new(image.bytes.clone()));
        let files = Files::new(&Arc::default());
        let opened = files.open_disk(disk.clone(), Access::ReadWrite).unwrap();
        now(opened.write(0, vec![0xEE; 512])).unwrap();
        now(opened.close()).unwrap();
        let sector = disk.peek(at(L1), 512);
        assert_ne!(sector[..8], [0; 8]);
        assert_eq!(sector[8..], image.bytes[at_len(L1) + 8..at_len(L1) + 512]);
    }
}
