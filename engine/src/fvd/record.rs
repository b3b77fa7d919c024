//! Telling the journal what a write has changed in the maps.
//!
//! Ordering: everything the record makes visible is durable before it is written. The request is
//! acknowledged after it was written; a guest flush makes it durable.

use super::events;
use super::image::Image;
use super::journal::{Record, Update, plan_update};
use super::plan::WritePlan;
use super::planted::Bug;
use crate::error::Error;
use crate::units::{ByteRange, SECTOR};

impl Image {
    /// Journals what `plan` has published. When this fails the maps in memory stay as they are,
    /// because the record may be on the medium all the same; the entries stay dirty, so that the
    /// next write to them journals them again.
    pub(super) async fn record(&self, plan: &WritePlan) -> Result<(), Error> {
        self.ensure_dirty().await?;
        let journal = self.journal().expect("only images with a journal record");
        let most = usize::try_from(journal.sectors).unwrap_or(usize::MAX);
        let update = self.update(plan);
        if self.planted().has(Bug::StaleBitsBeforeRecord) {
            self.guarantee(&update);
        }
        for (index, phase) in update.phases.iter().enumerate() {
            if index > 0 {
                self.barrier.flush_metadata().await?;
            }
            // An update larger than the journal goes in groups, with recycles between them: each
            // sector alone keeps the maps consistent.
            for group in phase.chunks(most) {
                self.write_journal(group).await?;
            }
        }
        self.guarantee(&update);
        Ok(())
    }

    fn update(&self, plan: &WritePlan) -> Update {
        let only_guest = self.planted().has(Bug::FillNotJournaled);
        let told = if only_guest { plan.guest } else { plan.store };
        let told_chunks = self.geometry.chunks(told);
        self.state.read(|state| {
            plan_update(&self.geometry, told, |chunk| {
                let hidden = only_guest && !told_chunks.contains(&chunk);
                if hidden { None } else { state.maps.table.raw(chunk) }
            })
        })
    }

    /// Counts as guaranteed what the records say.
    fn guarantee(&self, update: &Update) {
        let records = update.phases.iter().flatten().flatten();
        self.state.write(|state| {
            for record in records {
                match record {
                    Record::Table { first, entries } => {
                        let count = u32::try_from(entries.len()).expect("fits in a sector");
                        state.maps.guarantee_ranges(*first..first + count, 0..0);
                    }
                    Record::Bitmap { first_sector, sectors } => {
                        let range =
                            ByteRange::new(first_sector * SECTOR, u64::from(*sectors) * SECTOR);
                        state.maps.guarantee_ranges(0..0, self.geometry.blocks(range));
                    }
                }
            }
        });
    }

    /// Says how a write changed the maps, for tracing.
    pub(super) fn report_copy(&self, plan: &WritePlan) {
        if plan.store != plan.guest {
            self.event(events::COPY_ON_WRITE);
        }
    }
}
