//! Which structure of an image the bytes of a disk belonged to when the exploration started.
//!
//! What was allocated since then is told as the cluster that it is.

use std::collections::BTreeMap;

use plugpull_engine::SECTOR;

use crate::system::ReadDisks;
use crate::system::qcow2::structure;

pub(super) struct Places {
    cluster_len: u64,
    /// The owners of host clusters of the image, and of the data file.
    image: BTreeMap<u64, String>,
    data: BTreeMap<u64, String>,
}

impl Places {
    /// Those of the image that disks hold.
    pub(super) fn of(disks: &mut dyn ReadDisks) -> Self {
        let (image, data) = structure::owners(disks);
        let cluster_len = structure::slice_and_cluster_len(disks).map_or(SECTOR, |(_, len)| len);
        Self { cluster_len, image, data }
    }

    /// `L2 table 0, sector 3`, `guest cluster 5, sector 0`, `host cluster 9 (new), sector 1`.
    pub(super) fn describe(&self, disk: &str, offset: u64) -> String {
        if disk == "backing" {
            return format!("backing file sector {}", offset / SECTOR);
        }
        let owners = if disk == "data" { &self.data } else { &self.image };
        let (host, sector) = (offset / self.cluster_len, offset % self.cluster_len / SECTOR);
        match owners.get(&host) {
            Some(owner) => format!("{owner}, sector {sector}"),
            None => format!("host cluster {host} (not used at the start), sector {sector}"),
        }
    }
}
