//! One way through a program that runs on undecided disks: what was answered to each question.
//!
//! Programs are explored by running them again and again, depth first: a run takes the answers of
//! the one before, but for the last one that has an alternative. A program that asks something else
//! than before on the same way is not deterministic, and nothing that was found out about it holds:
//! every run compares, at every question, what is asked, how many answers there are, and which
//! requests were made of the disks before.

use std::fmt;

use crate::disk::Prefer;

/// What a question is about, on one disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asked {
    /// Index of the disk.
    pub disk: usize,
    /// What it is there.
    pub about: About,
}

/// What a question about one disk is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum About {
    /// The variable of this index of the disk's crash space.
    Variable(usize),
    /// Which combination of contents matches a digest; the first sector that it covers.
    Digest(u64),
    /// Whether this sector can be read.
    Unreadable(u64),
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.about {
            About::Variable(variable) => write!(f, "variable {variable} of disk {}", self.disk),
            About::Unreadable(sector) => {
                write!(f, "whether sector {sector} of disk {} can be read", self.disk)
            }
            About::Digest(sector) => {
                write!(f, "the digest from sector {sector} of disk {} on", self.disk)
            }
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Answered {
    about: Asked,
    answers: usize,
    /// The answer that is taken first.
    first: usize,
    /// How many answers were taken before this one.
    turn: usize,
    /// Identifies what the program had asked of the disks before.
    past: u64,
}

impl Answered {
    /// The answer at hand: the first one, then the others in their order.
    fn taken(&self) -> usize {
        match self.turn {
            0 => self.first,
            turn if turn <= self.first => turn - 1,
            turn => turn,
        }
    }
}

/// Only ways are taken that differ from one of the two extremes in few answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nearness {
    /// The extreme: as much kept, or as much lost as possible.
    pub from: Prefer,
    /// Most answers that differ.
    pub differing_max: usize,
}

/// The answers of one run.
#[derive(Debug, Clone, Default)]
pub struct Path {
    answered: Vec<Answered>,
    at: usize,
    /// Identifies what the program has asked of the disks so far.
    past: u64,
    /// Every run starts with so many answers given already, and with this past.
    start: usize,
    start_past: u64,
    /// So many answers at the start are not varied.
    fixed: usize,
    /// If set, every question is answered with the first answer and none is remembered.
    trying: bool,
    asked_while_trying: bool,
    diverged: Option<String>,
    nearness: Option<Nearness>,
    /// Whether a way was left out because it is not near.
    left_out: bool,
}

impl Path {
    /// The way on which every question gets its first answer.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The ways near one of the extremes.
    #[must_use]
    pub fn near(nearness: Nearness) -> Self {
        Self { nearness: Some(nearness), ..Self::default() }
    }

    /// The extreme whose answer to a question is to come first, if that matters.
    #[must_use]
    pub fn preference(&self) -> Option<Prefer> {
        self.nearness.map(|nearness| nearness.from)
    }

    /// Whether a way was left out because it is not near.
    #[must_use]
    pub fn left_out(&self) -> bool {
        self.left_out
    }

    /// The same way again, of which the answers so far stay as they are.
    #[must_use]
    pub fn fixed_so_far(&self) -> Self {
        let again = Self { start: 0, start_past: 0, ..self.again() };
        Self { fixed: self.at, at: 0, past: 0, nearness: None, ..again }
    }

    /// The same way once more.
    #[must_use]
    pub fn again(&self) -> Self {
        Self { at: self.start, past: self.start_past, ..self.clone() }
    }

    /// The ways that go on from here: later runs start here, too.
    #[must_use]
    pub fn branch_here(&self) -> Self {
        let (start, start_past) = (self.at, self.past);
        Self { fixed: start, start, start_past, nearness: None, ..self.clone() }
    }

    /// Identifies the way that was taken.
    #[must_use]
    pub fn key(&self) -> Vec<u32> {
        let taken = self.answered.iter().map(Answered::taken);
        taken.map(|taken| u32::try_from(taken).expect("fewer than 2^32 answers")).collect()
    }

