//! Scenarios: one claim each, with the system, its disks, the workload, the bounds of the search
//! and the verdict that is expected.
//!
//! These are the plain values that the rest of the crate works with. They are valid by
//! construction of [`Scenario::parse`]: names are known, sizes have the granularity their format
//! asks for, workloads stay inside the virtual disk. The shapes of the text live in `file`, the
//! rules beyond shape in `convert`, the printer in `print`. [`Scenario::to_toml`] is the inverse of
//! parsing: a printed scenario reads back as the same one, and a file in canonical form prints as
//! itself.
//!
//! # The file
//!
//! TOML, version 1. Unknown keys are errors. Sizes are texts such as `"512"`, `"4 KiB"`, `"4K"`;
//! times are `"250us"`, `"100ms"`, `"2s"`. A value that may be left out has its default in brackets;
//! the defaults belong to the version and do not change.
//!
//! | table | key | value |
//! |---|---|---|
//! | | `version` | `1` |
//! | | `claim` | a sentence |
//! | `[system]` | `kind` | `"fvd"` or `"qcow2"` |
//! | | `size` | bytes that the guest sees |
//! | `[system]`, FVD | `compact`, `chunk`, `grow_unit` | chunks on demand: `chunk` a multiple of 4096 (without it the image is flat), `grow_unit` \[`chunk`\]; `compact` may repeat whether there are chunks |
//! | | `base` | \[`"none"`\], `"pattern"` (as long as the disk) or `{ len = SIZE, holes = ["OFFSET LEN"] }` |
//! | | `block` | bytes per bit, with a base |
//! | | `copy_on_read`, `max_copy_on_read` | \[`false`\], \[2000000\] |
//! | | `prefetch` | `{ start_delay = "1s", slots = 2, bytes = "1 MiB", throttle = { read_measure, write_measure, alpha, min_read, min_write, pause } }`; off without it |
//! | | `detect_holes` | window; only with a base and without chunks |
//! | | `journal` | `"none"` or a multiple of 4096; has to be said where there are maps |
//! | `[system]`, qcow2 | `version` | \[3\] or 2 |
//! | | `cluster` | bytes, a power of two from 512 to 2 MiB |
//! | | `refcount_bits` | \[16\], a power of two up to 64 |
//! | | `backing` | as `base` |
//! | | `lazy_refcounts`, `extended_l2`, `discards` | \[`false`\] |
//! | | `compression` | \[`"deflate"`\] or `"zstd"` |
//! | | `bitmap` | bytes per bit of a persistent dirty bitmap, a power of two from 512 to 64 MiB; none without it |
//! | | `slice`, `cache` | bytes of a table kept as one \[512\], how many are kept \[4096\] |
//! | `[system]` | `data_file` | \[`false`\] |
//! | | `storage` | \[`"zero"`\] or `"old-content"` |
//! | | `access` | of the clients: \[`"read-write"`\] or `"read-only"` |
//! | | `setup` | operations before exploration starts |
//! | | `damaged` | \[`false`\]: whether the set-up damages the image, so that it may be refused |
//! | | `planted` | ids of [`Bug`](plugpull_engine::fvd::planted::Bug), or of [those of qcow2](plugpull_engine::qcow2::planted::Bug) |
//! | `[disks.NAME]` | `model`, `sector`, `tear`, `discard`, `failed_flush`, `resizable`, `latency` | as [`DiskSpec`] |
//! | `[[client]]` | `ops`, `repeat` | a concurrent client; \[1\] |
//! | `[[after]]` | `ops` | a session after a power cut |
//! | `[explore]` | `schedules` | `"exhaustive"`, `"fifo"` or `{ random = COUNT, seed = SEED }` |
//! | | `ready` | \[`"any"`\] or `"macro-step"` |
//! | | `crashes` | \[`"exact"`\], `"none"` or `{ sampled = COUNT, seed = SEED }` |
//! | | `recovery_crashes`, `paths_max`, `unreadable`, `cancel` | \[0\], \[65536\], \[0\], \[0\] |
//! | | `faults` | `{ errors = COUNT, kinds = ["read", ...], error = ["eio", "enospc"], permanent = false, disks = [...] }` |
//! | `[[explore.fault]]` | `disk`, then `bad_sector`, or `on`, `nth`, `permanent` and one of `fail`, `corrupt`, `misdirect` | without `nth` any request of the kind, under the budget of `faults` |
//! | `[expect]` | `verdict` | `"holds"`, `"violated"` or `"incomplete"` |
//! | | `invariant` | with `"violated"` |
//! | | `reach` | names of events that must have happened |
//! | `[replay]` | | written by the program: the way to a violation, as [`Replay`] |
//!
//! Operations are those of [`workload`](crate::workload).
//!
//! # Example
//!
//! ```
//! let text = r#"version = 1
//! claim = "A flushed write survives any power cut."
//!
//! [system]
//! kind = "fvd"
//! size = "64 KiB"
//! chunk = "4 KiB"
//! base = "pattern"
//! block = "4 KiB"
//! journal = "4 KiB"
//! setup = ["write 0 64K", "flush"]
//!
//! [disks.image]
//! model = "writeback"
//! sector = 512
//!
//! [disks.base]
//! model = "writeback"
//! sector = 512
//!
//! [[client]]
//! ops = ["write 0 4K", "flush"]
//!
//! [explore]
//! schedules = "exhaustive"
//! crashes = "exact"
//! recovery_crashes = 1
//!
//! [expect]
//! verdict = "holds"
//! reach = ["journal-written"]
//! "#;
//! let scenario = plugpull_sim::scenario::Scenario::parse("example.toml", text).unwrap();
//! assert_eq!(scenario.to_toml(), text);
//! ```

