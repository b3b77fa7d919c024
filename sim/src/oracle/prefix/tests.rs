//! The pairwise answer against the product of all candidates, and its explanations.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::*;
use crate::oracle::model::Value::{Initial, Write};

fn content(sector: u64, value: Value) -> Content {
    Content { sector, value }
}

fn write(sector: u64, serial: u64) -> Content {
    content(sector, Write(serial))
}

/// Past the last position of every random history.
const HORIZON: Position = 9;

/// A small device and its history, one column per position.
struct Small {
    writes: Vec<(Position, Content)>,
    /// What each sector held at each position up to the horizon.
    columns: Vec<Vec<Value>>,
    /// The candidates of each sector; none if it does not take part.
    candidates: Vec<Vec<Value>>,
    window: Interval,
}

impl Small {
    fn draw(rng: &mut ChaCha8Rng) -> Self {
        let sectors = 1 + below(rng, 4);
        let mut writes = Vec::new();
        let mut columns = vec![vec![Initial; index(sectors)]];
        for position in 1..=HORIZON {
            let mut column = columns.last().unwrap().clone();
            for sector in 0..sectors {
                if position < HORIZON && below(rng, 3) == 0 {
                    // Now and then what is there already.
                    let value = match below(rng, 6) {
                        0 => column[index(sector)],
                        _ => Write(position),
                    };
                    column[index(sector)] = value;
                    writes.push((position, content(sector, value)));
                }
            }
            columns.push(column);
        }
        // Mostly what was there about the same time, or nothing would ever agree.
        let about = below(rng, HORIZON);
        let candidates = (0..sectors).map(|sector| {
            let count = [0, 1, 1, 1, 2, 3][index(below(rng, 6))];
            let mut candidate = || match below(rng, 40) {
                0 => Write(below(rng, HORIZON)),
                1..=4 => columns[index(below(rng, HORIZON + 1))][index(sector)],
                _ => columns[index((about + below(rng, 2)).min(HORIZON))][index(sector)],
            };
            (0..count).map(|_| candidate()).collect()
        });
        let candidates = candidates.collect();
        let first = below(rng, HORIZON + 1);
        let window = match below(rng, 3) {
            0 => Interval::since(0),
            1 => Interval::since(first),
            _ => Interval::new(first, first + below(rng, 4)),
        };
        Self { writes, columns, candidates, window }
    }

    /// The candidates in an order that says nothing.
    fn shuffled(&self, rng: &mut ChaCha8Rng) -> Vec<Content> {
        let mut all: Vec<Content> = (0..)
            .zip(&self.candidates)
            .flat_map(|(sector, values)| values.iter().map(move |&value| content(sector, value)))
            .collect();
        for end in (1..all.len()).rev() {
            all.swap(end, index(below(rng, end as u64 + 1)));
        }
        all
    }

    /// Whether every combination is there at some position of the window, one after the other.
    fn every_combination_is_a_prefix(&self) -> bool {
        let mut combinations = vec![Vec::new()];
        for (sector, values) in self.candidates.iter().enumerate() {
            if values.is_empty() {
                continue;
            }
            let longer = |combination: &Vec<(usize, Value)>| {
                let combination = combination.clone();
                values.iter().map(move |&value| [&combination[..], &[(sector, value)]].concat())
            };
            combinations = combinations.iter().flat_map(longer).collect();
        }
        combinations.iter().all(|combination| {
            (self.window.first..=self.window.last.min(HORIZON)).any(|position| {
                let column = &self.columns[index(position)];
                combination.iter().all(|&(sector, value)| column[sector] == value)
            })
        })
    }

    /// Whether what `found` says is so, by the columns alone.
    fn is_true(&self, found: Disagreement) -> bool {
        let was_there = |content: Content, position: usize| {
            self.columns[position][index(content.sector)] == content.value
        };
        let window =
            |position: usize| (self.window.first..=self.window.last).contains(&(position as u64));
        let mut positions = 0..self.columns.len();
        match found {
            Disagreement::Never(content) => positions.all(|at| !was_there(content, at)),
            Disagreement::Outside { held, .. } => {
                positions.all(|at| !was_there(held.content, at) || !window(at))
            }
            Disagreement::Apart { gone, came } => {
                gone.content.sector != came.content.sector
                    && positions
                        .all(|at| !was_there(gone.content, at) || !was_there(came.content, at))
            }
        }
    }
}

fn below(rng: &mut ChaCha8Rng, end: u64) -> u64 {
    rng.next_u64() % end
}

fn index(number: u64) -> usize {
    usize::try_from(number).unwrap()
}

#[test]
fn the_answer_is_that_of_the_product_of_all_candidates() {
    let mut rng = ChaCha8Rng::seed_from_u64(0x9ef1);
    // Agreements, then the three kinds of disagreement.
    let mut seen = [0; 4];
    for round in 0..40_000 {
        let small = Small::draw(&mut rng);
        let timeline = Timeline::from_writes(small.writes.iter().copied()).unwrap();
        let found = timeline.judge_within(small.window, small.shuffled(&mut rng));
        assert_eq!(found.is_none(), small.every_combination_is_a_prefix(), "{round}: {found:?}");
        assert!(found.is_none_or(|found| small.is_true(found)), "{round}: {found:?}");
        assert_eq!(found, timeline.judge_within(small.window, small.shuffled(&mut rng)));
        if small.window == Interval::since(0) {
            assert_eq!(found, timeline.judge(small.shuffled(&mut rng)));
        }
        seen[match found {
            None => 0,
            Some(Disagreement::Never(_)) => 1,
            Some(Disagreement::Outside { .. }) => 2,
            Some(Disagreement::Apart { .. }) => 3,
        }] += 1;
    }
    assert!(seen.iter().all(|&count| count > 2_000), "{seen:?}");
}

