//! Sessions after a power cut: what one client does on the recovered device, one request after the
//! other, before power is cut again.

use std::collections::BTreeSet;
use std::sync::Arc;

use plugpull_engine::{ByteRange, SECTOR};

use crate::crash::DirectWorld;
use crate::disk::Image;
use crate::explore::leaf::run;
use crate::oracle::{End, Finding, Obligations, SectorModel, stamp};
use crate::system::{BoxFuture, Device};
use crate::verdict::Invariant;
use crate::workload::GuestOp;

/// The requests of one later session.
#[derive(Debug, Clone)]
pub(crate) struct LaterSession {
    /// 2 for the first session after the workload.
    pub(crate) number: u64,
    pub(crate) ops: Vec<GuestOp>,
}

/// A session that ran, to its end or to a request that failed.
pub(crate) struct Ran {
    /// Why it has not come to its end: no fault is injected here.
    pub(crate) stopped: Option<Finding>,
    /// What reads have shown that is wrong, the first of each invariant in each read.
    pub(crate) findings: Vec<Finding>,
    /// What a power cut must leave, per phase; the crash points of the run carry the phase.
    pub(crate) obligations: Vec<Arc<Obligations>>,
}

impl LaterSession {
    /// Runs the session on a device that reads as `content` in the ranges of `asked`; what it reads
    /// elsewhere is not judged. A read with the wrong result does not end the session: other parts of
    /// it, and what follows, are judged for themselves.
    pub(crate) fn run(
        &self,
        world: &DirectWorld,
        device: Arc<dyn Device>,
        content: &Image,
        asked: &[ByteRange],
    ) -> Ran {
        let ran = Ran { stopped: None, findings: Vec::new(), obligations: Vec::new() };
        let mut run = Run { world, model: SectorModel::new(), content, asked, ran };
        run.next_phase();
        let mut ops = (0..).zip(&self.ops);
        let stopped =
            ops.find_map(|(at, op)| run.op(&*device, op, stamp::serial(self.number, 0, at)).err());
        Ran { stopped, ..run.ran }
    }
}

struct Run<'a> {
    world: &'a DirectWorld,
    model: SectorModel,
    content: &'a Image,
    asked: &'a [ByteRange],
    ran: Ran,
}

impl Run<'_> {
    fn next_phase(&mut self) {
        self.world.set_phase(self.ran.obligations.len());
        let obligations = Obligations::after_power_cut(&self.model, self.content);
        self.ran.obligations.push(Arc::new(obligations));
    }

    fn op(&mut self, device: &dyn Device, op: &GuestOp, serial: u64) -> Result<(), Finding> {
        match *op {
            GuestOp::Write { offset, len } => {
                let data = stamp::write_content(offset / 512, len / 512, serial);
                self.model.submit_write(op.range().units(512), serial);
                self.write(op.range(), serial, device.write(offset, data))?;
            }
            GuestOp::WriteCompressed { offset, len } => {
                let data = stamp::packed_content(offset / 512, len / 512, serial);
                self.model.submit_write(op.range().units(512), serial);
                self.write(op.range(), serial, device.write_compressed(offset, data))?;
            }
            GuestOp::WriteZeroes { unmap, .. } => {
                self.model.submit_zeros(op.range().units(512), serial);
                self.write(op.range(), serial, device.write_zeroes(op.range(), unmap))?;
            }
            GuestOp::Discard { .. } => {
                self.model.submit_zeros(op.range().units(512), serial);
                self.write(op.range(), serial, device.discard(op.range()))?;
            }
            GuestOp::Snapshot(_)
            | GuestOp::Apply(_)
            | GuestOp::DeleteSnapshot(_)
            | GuestOp::Resize(_) => unreachable!("nobody asks for {op} after a power cut"),
            GuestOp::Read { offset, len } => {
                let range = ByteRange::new(offset, len);
                let bytes = run(self.world, "a read", device.read(range))?.map_err(unasked)?;
                self.judge(range, &bytes);
            }
            GuestOp::Flush => {
                let flush = self.model.submit_flush(serial);
                run(self.world, "a flush", device.flush())?.map_err(unasked)?;
                self.model.flush_succeeded(flush);
            }
            GuestOp::Close => {
                let flush = self.model.submit_flush(serial);
                run(self.world, "close", device.close())?.map_err(unasked)?;
                self.model.flush_succeeded(flush);
            }
            GuestOp::WaitForJobs => run(self.world, "a job", device.wait_for_jobs())?,
            GuestOp::Sleep(time) => run(self.world, "a sleep", self.world.runtime().sleep(time))?,
        }
        self.next_phase();
        Ok(())
    }

    /// A write that was submitted to the model.
    fn write(
        &mut self,
        range: ByteRange,
        serial: u64,
        request: BoxFuture<Result<(), plugpull_engine::Error>>,
    ) -> Result<(), Finding> {
        self.next_phase();
        run(self.world, "a write", request)?.map_err(unasked)?;
        self.model.end_write(range.units(512), serial, End::Success);
        Ok(())
    }

    /// Judges what a read has shown, in the ranges that are asked for.
    fn judge(&mut self, range: ByteRange, bytes: &[u8]) {
        let bytes_of = |part: ByteRange| {
            let start = usize::try_from(part.offset - range.offset).expect("within the bytes");
            &bytes[start..start + usize::try_from(part.len).expect("within the bytes")]
        };
        let broken = |part: ByteRange| {
            let sectors = part.units(SECTOR);
            let expected = Obligations::quiescent(&self.model, self.content, sectors.clone());
            expected.judge(sectors.start, bytes_of(part))
        };
        let parts = self.asked.iter().map(|asked| asked.intersection(range));
        let parts = parts.filter(|part| !part.is_empty() && broken(*part).is_some());
        let sectors = parts.flat_map(|part| part.units(SECTOR));
        let mut told = BTreeSet::new();
        let findings = sectors.filter_map(|at| broken(ByteRange::new(at * SECTOR, SECTOR)));
        let findings: Vec<Finding> =
            findings.filter(|finding| told.insert(finding.invariant)).collect();
        self.ran.findings.extend(findings);
    }
}

fn unasked(error: plugpull_engine::Error) -> Finding {
    Finding {
        invariant: Invariant::EHonest,
        message: format!("a request failed although nothing went wrong: {error}"),
    }
}
