//! Telling the journal what a write has changed in the maps.
//!
//! Ordering: everything the record makes visible is durable before it is written. The request is
//! acknowledged after it was written; a guest flush makes it durable.

use super::events;
use super::image::Image;
use super::journal::Update;
use super::plan::WritePlan;
use super::planted::Bug;
use crate::error::Error;

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
            self.maps.guarantee(&update);
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
        self.maps.guarantee(&update);
        Ok(())
    }

    fn update(&self, plan: &WritePlan) -> Update {
        let only_guest = self.planted().has(Bug::FillNotJournaled);
        let told = if only_guest { plan.guest } else { plan.store };
        let told_chunks = self.geometry.chunks(told);
        self.maps.journal_update(told, |chunk| !only_guest || told_chunks.contains(&chunk))
    }

    /// Says how a write changed the maps, for tracing.
    pub(super) fn report_copy(&self, plan: &WritePlan) {
        if plan.store != plan.guest {
            self.event(events::COPY_ON_WRITE);
        }
    }
}
