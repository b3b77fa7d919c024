//! How many device flushes a guest flush costs.

use std::sync::Arc;

use futures_util::FutureExt;
use plugpull_engine::qcow2::create::{CreateOptions, create};
use plugpull_engine::qcow2::{OpenOptions, Qcow2};
use plugpull_engine::resolver::NoFiles;
use plugpull_engine::{Access, ByteRange, Error, LocalRuntime};

use crate::mem_disk::{Change, MemDisk};

fn now<T>(future: impl Future<Output = Result<T, Error>>) -> T {
    future.now_or_never().expect("the disk answers at once").unwrap()
}

struct Counted {
    disk: MemDisk,
    image: Qcow2,
}

impl Counted {
    fn new(options: &CreateOptions) -> Self {
        let disk = MemDisk::new(Vec::new());
        now(create(&disk, options));
        let runtime = Arc::new(LocalRuntime::new(0));
        let options = OpenOptions::new(Access::ReadWrite, Arc::new(NoFiles), runtime);
        let image = now(Qcow2::open(Arc::new(disk.clone()), options));
        Self { disk, image }
    }

    /// Device flushes of one guest flush.
    fn flushes(&self) -> usize {
        let before = self.count();
        now(self.image.flush());
        self.count() - before
    }

    fn count(&self) -> usize {
        self.disk.changes().iter().filter(|change| **change == Change::Flush).count()
    }

    fn write(&self, offset: u64, len: usize) {
        now(self.image.write(offset, vec![7; len]));
    }
}

#[test]
fn a_guest_flush_costs_three_at_most_and_nothing_costs_none() {
    for lazy_refcounts in [false, true] {
        let options = CreateOptions {
            virtual_size: 1 << 20,
            cluster_len: 512,
            refcount_bits: 64,
            lazy_refcounts,
            ..CreateOptions::default()
        };
        let counted = Counted::new(&options);
        assert_eq!(counted.flushes(), 0, "nothing was written");
        counted.write(0, 512);
        assert_eq!(counted.flushes(), 2, "data and refcounts, then the entry");
        assert_eq!(counted.flushes(), 0, "all of it is flushed");
        counted.write(0, 512);
        assert_eq!(counted.flushes(), 1, "a write in place");
        // A refcount block counts 64 clusters: this takes several new ones.
        counted.write(1024, 100 * 512);
        assert_eq!(counted.flushes(), 3, "then the refcount table, then the entries");
        now(counted.image.discard(ByteRange::new(0, 512)));
        assert_eq!(counted.flushes(), 2, "an entry that is gone");
        assert_eq!(counted.flushes(), 0, "refcounts that fell can wait");
        // More blocks than the refcount table has entries: it moves.
        counted.write(64 << 10, 900 << 10);
        assert!(counted.flushes() <= 3);
    }
}
