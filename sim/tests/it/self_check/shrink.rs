//! Makes a failing case smaller, as long as it fails.

use plugpull_sim::disk::{DiscardContent, FailedFlush};

use super::case::Case;
use super::counts::Counts;

/// A smaller case that fails, too, and how.
pub(crate) fn shrink(mut case: Case, mut error: String) -> (Case, String) {
    while let Some((smaller, why)) = smaller(&case).into_iter().find_map(|smaller| {
        let why = smaller.check(&mut Counts::default()).err()?;
        Some((smaller, why))
    }) {
        (case, error) = (smaller, why);
    }
    (case, error)
}

fn smaller(case: &Case) -> Vec<Case> {
    let mut all = Vec::new();
    let mut add = |change: &dyn Fn(&mut Case)| {
        let mut smaller = case.clone();
        change(&mut smaller);
        all.push(smaller);
    };
    for index in 0..case.history.len() {
        add(&|case| drop(case.history.remove(index)));
    }
    for index in 0..case.programs.recovery.len() {
        add(&|case| drop(case.programs.recovery.remove(index)));
    }
    for index in 0..case.programs.queries.len() {
        add(&|case| drop(case.programs.queries.remove(index)));
        for step in 0..case.programs.queries[index].len() {
            add(&|case| drop(case.programs.queries[index].remove(step)));
        }
    }
    if case.depth > 0 {
        add(&|case| case.depth -= 1);
    }
    for (index, fresh) in case.fresh.iter().enumerate() {
        let spec = &fresh.spec;
        if spec.tear.is_some() {
            add(&|case| case.fresh[index].spec.tear = None);
        }
        if spec.discard != DiscardContent::Zeros {
            add(&|case| case.fresh[index].spec.discard = DiscardContent::Zeros);
        }
        if spec.failed_flush != FailedFlush::Keep {
            add(&|case| case.fresh[index].spec.failed_flush = FailedFlush::Keep);
        }
        if fresh.letters.len() > 1 {
            add(&|case| case.fresh[index].letters.truncate(fresh.letters.len() - 1));
        }
        for letter in 0..fresh.letters.len() {
            if fresh.letters[letter] > 0 {
                add(&|case| case.fresh[index].letters[letter] = 0);
            }
        }
    }
    all
}