mod convert;
mod disks;
mod error;
mod expect;
mod explore;
mod file;
mod print;
mod replay;
pub mod size;
mod system;

pub use disks::{AnyFault, Faults, PlacedFault, PlacedFaultKind};
pub use error::FileError;
pub use expect::{Expect, Expected};
pub use explore::{Client, Crashes, Draw, Explore, Reduction, Schedules};
pub use replay::{DiskLeft, Left, PowerCut, Replay};
pub use system::{
    Access, BaseSpec, CompactSpec, FvdSpec, PatternSpec, PrefetchSpec, Qcow2Spec, StorageContent,
    SystemSpec, ThrottleSpec,
};

use crate::disk::DiskSpec;
use crate::verdict::Violation;
use crate::workload::GuestOp;

/// A scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scenario {
    /// What is claimed, one sentence.
    pub claim: String,
    /// The thing under test.
    pub system: SystemSpec,
    /// The disks of the system, in its order: for FVD `image`, then `data` if the data is in a
    /// file of its own, then `base` if there is a base; for qcow2 the last is called `backing`.
    pub disks: Vec<DiskSpec>,
    /// The concurrent clients of the explored session.
    pub clients: Vec<Client>,
    /// Sessions that follow a power cut, one after the other: the requests of one client each.
    pub after: Vec<Vec<GuestOp>>,
    /// The bounds of the search.
    pub explore: Explore,
    /// What must come out.
    pub expect: Expect,
    /// If this is a counterexample: how to get there.
    pub replay: Option<Replay>,
}

impl Scenario {
    /// The scenario that replays a violation that was found in this one.
    #[must_use]
    pub fn counterexample(&self, violation: &Violation) -> Self {
        let explore = Explore { ready: violation.ready, ..self.explore.clone() };
        Self { explore, replay: Some(violation.replay.clone()), ..self.clone() }
    }

    /// What may fail on the disk called `name`.
    #[must_use]
    pub fn fault_plan(&self, name: &str) -> crate::disk::FaultPlan {
        self.explore.faults.plan(name)
    }
}
