//! The promises once more, slow and obvious: the crash images of a whole history, computed from
//! nothing but its list of requests by enumerating every set and order that the rules allow.
//! Compared with the disk after every step of thousands of random histories.
//!
//! Everything is in units of one character, as in [`super::disk_histories`].

use std::collections::{BTreeMap, BTreeSet};

use super::disk_histories::Player;
use plugpull_sim::disk::{FailedFlush, Model};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// What a request does, in units.
#[derive(Debug, Clone)]
enum Action {
    /// Pieces with their positions; preflush; fua.
    Write(Vec<(usize, Vec<char>)>, bool, bool),
    Resize(usize),
    Flush,
}

/// A request of the history.
#[derive(Debug, Clone)]
struct Request {
    action: Action,
    submitted: usize,
    ended: Option<usize>,
    failed: bool,
    /// A failed resize that has not taken place.
    void: bool,
    /// It got where it went when it completed, not before.
    misdirected: bool,
}

/// A disk and everything that was ever asked of it.
#[derive(Debug, Clone)]
struct Reference {
    model: Model,
    failed_flush: FailedFlush,
    /// Units in a sector.
    sector: usize,
    /// Units between tear boundaries.
    tear: Option<usize>,
    start: Vec<char>,
    requests: Vec<Request>,
}

/// One change of one thing (a sector, the length) and what is known about it.
#[derive(Debug, Clone)]
struct Item {
    submitted: usize,
    ended: Option<usize>,
    failed: bool,
    durable: bool,
    /// Position in the sector and content; for a length, the length.
    start: usize,
    data: Vec<char>,
}

fn precedes(a: &Item, b: &Item) -> bool {
    a.ended.is_some_and(|ended| ended < b.submitted)
}

impl Request {
    fn succeeded(&self) -> bool {
        self.ended.is_some() && !self.failed
    }

    fn flushes(&self) -> bool {
        matches!(self.action, Action::Flush | Action::Write(_, true, _))
    }

    fn ended_before(&self, moment: usize) -> bool {
        self.ended.is_some_and(|ended| ended < moment)
    }

    fn changes(&self) -> bool {
        !matches!(self.action, Action::Flush) && !self.void
    }
}

impl Reference {
    /// When the request became durable by itself, if it did and had not been dropped before.
    /// `also` are flushes to be taken as successful as of now.
    fn durable_since(&self, index: usize, also: &[usize]) -> Option<usize> {
        let request = &self.requests[index];
        if !request.succeeded() || self.model == Model::LyingFlush {
            return None;
        }
        let fua = |request: &Request| matches!(request.action, Action::Write(_, _, true));
        let mut since = Vec::new();
        if self.model == Model::Writethrough || fua(request) {
            since.extend(request.ended);
        }
        for flush in self.requests.iter().filter(|flush| flush.flushes() && flush.succeeded()) {
            if request.ended_before(flush.submitted) {
                since.extend(flush.ended);
            }
        }
        if self.model == Model::Ordered {
            // What is durable brings along what completed before it.
            let later = self.requests.iter().filter(|later| later.succeeded() && fua(later));
            since.extend(
                later.filter_map(|later| later.ended).filter(|&at| at >= request.ended.unwrap()),
            );
        }
        for &flush in also {
            if request.ended_before(self.requests[flush].submitted) {
                since.push(usize::MAX);
            }
        }
        let since = since.into_iter().min()?;
        self.dropped_at(index).is_none_or(|dropped| since < dropped).then_some(since)
    }

    /// When a failed flush lost sight of the request.
    fn dropped_at(&self, index: usize) -> Option<usize> {
        if self.failed_flush == FailedFlush::Keep || self.model == Model::LyingFlush {
            return None;
        }
        let failed = self.requests.iter().filter(|flush| flush.flushes() && flush.failed);
        let losing = failed.filter(|flush| self.requests[index].ended_before(flush.submitted));
        losing.filter_map(|flush| flush.ended).min()
    }

