//! What the submission and the end of a disk request touch. The table is in [`super::access`].

use std::ops::Range;

use plugpull_engine::ByteRange;
use plugpull_engine::sync::{Access, WHOLE};

use super::access::{Accessed, Object};
use super::label::RequestLabel;
use crate::disk::{DiskSpec, FailedFlush, FaultPlan, Model, OpKind, Outcome, Which};

/// What is to be known of a disk.
#[derive(Debug, Clone)]
pub(super) struct DiskAccess {
    disk: usize,
    sector_len: u64,
    ordered: bool,
    drops: bool,
    /// Whether a fault counts requests.
    counts: bool,
    /// Whether a fault that hits changes more than a budget.
    lasting: bool,
}

impl DiskAccess {
    pub(super) fn new(disk: usize, spec: &DiskSpec, faults: &FaultPlan) -> Self {
        Self {
            disk,
            sector_len: spec.sector_len as u64,
            ordered: spec.model == Model::Ordered,
            drops: spec.failed_flush == FailedFlush::Drop,
            counts: faults.faults.iter().any(|fault| matches!(fault.which, Which::Nth(_))),
            lasting: !faults.bad_sectors.is_empty()
                || faults.faults.iter().any(|fault| fault.permanent),
        }
    }

    /// The submission of a request.
    pub(super) fn submit(&self, request: &RequestLabel, touch: &mut impl FnMut(Accessed)) {
        let disk = self.disk;
        if self.counts {
            touch(Object::Counted(disk).whole(Access::Write));
        }
        if request.kind == OpKind::Flush || request.flags.preflush {
            touch(Object::Completed(disk).whole(Access::Read));
        }
        match request.kind {
            OpKind::Read | OpKind::Flush => {}
            OpKind::Write | OpKind::Discard => {
                touch(Object::Length(disk).whole(Access::Read));
                touch(Object::Sectors(disk).part(self.sectors(request), Access::Write));
            }
            OpKind::Resize => {
                touch(Object::Sectors(disk).whole(Access::Write));
                touch(Object::Lengths(disk).whole(Access::Write));
            }
        }
    }

    /// The end of a request.
    pub(super) fn complete(
        &self,
        request: &RequestLabel,
        outcome: &Outcome,
        touch: &mut impl FnMut(Accessed),
    ) {
        let disk = self.disk;
        if self.lasting {
            let hits = *outcome != Outcome::Done;
            let heals = !matches!(request.kind, OpKind::Read | OpKind::Flush);
            let access = if hits || heals { Access::Write } else { Access::Read };
            touch(Object::Faults(disk).whole(access));
        }
        let flushes = request.kind == OpKind::Flush || request.flags.preflush;
        let fails = matches!(outcome, Outcome::Failed(_));
        if flushes && fails && self.drops {
            self.everything(touch);
        }
        if flushes && !fails {
            touch(Object::Lengths(disk).whole(Access::Add));
        }
        match request.kind {
            OpKind::Read => touch(Object::Visible(disk).part(self.sectors(request), Access::Read)),
            OpKind::Flush => {}
            OpKind::Resize => self.everything(touch),
            OpKind::Write | OpKind::Discard => {
                let elsewhere = matches!(outcome, Outcome::Misdirected { .. });
                let part = if elsewhere { WHOLE } else { self.sectors(request) };
                touch(Object::Sectors(disk).part(part.clone(), Access::Write));
                touch(Object::Visible(disk).part(part, Access::Write));
                touch(Object::Completed(disk).whole(Access::Add));
                if self.ordered {
                    touch(Object::Order(disk).whole(Access::Write));
                }
            }
        }
    }

    fn everything(&self, touch: &mut impl FnMut(Accessed)) {
        let disk = self.disk;
        let objects = [
            Object::Sectors(disk),
            Object::Visible(disk),
            Object::Completed(disk),
            Object::Length(disk),
            Object::Lengths(disk),
            Object::Order(disk),
        ];
        objects.into_iter().for_each(|object| touch(object.whole(Access::Write)));
    }

    fn sectors(&self, request: &RequestLabel) -> Range<u64> {
        ByteRange::new(request.offset, request.len).units(self.sector_len)
    }
}
