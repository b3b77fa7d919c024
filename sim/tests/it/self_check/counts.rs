//! What the cases were about: a check that compares nothing proves nothing.

use plugpull_sim::disk::{DiskSpec, Model};

/// Sums over cases.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) cases: u64,
    /// By model, in the order of [`Model::ALL`].
    pub(crate) disks: [u64; 5],
    pub(crate) two_disks: u64,
    pub(crate) large_sectors: u64,
    pub(crate) tears: u64,
    /// Cases in which so many power cuts hit recovery in turn.
    pub(crate) depth: [u64; 3],
    /// Cases in which there would have been too many states to cut as often as intended.
    pub(crate) less_deep: u64,
    /// Cases in which recovery went more than one way.
    pub(crate) more_ways: u64,
    /// Cases in which different crash images had the same outcome.
    pub(crate) merged: u64,
    /// States that brute force visited, and ways that were taken instead.
    pub(crate) states: u64,
    pub(crate) ways: u64,
    /// Crash points inside recovery that were explored, by model of the first disk.
    pub(crate) inside: [u64; 5],
    /// Of them those with more states than are enumerated.
    pub(crate) not_enumerated: u64,
    /// Steps of histories after which a crash space was larger than before.
    pub(crate) grown: u64,
    /// Leaves of questions about single disks.
    pub(crate) leaves: u64,
}

impl Counts {
    pub(crate) fn add_disks(&mut self, specs: &[DiskSpec]) {
        self.cases += 1;
        for spec in specs {
            self.disks[index(spec.model)] += 1;
        }
        self.two_disks += u64::from(specs.len() == 2);
        self.large_sectors += u64::from(specs.iter().any(|spec| spec.sector_len == 4096));
        self.tears += u64::from(specs.iter().any(|spec| spec.tear.is_some()));
    }

    pub(crate) fn add_inside(&mut self, specs: &[DiskSpec], points: usize) {
        self.inside[index(specs[0].model)] += points as u64;
    }

    /// There was enough of everything.
    pub(crate) fn assert_not_vacuous(&self) {
        let cases = self.cases;
        for (model, (&disks, &inside)) in Model::ALL.iter().zip(self.disks.iter().zip(&self.inside))
        {
            assert!(disks > cases / 5, "{disks} disks are {model}");
            assert!(inside > cases / 10, "{inside} cuts inside recovery on {model}");
        }
        let [_, once, twice] = self.depth;
        assert!(once > cases / 6 && twice > cases / 12, "cut in turn: {:?}", self.depth);
        // Nothing is left out without a word.
        assert!(self.less_deep < cases / 100, "{} cases were not cut as deep", self.less_deep);
        assert!(self.not_enumerated < cases / 100, "{} not enumerated", self.not_enumerated);
        assert!(self.more_ways > cases / 3, "{} cases had more than one way", self.more_ways);
        assert!(self.merged > cases / 3, "{} cases merged states", self.merged);
        assert!(self.grown > cases, "{} steps added crash images", self.grown);
        assert!(self.leaves > 2 * cases, "{} leaves", self.leaves);
        assert!(self.states > 4 * cases, "{} states", self.states);
        for some in [self.two_disks, self.large_sectors, self.tears] {
            assert!(some > cases / 6, "{self:?}");
        }
    }
}

fn index(model: Model) -> usize {
    Model::ALL.iter().position(|&other| other == model).expect("one of all")
}