    /// What reads see.
    fn reads(&self) -> String {
        let mut done: Vec<&Request> = self.requests.iter().filter(|r| r.succeeded()).collect();
        done.sort_by_key(|request| request.ended);
        let mut image = self.start.clone();
        for request in done {
            match &request.action {
                Action::Write(pieces, _, _) => {
                    for (at, data) in pieces {
                        for (place, &unit) in image.iter_mut().skip(*at).zip(data) {
                            *place = unit;
                        }
                    }
                }
                Action::Resize(len) => image.resize(*len, '.'),
                Action::Flush => {}
            }
        }
        print(image)
    }

    fn crashes(&self) -> BTreeSet<String> {
        let images = match self.model {
            Model::Ordered => self.ordered(),
            Model::AtomicWrite => self.atomic_write(),
            Model::Writeback | Model::Writethrough | Model::LyingFlush => self.independent(),
        };
        images.into_iter().map(print).collect()
    }

    /// Sectors take sets of changes independently of one another.
    fn independent(&self) -> BTreeSet<Vec<char>> {
        let gates: Vec<usize> = (0..self.requests.len())
            .filter(|&index| {
                let request = &self.requests[index];
                self.model == Model::Writeback
                    && request.changes()
                    && request.flushes()
                    && request.ended.is_none()
            })
            .collect();
        let mut images = BTreeSet::new();
        for done in subsets(&gates) {
            let undone: Vec<usize> =
                gates.iter().copied().filter(|gate| !done.contains(gate)).collect();
            let present: Vec<usize> = (0..self.requests.len())
                .filter(|index| self.requests[*index].changes() && !undone.contains(index))
                .collect();
            self.independent_if(&present, &done, &mut images);
        }
        images
    }

    fn independent_if(&self, present: &[usize], also: &[usize], images: &mut BTreeSet<Vec<char>>) {
        let resizes: Vec<(usize, usize)> = present
            .iter()
            .filter_map(|&index| match self.requests[index].action {
                Action::Resize(len) => Some((index, len)),
                _ => None,
            })
            .collect();
        let items: Vec<Item> =
            resizes.iter().map(|&(index, len)| self.item(index, also, len, &[])).collect();
        let mut seen = BTreeSet::new();
        for sequence in sequences(&close(items.clone())) {
            let len = sequence.last().map_or(self.start.len(), |&last| items[last].start);
            let mut taken = sequence.clone();
            taken.sort_unstable();
            if !seen.insert((len, taken.clone())) {
                continue;
            }
            let cuts: Vec<usize> = taken.into_iter().map(|resize| resizes[resize].0).collect();
            let mut partial: BTreeSet<Vec<char>> = BTreeSet::from([Vec::new()]);
            for sector in 0..len.div_ceil(self.sector) {
                let contents = self.contents(sector, present, also, &cuts);
                partial = partial
                    .iter()
                    .flat_map(|head| contents.iter().map(move |tail| [&head[..], tail].concat()))
                    .collect();
            }
            images.extend(partial.into_iter().map(|mut image| {
                image.truncate(len);
                image
            }));
        }
    }

