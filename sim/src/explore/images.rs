//! What follows a power cut image by image, and what holds of images before any recovery.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::crash::{BruteForce, Certificate, CrashExplorer, CrashState, Path, Unreadable, Watch};
use crate::disk::Image;
use crate::explore::cuts::{Cuts, Left, Level, Point, Report, Taken, Wrong};

impl Cuts {
    /// As many states as the enumerator says.
    pub(super) fn enumerated(
        &mut self,
        point: &Point,
        explorer: &BruteForce,
        report: Report<'_>,
    ) -> ControlFlow<()> {
        let coverage = explorer.explore(&point.spaces, &mut |state: &CrashState| {
            self.chain.push(Level {
                at: point.at,
                session: point.session(),
                spaces: Arc::clone(&point.spaces),
                taken: Taken::All(state.assignment.clone()),
                unreadable: Vec::new(),
                wrong: Wrong::default(),
            });
            let answer = self.one_image(point, state.images.clone(), report);
            self.chain.pop();
            answer
        });
        if !coverage.complete() && !coverage.stopped {
            self.counts.bounded_points += 1;
            self.counts.bounded.0 += &coverage.visited;
            self.counts.bounded.1 += &coverage.states;
        }
        self.counts.states += &coverage.states;
        self.counts.visited += &coverage.visited;
        if coverage.stopped { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// One image of each disk, whose choice is the last level of the chain.
    pub(super) fn one_image(
        &mut self,
        point: &Point,
        images: Vec<Image>,
        report: Report<'_>,
    ) -> ControlFlow<()> {
        if self.script.is_none() {
            let contents = images
                .iter()
                .fold(0, |key: u128, image| key.rotate_left(29).wrapping_add(image.key()));
            if !self.states_seen.insert(contents.wrapping_mul(3).wrapping_add(point.key())) {
                return ControlFlow::Continue(());
            }
        }
        let level = self.chain.last().expect("a power cut was taken");
        let unreadable = match self.chain.len() {
            // The first cut's own; later ones keep what has not been written again.
            1 => Some(Unreadable::exactly(level.unreadable.clone())),
            _ => point.unreadable.clone(),
        };
        let left = Left::Images(images, unreadable.filter(|some| !some.found().is_empty()));
        self.look_at_images(&left, report)?;
        let way = self.way(point, &left, Path::new(), report)?;
        self.trusted(way.path.end())
    }

    /// What holds of the disks before any recovery, question by question.
    pub(super) fn look_at_images(&mut self, left: &Left, report: Report<'_>) -> ControlFlow<()> {
        let system = Arc::clone(&self.system);
        // What cannot be read is no finding about the bytes.
        let left = &match left {
            Left::Undecided(spaces, _) => Left::Undecided(Arc::clone(spaces), None),
            Left::Images(images, _) => Left::Images(images.clone(), None),
        };
        // As long as nothing is asked about the disks, they are the same for the next question.
        let mut shared = None;
        for question in 0..system.image_questions() {
            let mut disks =
                shared.take().unwrap_or_else(|| self.disks(left, Path::new(), Watch::Off));
            let first = system.check_image(question, &mut disks);
            if disks.path.is_empty() {
                if let Some(finding) = first {
                    self.observe(|observed| observed.finding(&finding));
                    self.narrow(&disks);
                    self.tell(finding, report)?;
                }
                shared = Some(disks);
                continue;
            }
            let mut path = Path::new();
            let states = self.disks(left, Path::new(), Watch::Off).states();
            let mut certificate = Certificate::new(states);
            loop {
                let mut disks = self.disks(left, path, Watch::Off);
                if let Some(finding) = system.check_image(question, &mut disks) {
                    self.observe(|observed| observed.finding(&finding));
                    self.narrow(&disks);
                    self.tell(finding, report)?;
                }
                certificate.add(&disks.states());
                path = disks.path;
                self.trusted(path.end())?;
                if !path.advance() {
                    self.trusted(certificate.verify())?;
                    break;
                }
                if self.is_too_many(certificate.ways()) {
                    break;
                }
            }
        }
        ControlFlow::Continue(())
    }
}
