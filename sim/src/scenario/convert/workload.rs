//! What is asked of the device: requests that it takes, in an order in which they mean something.

use std::collections::BTreeMap;

use plugpull_engine::ByteRange;

use super::Result;
use super::value::{at_most, parsed, positive_u32, unknown};
use crate::scenario::error::Problem;
use crate::scenario::file::{self, Text};
use crate::scenario::size::LongLen;
use crate::scenario::{Access, Client, FvdSpec, Qcow2Spec, SystemSpec};
use crate::workload::{GuestOp, SetupOp, SnapshotName};

/// Most requests that one client can make: every execution holds all of them.
const REQUESTS_MAX: u64 = 100_000;
/// The largest disk of which snapshots are made: the model has each of its sectors, and all of them
/// are read back.
const SNAPSHOT_SIZE_MAX: u64 = 1 << 20;
/// The largest that clients make a disk: the model has each of its sectors.
const RESIZED_SIZE_MAX: u64 = 16 << 20;

/// What can be asked of a device, and what the requests so far have made of it.
#[derive(Debug, Clone)]
pub(super) struct Requests {
    size: u64,
    access: Access,
    clusters: Option<Clusters>,
    /// The snapshots that there are, with the sizes that they were made at.
    snapshots: BTreeMap<SnapshotName, u64>,
}

/// What only devices with clusters can be asked for.
#[derive(Debug, Clone, Copy)]
struct Clusters {
    len: u64,
    /// Whether a discarded cluster reads as zeros.
    discard: bool,
    /// Whether clusters can be compressed.
    compress: bool,
}

impl Requests {
    pub(super) fn of_fvd(spec: &FvdSpec) -> Self {
        Self::new(spec.size, spec.access, None)
    }

    pub(super) fn of_qcow2(spec: &Qcow2Spec) -> Self {
        let clusters = Clusters {
            len: spec.cluster,
            discard: spec.version >= 3 || spec.backing.is_none(),
            compress: !spec.data_file,
        };
        Self::new(spec.size, spec.access, Some(clusters))
    }

    /// After the set-up of a system.
    fn after_setup(system: &SystemSpec) -> Self {
        let mut requests = match system {
            SystemSpec::Fvd(fvd) => Self::of_fvd(fvd),
            SystemSpec::Qcow2(qcow2) => Self::of_qcow2(qcow2),
        };
        for op in system.setup() {
            if let SetupOp::Guest(op) = op {
                requests.follow(*op);
            }
        }
        requests
    }

    fn new(size: u64, access: Access, clusters: Option<Clusters>) -> Self {
        Self { size, access, clusters, snapshots: BTreeMap::new() }
    }

    /// Refuses a request that cannot come next; takes note of it otherwise.
    fn next(&mut self, text: &Text, op: GuestOp) -> Result<()> {
        at_most(text, op.range().len)?;
        inside(text, op.range(), self.size)?;
        if !op.is_plain() {
            self.with_clusters(text, op)?;
        }
        self.named(text, op)?;
        self.follow(op);
        Ok(())
    }

    /// Refuses what the device cannot do, or not there.
    fn with_clusters(&self, text: &Text, op: GuestOp) -> Result<()> {
        let refused = |problem: &str, expected: &str| Err(Problem::at(text, problem, expected));
        let Some(clusters) = self.clusters else {
            let expected = "expected it with kind = \"qcow2\"";
            return refused("a request that FVD images do not know", expected);
        };
        match op {
            GuestOp::Discard { .. } if !clusters.discard => {
                let expected = "expected no discards in version 2 with a backing file";
                return refused("a discard of which nobody knows what is read then", expected);
            }
            GuestOp::WriteCompressed { .. } if !clusters.compress => {
                let expected = "expected no compressed writes with data_file = true";
                return refused("compressed data in a data file", expected);
            }
            GuestOp::Discard { .. } | GuestOp::WriteCompressed { .. } => {
                let (range, len) = (op.range(), clusters.len);
                let ends = range.end().is_multiple_of(len) || range.end() == self.size;
                if !range.offset.is_multiple_of(len) || !ends {
                    let expected = format!("expected whole clusters of {len} bytes");
                    return refused("a part of a cluster", &expected);
                }
            }
            GuestOp::Resize(size) => at_most(text, size)?,
            _ => {}
        }
        Ok(())
    }