    /// The program has asked something of a disk: `what` identifies it.
    pub fn note(&mut self, what: u64) {
        // A trial is taken back.
        if self.trying {
            return;
        }
        self.past = self.past.rotate_left(5).wrapping_add(what).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    /// Answers a question that has `answers` answers, of which `first` is to be taken first.
    pub fn answer(&mut self, about: Asked, answers: usize, first: usize) -> usize {
        if self.trying {
            self.asked_while_trying = true;
            return 0;
        }
        let at = self.at;
        self.at += 1;
        let Some(known) = self.answered.get(at) else {
            self.answered.push(Answered { about, answers, first, turn: 0, past: self.past });
            return first;
        };
        if known.about != about || known.answers != answers {
            let message = format!(
                "not deterministic: question {at} was about {} with {} answers, and now is about \
                 {about} with {answers}",
                known.about, known.answers,
            );
            self.diverged.get_or_insert(message);
        } else if known.past != self.past {
            let message = format!(
                "not deterministic: before question {at}, about {about}, other requests were made \
                 of the disks than the last time on this way"
            );
            self.diverged.get_or_insert(message);
        }
        known.taken().min(answers - 1)
    }

    /// Whether a run asks nothing: what it asks is answered somehow, and not remembered.
    pub(crate) fn try_out(&mut self) {
        self.trying = true;
        self.asked_while_trying = false;
    }

    /// Ends the trial; whether anything was asked.
    pub(crate) fn end_trial(&mut self) -> bool {
        self.trying = false;
        self.asked_while_trying
    }

    /// How many questions have been answered in this run.
    #[must_use]
    pub fn len(&self) -> usize {
        self.at
    }

    /// Whether none has.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.at == 0
    }

    /// Ends a run.
    ///
    /// # Errors
    /// Why the program is not deterministic, if this run has shown it.
    pub fn end(&self) -> Result<(), String> {
        if let Some(message) = &self.diverged {
            return Err(message.clone());
        }
        if self.at < self.answered.len() {
            return Err(format!(
                "not deterministic: {} questions were asked before, {} now",
                self.answered.len(),
                self.at
            ));
        }
        Ok(())
    }

    /// Moves on to the next way; false if there is none.
    pub fn advance(&mut self) -> bool {
        self.at = self.start;
        self.past = self.start_past;
        while self.answered.len() > self.fixed {
            let before = &self.answered[..self.answered.len() - 1];
            let differing = before.iter().filter(|answered| answered.turn > 0).count();
            let near = self.nearness.is_none_or(|near| differing < near.differing_max);
            let last = self.answered.last_mut().expect("not empty");
            self.left_out |= !near;
            last.turn += 1;
            if near && last.turn < last.answers {
                return true;
            }
            self.answered.pop();
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(variable: usize) -> Asked {
        Asked { disk: 0, about: About::Variable(variable) }
    }

    #[test]
    fn every_way_is_taken_once() {
        let mut path = Path::new();
        let mut seen = Vec::new();
        loop {
            // Asks a second question only after the answer 1.
            let first = path.answer(about(0), 3, 0);
            let second = if first == 1 { path.answer(about(1), 2, 0) } else { 9 };
            assert_eq!(path.end(), Ok(()));
            seen.push((first, second));
            if !path.advance() {
                break;
            }
        }
        assert_eq!(seen, [(0, 9), (1, 0), (1, 1), (2, 9)]);
    }

    #[test]
    fn a_fixed_start_is_kept() {
        let mut path = Path::new();
        path.answer(about(0), 2, 0);
        assert!(path.advance());
        path.answer(about(0), 2, 0);
        let mut rest = path.fixed_so_far();
        let mut seen = Vec::new();
        loop {
            seen.push((rest.answer(about(0), 2, 0), rest.answer(about(1), 2, 0)));
            if !rest.advance() {
                break;
            }
        }
        assert_eq!(seen, [(1, 0), (1, 1)]);
    }

    #[test]
    fn other_requests_on_the_same_way_are_noticed() {
        let mut path = Path::new();
        path.note(1);
        path.answer(about(0), 2, 0);
        assert!(path.advance());
        path.note(2);
        path.answer(about(0), 2, 0);
        assert!(path.end().unwrap_err().contains("other requests were made"));
    }

    #[test]
    fn near_ways_are_taken_first_answers_first() {
        let ways = |differing_max| {
            let mut path = Path::near(Nearness { from: Prefer::Kept, differing_max });
            let mut seen = Vec::new();
            loop {
                seen.push([0, 1, 2].map(|variable| path.answer(about(variable), 2, 1)));
                if !path.advance() {
                    return (seen, path.left_out());
                }
            }
        };
        assert_eq!(ways(0), (vec![[1, 1, 1]], true));
        assert_eq!(ways(1), (vec![[1, 1, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1]], true));
        assert_eq!((ways(2).0.len(), ways(3).0.len(), ways(3).1), (7, 8, false));
    }

    #[test]
    fn another_question_on_the_same_way_is_noticed() {
        let mut path = Path::new();
        path.answer(about(0), 2, 0);
        path.answer(about(1), 2, 0);
        assert!(path.advance());
        path.answer(about(0), 2, 0);
        path.answer(about(2), 2, 0);
        assert!(path.end().unwrap_err().contains("variable 1 of disk 0"));
        let mut path = Path::new();
        path.answer(about(0), 2, 0);
        path.answer(about(1), 2, 0);
        assert!(path.advance());
        path.answer(about(0), 2, 0);
        assert!(path.end().unwrap_err().contains("2 questions were asked before, 1 now"));
    }
}