    /// What a sector may hold if these shrinks have taken place.
    fn contents(
        &self,
        sector: usize,
        present: &[usize],
        also: &[usize],
        cuts: &[usize],
    ) -> BTreeSet<Vec<char>> {
        let range = sector * self.sector..(sector + 1) * self.sector;
        let mut items = Vec::new();
        for &index in present {
            match &self.requests[index].action {
                Action::Write(pieces, _, _) => {
                    for (at, data) in pieces {
                        let start = (*at).max(range.start);
                        let end = (at + data.len()).min(range.end);
                        if start < end {
                            let data = &data[start - at..end - at];
                            items.push(self.item(index, also, start - range.start, data));
                        }
                    }
                }
                Action::Resize(len) if cuts.contains(&index) && *len < range.end => {
                    let start = len.saturating_sub(range.start);
                    let zeros = vec!['.'; self.sector - start];
                    let item = self.item(index, also, start, &zeros);
                    items.push(Item { durable: true, ..item });
                }
                _ => {}
            }
        }
        let base: Vec<char> = range.map(|at| self.start.get(at).copied().unwrap_or('.')).collect();
        let items = close(items);
        let after = |sequence: &[usize]| {
            let mut content = base.clone();
            for &index in sequence {
                let Item { start, data, .. } = &items[index];
                content[*start..start + data.len()].copy_from_slice(data);
            }
            content
        };
        let mut contents = BTreeSet::new();
        for sequence in sequences(&items) {
            let new = after(&sequence);
            contents.insert(new.clone());
            let (Some(tear), Some(&last)) = (self.tear, sequence.last()) else { continue };
            if items[last].durable || items[last].failed {
                continue;
            }
            for middle in 0..sequence.len() {
                let (earlier, rest) = sequence.split_at(middle);
                let mut left_out = (0..items.len()).filter(|index| !earlier.contains(index));
                if left_out.any(|index| items[index].durable)
                    || rest.iter().any(|&index| items[index].failed)
                {
                    continue;
                }
                let old = after(earlier);
                for boundary in (tear..self.sector).step_by(tear) {
                    contents.insert([&new[..boundary], &old[boundary..]].concat());
                    contents.insert([&old[..boundary], &new[boundary..]].concat());
                }
            }
        }
        contents
    }

    fn item(&self, index: usize, also: &[usize], start: usize, data: &[char]) -> Item {
        let request = &self.requests[index];
        Item {
            submitted: match request.ended {
                Some(ended) if request.misdirected => ended,
                _ => request.submitted,
            },
            ended: request.ended,
            failed: request.failed,
            durable: self.durable_since(index, also).is_some(),
            start,
            data: data.to_vec(),
        }
    }

    /// A prefix of the completion order.
    fn ordered(&self) -> BTreeSet<Vec<char>> {
        let mut order: Vec<usize> = (0..self.requests.len())
            .filter(|&index| self.requests[index].changes() && self.requests[index].ended.is_some())
            .collect();
        order.sort_by_key(|&index| self.requests[index].ended);
        // Steps: request, and one sector's part of it or the length.
        let mut steps: Vec<(usize, Action)> = Vec::new();
        for &index in &order {
            match &self.requests[index].action {
                Action::Write(pieces, _, _) => {
                    for (at, data) in pieces {
                        let mut done = 0;
                        while done < data.len() {
                            let at = at + done;
                            let len = (self.sector - at % self.sector).min(data.len() - done);
                            let piece = vec![(at, data[done..done + len].to_vec())];
                            steps.push((index, Action::Write(piece, false, false)));
                            done += len;
                        }
                    }
                }
                action => steps.push((index, action.clone())),
            }
        }
        let durable = |index| self.durable_since(index, &[]).is_some();
        let loose = |index: usize| {
            self.requests[index].failed || (!durable(index) && self.dropped_at(index).is_some())
        };
        let loose_steps: Vec<usize> =
            (0..steps.len()).filter(|&step| loose(steps[step].0)).collect();
        let mut images = BTreeSet::new();
        for cut in 0..=steps.len() {
            if (cut..steps.len()).any(|step| !loose(steps[step].0) && durable(steps[step].0)) {
                continue;
            }
            // A cut lies before a step in order, or at the end.
            if cut < steps.len() && loose(steps[cut].0) {
                continue;
            }
            let before: Vec<usize> =
                loose_steps.iter().copied().filter(|&step| step < cut).collect();
            for kept in subsets(&before) {
                let there =
                    (0..cut).filter(|step| !loose_steps.contains(step) || kept.contains(step));
                let actions: Vec<&Action> = there.map(|step| &steps[step].1).collect();
                images.insert(self.applied(&actions));
                let (Some(tear), Some((_, Action::Write(pieces, _, _)))) =
                    (self.tear, steps.get(cut))
                else {
                    continue;
                };
                let (at, data) = &pieces[0];
                for boundary in 1..data.len() {
                    if (at + boundary) % tear == 0 {
                        let head = (*at, data[..boundary].to_vec());
                        let tail = (at + boundary, data[boundary..].to_vec());
                        for side in [head, tail] {
                            let torn = Action::Write(vec![side], false, false);
                            images.insert(self.applied(&[&actions[..], &[&torn]].concat()));
                        }
                    }
                }
            }
        }
        images
    }