    /// Refuses a snapshot's name that means nothing, or something else already.
    fn named(&self, text: &Text, op: GuestOp) -> Result<()> {
        let Some(name) = op.snapshot() else { return Ok(()) };
        let exists = self.snapshots.contains_key(&name);
        match op {
            GuestOp::Snapshot(_) if exists => {
                let problem = format!("a second snapshot `{name}`");
                Err(Problem::at(text, problem, "expected another name, or its deletion before"))
            }
            GuestOp::Snapshot(_) if self.size > SNAPSHOT_SIZE_MAX => {
                let expected = format!("expected at most {}", LongLen(SNAPSHOT_SIZE_MAX));
                Err(Problem::at(text, "a snapshot of a disk that is too large", expected))
            }
            GuestOp::Apply(_) | GuestOp::DeleteSnapshot(_) if !exists => {
                let problem = format!("no snapshot `{name}`");
                let expected = format!("expected `snapshot {name}` before, of the same client");
                Err(Problem::at(text, problem, expected))
            }
            _ => Ok(()),
        }
    }

    fn follow(&mut self, op: GuestOp) {
        match op {
            GuestOp::Snapshot(name) => _ = self.snapshots.insert(name, self.size),
            GuestOp::DeleteSnapshot(name) => _ = self.snapshots.remove(&name),
            GuestOp::Apply(name) => {
                self.size = self.snapshots.get(&name).copied().unwrap_or(self.size);
            }
            GuestOp::Resize(size) => self.size = size,
            _ => {}
        }
    }
}

/// The set-up, on `disks`.
pub(super) fn setup(ops: &[Text], requests: &mut Requests, disks: &[&str]) -> Result<Vec<SetupOp>> {
    ops.iter()
        .map(|text| {
            let op: SetupOp = parsed(text, "not an operation")?;
            match &op {
                SetupOp::Guest(op) => requests.next(text, *op)?,
                SetupOp::Poke { disk, .. } if !disks.contains(&disk.as_str()) => {
                    return Err(unknown(text, "disk", disks.iter().copied()));
                }
                SetupOp::Poke { offset, bytes, .. } => {
                    at_most(text, offset.saturating_add(bytes.len() as u64))?;
                }
                SetupOp::Grow(_) if requests.clusters.is_some() => {
                    let expected = "expected `resize SIZE` of the open image";
                    return Err(Problem::at(text, "a qcow2 image that grows closed", expected));
                }
                SetupOp::Grow(size) => at_most(text, *size)?,
                SetupOp::Reopen | SetupOp::ReopenReadonly | SetupOp::Kill => {}
            }
            Ok(op)
        })
        .collect()
}

/// The clients of a system and the sessions after a power cut.
pub(super) fn workload(
    file: &file::File,
    system: &SystemSpec,
) -> Result<(Vec<Client>, Vec<Vec<GuestOp>>)> {
    let start = Requests::after_setup(system);
    let shared = Shared::of(&file.client)?;
    let client = |client| {
        let mut requests = start.clone();
        requests.size = if shared.resizes { shared.size_min.min(start.size) } else { start.size };
        self::client(client, &start, requests)
    };
    let clients = file.client.iter().map(client).collect::<Result<_>>()?;
    let after = file.after.iter().map(|after| later(&after.ops, &start, &shared));
    Ok((clients, after.collect::<Result<_>>()?))
}

/// What clients do that others would have to know of: snapshots have one client each, and one client
/// resizes.
struct Shared {
    resizes: bool,
    /// The smallest size that anybody makes.
    size_min: u64,
}

