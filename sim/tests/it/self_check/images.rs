//! Every crash image of some disks, one by one: the slow and obvious side.

use std::collections::BTreeSet;

use plugpull_sim::disk::{CrashSpace, Image, Undecided};

/// One image for each disk.
pub(crate) type Images = Vec<Image>;

/// What identifies them.
pub(crate) fn key(images: &[Image]) -> Vec<u128> {
    images.iter().map(Image::key).collect()
}

/// How many choices there are, if not more than `most`.
pub(crate) fn count(spaces: &[CrashSpace], most: usize) -> Option<usize> {
    let states: num_bigint::BigUint = spaces.iter().map(CrashSpace::raw_states).product();
    usize::try_from(states).ok().filter(|&states| states <= most)
}

/// The images for every choice: as many as there are choices, some of them equal.
pub(crate) fn all(spaces: &[CrashSpace]) -> Vec<Images> {
    let mut all: Vec<Images> = vec![Vec::new()];
    for space in spaces {
        let images: Vec<Image> =
            choices(space).iter().map(|choice| space.realize(choice)).collect();
        let longer = |start: &Images| {
            let start = start.clone();
            images.clone().into_iter().map(move |image| {
                let mut images = start.clone();
                images.push(image);
                images
            })
        };
        all = all.iter().flat_map(longer).collect();
    }
    all
}

/// The keys of the images of one disk.
pub(crate) fn keys(space: &CrashSpace) -> BTreeSet<u128> {
    choices(space).iter().map(|choice| space.realize(choice).key()).collect()
}

/// Every choice that agrees with what is known beneath.
pub(crate) fn choices(space: &CrashSpace) -> Vec<Vec<usize>> {
    let undecided = Undecided::new(space.clone());
    let mut all: Vec<Vec<usize>> = vec![Vec::new()];
    for remaining in undecided.remaining() {
        let longer = |start: &Vec<usize>| {
            let start = start.clone();
            let options = remaining.iter().map(|option| option as usize);
            options
                .map(move |option| {
                    let mut choice = start.clone();
                    choice.push(option);
                    choice
                })
                .collect::<Vec<_>>()
        };
        all = all.iter().flat_map(longer).collect();
    }
    all
}
