//! What new clusters need besides the guest's data.

use super::image::Image;
use super::map::{Extent, Location};
use super::plan::{Action, Source};
use super::planted::Bug;
use super::read::memory_len;
use super::write::Part;
use crate::error::Error;
use crate::sync::LockMode;
use crate::units::ByteRange;

/// What completes a new cluster.
pub(super) struct Fill {
    /// In the cluster.
    pub(super) range: ByteRange,
    /// Zeros if none.
    pub(super) bytes: Option<Vec<u8>>,
}

impl Image {
    /// The bytes of everything that new clusters need besides the guest's data, part by part; all
    /// reads at the same time.
    pub(super) async fn read_fills(&self, parts: &[Part]) -> Result<Vec<Vec<Fill>>, Error> {
        let reads = parts.iter().map(|part| {
            let fill = match &part.action {
                Action::Store(store) => &store.fill[..],
                Action::InPlace { .. } => &[],
            };
            futures_util::future::join_all(fill.iter().map(|&(range, source)| async move {
                let bytes = match source {
                    Source::Zeros => None,
                    _ => Some(self.read_source(part.guest_cluster, range, source).await?),
                };
                Ok(Fill { range, bytes })
            }))
        });
        let read = futures_util::future::join_all(reads).await;
        read.into_iter().map(|fills| fills.into_iter().collect()).collect()
    }

    /// Reads a range of a guest cluster from where it was so far.
    async fn read_source(
        &self,
        guest_cluster: u64,
        range: ByteRange,
        source: Source,
    ) -> Result<Vec<u8>, Error> {
        let start = guest_cluster * self.cluster_len();
        let guest = ByteRange::new(start + range.offset, range.len);
        let location = match source {
            Source::Zeros => Location::Zero,
            // What the guest does not see of the backing file it is not to see later.
            Source::Backing if guest.end() > self.virtual_size() => {
                return self.read_backing_inside(guest).await;
            }
            Source::Backing if self.planted().has(Bug::ReentrantSelfRead) => {
                let _lock = self.lock(self.locks.new_key(), guest, LockMode::Shared).await;
                Location::Backing
            }
            Source::Backing => Location::Backing,
            Source::Host(host) => Location::Data { offset: host + range.offset },
            Source::Compressed(data) => {
                Location::Compressed { offset: data.offset, len: data.len, skip: range.offset }
            }
        };
        self.transfer(guest, &[Extent { range: guest, location }]).await
    }

    /// Reads a range of the backing file, with zeros for what lies past the virtual disk.
    async fn read_backing_inside(&self, guest: ByteRange) -> Result<Vec<u8>, Error> {
        let inside = guest.intersection(ByteRange::new(0, self.virtual_size()));
        let extent = Extent { range: inside, location: Location::Backing };
        let mut bytes = self.transfer(inside, &[extent]).await?;
        bytes.resize(memory_len(guest.len), 0);
        Ok(bytes)
    }
}
