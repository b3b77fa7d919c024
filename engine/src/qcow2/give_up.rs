//! Replacing entries, and giving up what the old ones referred to.

use super::image::Image;
use super::l2::L2Entry;
use super::plan::GivenUp;
use super::planted::Bug;
use crate::error::Error;
use crate::units::ByteRange;

impl Image {
    /// Changes an entry, and takes its references from what the old one referred to.
    pub(super) async fn replace_entry(
        &self,
        guest_cluster: u64,
        entry: L2Entry,
        gives_up: Option<GivenUp>,
    ) -> Result<(), Error> {
        if self.planted().has(Bug::FreeOldBeforeLink) {
            self.free_at_once(gives_up).await?;
            return self.set_entry(guest_cluster, entry).await;
        }
        self.set_entry(guest_cluster, entry).await?;
        if self.planted().has(Bug::ReuseBeforeUnlinkDurable) {
            return self.free_at_once(gives_up).await;
        }
        self.give_up(gives_up);
        Ok(())
    }

    /// Notes that what an entry referred to has lost a reference.
    pub(super) fn give_up(&self, gives_up: Option<GivenUp>) {
        match gives_up {
            None => {}
            Some(_) if self.has_data_file() => {}
            Some(GivenUp::Host(host)) => {
                self.free_guest_range(ByteRange::new(host, self.cluster_len()));
            }
            Some(GivenUp::Compressed(data)) => {
                self.free_guest_range(ByteRange::new(data.offset, data.len));
            }
        }
    }

    /// Refuses to give up a cluster of metadata that an entry says is guest data: somebody else would
    /// take it.
    pub(super) fn check_given_up(&self, gives_up: Option<GivenUp>) -> Result<(), Error> {
        match gives_up {
            Some(_) if self.has_data_file() => Ok(()),
            None => Ok(()),
            Some(GivenUp::Host(host)) => {
                self.check_no_metadata(ByteRange::new(host, self.cluster_len()))
            }
            Some(GivenUp::Compressed(data)) => {
                self.check_no_metadata(ByteRange::new(data.offset, data.len))
            }
        }
    }

    /// What a planted bug does: the old cluster loses its reference before the new one is linked.
    async fn free_at_once(&self, gives_up: Option<GivenUp>) -> Result<(), Error> {
        let range = match gives_up {
            None => return Ok(()),
            Some(GivenUp::Host(host)) => ByteRange::new(host, self.cluster_len()),
            Some(GivenUp::Compressed(data)) => ByteRange::new(data.offset, data.len),
        };
        let allocating = self.allocating().await;
        for cluster in range.units(self.cluster_len()) {
            allocating.lower(cluster, 1).await?;
        }
        Ok(())
    }
}
