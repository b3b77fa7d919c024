//! Reading and changing refcounts, by who has the turn to allocate.

use super::image::Image;
use super::planted::Bug;
use super::refcount::RefcountWidth;
use super::slices::Kind;
use super::tables::Place;
use crate::error::Error;

impl Image {
    pub(super) fn width(&self) -> RefcountWidth {
        RefcountWidth::from_order(self.settings.refcount_order).expect("checked by the parser")
    }

    /// Refcounts of one refcount block.
    pub(super) fn block_entries(&self) -> u64 {
        self.width().entries(self.cluster_len())
    }

    /// Where the refcount block of a cluster is.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the table's entry breaks a rule.
    pub(super) fn refcount_block(&self, cluster: u64) -> Result<Option<u64>, Error> {
        let index = cluster / self.block_entries();
        let Some(block) = self.refcount_table.read(|table| table.block(index)) else {
            return Ok(None);
        };
        let rule = "is a multiple of the cluster size inside the file";
        if !block.is_multiple_of(self.cluster_len()) || block >= self.barrier.disks.file.len() {
            return Err(Error::corrupt(format!("refcount table entry {index}"), rule, block));
        }
        Ok(Some(block))
    }

    /// Where the refcount of a cluster is in its block.
    pub(super) fn refcount_place(&self, block: u64, cluster: u64) -> Place {
        let bytes = self.width().bytes_of(cluster % self.block_entries());
        Place { kind: Kind::Refcounts, offset: block + bytes.start, len: bytes.end - bytes.start }
    }

    /// The refcount of a cluster.
    pub(super) async fn refcount(&self, cluster: u64) -> Result<u64, Error> {
        let Some(block) = self.refcount_block(cluster)? else { return Ok(0) };
        let (width, index) = (self.width(), self.index_in_byte(cluster));
        let place = self.refcount_place(block, cluster);
        self.tables.read(place, |bytes| width.get(bytes, index)).await
    }

    /// Sets the refcount of a cluster whose block exists.
    pub(super) async fn set_refcount(&self, cluster: u64, value: u64) -> Result<(), Error> {
        let block = self.refcount_block(cluster)?.expect("the refcount block exists");
        let (width, index) = (self.width(), self.index_in_byte(cluster));
        let place = self.refcount_place(block, cluster);
        loop {
            let aliases = width.bits() < 8 && self.planted().has(Bug::SubbyteRefcountAliasing);
            let changed = self.tables.try_change(place, |bytes| {
                if aliases {
                    let value = u8::try_from(value).expect("less than a byte");
                    bytes[0] = bytes[0] & !(1 << index) | value << index;
                } else {
                    width.set(bytes, index, value);
                }
            });
            if changed.is_some() {
                return Ok(());
            }
            self.tables.load_for(place).await?;
        }
    }

    /// Raises the refcount of a cluster that is in use.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if it would need more bits; [`Error::Corrupt`] if it is zero.
    pub(super) async fn raise_refcount(&self, cluster: u64) -> Result<(), Error> {
        let value = self.refcount(cluster).await?;
        self.check_raise(cluster, value)?;
        // Above the highest there is no number; a planted bug does not see that.
        self.set_refcount(cluster, (value + 1) & self.width().max()).await
    }

    /// Whether a refcount can be raised.
    ///
    /// # Errors
    /// See [`Image::raise_refcount`].
    pub(super) fn check_raise(&self, cluster: u64, value: u64) -> Result<(), Error> {
        if self.planted().has(Bug::HostRefcountOrder) {
            return Ok(());
        }
        if value == 0 {
            let rule = "a cluster that is in use has a refcount above zero";
            return Err(Error::corrupt(format!("refcount of cluster {cluster}"), rule, 0));
        }
        if value == self.width().max() {
            return Err(Error::Unsupported(format!(
                "refcounts of {} bits cannot count {} references to one cluster",
                self.width().bits(),
                u128::from(value) + 1
            )));
        }
        Ok(())
    }

    /// Which of the refcounts that share a byte is the cluster's.
    fn index_in_byte(&self, cluster: u64) -> u64 {
        match self.width().bits() {
            bits @ (1 | 2 | 4) => cluster % (8 / bits),
            _ => 0,
        }
    }
}
