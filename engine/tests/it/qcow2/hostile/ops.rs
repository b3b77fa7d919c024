//! What is done with an image, and what must hold whatever it is.

use std::sync::Arc;

use plugpull_engine::qcow2::Qcow2;
use plugpull_engine::qcow2::check::{CheckReport, check};
use plugpull_engine::qcow2::planted::PlantedBugs;
use plugpull_engine::qcow2::repair::{Repair, repair};
use plugpull_engine::{Access, ByteRange, Disk, Error, ErrorKind};

use super::disk::{Counted, Traffic};
use super::images::{Files, Good, now};
use super::mutants::parts;

/// Most bytes that are read of a disk at each end.
const WINDOW: u64 = 128 << 10;
/// Guest clusters that are written, one sector each.
const WRITTEN: std::ops::Range<u64> = 0..8;
/// Guest clusters that are written later, when some others have been freed.
const WRITTEN_LATER: std::ops::Range<u64> = 8..14;
/// Traffic of one request beyond what is in proportion.
const SLACK: u64 = 256 << 10;

/// How it went.
pub(super) struct Outcome {
    /// Whether it could be opened for writing.
    pub(super) opened: bool,
}

/// What the guest writes: an entry with it is of no use in any table.
fn tag() -> Vec<u8> {
    0x5AFE_6E57_DA7A_B10B_u64.to_be_bytes().repeat(64)
}

/// Looks at an image, uses it, and repairs it, each time from the same bytes.
pub(super) fn try_image(good: &Good, _name: &str, bytes: Vec<u8>) -> Outcome {
    let bytes = Arc::new(bytes);
    let report = look(good, &bytes);
    let opened = work(good, &bytes, report.as_ref());
    for what in [Repair::Leaks, Repair::All] {
        mend(good, &bytes, what);
    }
    Outcome { opened }
}

/// An error that says what is wrong with the image or the request.
#[track_caller]
fn expected(error: &Error) {
    let is_named = match error {
        Error::Corrupt { structure, rule, .. } => !structure.is_empty() && !rule.is_empty(),
        Error::Unsupported(what) => !what.is_empty(),
        Error::InvalidArgument { rule, .. } => !rule.is_empty(),
        _ => error.kind() == ErrorKind::NoSpace,
    };
    assert!(is_named, "an error that names nothing: {error:?}");
}

/// A session's disk, and how much each request has taken of it.
struct Metered<'a> {
    disk: &'a Counted,
    before: Traffic,
}

impl<'a> Metered<'a> {
    fn new(disk: &'a Counted) -> Self {
        Self { disk, before: disk.traffic() }
    }

    /// Judges one request for so many guest bytes.
    #[track_caller]
    fn check<T>(&mut self, what: &str, guest: u64, result: Result<T, Error>) -> Option<T> {
        let now = self.disk.traffic();
        let fair = 8 * (self.disk.len().min(4 << 20) + guest) + SLACK;
        let (read, written) = (now.read - self.before.read, now.written - self.before.written);
        assert!(read <= fair, "{what}: reads {read} bytes, {fair} are fair");
        assert!(written <= fair, "{what}: writes {written} bytes, {fair} are fair");
        let requests = now.requests - self.before.requests;
        assert!(requests <= fair / 256, "{what}: {requests} requests, {} are fair", fair / 256);
        self.before = now;
        result.inspect_err(expected).ok()
    }
}

/// Checks, and reads without writing.
fn look(good: &Good, bytes: &Arc<Vec<u8>>) -> Option<CheckReport> {
    let disk = Counted::new(Arc::clone(bytes));
    let files = Files::new(&good.data);
    let mut metered = Metered::new(&disk);
    let data = (!good.data.is_empty()).then_some(good.data.len() as u64);
    let report = metered.check("check", 0, now(check(&disk, data)));
    let opened = files.open_disk(disk.clone(), Access::ReadOnly);
    // A check does not open the data file, and needs no name for it.
    let has_no_name =
        matches!(&opened, Err(Error::Corrupt { rule, .. }) if rule.contains("a name"));
    let image = metered.check("open for reading", 0, opened);
    if let Some(image) = &image {
        read_all(&mut metered, image);
        metered.check("close", 0, now(image.close()));
    }
    let sound = report.as_ref().is_some_and(CheckReport::is_sound);
    assert!(!sound || image.is_some() || has_no_name, "what is sound cannot be opened for reading");
    assert_eq!(disk.traffic().changes, 0, "looking has changed the file");
    assert_eq!(files.data.traffic().changes, 0, "looking has changed the data file");
    report
}

