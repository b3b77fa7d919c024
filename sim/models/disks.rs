//! Clients that write, flush and acknowledge.
//!
//! A flush makes durable what completed on its disk before the flush *completes*; the simulated disk
//! is stricter. Events conflict when they are of the same task, or a write and a flush of the same
//! disk. Every request is a process with one event, its completion.

use std::future::Future;

use futures_util::future::join;
use plugpull_sim::orders::{Change, Clocks, Cuts, NotRepeated, Ran};
use xxhash_rust::xxh3::xxh3_128;

use super::board::{Handle, Tasks, io};
use super::search::{Choose, Model};
use super::touched::Touched;

/// What a client may ask for. Cells and clients are counted over all disks.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Op {
    Write { disk: u8, cell: u8 },
    Flush { disk: u8 },
    Ack { client: u8 },
}

/// What a power cut would leave: the cells that are durable, those that may be, and the clients that
/// know they are.
pub(crate) type CrashKey = (u32, u32, u32);
/// What each flush has made durable, by process.
pub(crate) type Outcome = Vec<(u64, u32)>;

/// Disks without contents.
#[derive(Debug, Clone, Copy, Default)]
struct Cells {
    submitted: u32,
    written: u32,
    durable: u32,
    acked: u32,
}

/// What one event did, for the evaluation of cuts.
#[derive(Debug, Clone, Copy)]
struct Logged {
    op: Op,
    /// What it made durable, or acknowledged.
    durable: u32,
    acked: u32,
    /// Cells of writes submitted in this event.
    submitted: u32,
}

/// A model of clients on disks.
pub(crate) struct Disks<T> {
    tasks: Tasks<Op, T>,
    cells: Cells,
    /// Cells of each disk.
    disk_cells: [u32; 2],
    log: Vec<Logged>,
    /// Cells submitted before any event.
    at_start: u32,
    outcome: Outcome,
    /// What each task has observed.
    observed: Vec<u64>,
}

impl Cells {
    fn apply(&mut self, op: Op, disk_cells: &[u32; 2]) {
        match op {
            Op::Write { cell, .. } => self.written |= 1 << cell,
            Op::Flush { disk } => self.durable |= self.written & disk_cells[usize::from(disk)],
            Op::Ack { client } => self.acked |= 1 << client,
        }
    }

    fn crash_key(&self) -> CrashKey {
        (self.durable, self.submitted & !self.durable, self.acked)
    }
}

impl<T: Future<Output = ()>> Disks<T> {
    fn new(
        clients: usize,
        disk_cells: [u32; 2],
        client: impl Fn(Handle<Op>, usize) -> T + 'static,
    ) -> Self {
        Self {
            tasks: Tasks::new(clients, client),
            cells: Cells::default(),
            disk_cells,
            log: Vec::new(),
            at_start: 0,
            outcome: Vec::new(),
            observed: vec![0; clients],
        }
    }

    pub(crate) fn crash_key(&self) -> CrashKey {
        self.cells.crash_key()
    }

    pub(crate) fn outcome(&self) -> Outcome {
        let mut outcome = self.outcome.clone();
        outcome.sort_unstable();
        outcome
    }

    /// The crash key after the steps for which `has` holds, from what was recorded of them.
    pub(crate) fn crash_key_of(&self, has: impl Fn(usize) -> bool) -> CrashKey {
        let mut cells = Cells { submitted: self.at_start, ..Cells::default() };
        for (_, logged) in self.log.iter().enumerate().filter(|(step, _)| has(*step)) {
            cells.apply(logged.op, &self.disk_cells);
            cells.submitted |= logged.submitted;
        }
        cells.crash_key()
    }

    /// The crash keys after all cuts, each made from the one before: a flush makes durable the same
    /// in all cuts that have it, and steps leave in the opposite order in which they entered.
    pub(crate) fn crash_keys_of_cuts(&self, clocks: &Clocks, mut visit: impl FnMut(CrashKey)) {
        let mut now = (0, self.at_start, 0);
        let mut before = Vec::new();
        for change in Cuts::all(clocks) {
            match change {
                Change::Enters(step) => {
                    before.push(now);
                    let logged = &self.log[step];
                    now.0 |= logged.durable;
                    now.1 |= logged.submitted;
                    now.2 |= logged.acked;
                }
                Change::Leaves(_) => now = before.pop().expect("what entered before"),
                Change::Cut => visit((now.0, now.1 & !now.0, now.2)),
            }
        }
    }

    /// Whether the event of this step makes something durable or known.
    pub(crate) fn settles(&self, step: usize) -> bool {
        !matches!(self.log[step].op, Op::Write { .. })
    }

    /// Cells of the writes that the last event, or the start, has submitted. Each request waits on
    /// the board right after it was submitted.
    fn newly_submitted(&self, step: Option<usize>) -> u32 {
        let board = self.tasks.board.borrow();
        let new = board.pending.iter().rev().take_while(|request| request.submitted == step);
        new.fold(0, |cells, request| match request.op {
            Op::Write { cell, .. } => cells | 1 << cell,
            _ => cells,
        })
    }
}

