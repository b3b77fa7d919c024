//! Attempts to break the running engine: each test here states what should hold.
#![expect(clippy::disallowed_types, reason = "test disks, used by one thread")]

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use plugpull_engine::qcow2::check::check;

use plugpull_engine::qcow2::create::{BackingOptions, CreateOptions, DataFileOptions, create};
use plugpull_engine::qcow2::{OpenOptions, Qcow2};
use plugpull_engine::resolver::{BoxFuture, Resolver, Role};
use plugpull_engine::{
    Access, ByteRange, Disk, DiskError, DiskErrorKind, DiskProperties, Error, IoFuture,
    LocalRuntime, WriteFlags,
};

use crate::mem_disk::MemDisk;

const COPIED: u64 = 1 << 63;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    Read { offset: u64 },
    Write { offset: u64 },
    Flush,
    Resize { len: u64 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Pass,
    Fail,
    /// Takes effect when it is let go, and completes then.
    Hold,
}

type Policy = Box<dyn FnMut(Op) -> Fate + Send>;

/// A disk whose requests can be failed, or held back until `open_gate`.
#[derive(Clone)]
struct Gated {
    inner: MemDisk,
    policy: Arc<Mutex<Policy>>,
    open: Arc<Mutex<bool>>,
    held: Arc<Mutex<usize>>,
}

impl Gated {
    fn new(inner: MemDisk) -> Self {
        Self {
            inner,
            policy: Arc::new(Mutex::new(Box::new(|_| Fate::Pass))),
            open: Arc::new(Mutex::new(false)),
            held: Arc::default(),
        }
    }

    fn set(&self, policy: impl FnMut(Op) -> Fate + Send + 'static) {
        *self.policy.lock().unwrap() = Box::new(policy);
    }

    fn open_gate(&self) {
        *self.open.lock().unwrap() = true;
    }

    fn gate<T: Send + 'static>(
        &self,
        op: Op,
        run: impl FnOnce(&MemDisk) -> IoFuture<T> + Send + 'static,
    ) -> IoFuture<T> {
        let fate = (self.policy.lock().unwrap())(op);
        match fate {
            Fate::Pass => run(&self.inner),
            Fate::Fail => {
                let error = DiskError::new(DiskErrorKind::Io, format!("injected: {op:?}"));
                Box::pin(std::future::ready(Err(error)))
            }
            Fate::Hold => {
                *self.held.lock().unwrap() += 1;
                let (inner, open) = (self.inner.clone(), Arc::clone(&self.open));
                Box::pin(async move {
                    std::future::poll_fn(|context| {
                        if *open.lock().unwrap() {
                            return Poll::Ready(());
                        }
                        context.waker().wake_by_ref();
                        Poll::Pending
                    })
                    .await;
                    run(&inner).await
                })
            }
        }
    }
}

impl Disk for Gated {
    fn read(&self, offset: u64, len: usize) -> IoFuture<Vec<u8>> {
        self.gate(Op::Read { offset }, move |disk| disk.read(offset, len))
    }
    fn write(&self, offset: u64, data: Vec<u8>, flags: WriteFlags) -> IoFuture<()> {
        self.gate(Op::Write { offset }, move |disk| disk.write(offset, data, flags))
    }
    fn flush(&self) -> IoFuture<()> {
        self.gate(Op::Flush, |disk| disk.flush())
    }
    fn discard(&self, offset: u64, len: u64) -> IoFuture<()> {
        self.inner.discard(offset, len)
    }
    fn resize(&self, len: u64) -> IoFuture<()> {
        self.gate(Op::Resize { len }, move |disk| disk.resize(len))
    }
    fn len(&self) -> u64 {
        self.inner.len()
    }
    fn properties(&self) -> DiskProperties {
        self.inner.properties()
    }
}

/// Gives the data file and the backing file.
struct Files {
    data: Option<Arc<dyn Disk>>,
    base: Option<Arc<dyn Disk>>,
}

impl Resolver for Files {
    fn open<'a>(
        &'a self,
        role: Role,
        _name: &'a str,
        _format: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Arc<dyn Disk>, Error>> {
        let disk = match role {
            Role::Data => self.data.clone(),
            Role::Base => self.base.clone(),
        };
        Box::pin(std::future::ready(Ok(disk.unwrap())))
    }
}

