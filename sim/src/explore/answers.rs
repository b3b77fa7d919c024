//! Reading a recovered device back, range by range.
//!
//! A range that depends on nothing undecided is read in one piece. One that does is cut into halves
//! down to single sectors, so that each undecided sector is asked about for itself; such a query is
//! run in every way, each time from where recovery has left the disks.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use plugpull_engine::{ByteRange, SECTOR};

use crate::crash::{Certificate, CrashPoint, LazyDisks, Path};
use crate::disk::Image;
use crate::explore::cuts::{Cuts, Report};
use crate::explore::leaf::{Part, Recovered, run};
use crate::oracle::{Finding, Obligations, View};
use crate::verdict::Invariant;

/// One answer to a query that has several.
#[derive(Clone)]
pub(super) struct Answer {
    pub(super) range: ByteRange,
    pub(super) bytes: Vec<u8>,
    /// The way to it, recovery included.
    pub(super) path: Path,
    /// The disks after it.
    pub(super) disks: LazyDisks,
}

/// What was read.
pub(super) struct Answers {
    /// What was there before the session, with what has one answer in place.
    content: Image,
    /// The ranges that have one answer.
    decided: Vec<ByteRange>,
    /// The answers of the others; kept where something follows that needs them.
    open: Vec<Answer>,
    keep: bool,
}

impl Answers {
    pub(super) fn new(content: Image, keep: bool) -> Self {
        Self { content, decided: Vec::new(), open: Vec::new(), keep }
    }

    fn decide(&mut self, range: ByteRange, bytes: &[u8]) {
        if self.keep {
            self.content.write(range.offset, bytes);
            match self.decided.last_mut() {
                Some(last) if last.end() == range.offset => last.len += range.len,
                _ => self.decided.push(range),
            }
        }
    }

    /// What is known together.
    pub(super) fn parts(&self) -> Vec<Part> {
        let decided = (!self.decided.is_empty()).then(|| Part {
            content: self.content.clone(),
            asked: self.decided.clone().into(),
            answer: None,
        });
        let open = self.open.iter().map(|answer| {
            let mut content = self.content.clone();
            content.write(answer.range.offset, &answer.bytes);
            Part { content, asked: Arc::from([answer.range]), answer: Some(answer.clone()) }
        });
        decided.into_iter().chain(open).collect()
    }

    /// The moment after each part was read.
    pub(super) fn settled(&self, recovered: &Recovered) -> Vec<(Part, CrashPoint)> {
        let settled = self.parts().into_iter().map(|part| {
            let point = match &part.answer {
                None => recovered.world.point(),
                Some(answer) => answer.disks.point(),
            };
            (part, point)
        });
        settled.collect()
    }
}

impl Cuts {
    /// Asks for a guest range and judges every answer.
    pub(super) fn ask(
        &mut self,
        recovered: &Recovered,
        range: ByteRange,
        obligations: &Obligations,
        answers: &mut Answers,
        report: Report<'_>,
    ) -> ControlFlow<()> {
        // Where nothing can be asked, nothing has to be taken back.
        let before = recovered.world.with_disks(|disks| {
            let before = (!disks.is_all_known()).then(|| disks.clone());
            disks.path.try_out();
            before
        });
        let read = self.query(recovered, range);
        let asked = recovered.world.with_disks(|disks| disks.path.end_trial());
        if let (true, Some(before)) = (asked, &before) {
            recovered.world.with_disks(|disks| *disks = before.clone());
        }
        // An error is nobody's in particular until single sectors are asked for.
        let nobodys = matches!(read, Ok(None)) || (read.is_err() && self.observed.is_some());
        let split = nobodys && range.len > SECTOR;
        if !asked && !split {
            let judged = self.judge(range, read, obligations, report)?;
            judged.right.iter().for_each(|&right| answers.decide(right, judged.bytes_of(right)));
            return ControlFlow::Continue(());
        }
        if range.len > SECTOR {
            let middle = range.offset + (range.len / 2).next_multiple_of(SECTOR);
            for half in
                [ByteRange::between(range.offset, middle), ByteRange::between(middle, range.end())]
            {
                self.ask(recovered, half, obligations, answers, report)?;
            }
            return ControlFlow::Continue(());
        }
        let before = before.expect("something was undecided");
        // Recovery is not run again: the disks are where it has left them.
        let mut path = before.path.branch_here();
        let mut certificate = Certificate::new(before.states());
        loop {
            recovered.world.with_disks(|disks| *disks = before.clone().on(path));
            let read = self.query(recovered, range);
            recovered.world.with_disks(|disks| {
                self.narrow(disks);
                certificate.add(&disks.states());
            });
            path = recovered.world.path();
            self.trusted(path.end())?;
            let Judged { right, bytes, .. } = self.judge(range, read, obligations, report)?;
            if !right.is_empty() && answers.keep {
                let disks = recovered.world.with_disks(|disks| disks.clone());
                answers.open.push(Answer { range, bytes, path: path.clone(), disks });
            }
            if !path.advance() {
                self.trusted(certificate.verify())?;
                break;
            }
            if self.is_too_many(certificate.ways()) {
                break;
            }
        }
        recovered.world.with_disks(|disks| *disks = before);
        ControlFlow::Continue(())
    }

