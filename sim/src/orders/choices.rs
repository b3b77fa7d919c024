//! The choices made inside one event, and the next ones.

use serde::{Deserialize, Serialize};

use super::Difference;

/// One choice: the option taken, of how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Choice {
    pub(super) index: usize,
    pub(super) count: usize,
}

/// The choices of one event, in the order in which they are made.
///
/// An event that is run again must make the same ones. After [`Choices::advance`] it repeats them up
/// to the one that was changed, and what follows is new.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Choices {
    made: Vec<Choice>,
    /// Choices made in the current execution.
    at: usize,
    /// Whether the event was run to its end, and has no choice but these.
    closed: bool,
}

impl Choices {
    /// As of an event never run.
    pub(super) fn clear(&mut self) {
        self.made.clear();
        self.closed = false;
        self.rewind();
    }

    /// Before the event is run again.
    pub(super) fn rewind(&mut self) {
        self.at = 0;
    }

    pub(super) fn choose(&mut self, count: usize) -> Result<usize, Difference> {
        let at = self.at;
        self.at += 1;
        match self.made.get(at) {
            Some(choice) if choice.count == count => Ok(choice.index),
            None if !self.closed => {
                self.made.push(Choice { index: 0, count });
                Ok(0)
            }
            _ => Err(Difference::Choices),
        }
    }

    /// The event has been run to its end.
    pub(super) fn close(&mut self) -> Result<(), Difference> {
        self.closed = true;
        if self.at == self.made.len() { Ok(()) } else { Err(Difference::Choices) }
    }

    /// Moves to the next way the event may go: the last choice with an option left takes it.
    pub(super) fn advance(&mut self) -> bool {
        while let Some(last) = self.made.last_mut() {
            if last.index + 1 < last.count {
                last.index += 1;
                self.closed = false;
                return true;
            }
            self.made.pop();
        }
        false
    }

    pub(super) fn made(&self) -> &[Choice] {
        &self.made
    }

    /// Only what was taken. Events with the same past have the same counts.
    pub(super) fn taken(&self) -> Box<[usize]> {
        self.made.iter().map(|choice| choice.index).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_ways_are_taken_once() {
        let mut choices = Choices::default();
        let mut ways = Vec::new();
        loop {
            choices.rewind();
            let first = choices.choose(2).unwrap();
            let more = (0..first).map(|_| choices.choose(3).unwrap()).collect::<Vec<_>>();
            choices.close().unwrap();
            ways.push((first, more));
            if !choices.advance() {
                break;
            }
        }
        assert_eq!(ways, [(0, vec![]), (1, vec![0]), (1, vec![1]), (1, vec![2])]);
    }

    #[test]
    fn other_choices_are_noticed() {
        let mut choices = Choices::default();
        choices.choose(2).unwrap();
        choices.close().unwrap();
        choices.rewind();
        assert_eq!(choices.close(), Err(Difference::Choices));
        assert_eq!(choices.choose(3), Err(Difference::Choices));
        assert_eq!(choices.choose(2), Err(Difference::Choices), "one too many");
    }
}