impl Shared {
    fn of(clients: &[file::Client]) -> Result<Self> {
        let mut shared = Self { resizes: false, size_min: u64::MAX };
        let (mut names, mut resizer) = (BTreeMap::new(), None);
        let mut first_named = None;
        for (number, client) in clients.iter().enumerate() {
            for text in client.ops.get_ref() {
                let Ok(op) = text.get_ref().parse::<GuestOp>() else { continue };
                if let Some(name) = op.snapshot() {
                    first_named.get_or_insert(text);
                    if *names.entry(name).or_insert(number) != number {
                        let problem = format!("a second client of the snapshot `{name}`");
                        return Err(Problem::at(text, problem, "expected one client for each"));
                    }
                }
                if let GuestOp::Resize(size) = op {
                    shared.resizes = true;
                    shared.size_min = shared.size_min.min(size);
                    if *resizer.get_or_insert(number) != number {
                        let problem = "a second client that resizes";
                        return Err(Problem::at(text, problem, "expected one that does"));
                    }
                }
            }
        }
        match first_named {
            Some(text) if shared.resizes => {
                let expected = "expected only one of the two in a workload";
                Err(Problem::at(text, "snapshots of a disk that is resized", expected))
            }
            _ => Ok(shared),
        }
    }
}

fn client(client: &file::Client, start: &Requests, mut requests: Requests) -> Result<Client> {
    let texts = client.ops.get_ref();
    if texts.is_empty() {
        let expected = "expected at least one operation";
        return Err(Problem::at(&client.ops, "a client that does nothing", expected));
    }
    let repeat = client.repeat.as_ref().map_or(Ok(1), positive_u32)?;
    let ops: Vec<GuestOp> = texts.iter().map(request).collect::<Result<_>>()?;
    if ops.iter().any(|op| matches!(op, GuestOp::Resize(_))) {
        // Whoever resizes knows the size.
        requests.size = start.size;
    }
    let is_large = |op: &GuestOp| match *op {
        GuestOp::Resize(size) => size.max(start.size) > RESIZED_SIZE_MAX,
        _ => false,
    };
    if let Some((text, _)) = texts.iter().zip(&ops).find(|(_, op)| is_large(op)) {
        let expected = format!("expected at most {}", LongLen(RESIZED_SIZE_MAX));
        return Err(Problem::at(text, "a client that resizes a disk that is too large", expected));
    }
    // What is right twice is right any number of times.
    for _ in 0..repeat.min(2) {
        for (text, op) in texts.iter().zip(&ops) {
            written(text, *op, &requests)?;
            requests.next(text, *op)?;
        }
    }
    if let Some(number) = &client.repeat
        && ops.len() as u64 * u64::from(repeat) > REQUESTS_MAX
    {
        let problem = format!("{repeat} times {} requests", ops.len());
        let expected = format!("expected at most {REQUESTS_MAX} requests of one client");
        return Err(Problem::at(number, problem, expected));
    }
    Ok(Client { ops, repeat })
}

/// A session after a power cut: of snapshots and sizes nobody knows what the cut has left.
fn later(texts: &[Text], start: &Requests, shared: &Shared) -> Result<Vec<GuestOp>> {
    let mut requests = start.clone();
    requests.size = requests.size.min(shared.size_min);
    let mut next = |text| {
        let op = request(text)?;
        written(text, op, &requests)?;
        if op.snapshot().is_some() || matches!(op, GuestOp::Resize(_)) {
            let expected = "expected it in a client or in the set-up";
            return Err(Problem::at(text, "snapshots or sizes after a power cut", expected));
        }
        requests.next(text, op)?;
        Ok(op)
    };
    texts.iter().map(&mut next).collect()
}

fn request(text: &Text) -> Result<GuestOp> {
    parsed(text, "not an operation")
}

fn written(text: &Text, op: GuestOp, requests: &Requests) -> Result<()> {
    if requests.access == Access::ReadOnly && op.changes() {
        let expected = "expected no writes with access = \"read-only\"";
        return Err(Problem::at(text, "a write to a read-only image", expected));
    }
    Ok(())
}

/// Refuses an operation that leaves the virtual disk.
fn inside(place: &Text, range: ByteRange, size: u64) -> Result<()> {
    if range.end() > size {
        let problem = format!("the range ends at {}, outside the virtual disk", range.end());
        let expected = format!("expected an end of at most {size} ({})", LongLen(size));
        return Err(Problem::at(place, problem, expected));
    }
    Ok(())
}
