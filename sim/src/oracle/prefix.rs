//! The prefix oracle: whether a device is left as it was at one point in time, whatever its
//! undecided sectors turn out to hold.
//!
//! A power cut leaves each sector of a device (a log, the target of a mirror) with one of several
//! contents, in any combination. "The device equals some prefix of its history" must hold for every
//! combination, and there are exponentially many. They need not be enumerated. Each content was
//! there during one interval of history, and a combination is a prefix if and only if the intervals
//! of its contents have a position in common. Intervals on a line have one as soon as every two of
//! them do (Helly's theorem in one dimension), so it is enough that no two candidates *of different
//! sectors* have disjoint intervals. Candidates of one sector may: no combination has both.
//!
//! * The answer is exact, in O(n log n) for n candidates.
//! * A content that comes back breaks the argument: with two intervals each, three sectors may
//!   agree pairwise and nowhere jointly. Such a history is refused when it is recorded
//!   ([`RepeatedContent`]); stamped content never repeats.
//! * Sectors of which no candidate is given do not take part. A sector that is decided takes part
//!   with its one candidate.
//!
//! Not here: which candidates a power cut leaves, and which of them a sector may hold by itself
//! (see [`super::model`]).

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;

use crate::oracle::model::Value;
use crate::oracle::stamp::Origin;

/// A point of history: 0 is before the first write, and a write at position `p` is there from `p`
/// on. Writes to different sectors may share a position; they take effect together.
pub type Position = u64;

/// What a sector may hold. The same value in two sectors is two contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Content {
    /// Where.
    pub sector: u64,
    /// What.
    pub value: Value,
}

/// The positions from `first` to `last`, both included; at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    first: Position,
    last: Position,
}

/// A content and when its sector held it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// The content.
    pub content: Content,
    /// All positions at which it was there.
    pub during: Interval,
}

/// Why some combination of the candidates is no point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disagreement {
    /// The sector never held this.
    Never(Content),
    /// This was there, but not within the required window.
    Outside {
        /// The candidate.
        held: Held,
        /// The window.
        window: Interval,
    },
    /// These are candidates of different sectors, and the one was gone before the other came.
    Apart {
        /// The candidate that was gone first.
        gone: Held,
        /// The candidate that came last.
        came: Held,
    },
}

/// A content that comes back after its sector held another one: the oracle would not be exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{content} is back at position {again}, after it first came at position {first}")]
pub struct RepeatedContent {
    /// The content, and its sector.
    pub content: Content,
    /// Where its first stay began.
    pub first: Position,
    /// Where it came back.
    pub again: Position,
}

/// Which content each sector held when: the history of one device.
///
/// Every sector holds [`Value::Initial`] from position 0 until its first write, and what was written
/// last from then on for ever.
///
/// # Example
/// ```
/// use plugpull_sim::oracle::Value::{Initial, Write};
/// use plugpull_sim::oracle::{Content, Disagreement, Interval, Timeline};
///
/// // Sector 7 is written at position 1, sector 8 at position 2.
/// let seven = |value| Content { sector: 7, value };
/// let eight = |value| Content { sector: 8, value };
/// let timeline = Timeline::from_writes([(1, seven(Write(10))), (2, eight(Write(11)))])?;
///
/// // The second write is undecided, the first one is there: positions 1 and 2.
/// assert_eq!(timeline.judge([seven(Write(10)), eight(Initial), eight(Write(11))]), None);
/// // The first one is lost, the second one may be there.
/// let found = timeline.judge([seven(Initial), eight(Initial), eight(Write(11))]);
/// assert!(matches!(found, Some(Disagreement::Apart { .. })));
/// // A flush at position 2 was acknowledged: the second write may not be lost.
/// let window = Interval::since(2);
/// let found = timeline.judge_within(window, [seven(Write(10)), eight(Initial)]);
/// assert!(matches!(found, Some(Disagreement::Outside { .. })));
/// # Ok::<(), plugpull_sim::oracle::RepeatedContent>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Timeline {
    /// An initial content only once it is gone.
    held: BTreeMap<Content, Interval>,
    /// The last write to each sector.
    latest: BTreeMap<u64, (Position, Value)>,
}

impl Timeline {
    /// A history in which nothing was written yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The history of these writes.
    ///
    /// # Errors
    /// If a sector comes back to a content that it held before.
    ///
    /// # Panics
    /// As [`Timeline::write`].
    pub fn from_writes(
        writes: impl IntoIterator<Item = (Position, Content)>,
    ) -> Result<Self, RepeatedContent> {
        let mut timeline = Self::new();
        for (position, content) in writes {
            timeline.write(position, content)?;
        }
        Ok(timeline)
    }

