//! Whether the answers to questions partition the crash images: each choice agrees with exactly one
//! sequence of answers, and then its image has the length and the bytes that are decided.

use plugpull_sim::disk::{CrashSpace, DiskSpec, DiskState, Image, Op, Undecided};

use super::images;
use super::random::Random;

/// Asks for some sectors in some order. Returns how many leaves there were.
pub(crate) fn check(
    spec: &DiskSpec,
    space: &CrashSpace,
    random: &mut Random,
) -> Result<usize, String> {
    let sectors = usize::try_from(sectors(space, spec)).expect("a small disk");
    let mut order = random.shuffled(sectors + 1);
    order.truncate(1 + random.below(sectors + 1));
    let mut leaves = Vec::new();
    descend(DiskState::after_power_cut(spec.clone(), space.clone()), &order, &mut leaves);
    for choice in images::choices(space) {
        let agree = leaves.iter().filter(|leaf| agrees(leaf, &choice));
        let agree: Vec<&DiskState> = agree.collect();
        let [leaf] = &agree[..] else {
            return Err(format!("{} leaves agree with {choice:?} of {order:?}", agree.len()));
        };
        let image = space.realize(&choice);
        if let Some(difference) = difference(leaf, &image, &order) {
            return Err(format!("choice {choice:?}, sectors {order:?}: {difference}"));
        }
    }
    let sum: num_bigint::BigUint =
        leaves.iter().filter_map(DiskState::undecided).map(Undecided::states).sum();
    if sum != space.raw_states() {
        return Err(format!("the leaves stand for {sum} states of {}", space.raw_states()));
    }
    Ok(leaves.len())
}

/// As many sectors as the longest image has.
fn sectors(space: &CrashSpace, spec: &DiskSpec) -> u64 {
    let lens = images::choices(space).into_iter().map(|choice| space.realize(&choice).len());
    lens.max().unwrap_or(0).div_ceil(spec.sector_len as u64)
}

fn descend(mut disk: DiskState, order: &[usize], leaves: &mut Vec<DiskState>) {
    let sector_len = disk.spec().sector_len;
    let read = |&sector: &usize| Op::Read { offset: (sector * sector_len) as u64, len: sector_len };
    let asked = std::iter::once(None).chain(order.iter().map(|sector| Some(read(sector))));
    for op in asked {
        if let Some(question) = disk.question(op.as_ref()) {
            for group in 0..question.groups.len() {
                let mut answered = disk.clone();
                answered.answer(&question, group);
                descend(answered, order, leaves);
            }
            return;
        }
    }
    leaves.push(disk);
}

fn agrees(leaf: &DiskState, choice: &[usize]) -> bool {
    let undecided = leaf.undecided().expect("left by a power cut");
    let pairs = undecided.remaining().iter().zip(choice);
    pairs
        .into_iter()
        .all(|(remaining, &option)| remaining.iter().any(|other| other as usize == option))
}

fn difference(leaf: &DiskState, image: &Image, order: &[usize]) -> Option<String> {
    if leaf.len() != image.len() {
        return Some(format!("{} bytes long and not {}", leaf.len(), image.len()));
    }
    let sector_len = leaf.spec().sector_len;
    let wrong = order.iter().find(|&&sector| {
        let offset = (sector * sector_len) as u64;
        leaf.visible().bytes(offset, sector_len) != image.bytes(offset, sector_len)
    });
    wrong.map(|sector| format!("sector {sector} is something else"))
}
