//! Repairing an image that nobody has open.
//!
//! The order of [`Repair::All`], with a flush after each step:
//! 1. Entries that cannot be used are removed, reserved bits and COPIED are cleared where they must
//!    not be. From here on no entry claims a cluster for itself that others refer to.
//! 2. Refcounts become the number of references: in place if each refcount block that is needed is
//!    there and has its cluster to itself; otherwise in a new structure, to which the header is
//!    switched by one write of a sector when it is durable.
//! 3. COPIED is set where the refcount is one.
//! 4. The dirty and the corrupt bit are cleared, if nothing is left that is damaged.
//!
//! A crash leaves any subset of the writes of one step. None overwrites what something refers to,
//! each makes the image better for itself, and a repair that starts again comes to the same end.

use super::check::CheckReport;
use super::features::incompatible;
use super::header::offset;
use super::number::{put, u64_at};
use super::planted::{Bug, PlantedBugs};
use super::rebuild::{Rebuild, block_bytes};
use super::region::read_region;
use super::survey::Survey;
use super::visit::visit;
use super::writer::Writer;
use crate::disk::Disk;
use crate::error::Error;
use crate::units::{ByteRange, SECTOR};

/// What is to be repaired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Repair {
    /// Refcounts that are too high, and COPIED where that costs a copy. An image in which anything
    /// else is wrong stays as it is: what leaks is only known if all references are.
    Leaks,
    /// Everything that can be.
    All,
}

/// What [`repair`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepairReport {
    /// Entries of L1 and L2 tables that were removed or corrected.
    pub entries: u64,
    /// Refcounts that were changed in place.
    pub refcounts: u64,
    /// Whether there is a new refcount structure.
    pub rebuilt: bool,
    /// Entries in which COPIED was set.
    pub copied: u64,
    /// Whether the dirty or the corrupt bit was cleared.
    pub unmarked: bool,
    /// What is left.
    pub after: CheckReport,
}

/// Repairs the image on `file`. Of an image that is clean nothing is written.
///
/// # Errors
/// What [`check`](super::check::check) cannot judge; a structure that cannot be read or overlaps
/// another one, because then nobody knows what is in use; [`Error::Unsupported`] if a refcount has
/// too few bits for its references. In all these cases nothing was written. Disk errors.
pub async fn repair(
    file: &dyn Disk,
    what: Repair,
    planted: PlantedBugs,
) -> Result<RepairReport, Error> {
    let mut survey = Survey::of(file, None, planted).await?;
    if let Some(error) = survey.references.incomplete.take() {
        return Err(error);
    }
    let mut report = RepairReport {
        entries: 0,
        refcounts: 0,
        rebuilt: false,
        copied: 0,
        unmarked: false,
        after: survey.report(),
    };
    let mut repairing = Repairing { writer: Writer::new(file), survey, planted };
    match what {
        Repair::Leaks => repairing.leaks(&mut report).await?,
        Repair::All => repairing.all(&mut report).await?,
    }
    Ok(report)
}

struct Repairing<'a> {
    writer: Writer<'a>,
    survey: Survey,
    planted: PlantedBugs,
}