#[test]
fn a_disagreement_names_the_first_to_be_gone_and_the_last_to_come() {
    let timeline = Timeline::from_writes([
        (1, write(0, 1)),
        (2, write(1, 2)),
        (3, write(2, 3)),
        (4, write(0, 4)),
        (5, write(3, 5)),
    ]);
    let timeline = timeline.unwrap();
    let check = |candidates: &[Content], expected: &str| {
        let found = timeline.judge(candidates.iter().copied());
        assert_eq!(found.map_or_else(String::new, |found| found.to_string()), expected);
    };
    let initial = |sector| content(sector, Initial);
    check(&[], "");
    check(&[initial(9)], "");
    // Alternatives of one sector never meet, and need not.
    check(&[initial(0), write(0, 1), write(0, 4)], "");
    check(&[write(0, 1), write(1, 2), initial(2), write(2, 3)], "");
    check(
        &[initial(1), write(2, 3), initial(2), write(3, 5), write(0, 1)],
        "the initial content of sector 1 (at positions 0 to 1) and setup write 5 at sector 3 (from \
         position 5 on) were never there together",
    );
    // The first to be gone and the last to come are of sector 0: another sector decides.
    check(
        &[initial(0), write(0, 4), initial(2)],
        "the initial content of sector 2 (at positions 0 to 2) and setup write 4 at sector 0 (from \
         position 4 on) were never there together",
    );
    check(&[write(1, 2), write(1, 3)], "setup write 3 at sector 1 was never there");
}

#[test]
fn the_position_has_to_be_in_the_window() {
    let timeline = Timeline::from_writes([(3, write(0, 1)), (6, write(0, 2))]).unwrap();
    let check = |window, candidates: &[Content], expected: &str| {
        let found = timeline.judge_within(window, candidates.iter().copied());
        assert_eq!(found.map_or_else(String::new, |found| found.to_string()), expected);
    };
    check(Interval::since(5), &[write(0, 1), write(0, 2)], "");
    check(Interval::new(5, 5), &[write(0, 1)], "");
    check(Interval::since(u64::MAX), &[write(0, 2), content(1, Initial)], "");
    check(
        Interval::since(6),
        &[write(0, 1), write(0, 2)],
        "setup write 1 at sector 0 (at positions 3 to 5) was not there from position 6 on, as it \
         has to be",
    );
    check(
        Interval::new(0, 2),
        &[write(0, 1)],
        "setup write 1 at sector 0 (at positions 3 to 5) was not there at positions 0 to 2, as it \
         has to be",
    );
}

#[test]
fn a_content_that_comes_back_is_refused() {
    let mut timeline = Timeline::from_writes([(2, write(7, 1)), (4, write(7, 2))]).unwrap();
    let refused = timeline.write(9, write(7, 1)).unwrap_err();
    assert_eq!(refused, RepeatedContent { content: write(7, 1), first: 2, again: 9 });
    assert_eq!(
        refused.to_string(),
        "setup write 1 at sector 7 is back at position 9, after it first came at position 2"
    );
    let refused = timeline.write(9, content(7, Initial)).unwrap_err();
    assert_eq!(refused, RepeatedContent { content: content(7, Initial), first: 0, again: 9 });
    // Nothing was recorded; staying is not coming back; another sector's content is another one.
    assert_eq!(timeline.during(write(7, 2)), Some(Interval::since(4)));
    timeline.write(9, write(7, 2)).unwrap();
    timeline.write(9, write(8, 1)).unwrap();
    assert_eq!(timeline.during(write(7, 2)), Some(Interval::since(4)));
}

/// What the refusal prevents. Bit `p` of a number: the content is there at position `p`.
#[test]
fn contents_with_two_stays_may_agree_pairwise_and_nowhere_jointly() {
    let [a, b, c] = [0b0101, 0b0011, 0b0110];
    assert!(a & b != 0 && b & c != 0 && a & c != 0);
    assert_eq!(a & b & c, 0);
}

#[test]
#[should_panic(expected = "sector 7: position 4 is after 4")]
fn positions_of_a_sector_ascend() {
    _ = Timeline::from_writes([(4, write(7, 1)), (4, write(7, 2))]);
}

/// As a log that was written round and round: with the product, or every pair, this would not end.
#[test]
fn a_hundred_thousand_sectors_are_judged() {
    let sectors = 100_000;
    let first_round = (0..sectors).map(|sector| (1 + sector, write(sector, 1)));
    let second_round = (0..sectors).map(|sector| (1 + sectors + sector, write(sector, 2)));
    let timeline = Timeline::from_writes(first_round.chain(second_round)).unwrap();
    let after_first_round = |undecided: u64| {
        let candidates = (0..sectors).map(|sector| write(sector, 1));
        candidates.chain((0..undecided).map(|sector| write(sector, 2)))
    };
    assert_eq!(timeline.judge(after_first_round(0)), None);
    assert_eq!(timeline.judge_within(Interval::new(sectors, sectors), after_first_round(0)), None);
    assert_eq!(timeline.judge(after_first_round(1)), None);
    let gone = Held { content: write(0, 1), during: Interval::new(1, sectors) };
    let came = Held { content: write(sectors - 1, 2), during: Interval::since(2 * sectors) };
    let found = timeline.judge(after_first_round(sectors));
    assert_eq!(found, Some(Disagreement::Apart { gone, came }));
}
