//! Every way in which workers that explore parts of one search may get in each other's way.

mod atomic {
    pub(super) use loom::sync::atomic::{AtomicUsize, Ordering};
}
#[path = "../src/run/first.rs"]
mod first;

use loom::sync::Arc;
use loom::thread;

use first::First;

/// Workers with these parts, each of which looks before it explores and says what it has found.
/// Returns which parts were explored.
fn workers(parts: [(usize, bool); 3]) -> Vec<usize> {
    let first = Arc::new(First::none());
    let workers = parts.map(|(place, finds)| {
        let first = Arc::clone(&first);
        thread::spawn(move || {
            if first.is_before(place) {
                return None;
            }
            if finds {
                first.found(place);
            }
            Some(place)
        })
    });
    workers.into_iter().filter_map(|worker| worker.join().unwrap()).collect()
}

#[test]
fn what_comes_before_the_first_find_is_always_explored() {
    loom::model(|| {
        let explored = workers([(0, false), (1, true), (2, true)]);
        assert!(explored.contains(&0), "{explored:?}");
        assert!(explored.contains(&1), "{explored:?}");
    });
}

#[test]
fn without_a_find_everything_is_explored() {
    loom::model(|| assert_eq!(workers([(0, false), (1, false), (2, false)]), [0, 1, 2]));
}

#[test]
fn what_comes_after_a_find_may_be_left_out() {
    loom::model(|| {
        let first = Arc::new(First::none());
        first.found(3);
        let other = Arc::clone(&first);
        let worker = thread::spawn(move || other.found(5));
        assert!(first.is_before(4), "a later find changes nothing");
        assert!(!first.is_before(3));
        worker.join().unwrap();
        assert!(first.is_before(4) && !first.is_before(2));
    });
}