impl Repairing<'_> {
    async fn leaks(&mut self, report: &mut RepairReport) -> Result<(), Error> {
        let after = &report.after;
        if after.corruptions > 0 || after.refcounts_too_low > 0 {
            return Ok(());
        }
        report.refcounts = self.refcounts_in_place().await?;
        report.copied = self.set_copied().await?;
        report.after = Survey::of(self.writer.file, None, self.planted).await?.report();
        Ok(())
    }

    async fn all(&mut self, report: &mut RepairReport) -> Result<(), Error> {
        let rebuild = if self.needs_rebuild() {
            Some(Rebuild::plan(&self.survey, self.planted)?)
        } else {
            None
        };
        let counts = rebuild.as_ref().map_or(&self.survey.references.counts, |it| &it.counts);
        self.check_width(counts)?;
        report.entries = self.clear_entries().await?;
        if let Some(rebuild) = rebuild {
            self.switch(rebuild).await?;
            report.rebuilt = true;
        } else {
            report.refcounts = self.refcounts_in_place().await?;
        }
        report.copied = self.set_copied().await?;
        report.after = Survey::of(self.writer.file, None, self.planted).await?.report();
        self.unmark(report).await
    }

    /// Whether the refcounts cannot be corrected where they are.
    fn needs_rebuild(&self) -> bool {
        let references = &self.survey.references;
        let entries = self.survey.geometry.refcount_block_entries;
        let has_block = |cluster| references.refcount_blocks.contains_key(&(cluster / entries));
        !references.refcounts_intact || !references.counts.keys().all(has_block)
    }

    fn check_width(&self, counts: &std::collections::BTreeMap<u64, u64>) -> Result<(), Error> {
        let width = self.survey.geometry.refcount_width;
        match counts.iter().find(|&(_, &count)| count > width.max()) {
            None => Ok(()),
            Some((cluster, count)) => Err(Error::Unsupported(format!(
                "{count} references to host cluster {cluster} in refcounts of {} bits",
                width.bits()
            ))),
        }
    }

    /// Step 1.
    async fn clear_entries(&mut self) -> Result<u64, Error> {
        let survey = &self.survey;
        let format = survey.geometry.entry_format;
        let entries = visit(&mut self.writer, format, &survey.references, |place, entry| {
            let settled = survey.settle(place, entry);
            match settled.copied {
                Some(false) => settled.entry.with_copied(false),
                _ => settled.entry,
            }
        });
        let entries = entries.await?;
        self.writer.flush().await?;
        Ok(entries)
    }

    /// Step 2, in place.
    async fn refcounts_in_place(&mut self) -> Result<u64, Error> {
        let Survey { geometry, references, .. } = &self.survey;
        let width = geometry.refcount_width;
        let mut changed = 0;
        for (&index, &offset) in &references.refcount_blocks {
            let range = ByteRange::new(offset, geometry.cluster_len);
            let before = read_region(self.writer.file, range, "read refcount block").await?;
            let after = block_bytes(geometry, &references.counts, index);
            if before != after {
                let differs = |&entry: &u64| width.get(&before, entry) != width.get(&after, entry);
                let entries = (0..geometry.refcount_block_entries).filter(differs);
                changed += entries.count() as u64;
                self.writer.write_changes(offset, &before, &after).await?;
            }
        }
        self.writer.flush().await?;
        Ok(changed)
    }

    /// Step 2, with a new structure.
    async fn switch(&mut self, rebuild: Rebuild) -> Result<(), Error> {
        rebuild.write(&mut self.writer, &self.survey.geometry).await?;
        let (table, clusters) = rebuild.header_fields(&self.survey.geometry);
        self.change_header(|sector| {
            put(sector, offset::REFCOUNT_TABLE, table.to_be_bytes());
            put(sector, offset::REFCOUNT_TABLE + 8, clusters.to_be_bytes());
        })
        .await?;
        self.survey.references.counts = rebuild.counts;
        Ok(())
    }

    /// Step 3.
    async fn set_copied(&mut self) -> Result<u64, Error> {
        let survey = &self.survey;
        let format = survey.geometry.entry_format;
        let copied =
            visit(&mut self.writer, format, &survey.references, |place, entry| {
                match survey.settle(place, entry).copied {
                    Some(true) => entry.with_copied(true),
                    _ => entry,
                }
            });
        let copied = copied.await?;
        self.writer.flush().await?;
        Ok(copied)
    }

    /// Step 4. Aliases stay, and do no harm: with exact refcounts every write to one makes a copy.
    async fn unmark(&mut self, report: &mut RepairReport) -> Result<(), Error> {
        let after = &mut report.after;
        let marked = after.dirty || after.marked_corrupt;
        let damaged = after.corruptions > 0 || after.refcounts_too_low > 0;
        let ignores = self.planted.has(Bug::RepairMarksCleanWithErrors);
        if !marked || (damaged || after.incomplete.is_some()) && !ignores {
            return Ok(());
        }
        self.change_header(|sector| {
            let marks = incompatible::DIRTY | incompatible::CORRUPT;
            let bits = u64_at(sector, offset::INCOMPATIBLE) & !marks;
            put(sector, offset::INCOMPATIBLE, bits.to_be_bytes());
        })
        .await?;
        after.dirty = false;
        after.marked_corrupt = false;
        report.unmarked = true;
        Ok(())
    }

    /// Changes the first sector of the header by one write.
    async fn change_header(&mut self, change: impl FnOnce(&mut [u8])) -> Result<(), Error> {
        let range = ByteRange::new(0, SECTOR);
        let before = read_region(self.writer.file, range, "read header").await?;
        let mut after = before.clone();
        change(&mut after);
        self.writer.write_changes(0, &before, &after).await?;
        self.writer.flush().await
    }
}
