//! What is known about an image: what its guest must read, and where that cannot be.
//!
//! Shared with the simulator's tests, which include this file by its path.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use plugpull_engine::fvd::check::CheckReport;
use serde::Deserialize;
use serde_json::Value;

const SECTOR: usize = 512;
/// First word of every sector that the original's guest wrote.
const WRITE_MARK: u32 = 0x5453_5550;

/// What opening an image must give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It opens.
    Opens,
    /// It is refused as corrupt, for breaking this rule.
    Refused(&'static str),
}

/// Images whose damage no reader may overlook. All other damaged images are consistent, and read as
/// what is on the medium, which is what the original read.
const REFUSED: &[(&str, &str)] = &[
    // Two virtual chunks in one physical chunk: whichever is written changes the other.
    ("bug-B7-crosslink", "no two chunks share a physical chunk"),
    // A record maps a chunk past the end of the file.
    ("bug-P5-extension-lost", "an entry of a TABLE record lies within the data"),
];

/// Images that the original left with blocks that are marked local while part of them was never
/// mapped. They open, and `check` says what is wrong.
const HOLED: [&str; 2] = ["bug-B1-straddle", "compact-base-b7680-c1x-coroff-unclean"];

const HOLE: &str = "a local block has its chunks";

/// Physical chunks that no virtual chunk uses although later ones are in use. All others: none.
const LEAKS: &[(&str, u32)] = &[
    ("bug-P2-recycle-no-flush", 1),
    ("bug-P3-recovery-no-flush", 1),
    ("compact-base-b512-c1x-coron-data-unclean", 1),
    ("compact-base-b512-c3x-coron-unclean", 5),
    ("compact-base-b65536-c1x-coron-unclean", 1),
    ("compact-base-b7680-c1x-coroff-unclean", 3),
    ("compact-base-b7680-c1x-coron-data-unclean", 4),
    ("inflight-compact-base-5", 3),
    ("inflight-compact-nobase-0", 4),
    ("inflight-compact-nobase-3", 9),
    ("inflight-compact-nobase-5", 12),
];

/// Its maps were never written and there is no journal: the guest reads zeros. The original refuses.
const ALL_LOST: &str = "journal-disabled-compact-unclean";

#[derive(Deserialize)]
struct Manifest {
    virtual_size: usize,
    header: Flags,
    /// `[first, last, [promised, found]]`, or a text if opening failed.
    #[serde(default)]
    original_rw_diffs: Vec<Value>,
    /// `[sector, count, serial]`: each sector may or may not have it.
    #[serde(default)]
    unacked_writes: Vec<(usize, usize, u32)>,
    sectors_of_unacked_writes_seen_new: Option<usize>,
}

#[derive(Deserialize)]
struct Flags {
    clean_shutdown: i32,
}

/// What has happened to an image before it is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Nothing that changes what it holds.
    Untouched,
    /// Chunks were stored: those that were lost are used again first, and holes are filled.
    Written,
}

/// Everything known about one image.
pub(crate) struct Expected {
    /// What opening it gives.
    pub(crate) fate: Fate,
    /// Whether it was closed, so that nothing needs to be replayed.
    pub(crate) clean: bool,
    /// The only rule that `check` finds broken, if it finds one.
    broken: Option<&'static str>,
    /// Chunks that were lost.
    leaked: u32,
    truth: Vec<u8>,
    /// Serials of writes that are there although nobody was promised them, by sector.
    instead: BTreeMap<usize, u32>,
    /// Serials of the writes that may or may not be there, by sector.
    either: BTreeMap<usize, Vec<u32>>,
    /// How many sectors the original showed the new content of.
    new_count: Option<usize>,
}

impl Expected {
    /// Reads the manifest and what belongs to it.
    pub(crate) fn load(name: &str, folder: &Path) -> Self {
        let text = std::fs::read_to_string(folder.join("manifest.json")).expect("a manifest");
        let manifest: Manifest = serde_json::from_str(&text).expect("a readable manifest");
        let truth = std::fs::read(folder.join("truth.raw")).expect("the truth");
        assert_eq!(truth.len(), manifest.virtual_size, "{name}: the truth is as long as the disk");
        let refused = REFUSED.iter().find(|(refused, _)| *refused == name);
        let holed = HOLED.contains(&name);
        let fate = refused.map_or(Fate::Opens, |(_, rule)| Fate::Refused(rule));
        let mut either = BTreeMap::<usize, Vec<u32>>::new();
        for (sector, count, serial) in manifest.unacked_writes {
            for sector in sector..sector + count {
                either.entry(sector).or_default().push(serial);
            }
        }
        let mut expected = Self {
            fate,
            clean: manifest.header.clean_shutdown == 1,
            broken: refused.map(|&(_, rule)| rule).or(holed.then_some(HOLE)),
            leaked: LEAKS
                .iter()
                .find(|(leaking, _)| *leaking == name)
                .map_or(0, |&(_, count)| count),
            truth,
            instead: BTreeMap::new(),
            either,
            new_count: manifest.sectors_of_unacked_writes_seen_new,
        };
        if name == ALL_LOST {
            expected.truth.fill(0);
        } else if fate == Fate::Opens {
            let base = std::fs::read(folder.join("base.raw")).unwrap_or_default();
            for difference in &manifest.original_rw_diffs {
                replace(&mut expected, difference, &base);
            }
        }
        expected
    }

