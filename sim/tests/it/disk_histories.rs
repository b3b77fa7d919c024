//! A tiny language for disk histories, for tests written by hand.
//!
//! Images are texts, one character per unit (512 bytes, or the tear granularity): a letter is a
//! unit filled with it, `.` zeros, `#` discarded garbage, a small letter the capital with its first
//! byte inverted, `-` the empty image.
//!
//! A history is steps separated by semicolons. Requests are submitted and completed at once unless
//! they are given a name: `write 0 XY fua; submit a discard 1 2; done a`. Positions count units.
//!
//! ```text
//! write POSITION DATA [preflush] [fua]     discard POSITION COUNT     resize COUNT     flush
//! submit NAME REQUEST     done NAME     failed NAME     corrupted NAME     misdirected NAME COUNT
//! ```

use std::collections::{BTreeMap, BTreeSet};

use plugpull_engine::{DiskError, DiskErrorKind, WriteFlags};
use plugpull_sim::disk::{
    CrashSpace, DiscardContent, DiskSpec, DiskState, FailedFlush, Image, Op, Outcome, Reply,
    RequestId,
};

/// A disk that a text history is played on.
pub(crate) struct Player {
    pub(crate) disk: DiskState,
    unit: usize,
    names: BTreeMap<String, RequestId>,
    next: u32,
}

impl Player {
    /// `spec` is a model name and modifiers: `writeback 4096 tear=128 discard=old drop`.
    pub(crate) fn new(spec: &str, start: &str) -> Self {
        let mut words = spec.split(' ');
        let mut disk = DiskSpec::new("test");
        disk.model = words.next().unwrap().parse().unwrap();
        for word in words {
            match word.split_once('=') {
                Some(("tear", bytes)) => disk.tear = Some(bytes.parse().unwrap()),
                Some(("discard", "old")) => disk.discard = DiscardContent::Old,
                Some(("discard", "garbage")) => disk.discard = DiscardContent::Garbage,
                None if word == "drop" => disk.failed_flush = FailedFlush::Drop,
                None if word == "4096" => disk.sector_len = 4096,
                _ => panic!("unknown modifier {word}"),
            }
        }
        let unit = disk.tear.unwrap_or(512);
        let start = Image::from_bytes(&bytes(start, unit));
        Self { disk: DiskState::new(disk, start), unit, names: BTreeMap::new(), next: 0 }
    }

    pub(crate) fn play(&mut self, steps: &str) {
        for step in steps.split(';').map(str::trim).filter(|step| !step.is_empty()) {
            self.step(step);
        }
    }

    fn step(&mut self, step: &str) {
        let words: Vec<&str> = step.split(' ').collect();
        match words[..] {
            ["submit", name, ref request @ ..] => {
                let id = self.submit(request);
                assert!(self.names.insert(name.to_owned(), id).is_none(), "{name} named twice");
            }
            ["done", name] => self.end(name, Outcome::Done).unwrap_or_else(|e| panic!("{e}")),
            ["corrupted", name] => self.end(name, Outcome::Corrupted).unwrap(),
            ["misdirected", name, count] => {
                let shift = count.parse::<u64>().unwrap() * self.unit as u64;
                self.end(name, Outcome::Misdirected { shift }).unwrap();
            }
            ["failed", name] => {
                let error = DiskError::new(DiskErrorKind::Io, "as told");
                assert_eq!(self.end(name, Outcome::Failed(error.clone())), Err(error));
            }
            ref request => {
                let id = self.submit(request);
                self.disk.complete(id, Outcome::Done).unwrap_or_else(|e| panic!("{step}: {e}"));
            }
        }
    }

    fn end(&mut self, name: &str, outcome: Outcome) -> Result<(), DiskError> {
        let id = self.names.remove(name).unwrap_or_else(|| panic!("{name} is not in flight"));
        self.disk.complete(id, outcome).map(|data| assert!(data.is_empty()))
    }

