//! Images that the original implementation wrote, in ordinary files.
//!
//! Every image is copied, opened for reading, for writing and as for a virtual machine, read
//! completely and compared with what its guest must read; then it is written, closed, and compared
//! again. All complaints about all images are collected before a test fails.

mod archive;
mod files;
mod manifest;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use plugpull_engine::{Error, ErrorKind, SECTOR};

use archive::Images;
use files::{Copy, Purpose, Session};
use manifest::{Expected, Fate, State};

#[test]
fn images_that_were_at_rest_read_as_the_truth() {
    judge_all(|name| !name.starts_with("inflight-") && !name.starts_with("bug-"), 114);
}

#[test]
fn images_killed_in_flight_keep_every_acknowledged_write() {
    judge_all(|name| name.starts_with("inflight-"), 17);
}

#[test]
fn damaged_images_read_as_what_is_there_or_are_refused() {
    judge_all(|name| name.starts_with("bug-"), 12);
}

fn judge_all(wanted: impl Fn(&str) -> bool, count: usize) {
    let Some(images) = Images::unpack(wanted) else { return };
    let mut complaints = Vec::new();
    let mut judged = 0;
    for (name, folder) in images.folders() {
        judged += 1;
        let judge = Judge { expected: Expected::load(name, &folder), folder };
        for (step, act) in STEPS {
            let ended = catch_unwind(AssertUnwindSafe(|| act(&judge)));
            let found = ended.unwrap_or_else(|_| vec!["a panic, see above".to_owned()]);
            complaints.extend(found.iter().map(|found| format!("{name}: {step}: {found}")));
        }
    }
    assert!(complaints.is_empty(), "{} complaints:\n{}", complaints.len(), complaints.join("\n"));
    assert_eq!(judged, count, "images in the archive");
}

type Step = fn(&Judge) -> Vec<String>;

const STEPS: [(&str, Step); 5] = [
    ("check", Judge::checks),
    ("open for reading", Judge::reads),
    ("open for writing", Judge::opens_for_writing),
    ("run with copy-on-read", Judge::runs),
    ("write", Judge::writes),
];

struct Judge {
    expected: Expected,
    folder: PathBuf,
}

impl Judge {
    /// Reading changes no byte of any file, and shows what recovery would.
    fn reads(&self) -> Vec<String> {
        let copy = Copy::of(&self.folder);
        let mut complaints = self.session(&copy, Purpose::Inspect);
        complaints.extend(copy.changed().iter().map(|name| format!("{name} was changed")));
        complaints
    }

    /// `check` finds what is wrong, and nothing else, without changing anything.
    fn checks(&self) -> Vec<String> {
        let copy = Copy::of(&self.folder);
        let mut complaints = self.checked(&copy, self.expected.clean, State::Untouched);
        complaints.extend(copy.changed().iter().map(|name| format!("{name} was changed")));
        complaints
    }

    fn checked(&self, copy: &Copy, clean: bool, state: State) -> Vec<String> {
        match copy.check() {
            Ok(report) => self.expected.judge_check(&report, clean, state),
            Err(error) => vec![format!("check fails: {error}")],
        }
    }

    fn opens_for_writing(&self) -> Vec<String> {
        let copy = Copy::of(&self.folder);
        let mut complaints = self.session(&copy, Purpose::Change);
        if matches!(self.expected.fate, Fate::Refused(_)) {
            complaints.extend(copy.changed().iter().map(|name| format!("{name} was changed")));
            return complaints;
        }
        complaints.extend(self.checked(&copy, true, State::Untouched));
        complaints.extend(self.session(&copy, Purpose::Inspect));
        complaints
    }

    fn runs(&self) -> Vec<String> {
        let copy = Copy::of(&self.folder);
        let mut complaints = self.session(&copy, Purpose::Run);
        if self.expected.fate == Fate::Opens {
            complaints.extend(self.checked(&copy, true, State::Written));
            complaints.extend(self.session(&copy, Purpose::Inspect));
        }
        complaints
    }

