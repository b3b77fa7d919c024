//! Bugs that show in few states of very many.

use num_bigint::BigUint;
use plugpull_sim::verdict::Invariant;

use crate::toys::blocks::recovering;
use crate::toys::{assert_holds, clients, explored, only_cut, violated};

/// Whether sector n has to be kept, in the one state in which something is wrong.
const PATTERN: u64 = 0x0a5c_39f0_17d2_6b84;
const SECTORS: u64 = 60;
const WRITE_ALL: &str = "write 0 30K";

fn expected(sector: u64) -> bool {
    PATTERN >> sector & 1 == 1
}

/// Recovery stops at the first sector that is not as in the pattern: one way for each of them, and
/// one for the whole pattern.
#[test]
fn one_state_of_2_to_the_60_is_found() {
    let toy = |flawed: bool| {
        recovering(SECTORS, move |disk| async move {
            for sector in 0..SECTORS {
                if disk.is_kept(sector).await? != expected(sector) {
                    return Ok(None);
                }
            }
            Ok(flawed.then_some(0))
        })
    };
    let mut exploration = clients([WRITE_ALL]);
    exploration.explore.recovery_crashes = 0;
    let holds = explored(toy(false), &exploration);
    assert_holds(&holds);
    assert_eq!(holds.crashes.states, BigUint::from(1_u64 << SECTORS));
    assert_eq!(holds.crashes.recovery_paths, SECTORS + 1);

    let result = explored(toy(true), &exploration);
    let options = only_cut(violated(&result, Invariant::DOldnew));
    let kept: Vec<bool> = options.iter().map(|option| *option == 1).collect();
    assert_eq!(kept, (0..SECTORS).map(expected).collect::<Vec<_>>());
}

/// A quarter of all states is wrong; the counterexample differs from everything kept in one sector.
#[test]
fn a_counterexample_is_small() {
    let toy = recovering(SECTORS, |disk| async move {
        let wrong = !disk.is_kept(17).await? && disk.is_kept(42).await?;
        Ok(wrong.then_some(5))
    });
    let result = explored(toy, &clients([WRITE_ALL]));
    let violation = violated(&result, Invariant::DOldnew);
    let options = only_cut(violation);
    let lost: Vec<usize> = (0..options.len()).filter(|at| options[*at] == 0).collect();
    assert_eq!((options.len(), lost), (60, vec![17]));
    assert!(violation.message.starts_with("guest sector 5 reads as unknown content"));
}

/// The other extreme is nearer: only one sector is kept, not ten lost.
#[test]
fn a_counterexample_may_be_near_everything_lost() {
    let toy = recovering(SECTORS, |disk| async move {
        for sector in 0..10 {
            if disk.is_kept(sector).await? {
                return Ok(None);
            }
        }
        Ok(disk.is_kept(33).await?.then_some(59))
    });
    let result = explored(toy, &clients([WRITE_ALL]));
    let options = only_cut(violated(&result, Invariant::DOldnew));
    let kept: Vec<usize> = (0..options.len()).filter(|at| options[*at] == 1).collect();
    assert_eq!(kept, [33]);
}