    /// A sector gets its next content at `position`. Getting what is there already changes nothing.
    ///
    /// # Errors
    /// If the sector comes back to a content that it held before; nothing is recorded then.
    ///
    /// # Panics
    /// If the position is not after the previous one of this sector, or is 0.
    pub fn write(&mut self, position: Position, content: Content) -> Result<(), RepeatedContent> {
        let Content { sector, value } = content;
        let (previous, replaced) = self.latest.get(&sector).copied().unwrap_or((0, Value::Initial));
        assert!(position > previous, "sector {sector}: position {position} is after {previous}");
        if value != replaced {
            if let Some(stay) = self.during(content) {
                return Err(RepeatedContent { content, first: stay.first, again: position });
            }
            let replaced = Content { sector, value: replaced };
            let stay = self.held.entry(replaced).or_insert(Interval::since(0));
            stay.last = position - 1;
            self.held.insert(content, Interval::since(position));
        }
        self.latest.insert(sector, (position, value));
        Ok(())
    }

    /// When the sector held this content, if it ever did.
    #[must_use]
    pub fn during(&self, content: Content) -> Option<Interval> {
        let initial = (content.value == Value::Initial).then_some(Interval::since(0));
        self.held.get(&content).copied().or(initial)
    }

    /// Why not every combination of `candidates`, one of each sector, is the device's content at
    /// some one position; none if every combination is.
    #[must_use]
    pub fn judge(&self, candidates: impl IntoIterator<Item = Content>) -> Option<Disagreement> {
        self.judge_within(Interval::since(0), candidates)
    }

    /// As [`Timeline::judge`], and the position must be in `window`: for example, not before the
    /// last flush that was acknowledged.
    ///
    /// The answer does not depend on the order of the candidates. Of several disagreements it names
    /// the first kind in the order of [`Disagreement`]; of several contents, the one with the
    /// smallest sector and value.
    #[must_use]
    pub fn judge_within(
        &self,
        window: Interval,
        candidates: impl IntoIterator<Item = Content>,
    ) -> Option<Disagreement> {
        let mut contents: Vec<Content> = candidates.into_iter().collect();
        contents.sort_unstable();
        let mut all = Vec::with_capacity(contents.len());
        for content in contents {
            let Some(during) = self.during(content) else {
                return Some(Disagreement::Never(content));
            };
            all.push(Held { content, during });
        }
        if let Some(&held) = all.iter().find(|held| held.during.misses(window)) {
            return Some(Disagreement::Outside { held, window });
        }
        apart(&all).map(|(gone, came)| Disagreement::Apart { gone, came })
    }
}

/// Two contents of different sectors of which one was gone before the other came: the one that was
/// gone first of all and the last to come in another sector, or else the last to come of all and the
/// first to be gone in another sector.
///
/// These two pairs decide. Let `gone` be gone first of all, and `a` gone before `b` came. If no
/// other sector has a content that came after `gone`, then `b` is of the sector of `gone` and
/// nothing elsewhere came as late. So the last to come of all is there, too, and `a`, in another
/// sector, was gone before.
fn apart(all: &[Held]) -> Option<(Held, Held)> {
    let first_gone = |held: &&Held| held.during.last;
    let last_come = |held: &&Held| Reverse(held.during.first);
    let elsewhere = |than: &Held| {
        let sector = than.content.sector;
        all.iter().filter(move |held| held.content.sector != sector)
    };
    let gone = all.iter().min_by_key(first_gone)?;
    let came = all.iter().min_by_key(last_come)?;
    let pairs = [
        (Some(gone), elsewhere(gone).min_by_key(last_come)),
        (elsewhere(came).min_by_key(first_gone), Some(came)),
    ];
    pairs
        .into_iter()
        .filter_map(|(gone, came)| Some((*gone?, *came?)))
        .find(|(gone, came)| gone.during.last < came.during.first)
}

impl Interval {
    /// The positions from `first` to `last`.
    ///
    /// # Panics
    /// If `last` is before `first`.
    #[must_use]
    pub fn new(first: Position, last: Position) -> Self {
        assert!(first <= last, "no position is from {first} to {last}");
        Self { first, last }
    }

    /// All positions from `first` on.
    #[must_use]
    pub fn since(first: Position) -> Self {
        Self { first, last: Position::MAX }
    }

    /// The first position.
    #[must_use]
    pub fn first(self) -> Position {
        self.first
    }

    /// The last position; [`Position::MAX`] if there is no end.
    #[must_use]
    pub fn last(self) -> Position {
        self.last
    }

    fn misses(self, other: Self) -> bool {
        self.last < other.first || other.last < self.first
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sector = self.sector;
        match self.value {
            Value::Initial => write!(f, "the initial content of sector {sector}"),
            Value::Write(serial) => Origin::Write { sector, serial }.fmt(f),
            Value::Zeros => write!(f, "zeros in sector {sector}"),
            Value::Nothing => write!(f, "nothing in place of sector {sector}"),
            Value::InitialOf(other) => {
                write!(f, "the initial content of sector {other} in sector {sector}")
            }
        }
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.last {
            Position::MAX => write!(f, "from position {} on", self.first),
            last => write!(f, "at positions {} to {last}", self.first),
        }
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.content, self.during)
    }
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never(content) => write!(f, "{content} was never there"),
            Self::Outside { held, window } => {
                write!(f, "{held} was not there {window}, as it has to be")
            }
            Self::Apart { gone, came } => {
                write!(f, "{gone} and {came} were never there together")
            }
        }
    }
}

#[cfg(test)]
mod tests;