    /// Opens, reads twice and closes.
    fn session(&self, copy: &Copy, purpose: Purpose) -> Vec<String> {
        let opened = copy.open(purpose);
        let session = match (self.expected.fate, opened) {
            (Fate::Opens, Ok(session)) => session,
            (Fate::Opens, Err(error)) => return vec![format!("refused: {error}")],
            (Fate::Refused(rule), Err(error)) => return judge_refusal(rule, &error),
            (Fate::Refused(_), Ok(_)) => return vec!["opens".to_owned()],
        };
        let mut complaints = self.reads_as_expected(&session);
        if purpose == Purpose::Run {
            // Once more, with what the first time may have copied.
            complaints.extend(self.reads_as_expected(&session));
        }
        complaints.extend(failed("close", session.close()));
        complaints
    }

    fn reads_as_expected(&self, session: &Session) -> Vec<String> {
        match session.read_all() {
            Ok(content) => self.expected.judge(&content),
            Err(error) => vec![format!("reading fails: {error}")],
        }
    }

    /// Writes here and there; everything else stays as it was, across a clean close and without.
    fn writes(&self) -> Vec<String> {
        if self.expected.fate != Fate::Opens {
            return Vec::new();
        }
        self.try_writes().unwrap_or_else(|error| vec![format!("fails: {error}")])
    }

    fn try_writes(&self) -> Result<Vec<String>, Error> {
        let copy = Copy::of(&self.folder);
        let session = copy.open(Purpose::Change)?;
        let mut content = session.read_all()?;
        let mut complaints = self.expected.judge(&content);
        for (serial, (sector, count)) in (1..).zip(places(&session)) {
            let data = stamped(serial, sector, count);
            let start = usize::try_from(sector * SECTOR).expect("a small disk");
            content[start..start + data.len()].copy_from_slice(&data);
            session.write(sector * SECTOR, data)?;
        }
        complaints.extend(differs("live", &session.read_all()?, &content));
        session.flush()?;
        drop(session);
        let session = copy.open(Purpose::Inspect)?;
        complaints.extend(differs("read-only after a kill", &session.read_all()?, &content));
        session.close()?;
        let session = copy.open(Purpose::Change)?;
        complaints.extend(differs("after a kill", &session.read_all()?, &content));
        session.close()?;
        complaints.extend(self.checked(&copy, true, State::Written));
        let session = copy.open(Purpose::Inspect)?;
        complaints.extend(differs("after close", &session.read_all()?, &content));
        session.close()?;
        Ok(complaints)
    }
}

fn judge_refusal(rule: &str, error: &Error) -> Vec<String> {
    if error.kind() == ErrorKind::Corrupt && error.to_string().contains(rule) {
        return Vec::new();
    }
    vec![format!("refused, but not for {rule:?}: {error}")]
}

fn failed(what: &str, result: Result<(), Error>) -> Option<String> {
    result.err().map(|error| format!("{what} fails: {error}"))
}

fn differs(when: &str, found: &[u8], expected: &[u8]) -> Option<String> {
    let len = usize::try_from(SECTOR).expect("a small number");
    let mut pairs = found.chunks(len).zip(expected.chunks(len));
    let first = pairs.position(|(found, expected)| found != expected)?;
    Some(format!("{when}: sector {first} is not what was read or written before"))
}

/// Where to write, as sector and count: around the seams of whatever maps the image has.
fn places(session: &Session) -> Vec<(u64, u64)> {
    let header = session.fvd.header();
    let all = session.fvd.virtual_size() / SECTOR;
    let sectors = |bytes: i64| u64::try_from(bytes).expect("a valid header") / SECTOR;
    let block = sectors(i64::from(header.block_size));
    let chunk = sectors(header.chunk_size);
    let base = sectors(header.base_img_size);
    let wanted = [
        (0, 1),
        (all - 1, 1),
        (base.saturating_sub(3), 8),
        (block * 5 / 2, 3),
        (block * 9, block),
        (chunk.saturating_sub(1), 2),
        (chunk * 3, chunk),
        (all / 2 + 5, 128),
        (all / 3, 16),
        (all / 5 + 1, 1),
    ];
    wanted.into_iter().filter(|&(start, count)| count > 0 && start + count <= all).collect()
}

/// Content that says which write it is from and which sector it belongs to.
fn stamped(serial: u64, sector: u64, count: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    for sector in sector..sector + count {
        let stamp = [0xA5A5_0000_0000_0000 + serial, sector].map(u64::to_le_bytes).concat();
        bytes.extend_from_slice(&stamp.repeat(32));
    }
    bytes
}
