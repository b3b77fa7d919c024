//! Writing guest data to where it lives, and never to where metadata is.

use super::image::Image;
use super::owners::Owner;
use super::planted::Bug;
use crate::disk::{IoFuture, WriteFlags};
use crate::error::Error;
use crate::requests::all;
use crate::units::ByteRange;

/// Bytes for a place of the disk with the data.
pub(super) type Piece = (u64, Vec<u8>);

impl Image {
    /// Writes pieces to the disk with the data, neighbours as one.
    pub(super) async fn write_pieces_of_data(&self, pieces: Vec<Piece>) -> Result<(), Error> {
        let mut joined: Vec<Piece> = Vec::new();
        for (offset, bytes) in pieces {
            match joined.last_mut() {
                Some((start, before)) if *start + before.len() as u64 == offset => {
                    before.extend_from_slice(&bytes);
                }
                _ => joined.push((offset, bytes)),
            }
        }
        for (offset, bytes) in &joined {
            self.check_data_place(ByteRange::new(*offset, bytes.len() as u64)).await?;
        }
        let write = |(offset, bytes)| self.barrier.data().write(offset, bytes, WriteFlags::NONE);
        let requests: Vec<IoFuture<()>> = joined.into_iter().map(write).collect();
        let written = all("write data", requests).await;
        self.barrier.wrote();
        written
    }

    /// Refuses to write guest data where metadata is, and makes the disk long enough.
    async fn check_data_place(&self, place: ByteRange) -> Result<(), Error> {
        if self.has_data_file() {
            let data = self.barrier.data();
            if data.len() < place.end() {
                let _allocating = self.allocating().await;
                if data.len() >= place.end() {
                    return Ok(());
                }
                let grown = data.resize(place.end()).await;
                return grown.map_err(|error| Error::disk("grow data file", error));
            }
            return Ok(());
        }
        self.check_no_metadata(place)?;
        if self.barrier.disks.file.len() < place.end() {
            let _allocating = self.allocating().await;
            return self.ensure_len(place.end()).await;
        }
        Ok(())
    }

    /// Fails if metadata is in one of the clusters of a range that an entry says is guest data.
    pub(super) fn check_no_metadata(&self, place: ByteRange) -> Result<(), Error> {
        if self.planted().has(Bug::HostOverlappingMetadata)
            || self.planted().has(Bug::HostAllocationAtZero)
            || self.planted().has(Bug::RefblockOverlapsData)
        {
            return Ok(());
        }
        match self.metadata_in(place) {
            None => Ok(()),
            Some((cluster, owner)) => {
                let rule = "guest data is not where metadata is";
                Err(self.mark_corrupt(format!("host cluster {cluster}"), rule, owner))
            }
        }
    }

    /// The first cluster of a range of the file that is known to hold metadata, and which.
    pub(super) fn metadata_in(&self, place: ByteRange) -> Option<(u64, Owner)> {
        let clusters = place.units(self.cluster_len());
        let part = clusters.clone();
        self.owners.read_part(part, |owners| owners.first_in(clusters.clone()))
    }
}