    /// What a read gives; nothing if a sector is unreadable that it needs.
    fn query(
        &mut self,
        recovered: &Recovered,
        range: ByteRange,
    ) -> Result<Option<Vec<u8>>, Finding> {
        self.counts.queries += 1;
        let world = &recovered.world;
        let failed_reads = world.with_disks(|disks| disks.failed_reads());
        let bytes = run(world, "a read after recovery", recovered.device.read_back(range))?;
        match bytes {
            Ok(bytes) => Ok(Some(bytes)),
            Err(_) if world.with_disks(|disks| disks.failed_reads()) > failed_reads => Ok(None),
            Err(error) => {
                let (view, offset) = View::of(range.offset);
                let here = ByteRange::new(offset, range.len);
                let (invariant, place) = match view {
                    View::Active => (Invariant::DDur, format!("guest range {here}")),
                    View::Snapshot(_) => (Invariant::QSnap, format!("range {here} of {view}")),
                };
                let message = format!("{place} cannot be read after recovery: {error}");
                Err(Finding { invariant, message })
            }
        }
    }

    /// What of an answer is what it may be. Of what is not, the first of each invariant is told: one
    /// must not hide another, which nobody would find again on images.
    fn judge(
        &mut self,
        range: ByteRange,
        read: Result<Option<Vec<u8>>, Finding>,
        obligations: &Obligations,
        report: Report<'_>,
    ) -> ControlFlow<(), Judged> {
        let mut judged = Judged { range, bytes: Vec::new(), right: Vec::new() };
        let bytes = match read {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return ControlFlow::Continue(judged),
            Err(finding) => {
                self.observe(|observed| observed.finding(&finding));
                let sector = range.offset / SECTOR;
                self.note_wrong(|wrong| wrong.sectors.extend(range.units(SECTOR)));
                self.lost(finding, Some(sector), report)?;
                return ControlFlow::Continue(judged);
            }
        };
        self.observe(|observed| observed.content(range, &bytes));
        judged.bytes = bytes;
        if obligations.judge(range.offset / SECTOR, &judged.bytes).is_none() {
            judged.right.push(range);
            return ControlFlow::Continue(judged);
        }
        let mut told = BTreeSet::new();
        for sector in range.units(SECTOR) {
            let here = ByteRange::new(sector * SECTOR, SECTOR);
            match obligations.judge(sector, judged.bytes_of(here)) {
                None => judged.right.push(here),
                Some(finding) => {
                    self.note_wrong(|wrong| _ = wrong.sectors.insert(sector));
                    if told.insert(finding.invariant) {
                        self.lost(finding, Some(sector), report)?;
                    }
                }
            }
        }
        ControlFlow::Continue(judged)
    }
}

/// What was read, and which parts of it are right.
struct Judged {
    range: ByteRange,
    bytes: Vec<u8>,
    right: Vec<ByteRange>,
}

impl Judged {
    fn bytes_of(&self, part: ByteRange) -> &[u8] {
        let start = usize::try_from(part.offset - self.range.offset).expect("within the bytes");
        &self.bytes[start..start + usize::try_from(part.len).expect("within the bytes")]
    }
}
