//! What leaves out orders: for systems that tell what their tasks share, for those that do not, and for
//! those that say that they do.

use plugpull_sim::explore::RunOptions;
use plugpull_sim::scenario::Reduction;
use plugpull_sim::verdict::{ScenarioResult, Share};

use crate::toys::blocks::{Flaw, flawed};
use crate::toys::first::marked;
use crate::toys::{Toy, assert_holds, broken, clients, cross_checked, explored_with};

const CLIENTS: [&str; 2] = ["write 0 512, flush", "write 512 512, read 0 512"];

const FEW: [&str; 2] = ["write 0 512, flush", "write 512 512"];

fn by(toy: Toy, engine: Reduction) -> ScenarioResult {
    let options = RunOptions { engine: Some(engine), ..RunOptions::default() };
    explored_with(toy, &clients(FEW), options)
}

fn executions(toy: Toy, engine: Reduction) -> u64 {
    let result = by(toy, engine);
    assert_holds(&result);
    result.schedules.executions
}

#[test]
fn systems_that_do_not_tell_are_explored_as_one_object() {
    let result = cross_checked(marked(3, false), &clients(CLIENTS));
    assert_holds(&result);
    let Share { part, whole } = result.schedules.footprints.expect("footprints are noted");
    assert!(0 < part && part < whole, "{part} of {whole}");
}

#[test]
fn systems_that_tell_are_explored_by_what_they_tell() {
    for toy in [marked(3, true), flawed(3, Flaw::None)] {
        let result = cross_checked(toy.telling(), &clients(CLIENTS));
        assert_holds(&result);
        let Share { part, whole } = result.schedules.footprints.expect("footprints are noted");
        assert_eq!(part, whole);
        assert!(result.schedules.audited > 0);
    }
}

#[test]
fn telling_leaves_out_more() {
    let told = || marked(3, true).telling();
    let untold = || marked(3, false);
    let plain = executions(untold(), Reduction::Plain);
    let dpor = [executions(told(), Reduction::Dpor), executions(untold(), Reduction::Dpor)];
    assert!(dpor[0] < dpor[1] && dpor[1] < plain, "{dpor:?} {plain}");
    assert!(executions(told(), Reduction::Stateful) < plain);
}

#[test]
fn whoever_says_that_it_tells_and_does_not_is_found_out() {
    let result = cross_checked(marked(3, false).telling(), &clients(CLIENTS));
    assert!(broken(&result).contains("said to be independent"), "{result:?}");
}
