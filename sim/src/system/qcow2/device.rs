//! An opened image as a device.

use std::sync::Arc;

use plugpull_engine::qcow2::Qcow2;
use plugpull_engine::{ByteRange, Disk, Error, Runtime, SECTOR};

use crate::oracle::stamp::Origin;
use crate::oracle::{Finding, View};
use crate::system::qcow2::Opening;
use crate::system::{BoxFuture, Device};
use crate::verdict::Invariant;
use crate::workload::SnapshotName;

pub(super) struct Qcow2Device {
    image: Qcow2,
    /// How to open once more what the disks hold, and where.
    again: Opening,
    disks: Vec<Arc<dyn Disk>>,
    runtime: Arc<dyn Runtime>,
}

impl Qcow2Device {
    pub(super) fn new(
        image: Qcow2,
        again: Opening,
        disks: Vec<Arc<dyn Disk>>,
        runtime: Arc<dyn Runtime>,
    ) -> Self {
        Self { image, again, disks, runtime }
    }
}

impl Device for Qcow2Device {
    fn read(&self, range: ByteRange) -> BoxFuture<Result<Vec<u8>, Error>> {
        let image = self.image.clone();
        Box::pin(async move { image.read(range).await })
    }

    /// On a copy of the image: tables that it reads on the way would stay in memory, and the next
    /// question would not be asked of the disks any more.
    fn read_back(&self, range: ByteRange) -> BoxFuture<Result<Vec<u8>, Error>> {
        let image = self.image.fork(self.image.disks().clone());
        let (view, offset) = View::of(range.offset);
        Box::pin(async move { read_view(&image, view, ByteRange::new(offset, range.len)).await })
    }

    fn write(&self, offset: u64, data: Vec<u8>) -> BoxFuture<Result<(), Error>> {
        Box::pin(self.image.write(offset, data))
    }

    fn flush(&self) -> BoxFuture<Result<(), Error>> {
        Box::pin(self.image.flush())
    }

    fn close(&self) -> BoxFuture<Result<(), Error>> {
        Box::pin(self.image.close())
    }

    fn discard(&self, range: ByteRange) -> BoxFuture<Result<(), Error>> {
        Box::pin(self.image.discard(range))
    }

    fn write_zeroes(&self, range: ByteRange, unmap: bool) -> BoxFuture<Result<(), Error>> {
        Box::pin(self.image.write_zeroes(range, unmap))
    }

    fn write_compressed(&self, offset: u64, data: Vec<u8>) -> BoxFuture<Result<(), Error>> {
        Box::pin(self.image.write_compressed(offset, data))
    }

    fn snapshot(&self, name: SnapshotName) -> BoxFuture<Result<(), Error>> {
        let image = self.image.clone();
        Box::pin(async move { image.create_snapshot(&name.to_string()).await.map(drop) })
    }

    fn apply(&self, name: SnapshotName) -> BoxFuture<Result<(), Error>> {
        let image = self.image.clone();
        Box::pin(async move { image.apply_snapshot(&name.to_string()).await })
    }

    fn delete_snapshot(&self, name: SnapshotName) -> BoxFuture<Result<(), Error>> {
        let image = self.image.clone();
        Box::pin(async move { image.delete_snapshot(&name.to_string()).await })
    }

    fn resize(&self, len: u64) -> BoxFuture<Result<(), Error>> {
        Box::pin(self.image.resize(len))
    }

    fn check_flushed(&self, queries: Vec<ByteRange>) -> BoxFuture<Option<Finding>> {
        let running = self.image.fork(self.image.disks().clone());
        let opening = self.again.image(self.disks.clone(), Arc::clone(&self.runtime));
        Box::pin(async move {
            let difference = match opening.await {
                Ok(opened) => difference(&running, &opened, queries).await,
                Err(error) => Err(error),
            };
            let message = match difference {
                Ok(None) => return None,
                Ok(Some(difference)) => difference,
                Err(error) => format!("what was flushed cannot be read: {error}"),
            };
            Some(Finding { invariant: Invariant::QCache, message })
        })
    }
}