fn now<T>(future: impl Future<Output = T>) -> T {
    LocalRuntime::new(1).block_on(future)
}

fn options() -> OpenOptions {
    let files = Files { data: None, base: None };
    OpenOptions::new(Access::ReadWrite, Arc::new(files), Arc::new(LocalRuntime::new(1)))
}

fn open(disk: &(impl Disk + Clone + 'static)) -> Qcow2 {
    open_with(disk, options()).unwrap()
}

fn open_with(disk: &(impl Disk + Clone + 'static), options: OpenOptions) -> Result<Qcow2, Error> {
    now(Qcow2::open(Arc::new(disk.clone()), options))
}

fn made(options: &CreateOptions) -> MemDisk {
    let disk = MemDisk::new(Vec::new());
    now(create(&disk, options)).unwrap();
    disk
}

fn word(disk: &MemDisk, at: u64) -> u64 {
    let bytes = disk.bytes();
    let at = usize::try_from(at).unwrap();
    u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap())
}

fn patched(disk: &MemDisk, at: u64, bytes: &[u8]) -> MemDisk {
    let mut all = disk.bytes();
    let at = usize::try_from(at).unwrap();
    all[at..at + bytes.len()].copy_from_slice(bytes);
    MemDisk::new(all)
}

fn poll<T>(future: &mut Pin<Box<dyn Future<Output = T> + '_>>) -> Poll<T> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

fn small() -> CreateOptions {
    CreateOptions { virtual_size: 1 << 20, cluster_len: 4096, ..CreateOptions::default() }
}

fn range(offset: u64, len: u64) -> ByteRange {
    ByteRange::new(offset, len)
}

/// What a power cut in `create_snapshot` or `delete_snapshot` can leave: the L1 sector of the third
/// phase is on the medium, the L2 slice of the same phase is not (or the other way round).
#[test]
fn copied_entries_under_an_l1_entry_that_is_not() {
    let disk = made(&small());
    let image = open(&disk);
    now(image.write(0, vec![0xaa; 4096])).unwrap();
    now(image.close()).unwrap();
    let l1 = word(&disk, 40);
    let entry = word(&disk, l1);
    assert!(entry & COPIED != 0);
    let disk = patched(&disk, l1, &(entry & !COPIED).to_be_bytes());
    let image = open(&disk);
    now(image.create_snapshot("s")).unwrap();
    now(image.write(0, vec![0xbb; 4096])).unwrap();
    let kept = now(image.read_snapshot("s", range(0, 4096))).unwrap();
    assert!(kept == vec![0xaa; 4096], "the snapshot has changed: {:#x}", kept[0]);
}

/// The same with a real cut: of the linked phase of `create_snapshot` only the L1 sector arrives.
#[test]
fn a_power_cut_in_create_snapshot() {
    let disk = made(&small());
    let image = open(&disk);
    now(image.write(0, vec![0xaa; 4096])).unwrap();
    now(image.close()).unwrap();
    let l1 = word(&disk, 40);
    let l2 = word(&disk, l1) & !COPIED;
    let cut = Gated::new(disk.clone());
    // Power goes when the L2 slice is to be written; the L1 sector is there.
    let mut off = false;
    cut.set(move |op| match op {
        Op::Write { offset } if offset == l2 => {
            off = true;
            Fate::Fail
        }
        Op::Write { offset } if offset == l1 => Fate::Pass,
        Op::Write { .. } | Op::Flush if off => Fate::Fail,
        _ => Fate::Pass,
    });
    let image = open(&cut);
    assert!(now(image.create_snapshot("s")).is_err());
    // A new session on what the medium has.
    let disk = MemDisk::new(disk.bytes());
    assert_eq!((word(&disk, l1) & COPIED, word(&disk, l2) & COPIED), (0, COPIED));
    let image = open(&disk);
    now(image.create_snapshot("s")).unwrap();
    now(image.write(0, vec![0xbb; 4096])).unwrap();
    let kept = now(image.read_snapshot("s", range(0, 4096))).unwrap();
    assert!(kept == vec![0xaa; 4096], "the snapshot has changed: {:#x}", kept[0]);
}

/// QEMU sets COPIED in tables that only a snapshot has when the refcount has become one.
#[test]
fn copied_entries_in_the_table_of_a_snapshot() {
    let disk = made(&small());
    let image = open(&disk);
    now(image.write(0, vec![0xaa; 4096])).unwrap();
    now(image.create_snapshot("s")).unwrap();
    now(image.write(0, vec![0xbb; 4096])).unwrap();
    let l1 = image.snapshots()[0].l1_offset;
    now(image.close()).unwrap();
    let table = word(&disk, l1) & !COPIED;
    let entry = word(&disk, table);
    let disk = patched(&disk, table, &(entry | COPIED).to_be_bytes());
    let image = open(&disk);
    now(image.apply_snapshot("s")).unwrap();
    now(image.write(0, vec![0xcc; 4096])).unwrap();
    let kept = now(image.read_snapshot("s", range(0, 4096))).unwrap();
    assert!(kept == vec![0xaa; 4096], "the snapshot has changed: {:#x}", kept[0]);
}

/// Two writes that make the data file longer, whose resizes end in the other order.
#[test]
fn the_data_file_grows_for_two_writes_at_once() {
    let data_file = Some(DataFileOptions { name: "data".into(), raw: false });
    let disk = made(&CreateOptions { data_file, ..small() });
    let data = Gated::new(MemDisk::new(Vec::new()));
    data.set(|op| if op == (Op::Resize { len: 4096 }) { Fate::Hold } else { Fate::Pass });
    let files = Files { data: Some(Arc::new(data.clone())), base: None };
    let options = OpenOptions { resolver: Arc::new(files), ..options() };
    let image = open_with(&disk, options).unwrap();
    let mut first: Pin<Box<dyn Future<Output = _>>> = Box::pin(image.write(0, vec![1; 4096]));
    assert!(poll(&mut first).is_pending());
    let mut second: Pin<Box<dyn Future<Output = _>>> = Box::pin(image.write(4096, vec![2; 4096]));
    let done = poll(&mut second);
    data.open_gate();
    if let Poll::Ready(result) = done {
        result.unwrap();
    } else {
        assert_eq!(poll(&mut first), Poll::Ready(Ok(())));
        now(second).unwrap();
        assert!(now(image.read(range(4096, 4096))).unwrap() == vec![2; 4096]);
        return;
    }
    assert_eq!(poll(&mut first), Poll::Ready(Ok(())));
    let found = now(image.read(range(4096, 4096))).unwrap();
    assert!(found == vec![2; 4096], "a completed write is gone: {}", found[0]);
}

/// Arguments at the end of the number range are refused, not asserted.
#[test]
fn arguments_near_two_to_the_64() {
    let image = open(&made(&small()));
    let last = u64::MAX - 511;
    let caught = |name, run: &dyn Fn() -> bool| {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
        (name, result.ok())
    };
    let results = [
        caught("write", &|| now(image.write(last, vec![0; 1024])).is_err()),
        caught("write short", &|| now(image.write(last - 512, vec![0; 512])).is_err()),
        caught("compressed", &|| now(image.write_compressed(last, vec![0; 4096])).is_err()),
        caught("zeroes", &|| now(image.write_zeroes(range(last - 512, 512), true)).is_err()),
        caught("discard", &|| now(image.discard(range(last - 512, 512))).is_err()),
        caught("read", &|| now(image.read(range(last - 512, 512))).is_err()),
    ];
    assert!(results.iter().all(|(_, refused)| *refused == Some(true)), "{results:?}");
}

/// A version 2 image with a backing file whose shrink was cut after the size: growing it again
/// makes what is added read as zeros.
#[test]
fn growth_of_a_version_2_image_over_what_a_shrink_has_left() {
    let backing = Some(BackingOptions { name: "base".into(), format: None });
    let disk = made(&CreateOptions { version: 2, backing, ..small() });
    let base: Arc<dyn Disk> = Arc::new(MemDisk::new(vec![0x55; 1 << 20]));
    let with_base = || {
        let files = Files { data: None, base: Some(Arc::clone(&base)) };
        OpenOptions { resolver: Arc::new(files), ..options() }
    };
    let image = open_with(&disk, with_base()).unwrap();
    now(image.write(8192, vec![0xaa; 8192])).unwrap();
    now(image.close()).unwrap();
    // The size is durable, the mappings past it are still there.
    let disk = patched(&disk, 24, &8192_u64.to_be_bytes());
    let image = open_with(&disk, with_base()).unwrap();
    assert_eq!(image.virtual_size(), 8192);
    now(image.resize(1 << 20)).unwrap();
    let found = now(image.read(range(8192, 8192))).unwrap();
    let wrong = found.iter().position(|&byte| byte != 0);
    assert_eq!(wrong, None, "byte {wrong:?} is not zero");
}

/// Refcounts that cannot be read once, when a commit lowers them: close still leaves no leak.
#[test]
fn a_failed_lowering_is_not_forgotten() {
    let disk = made(&small());
    let image = open(&disk);
    now(image.write(0, vec![0xaa; 8192])).unwrap();
    now(image.close()).unwrap();
    let block = word(&disk, word(&disk, 48));
    let gated = Gated::new(disk.clone());
    let image = open(&gated);
    now(image.discard(range(0, 4096))).unwrap();
    let mut failures = 1;
    gated.set(move |op| match op {
        Op::Read { offset } if offset == block && failures > 0 => {
            failures -= 1;
            Fate::Fail
        }
        _ => Fate::Pass,
    });
    now(image.flush()).unwrap();
    now(image.close()).unwrap();
    let report = now(check(&disk, None)).unwrap();
    assert!(report.problems.is_empty(), "{:?}", report.problems);
}

/// The same with an error only in close.
#[test]
fn a_failed_lowering_in_close_is_not_forgotten() {
    let disk = made(&small());
    let image = open(&disk);
    now(image.write(0, vec![0xaa; 8192])).unwrap();
    now(image.close()).unwrap();
    let block = word(&disk, word(&disk, 48));
    let gated = Gated::new(disk.clone());
    let image = open(&gated);
    now(image.discard(range(0, 4096))).unwrap();
    let mut failures = 1;
    gated.set(move |op| match op {
        Op::Read { offset } if offset == block && failures > 0 => {
            failures -= 1;
            Fate::Fail
        }
        _ => Fate::Pass,
    });
    if now(image.close()).is_ok() {
        let report = now(check(&disk, None)).unwrap();
        assert!(report.problems.is_empty(), "{:?}", report.problems);
    }
}

/// A refcount table without the block that counts the L1 table: no metadata is overwritten.
#[test]
fn a_new_refcount_block_where_metadata_is() {
    let options = CreateOptions { cluster_len: 512, refcount_bits: 64, ..small() };
    let disk = made(&CreateOptions { virtual_size: 64 << 10, ..options });
    let mut bytes = disk.bytes();
    // 64 refcounts a block: the L1 table moves to cluster 64, and all of the first block is in use.
    let l1 = usize::try_from(word(&disk, 40)).unwrap();
    let table = word(&disk, 48);
    let block = usize::try_from(word(&disk, table)).unwrap();
    bytes.resize(66 * 512, 0);
    bytes.copy_within(l1..l1 + 512, 64 * 512);
    bytes[64 * 512..64 * 512 + 8].copy_from_slice(&(COPIED | (60 * 512)).to_be_bytes());
    bytes[40..48].copy_from_slice(&(64 * 512_u64).to_be_bytes());
    for index in 0..64 {
        bytes[block + index * 8..block + index * 8 + 8].copy_from_slice(&1_u64.to_be_bytes());
    }
    let disk = MemDisk::new(bytes);
    let before = disk.bytes()[64 * 512..65 * 512].to_vec();
    let image = open(&disk);
    let written = now(image.write(0, vec![1; 512]));
    let after = disk.bytes()[64 * 512..65 * 512].to_vec();
    assert!(before == after, "the L1 table was overwritten; the write said {written:?}");
}

/// A snapshot table entry that lies about the virtual size.
#[test]
fn applying_a_snapshot_with_a_hostile_size() {
    for size in [1000_u64, 1 << 38] {
        let disk = made(&CreateOptions { cluster_len: 512, ..small() });
        let image = open(&disk);
        now(image.write(0, vec![0xaa; 4096])).unwrap();
        now(image.create_snapshot("s")).unwrap();
        now(image.close()).unwrap();
        let at = word(&disk, 64) + 48;
        assert_eq!(word(&disk, at), 1 << 20);
        let disk = patched(&disk, at, &size.to_be_bytes());
        let Ok(image) = open_with(&disk, options()) else { continue };
        let applied = now(image.apply_snapshot("s"));
        drop(now(image.close()));
        let again = open_with(&disk, options()).map(drop);
        assert!(again.is_ok(), "size {size}: apply said {applied:?}, then open says {again:?}");
    }
}

/// A snapshot whose L1 table points to the refcount block, whose 64-bit refcounts 1 are zero
/// clusters and 2 nothing.
#[test]
fn a_snapshot_whose_table_is_a_refcount_block() {
    let disk = made(&CreateOptions { refcount_bits: 64, ..small() });
    let image = open(&disk);
    now(image.create_snapshot("s")).unwrap();
    let l1 = image.snapshots()[0].l1_offset;
    now(image.close()).unwrap();
    let block = word(&disk, word(&disk, 48));
    let disk = patched(&disk, l1, &block.to_be_bytes());
    let image = open(&disk);
    let applied = now(image.apply_snapshot("s"));
    let deleted = now(image.delete_snapshot("s"));
    let written = now(image.write(200 * 4096, vec![0xbb; 4096]));
    drop(now(image.flush()));
    let entry = word(&disk, block + 200 * 8);
    assert!(
        entry == 0,
        "the refcount of cluster 200 is {entry:#x}: {applied:?} {deleted:?} {written:?}"
    );
}

/// A bitmap whose table names one cluster again and again: memory and reads stay in proportion.
#[test]
fn a_bitmap_of_one_cluster_many_times() {
    use plugpull_engine::qcow2::bitmap_directory::{BitmapEntry, to_bytes};
    // 512 entries, each for 4096 * 8 bits of 512 bytes: 8 GiB.
    let disk = made(&CreateOptions { virtual_size: 8 << 30, ..small() });
    let mut bytes = disk.bytes();
    let start = bytes.len().next_multiple_of(4096);
    bytes.resize(start + 3 * 4096, 0);
    let start = start as u64;
    let directory = to_bytes(&[BitmapEntry {
        name: "b".into(),
        table_offset: start + 4096,
        table_entries: 512,
        in_use: false,
        auto: true,
        extra_data_compatible: false,
        granularity_bits: 9,
        extra: Vec::new(),
    }])
    .unwrap();
    let at = usize::try_from(start).unwrap();
    bytes[at..at + directory.len()].copy_from_slice(&directory);
    for index in 0..512 {
        let entry = at + 4096 + index * 8;
        bytes[entry..entry + 8].copy_from_slice(&(start + 8192).to_be_bytes());
    }
    // The extension, and the feature bit.
    bytes[95] |= 1;
    let header_len = usize::try_from(u32::from_be_bytes(bytes[100..104].try_into().unwrap()));
    let at = header_len.unwrap();
    let mut extension = 0x2385_2875_u32.to_be_bytes().to_vec();
    extension.extend(24_u32.to_be_bytes());
    extension.extend(1_u32.to_be_bytes());
    extension.extend([0; 4]);
    extension.extend((directory.len() as u64).to_be_bytes());
    extension.extend(start.to_be_bytes());
    extension.extend([0; 8]);
    bytes[at..at + extension.len()].copy_from_slice(&extension);
    let disk = MemDisk::new(bytes);
    let result = open_with(&disk, options()).map(drop);
    let (read, len) = (disk.read_bytes(), disk.len());
    assert!(read < 8 * len, "{read} bytes read of a file of {len}: {result:?}");
}

/// A hostile snapshot whose L1 table names one L2 table again and again.
#[test]
fn a_snapshot_of_one_table_many_times() {
    let disk = made(&CreateOptions { virtual_size: 1 << 30, ..small() });
    let image = open(&disk);
    for at in 0..512 {
        now(image.write(at * 4096, vec![0xaa; 512])).unwrap();
    }
    now(image.create_snapshot("s")).unwrap();
    let l1 = image.snapshots()[0].l1_offset;
    now(image.close()).unwrap();
    let table = word(&disk, l1).to_be_bytes();
    let disk = patched(&disk, l1, &table.repeat(512));
    let image = open(&disk);
    // 512 * 512 references in memory for a file of 2 MiB; 4 million tables of 262144 entries are
    // possible with clusters of 2 MiB.
    let deleted = now(image.delete_snapshot("s"));
    assert!(
        matches!(&deleted, Err(Error::Corrupt { structure, .. }) if structure.contains("L1")),
        "walked through, one reference at a time: {deleted:?}"
    );
}