fn read_all(metered: &mut Metered<'_>, image: &Qcow2) {
    let size = image.virtual_size();
    let end = size.saturating_sub(WINDOW / 4).next_multiple_of(512);
    for range in [ByteRange::new(0, size.min(WINDOW)), ByteRange::between(end, size)] {
        // Compressed clusters are read whole.
        let fair = range.len + 2 * image.cluster_len();
        metered.check("read", 2 * fair, now(image.read(range)));
        metered.check("map", fair, now(image.map(range)));
    }
    for snapshot in image.snapshots().into_iter().take(3) {
        let len = snapshot.virtual_size.unwrap_or(size).min(WINDOW / 4) / 512 * 512;
        let fair = 2 * len + 2 * image.cluster_len();
        let read = now(image.read_snapshot(&snapshot.id, ByteRange::new(0, len)));
        metered.check("read a snapshot", fair, read);
    }
}

/// Uses an image. Whether it opens.
fn work(good: &Good, bytes: &Arc<Vec<u8>>, report: Option<&CheckReport>) -> bool {
    let disk = Counted::new(Arc::clone(bytes));
    let files = Files::new(&good.data);
    let mut metered = Metered::new(&disk);
    let opened = files.open_disk(disk.clone(), Access::ReadWrite);
    let has_no_name =
        matches!(&opened, Err(Error::Corrupt { rule, .. }) if rule.contains("a name"));
    let Some(image) = metered.check("open for writing", 0, opened) else {
        assert_eq!(disk.traffic().changes, 0, "an open that failed has changed the file");
        // Of a dirty image the refcounts may not have room for what they have to be.
        let sound = report.is_some_and(|report| {
            report.is_sound()
                && !report.marked_corrupt
                && !(report.dirty && report.refcounts_too_low > 0)
        });
        assert!(!sound || has_no_name, "what is sound cannot be opened for writing");
        return false;
    };
    let mut troubled = false;
    read_all(&mut metered, &image);
    let cluster = image.cluster_len();
    let size = image.virtual_size();
    let mut write = |metered: &mut Metered<'_>, offset: u64| {
        if offset + 512 > size {
            return;
        }
        let written = metered.check("write", 2 * cluster, now(image.write(offset, tag())));
        troubled |= written.is_none();
        if written.is_some() {
            let read = now(image.read(ByteRange::new(offset, 512)));
            assert!(read == Ok(tag()), "what was written at {offset} is read as {read:?}");
        }
    };
    for index in WRITTEN {
        write(&mut metered, index * cluster + index * 512 % cluster);
    }
    write(&mut metered, size.saturating_sub(512));
    metered.check("flush", 0, now(image.flush()));
    for index in [1, 2, 6] {
        let range = ByteRange::new(index * cluster, cluster);
        metered.check("discard", cluster, now(image.discard(range)));
    }
    metered.check("flush", 0, now(image.flush()));
    for index in WRITTEN_LATER {
        write(&mut metered, index * cluster);
    }
    metered.check("flush", 0, now(image.flush()));
    let whole = size.min(WINDOW);
    metered.check("create a snapshot", whole, now(image.create_snapshot("third")));
    write(&mut metered, 0);
    if let Some(first) = image.snapshots().first().map(|snapshot| snapshot.id.clone()) {
        metered.check("apply a snapshot", whole, now(image.apply_snapshot(&first)));
        metered.check("delete a snapshot", whole, now(image.delete_snapshot(&first)));
    }
    let written = image.write(512, tag());
    metered.check("write", 2 * cluster, now(written));
    let closed = now(image.close());
    let cannot_lower = "lower the refcounts of freed clusters";
    let closed = match closed {
        Err(Error::Disk { doing, .. }) if doing == cannot_lower => None,
        closed => metered.check("close", whole, closed),
    };
    keeps_rules(&disk, bytes);
    let again = files.open_disk(disk.clone(), Access::ReadOnly);
    assert!(again.is_ok(), "what was open cannot be opened again: {:?}", again.map(drop));
    let after = metered.check("check", 0, now(check(&disk, Some(files.data.len()))));
    let clean = report.is_some_and(CheckReport::is_clean);
    if clean && !troubled && closed.is_some() {
        let after = after.expect("a check of an image that was clean");
        assert!(after.is_sound(), "was clean, and is now {after:#?}");
    }
    true
}