    fn submit(&mut self, words: &[&str]) -> RequestId {
        let unit = self.unit;
        let position = |text: &str| text.parse::<u64>().unwrap() * unit as u64;
        let op = match *words {
            ["write", at, data, ref flags @ ..] => {
                let data = bytes(data, unit).into();
                assert!(flags.iter().all(|flag| ["preflush", "fua"].contains(flag)));
                let flags = WriteFlags {
                    preflush: flags.contains(&"preflush"),
                    fua: flags.contains(&"fua"),
                };
                Op::Write { offset: position(at), data, flags }
            }
            ["discard", at, count] => Op::Discard { offset: position(at), len: position(count) },
            ["resize", len] => Op::Resize { len: position(len) },
            ["flush"] => Op::Flush,
            _ => panic!("unknown request {words:?}"),
        };
        let id = RequestId::new(0, self.next);
        self.next += 1;
        self.disk.submit(id, op);
        id
    }

    /// What reads see, asked with a read.
    pub(crate) fn reads(&mut self) -> String {
        let id = RequestId::new(1, self.next);
        self.next += 1;
        let len = usize::try_from(self.disk.len()).unwrap();
        self.disk.submit(id, Op::Read { offset: 0, len });
        let reply: Reply = self.disk.complete(id, Outcome::Done);
        text(&reply.unwrap(), self.unit)
    }

    /// All crash images now.
    pub(crate) fn crashes(&self) -> BTreeSet<String> {
        let space = self.disk.crash_space();
        let images: BTreeSet<String> =
            choices(&space).map(|choice| self.image(&space.realize(&choice))).collect();
        assert!(images.contains(&self.image(&space.realize(&space.all_lost()))));
        images
    }

    /// The crash image with everything kept.
    pub(crate) fn kept(&self) -> String {
        let space = self.disk.crash_space();
        self.image(&space.realize(&space.all_kept()))
    }

    /// The crash image with everything lost.
    pub(crate) fn lost(&self) -> String {
        let space = self.disk.crash_space();
        self.image(&space.realize(&space.all_lost()))
    }

    fn image(&self, image: &Image) -> String {
        text(&image.to_bytes(), self.unit)
    }
}

/// Every choice of a crash space.
pub(crate) fn choices(space: &CrashSpace) -> impl Iterator<Item = Vec<usize>> + '_ {
    let options: Vec<usize> = (0..space.variables()).map(|v| space.options(v)).collect();
    let mut next = Some(vec![0; options.len()]);
    std::iter::from_fn(move || {
        let current = next.take()?;
        let mut following = current.clone();
        for (digit, &base) in following.iter_mut().zip(&options) {
            *digit += 1;
            if *digit < base {
                next = Some(following);
                break;
            }
            *digit = 0;
        }
        Some(current)
    })
}

/// The bytes of an image in text form.
pub(crate) fn bytes(text: &str, unit: usize) -> Vec<u8> {
    text.bytes()
        .filter(|&letter| letter != b'-')
        .flat_map(|letter| {
            vec![
                match letter {
                    b'.' => 0,
                    b'#' => 0xDB,
                    _ => letter,
                };
                unit
            ]
        })
        .collect()
}

/// The text form of an image.
pub(crate) fn text(bytes: &[u8], unit: usize) -> String {
    if bytes.is_empty() {
        return "-".to_owned();
    }
    let units = bytes.chunks(unit).map(|bytes| {
        let fill = bytes[1];
        assert!(bytes[1..].iter().all(|&byte| byte == fill), "a unit is not uniform");
        match (bytes[0], fill) {
            (0, 0) => '.',
            (0xDB, 0xDB) => '#',
            (first, _) if first == fill => char::from(fill),
            (first, _) if first == !fill => char::from(fill).to_ascii_lowercase(),
            other => panic!("{other:?}"),
        }
    });
    units.collect()
}