    /// Any set of requests.
    fn atomic_write(&self) -> BTreeSet<Vec<char>> {
        let all: Vec<usize> =
            (0..self.requests.len()).filter(|&index| self.requests[index].changes()).collect();
        let (mut completed, in_flight): (Vec<usize>, Vec<usize>) =
            all.iter().partition(|&&index| self.requests[index].ended.is_some());
        completed.sort_by_key(|&index| self.requests[index].ended);
        let undecided: Vec<usize> =
            all.iter().copied().filter(|&index| self.durable_since(index, &[]).is_none()).collect();
        let mut images = BTreeSet::new();
        for lost in subsets(&undecided) {
            // The data of a PREFLUSH write in flight comes after what its flush covers.
            let consistent = in_flight.iter().filter(|index| !lost.contains(index)).all(|&index| {
                let request = &self.requests[index];
                !request.flushes()
                    || lost.iter().all(|&lost| {
                        let other = &self.requests[lost];
                        !other.succeeded()
                            || !other.ended_before(request.submitted)
                            || self.dropped_at(lost).is_some()
                    })
            });
            if !consistent {
                continue;
            }
            for order in permutations(&in_flight) {
                let order = completed.iter().chain(&order).filter(|index| !lost.contains(index));
                let actions: Vec<&Action> =
                    order.map(|&index| &self.requests[index].action).collect();
                images.insert(self.applied(&actions));
            }
        }
        images
    }

    /// The start with some actions applied, then cut to the length.
    fn applied(&self, actions: &[&Action]) -> Vec<char> {
        let mut image = self.start.clone();
        image.resize(64, '.');
        let mut current = self.start.len();
        for action in actions {
            match action {
                Action::Write(pieces, _, _) => {
                    for (at, data) in pieces {
                        image[*at..at + data.len()].copy_from_slice(data);
                    }
                }
                Action::Resize(len) => {
                    image[*len..].fill('.');
                    current = *len;
                }
                Action::Flush => {}
            }
        }
        image.truncate(current);
        image
    }
}

/// What precedes something durable is durable, unless it failed.
fn close(mut items: Vec<Item>) -> Vec<Item> {
    for index in 0..items.len() {
        let needed = items.iter().any(|later| later.durable && precedes(&items[index], later));
        items[index].durable |= needed && !items[index].failed;
    }
    items
}

/// All orders in which a set of items may have taken place: the set holds what is durable, and
/// with each item everything that precedes it and has not failed; the order extends *precedes*.
fn sequences(items: &[Item]) -> Vec<Vec<usize>> {
    let mut all = vec![Vec::new()];
    let mut next = 0;
    while next < all.len() {
        let sequence = all[next].clone();
        next += 1;
        for index in (0..items.len()).filter(|index| !sequence.contains(index)) {
            let late = sequence.iter().any(|&other| precedes(&items[index], &items[other]));
            let early = (0..items.len()).any(|other| {
                !sequence.contains(&other)
                    && !items[other].failed
                    && precedes(&items[other], &items[index])
            });
            if !late && !early {
                all.push([&sequence[..], &[index]].concat());
            }
        }
    }
    all.retain(|sequence| {
        (0..items.len()).all(|index| sequence.contains(&index) || !items[index].durable)
    });
    all
}

fn subsets(items: &[usize]) -> Vec<Vec<usize>> {
    (0..1_u32 << items.len())
        .map(|mask| {
            let chosen = items.iter().enumerate().filter(|(bit, _)| mask >> bit & 1 == 1);
            chosen.map(|(_, &item)| item).collect()
        })
        .collect()
}

