//! Guest writes.
//!
//! **In place**: everything that is touched is promised by the medium already, or needs no map. One
//! write per stretch of storage, nothing else.
//!
//! **Recorded**: base parts of partial blocks are read, chunks allocated, then in this order, each
//! step after the end of the one before:
//!
//! 1. guest data, copied parts and zeros are written, all at the same time;
//! 2. the data storage is flushed (its growth, too);
//! 3. blocks and chunks are published in memory;
//! 4. the session is marked dirty on the medium, once ([`super::dirty`]);
//! 5. the journal record is written;
//! 6. the maps count as guaranteed, and the guest gets its answer.
//!
//! Up to 3 an error undoes everything: the chunks are free again. After 3 nothing is undone, since
//! the record may be on the medium: guest and medium agree on the new content or on the old one,
//! sector by sector. Without a journal 2, 4 and 5 are the guest flush's.

use std::sync::Arc;

use super::image::Image;
use super::plan::WritePlan;
use super::planted::Bug;
use super::store_long::copies_much;
use crate::disk::WriteFlags;
use crate::error::Error;
use crate::requests::read;
use crate::sync::LockKey;
use crate::units::ByteRange;

impl Image {
    pub(super) async fn write(
        self: Arc<Self>,
        key: LockKey,
        offset: u64,
        data: Vec<u8>,
    ) -> Result<(), Error> {
        let _pass = self.requests.enter().ok_or(Error::Closed)?;
        let guest = self.guest_range(offset, data.len() as u64)?;
        if !self.is_writable() {
            return Err(Error::ReadOnly);
        }
        if guest.is_empty() {
            return Ok(());
        }
        let (wanted, mode) = self.maps.plan_lock(guest, self.planted());
        let _lock = self.lock(key, wanted, mode).await;
        // The maps may have changed while this waited, but only towards less to do.
        let plan = self.maps.plan_write(guest, self.planted());
        // (A planted bug locks nothing.)
        let enough = wanted.contains(plan.lock) || wanted.is_empty();
        assert!(enough, "{wanted} locks too little for {plan:?}");
        if plan.record {
            self.write_and_record(&plan, data).await
        } else {
            self.store(guest, &[], data, WriteFlags::NONE).await.map(drop)
        }
    }

    async fn write_and_record(&self, plan: &WritePlan, data: Vec<u8>) -> Result<(), Error> {
        let journaled = self.journal().is_some();
        if journaled {
            // Without a barrier this cannot succeed: rather change nothing.
            self.barrier.check()?;
        }
        // The planted bug makes the data durable, but not the length of the storage.
        let growth_lost = self.planted().has(Bug::ExtensionNotDurable);
        let flags = WriteFlags { fua: growth_lost, ..WriteFlags::NONE };
        let new = if copies_much(plan) {
            self.store_long(plan, &data, flags).await?
        } else {
            let bytes = self.complete_from_base(plan, data).await?;
            self.store(plan.store, &plan.unmapped, bytes, flags).await?
        };
        let flushes = journaled && !growth_lost && !self.planted().has(Bug::JournalBeforeData);
        if flushes && let Err(error) = self.barrier.flush_data().await {
            self.release(&new);
            return Err(error);
        }
        self.publish(plan.store, plan.blocks.clone(), &new);
        self.report_copy(plan);
        if journaled { self.record(plan).await } else { Ok(()) }
    }

    /// The bytes to store: the guest's, between what its first and last block miss.
    async fn complete_from_base(&self, plan: &WritePlan, data: Vec<u8>) -> Result<Vec<u8>, Error> {
        let (head, tail) = (plan.head(), plan.tail());
        if head.is_empty() && tail.is_empty() {
            return Ok(data);
        }
        let head = self.read_base(head);
        let tail = self.read_base(tail);
        let (head, tail) = futures_util::future::join(head, tail).await;
        let (mut bytes, tail) = (head?, tail?);
        bytes.reserve(data.len() + tail.len());
        bytes.extend_from_slice(&data);
        bytes.extend_from_slice(&tail);
        Ok(bytes)
    }

    /// Reads from the base; nothing from nowhere.
    pub(super) async fn read_base(&self, range: ByteRange) -> Result<Vec<u8>, Error> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let base = self.barrier.disks.base.as_ref().expect("blocks to copy have a base");
        read(&**base, "read base", range).await
    }
}