/// No guest data where metadata is, and a header with changes only where they may be.
fn keeps_rules(disk: &Counted, before: &[u8]) {
    let len = usize::try_from(disk.len()).expect("a file in memory");
    assert!(len <= before.len() + (256 << 20), "the file has grown to {len}");
    let sectors = disk.sectors_of(&tag());
    // Guest data of the file, and nothing else that is far behind it.
    let whole = disk.peek(0, len.min(before.len() + (4 << 20)));
    for part in parts(&whole).unwrap_or_default() {
        let cluster = 1 << u32::from_be_bytes(whole[20..24].try_into().expect("four"));
        let range = part.offset as u64..((part.offset + part.len) as u64).next_multiple_of(cluster);
        let hit = sectors.iter().find(|sector| range.contains(sector));
        let is_snapshots = part.name == "L2 table of a snapshot";
        assert!(is_snapshots || hit.is_none(), "guest data at {hit:?} in the {}", part.name);
    }
    let header = |bytes: &[u8]| bytes[..512].to_vec();
    let (old, new) = (header(before), header(&whole));
    let may_change = [24..32, 36..72, 72..80, 88..96];
    let is_v2 = old[7] == 2;
    for at in (0..512).filter(|&at| old[at] != new[at]) {
        let may = may_change.iter().any(|range| range.contains(&at)) && !(is_v2 && at >= 72);
        let bits = match at {
            79 => (old[at] ^ new[at]) & !3 == 0,
            72..80 => false,
            88..96 => new[at] & !old[at] == 0,
            _ => true,
        };
        assert!(may && bits, "byte {at} of the header was {:#x}, is {:#x}", old[at], new[at]);
    }
}

/// Repairs an image.
fn mend(good: &Good, bytes: &Arc<Vec<u8>>, what: Repair) {
    let disk = Counted::new(Arc::clone(bytes));
    let mut metered = Metered::new(&disk);
    let repaired = now(repair(&disk, what, PlantedBugs::NONE));
    let Some(report) = metered.check("repair", 0, repaired) else {
        assert_eq!(disk.traffic().changes, 0, "{what:?} failed and has changed the file");
        return;
    };
    let after = now(check(&disk, None));
    assert_eq!(after, Ok(report.after.clone()), "what {what:?} says is not what is");
    if what == Repair::Leaks {
        return;
    }
    let unmended = report.after.problems.iter().find(|problem| {
        use plugpull_engine::qcow2::check::{Rule, Structure};
        // Bits of bitmaps are not repaired, and aliases stay.
        !matches!(problem.structure, Structure::BitmapTableEntry(..))
            && problem.rule != Rule::NotAliased
    });
    assert!(unmended.is_none(), "{what:?} leaves {unmended:?}");
    let changes = disk.traffic().changes;
    now(repair(&disk, what, PlantedBugs::NONE)).expect("a second repair");
    assert_eq!(disk.traffic().changes, changes, "a second repair writes");
    if report.after.is_sound() {
        let opened = Files::new(&good.data).open_disk(disk, Access::ReadWrite);
        let has_no_name =
            matches!(&opened, Err(Error::Corrupt { rule, .. }) if rule.contains("a name"));
        let opens = opened.is_ok() || has_no_name;
        assert!(opens, "repaired, but not to be opened: {:?}", opened.map(drop));
    }
}