    /// Compares what the guest reads with what it must. Each complaint is one line.
    pub(crate) fn judge(&self, content: &[u8]) -> Vec<String> {
        if content.len() != self.truth.len() {
            return vec![format!("{} bytes instead of {}", content.len(), self.truth.len())];
        }
        let pairs = self.truth.chunks(SECTOR).zip(content.chunks(SECTOR)).enumerate();
        let mut new_count = 0;
        let mut wrong = Vec::new();
        for (sector, (truth, found)) in pairs {
            let is = |serial: &u32| is_write(found, *serial, sector);
            if let Some(serial) = self.instead.get(&sector) {
                if !is(serial) {
                    wrong.push(sector);
                }
            } else if truth != found {
                if self.either.get(&sector).is_some_and(|serials| serials.iter().any(is)) {
                    new_count += 1;
                } else {
                    wrong.push(sector);
                }
            }
        }
        let mut complaints: Vec<String> = runs(&wrong)
            .into_iter()
            .map(|run| {
                let found = describe(sector_of(content, run.start));
                let truth = describe(sector_of(&self.truth, run.start));
                format!("sectors {run:?}: {found} instead of {truth}")
            })
            .collect();
        if let Some(count) = self.new_count
            && count != new_count
        {
            let found = format!("{new_count} sectors of unacknowledged writes");
            complaints.push(format!("{found} instead of {count}"));
        }
        complaints
    }
}

impl Expected {
    /// Compares what `check` says with what is wrong with the image.
    pub(crate) fn judge_check(
        &self,
        report: &CheckReport,
        clean: bool,
        state: State,
    ) -> Vec<String> {
        let refused = self.fate != Fate::Opens;
        let unexpected = report.problems.iter().filter(|found| {
            // A record that was not applied leaves holes.
            Some(found.rule) != self.broken && !(refused && found.rule == HOLE)
        });
        let mut complaints: Vec<String> =
            unexpected.map(|problem| format!("check says: {problem}")).collect();
        if let Some(rule) = self.broken
            && report.is_sound()
            && state == State::Untouched
        {
            complaints.push(format!("check does not see that {rule:?} is broken"));
        }
        if report.clean != clean {
            complaints.push(format!("check says clean: {}", report.clean));
        }
        let leaked = report.chunks.map_or(0, |chunks| chunks.leaked);
        let as_expected = match state {
            State::Untouched => leaked == self.leaked,
            State::Written => leaked <= self.leaked,
        };
        // What a refused image leaks is nobody's business.
        if !as_expected && !refused {
            complaints.push(format!("check says that {leaked} chunks leak: {}", self.leaked));
        }
        complaints
    }
}

/// Puts into the expectation what is on the medium in place of what was promised.
fn replace(expected: &mut Expected, difference: &Value, base: &[u8]) {
    let (first, last, (_, found)): (usize, usize, (String, String)) =
        serde_json::from_value(difference.clone()).expect("[first, last, [promised, found]]");
    let number = |text: &str| text.parse::<u32>().expect("a number");
    for sector in first..=last {
        let target = &mut expected.truth[sector * SECTOR..(sector + 1) * SECTOR];
        if found == "zero" {
            target.fill(0);
        } else if found == "base" {
            target.copy_from_slice(sector_of(base, sector));
        } else if let Some(from) = found.strip_prefix("FOREIGN base@") {
            target.copy_from_slice(sector_of(base, number(from) as usize));
        } else {
            let serial = found.strip_prefix('w').expect("a known content");
            expected.instead.insert(sector, number(serial));
        }
    }
}

fn sector_of(content: &[u8], sector: usize) -> &[u8] {
    &content[sector * SECTOR..(sector + 1) * SECTOR]
}

fn word(sector: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(sector[offset..offset + 4].try_into().expect("four bytes"))
}

/// Whether these are the bytes that write `serial` put into `sector`: a header, then one repeated
/// eight-byte word.
fn is_write(bytes: &[u8], serial: u32, sector: usize) -> bool {
    let header = [word(bytes, 0), word(bytes, 4), word(bytes, 8), word(bytes, 12)];
    let repeats = bytes[16..].chunks(8).all(|word| word == &bytes[16..24]);
    header == [WRITE_MARK, serial, u32::try_from(sector).expect("a small disk"), 0] && repeats
}

fn describe(sector: &[u8]) -> String {
    match (word(sector, 0), word(sector, 4), word(sector, 8)) {
        _ if sector.iter().all(|&byte| byte == 0) => "zeros".to_owned(),
        (WRITE_MARK, serial, sector) => format!("write {serial} of sector {sector}"),
        (0x4553_4142, sector, _) => format!("the base's sector {sector}"),
        (first, second, _) => format!("{first:08x} {second:08x}..."),
    }
}

/// Neighbours joined.
fn runs(sectors: &[usize]) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for &sector in sectors {
        match runs.last_mut() {
            Some(run) if run.end == sector => run.end += 1,
            _ => runs.push(sector..sector + 1),
        }
    }
    runs
}