impl<T: Future<Output = ()>> Model for Disks<T> {
    type Footprint = Touched;

    fn start(&mut self) {
        self.log.clear();
        self.outcome.clear();
        self.observed.fill(0);
        self.tasks.start();
        self.at_start = self.newly_submitted(None);
        self.cells = Cells { submitted: self.at_start, ..Cells::default() };
    }

    fn enabled(&self, into: &mut Vec<u64>) {
        into.extend(self.tasks.board.borrow().pending.iter().map(|request| request.process));
    }

    fn step(
        &mut self,
        process: u64,
        step: usize,
        _: Choose<'_>,
    ) -> Result<Ran<Touched>, NotRepeated> {
        let request = {
            let mut board = self.tasks.board.borrow_mut();
            let request = board.take(process, step);
            board.complete(&request, 0);
            request
        };
        self.cells.apply(request.op, &self.disk_cells);
        if let Op::Flush { disk } = request.op {
            let covered = self.cells.durable & self.disk_cells[usize::from(disk)];
            self.outcome.push((process, covered));
        }
        let seen = &mut self.observed[request.task];
        *seen = seen.wrapping_add(process + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.tasks.poll(request.task);
        let submitted = self.newly_submitted(Some(step));
        self.cells.submitted |= submitted;
        let (durable, acked) = match request.op {
            Op::Write { .. } => (0, 0),
            Op::Flush { disk } => (self.cells.written & self.disk_cells[usize::from(disk)], 0),
            Op::Ack { client } => (0, 1 << client),
        };
        self.log.push(Logged { op: request.op, durable, acked, submitted });
        Ok(Ran {
            footprint: touched(request.task, request.op),
            needed: true,
            enabled_by: request.submitted,
            waited_for_all: false,
            past: process,
        })
    }

    /// What each task has observed, and the contents of the objects they share.
    fn fingerprint(&self) -> u128 {
        let mut bytes = [0; 16 * 8];
        let cells = [self.cells.written, self.cells.durable, self.cells.acked];
        let words =
            cells.iter().map(|&cells| u64::from(cells)).chain(self.observed.iter().copied());
        for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        xxh3_128(&bytes[..8 * (3 + self.observed.len())])
    }
}

/// Bits of [`Touched`]: the disks, then the tasks.
fn touched(task: usize, op: Op) -> Touched {
    let own = Touched { writes: 1 << (2 + task), ..Touched::default() };
    match op {
        // Writes commute with writes, flushes with flushes.
        Op::Write { disk, .. } => Touched { adds: 1 << disk, ..own },
        Op::Flush { disk } => Touched { reads: 1 << disk, ..own },
        Op::Ack { .. } => own,
    }
}

fn byte(number: usize) -> u8 {
    u8::try_from(number).expect("toys are small")
}

/// Write, flush, acknowledge; clients alternate between the disks.
fn write_flush_ack(
    clients: usize,
    disks: usize,
    disk_cells: [u32; 2],
) -> Disks<impl Future<Output = ()>> {
    Disks::new(clients, disk_cells, move |board, task| async move {
        let (disk, client) = (byte(task % disks), byte(task));
        io(&board, task, Op::Write { disk, cell: client }).await;
        io(&board, task, Op::Flush { disk }).await;
        io(&board, task, Op::Ack { client }).await;
    })
}

/// M3: `clients` on one disk.
pub(crate) fn m3(clients: usize) -> Disks<impl Future<Output = ()>> {
    write_flush_ack(clients, 1, [u32::MAX, 0])
}

/// `clients` on two disks in turn.
pub(crate) fn two_disks(clients: usize) -> Disks<impl Future<Output = ()>> {
    write_flush_ack(clients, 2, [0x5555_5555, 0xaaaa_aaaa])
}

/// Each client writes to a source and a target, one after the other, and flushes both.
pub(crate) fn mirrored(clients: usize) -> Disks<impl Future<Output = ()>> {
    Disks::new(clients, [0x5555_5555, 0xaaaa_aaaa], |board, task| async move {
        for disk in 0..2 {
            let cell = byte(2 * task) + disk;
            io(&board, task, Op::Write { disk, cell }).await;
        }
        for disk in 0..2 {
            io(&board, task, Op::Flush { disk }).await;
        }
        io(&board, task, Op::Ack { client: byte(task) }).await;
    })
}

/// Each client has two writes in flight at once, then flushes.
pub(crate) fn joined(clients: usize) -> Disks<impl Future<Output = ()>> {
    Disks::new(clients, [u32::MAX, 0], |board, task| async move {
        let write = |cell| io(&board, task, Op::Write { disk: 0, cell });
        join(write(byte(2 * task)), write(byte(2 * task + 1))).await;
        io(&board, task, Op::Flush { disk: 0 }).await;
        io(&board, task, Op::Ack { client: byte(task) }).await;
    })
}