fn permutations(items: &[usize]) -> Vec<Vec<usize>> {
    if items.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for index in 0..items.len() {
        let mut rest = items.to_vec();
        let head = rest.remove(index);
        all.extend(permutations(&rest).into_iter().map(|tail| [vec![head], tail].concat()));
    }
    all
}

fn print(image: Vec<char>) -> String {
    if image.is_empty() { "-".to_owned() } else { image.into_iter().collect() }
}

/// Makes random histories and plays them on both sides.
struct Generator {
    random: ChaCha8Rng,
    letter: u8,
    /// What crash spaces with a key (and this many units in a sector) allow.
    keys: BTreeMap<(u128, usize), BTreeSet<String>>,
}

impl Generator {
    fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).unwrap();
        usize::try_from(self.random.next_u64() % bound).unwrap()
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    /// One history, compared after every step. Returns how many crash images were compared.
    fn history(&mut self) -> usize {
        let model = Model::ALL[self.below(Model::ALL.len())];
        let large = self.one_in(3);
        let torn = !large && self.one_in(4);
        let drop = self.one_in(2);
        let discard = ["zeros", "garbage", "old"][self.below(3)];
        let mut spec = model.to_string();
        for (modifier, on) in [("4096", large), ("tear=256", torn), ("drop", drop)] {
            if on {
                spec = format!("{spec} {modifier}");
            }
        }
        if discard != "zeros" {
            spec = format!("{spec} discard={discard}");
        }
        let per_sector = match (large, torn) {
            (true, _) => 8,
            (_, true) => 2,
            _ => 1,
        };
        let sectors = if large { 1 + self.below(2) } else { 1 + self.below(3) };
        let start: String = "ABCDEFGHIJKLMNOP"[..sectors * per_sector].to_owned();
        let mut reference = Reference {
            model,
            failed_flush: if drop { FailedFlush::Drop } else { FailedFlush::Keep },
            sector: per_sector,
            tear: torn.then_some(1),
            start: start.chars().collect(),
            requests: Vec::new(),
        };
        let mut player = Player::new(&spec, &start);
        let mut story = format!("{spec}: {start}:");
        let mut compared = 0;
        self.letter = b'P';
        let changes_max = if torn || large { 4 } else { 5 };
        for moment in 0..4 + self.below(9) {
            let len = player.reads();
            let len = if len == "-" { 0 } else { len.len() };
            let in_flight: Vec<usize> = (0..reference.requests.len())
                .filter(|&index| reference.requests[index].ended.is_none())
                .collect();
            let changes = reference.requests.iter().filter(|request| request.changes()).count();
            let step = if !in_flight.is_empty() && (changes == changes_max || self.one_in(2)) {
                let index = in_flight[self.below(in_flight.len())];
                self.end(&mut reference, index, moment, len, discard)
            } else {
                let unit = if torn { 2 } else { 1 };
                let only_flush = changes == changes_max;
                self.submit(&mut reference, moment, len, unit, discard, only_flush)
            };
            story = format!("{story} {step};");
            player.play(&step);
            assert_eq!(player.reads(), reference.reads(), "reads after {story}");
            let crashes = player.crashes();
            assert_eq!(crashes, reference.crashes(), "crashes after {story}");
            compared += crashes.len();
            let key = (player.disk.crash_space().key(), per_sector);
            let known = self.keys.entry(key).or_insert_with(|| crashes.clone());
            assert_eq!(*known, crashes, "equal keys after {story}");
        }
        compared
    }

    /// Submits something; `unit` is the smallest request, in characters.
    fn submit(
        &mut self,
        reference: &mut Reference,
        moment: usize,
        len: usize,
        unit: usize,
        discard: &str,
        only_flush: bool,
    ) -> String {
        let name = format!("r{}", reference.requests.len());
        let kind = if only_flush { 9 } else { self.below(10) };
        let (text, action) = if kind < 6 && len > 0 {
            let at = self.below(len / unit) * unit;
            let count = (1 + self.below(3.min((len - at) / unit))) * unit;
            let garbage = kind == 5;
            let mut data: Vec<char> = Vec::new();
            if garbage {
                let fill = if discard == "garbage" { '#' } else { '.' };
                data.resize(count, fill);
                let pieces = if discard == "old" { Vec::new() } else { vec![(at, data)] };
                (format!("discard {at} {count}"), Action::Write(pieces, false, false))
            } else {
                for _ in 0..count / unit {
                    self.letter = if self.letter == b'Z' { b'Q' } else { self.letter + 1 };
                    data.extend(vec![char::from(self.letter); unit]);
                }
                let preflush = self.one_in(5);
                let fua = self.one_in(5);
                let flags = [(preflush, " preflush"), (fua, " fua")];
                let flags: String = flags.iter().filter(|f| f.0).map(|f| f.1).collect();
                let text: String = data.iter().collect();
                (
                    format!("write {at} {text}{flags}"),
                    Action::Write(vec![(at, data)], preflush, fua),
                )
            }
        } else if kind == 6 {
            let len = self.below(4) * unit;
            let len = if reference.sector == 8 { len + self.below(12) } else { len };
            (format!("resize {len}"), Action::Resize(len))
        } else {
            ("flush".to_owned(), Action::Flush)
        };
        reference.requests.push(Request {
            action,
            submitted: moment,
            ended: None,
            failed: false,
            void: false,
            misdirected: false,
        });
        format!("submit {name} {text}")
    }

    fn end(
        &mut self,
        reference: &mut Reference,
        index: usize,
        moment: usize,
        len: usize,
        discard: &str,
    ) -> String {
        let longest = reference
            .requests
            .iter()
            .filter_map(|request| match request.action {
                Action::Resize(len) => Some(len),
                _ => None,
            })
            .chain([reference.start.len()])
            .max()
            .unwrap();
        let room = longest.div_ceil(reference.sector) * reference.sector;
        let sector = reference.sector;
        let request = &mut reference.requests[index];
        request.ended = Some(moment);
        if self.one_in(6) {
            request.failed = true;
            request.void = matches!(request.action, Action::Resize(len) if len < room);
            return format!("failed r{index}");
        }
        if let Action::Write(pieces, ..) = &mut request.action
            && let Some((at, data)) = pieces.first_mut()
            && discard != "garbage"
            && data[0] != '.'
            && len >= sector
        {
            if self.one_in(12) {
                data[0] = data[0].to_ascii_lowercase();
                return format!("corrupted r{index}");
            }
            if self.one_in(12) {
                let shift = (1 + self.below(2)) * sector;
                let round = len / sector * sector;
                let moved =
                    (0..data.len()).map(|unit| ((*at + unit + shift) % round, vec![data[unit]]));
                *pieces = joined(moved.collect());
                request.misdirected = true;
                return format!("misdirected r{index} {shift}");
            }
        }
        format!("done r{index}")
    }
}

/// Pieces that follow one another, put together.
fn joined(pieces: Vec<(usize, Vec<char>)>) -> Vec<(usize, Vec<char>)> {
    let mut all: Vec<(usize, Vec<char>)> = Vec::new();
    for (at, data) in pieces {
        match all.last_mut() {
            Some((start, known)) if *start + known.len() == at => known.extend(data),
            _ => all.push((at, data)),
        }
    }
    all
}

#[test]
fn random_histories_allow_what_the_reference_allows() {
    let random = ChaCha8Rng::seed_from_u64(0);
    let mut generator = Generator { random, letter: b'P', keys: BTreeMap::new() };
    let mut compared = 0;
    for seed in 0..1000 {
        generator.random = ChaCha8Rng::seed_from_u64(seed);
        compared += generator.history();
    }
    let spaces = generator.keys.len();
    assert!(spaces > 2_000, "only {spaces} different crash spaces");
    assert!(compared > 50_000, "only {compared} crash images compared");
}