/// What an image that has been used and one that was just opened tell differently, if anything: sizes,
/// snapshots, where the guest's data is, and what snapshots hold. With the same place in the same
/// file the data is the same.
async fn difference(
    running: &Qcow2,
    opened: &Qcow2,
    queries: Vec<ByteRange>,
) -> Result<Option<String>, Error> {
    let sizes = (running.virtual_size(), opened.virtual_size());
    if sizes.0 != sizes.1 {
        let message =
            format!("the running image has {} bytes, and on the disk it has {}", sizes.0, sizes.1);
        return Ok(Some(message));
    }
    if running.snapshots() != opened.snapshots() {
        return Ok(Some("the snapshots on the disk are not those of the running image".to_owned()));
    }
    for query in queries {
        let (view, offset) = View::of(query.offset);
        let range = ByteRange::new(offset, query.len);
        let same = match view {
            View::Active => running.map(range).await? == opened.map(range).await?,
            View::Snapshot(_) => {
                read_view(running, view, range).await? == read_view(opened, view, range).await?
            }
        };
        if !same {
            let message =
                format!("range {range} of {view} is not where the running image says that it is");
            return Ok(Some(message));
        }
    }
    Ok(None)
}

/// A range of a view, with nothing where the view ends before it or is not there.
async fn read_view(image: &Qcow2, view: View, range: ByteRange) -> Result<Vec<u8>, Error> {
    let mut bytes = match view {
        View::Active => {
            let there = range.intersection(ByteRange::new(0, image.virtual_size()));
            if there.is_empty() { Vec::new() } else { image.read(there).await? }
        }
        View::Snapshot(name) => {
            let name = name.to_string();
            let snapshot = image.snapshots().into_iter().find(|snapshot| snapshot.name == name);
            let size = snapshot.map_or(0, |snapshot| {
                snapshot.virtual_size.unwrap_or_else(|| image.virtual_size())
            });
            let there = range.intersection(ByteRange::new(0, size));
            if there.is_empty() { Vec::new() } else { image.read_snapshot(&name, there).await? }
        }
    };
    let end = range.offset + bytes.len() as u64;
    for sector in ByteRange::between(end, range.end()).units(SECTOR) {
        bytes.extend(Origin::Nothing { sector }.content());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use plugpull_engine::qcow2::create::{CreateOptions, create};
    use plugpull_engine::qcow2::planted::PlantedBugs;
    use plugpull_engine::{Access, WriteFlags};

    use super::*;
    use crate::crash::{DirectWorld, LazyDisks, Watch};
    use crate::disk::{DiskSpec, Image};

    #[test]
    fn what_is_only_in_memory_after_a_flush_is_found() {
        let disk = (DiskSpec::new("image"), Image::zeroed(0));
        let world = DirectWorld::new(LazyDisks::new([disk], Watch::Off));
        let disks = world.disks();
        let file = Arc::clone(&disks[0]);
        let opening = Opening {
            access: Access::ReadWrite,
            planted: PlantedBugs::NONE,
            has_data: false,
            has_backing: false,
            discards: false,
            slice_len: 512,
            slices_max: 4096,
        };
        let options =
            CreateOptions { virtual_size: 4096, cluster_len: 512, ..CreateOptions::default() };
        let found = world.run(async {
            create(&*file, &options).await?;
            let device = opening.device(disks.clone(), world.runtime()).await?;
            device.write(512, vec![7; 512]).await?;
            device.snapshot("s1".parse().expect("a name")).await?;
            device.write(1024, vec![8; 512]).await?;
            device.flush().await?;
            let whole = [View::Active, View::Snapshot("s1".parse().expect("a name"))]
                .map(|view| ByteRange::new(view.address(0), 4096));
            let sound = device.check_flushed(whole.to_vec()).await;
            // The slice of the active table, which the device knows: it is gone from the disk.
            let l1 = file.read(0, 512).await.expect("a header");
            let l1 = u64::from_be_bytes(l1[40..48].try_into().expect("an offset"));
            let table = file.read(l1, 512).await.expect("an L1 table");
            let table = u64::from_be_bytes(table[..8].try_into().expect("an entry")) << 8 >> 8;
            let erased = file.write(table, vec![0; 512], WriteFlags::NONE).await;
            erased.expect("a write");
            let broken = device.check_flushed(whole.to_vec()).await;
            Ok::<_, Error>((sound, broken.map(|finding| finding.invariant)))
        });
        assert_eq!(found.expect("it ends").expect("it works"), (None, Some(Invariant::QCache)));
    }
}
