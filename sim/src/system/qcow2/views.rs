//! What the guest can read of an image: its disk and the snapshots.

use plugpull_engine::{ByteRange, SECTOR};

use crate::disk::Image;
use crate::oracle::View;
use crate::oracle::stamp::Origin;
use crate::system::setup::{GuestContent, Touched};

/// The views that are read back, each with the largest size that it may have, in order.
pub(super) struct Views(Vec<(View, u64)>);

impl Views {
    pub(super) fn of(content: &GuestContent, touched: &Touched) -> Self {
        let largest = content.snapshots.values().map(Image::len).max().unwrap_or(0);
        // Only what is applied makes the disk as large as a snapshot.
        let active = content.active.len().max(touched.len_max);
        let active = if touched.snapshots.is_empty() { active } else { active.max(largest) };
        let mut names = touched.snapshots.clone();
        names.extend(content.snapshots.keys());
        let snapshots = names.into_iter().map(|name| {
            let kept = content.snapshots.get(&name).map_or(0, Image::len);
            let size = if touched.snapshots.contains(&name) { kept.max(active) } else { kept };
            (View::Snapshot(name), size)
        });
        Self(std::iter::once((View::Active, active)).chain(snapshots).collect())
    }

    /// The largest size that a view may have.
    pub(super) fn extent(&self, view: View) -> u64 {
        self.0.iter().find(|(known, _)| *known == view).map_or(0, |(_, size)| *size)
    }

    /// The largest size of all.
    pub(super) fn largest(&self) -> u64 {
        self.0.iter().map(|(_, size)| *size).max().unwrap_or(0)
    }

    /// What is there at the start, in all of them.
    pub(super) fn content(&self, content: &GuestContent) -> Image {
        let (last, size) = self.0.last().expect("the guest's disk is always there");
        let mut all = content.active.clone();
        all.set_len(last.address(0) + size);
        for &(view, _) in &self.0 {
            if let View::Snapshot(name) = view
                && let Some(snapshot) = content.snapshots.get(&name)
            {
                copy(snapshot, &mut all, view.address(0));
            }
        }
        for missing in self.missing(content) {
            for at in missing.units(SECTOR) {
                let (_, sector) = View::of_sector(at);
                all.write(at * SECTOR, &Origin::Nothing { sector }.content());
            }
        }
        all
    }

    /// What of them is not there at the start.
    pub(super) fn missing(&self, content: &GuestContent) -> Vec<ByteRange> {
        let missing = self.0.iter().map(|&(view, size)| {
            let there = match view {
                View::Active => content.active.len(),
                View::Snapshot(name) => content.snapshots.get(&name).map_or(0, Image::len),
            };
            ByteRange::between(view.address(there), view.address(size))
        });
        missing.filter(|missing| !missing.is_empty()).collect()
    }

    /// What is read back of them.
    pub(super) fn queries(&self, touched: &Touched) -> Vec<ByteRange> {
        let of_view = |&(view, size): &(View, u64)| {
            let queries = touched.queries(size).into_iter();
            queries.map(move |range| ByteRange::new(view.address(range.offset), range.len))
        };
        self.0.iter().flat_map(of_view).collect()
    }
}

fn copy(from: &Image, to: &mut Image, at: u64) {
    let mut bytes = vec![0; usize::try_from(from.len()).expect("a snapshot that fits in memory")];
    from.read(0, &mut bytes);
    to.write(at, &bytes);
}
