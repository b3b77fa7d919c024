//! `plugpull image`: the engine on real files.
//!
//! Trust: a file that the user names is opened, and looked at to find out its format unless that is
//! said. A file that an image names is opened only with consent, and never looked at, except to refuse
//! a base whose format nobody says and that does not look raw. Nothing that an image says is ever
//! executed.

mod check;
mod compare;
mod convert;
mod copy;
mod create;
mod discard;
mod error;
mod extent;
mod format;
mod fvd_info;
mod fvd_options;
mod guest;
mod info;
mod layout;
mod map;
mod new_file;
mod open;
mod progress;
mod qcow2_info;
mod qcow2_options;
mod read;
mod resize;
mod resolver;
mod size;
mod snapshot;
mod unopened;
mod write;

use plugpull_engine::LocalRuntime;

use crate::failure::Failure;

#[derive(clap::Subcommand)]
pub(crate) enum Verb {
    /// Make an image
    Create(create::Args),
    /// Tell what an image says about itself
    Info(info::Args),
    /// Look for broken rules; exit code 1 if there are any
    Check(check::Args),
    /// Tell where each part of the guest's disk lives
    Map(map::Args),
    /// Read from the guest's disk
    Read(read::Args),
    /// Write to the guest's disk
    Write(write::Args),
    /// Give up a part of the guest's disk: what it reads as afterwards is up to the format
    Discard(discard::DiscardArgs),
    /// Make a part of the guest's disk zero
    WriteZeroes(discard::ZeroArgs),
    /// Change the size of the guest's disk
    Resize(resize::Args),
    /// List, create, apply and delete the snapshots inside a qcow2 image
    #[command(subcommand)]
    Snapshot(snapshot::Verb),
    /// Copy an image into a new one, perhaps of another format
    Convert(convert::Args),
    /// Find the first difference between two images; exit code 1 if there is one
    Compare(compare::Args),
}

/// Runs one verb on a runtime of its own.
pub(crate) fn run(verb: Verb) -> Result<u8, Failure> {
    // No verb starts background work that flips coins.
    let runtime = LocalRuntime::new(0);
    runtime.block_on(async {
        match verb {
            Verb::Create(args) => create::run(args, &runtime).await,
            Verb::Info(args) => info::run(args).await,
            Verb::Check(args) => check::run(args).await,
            Verb::Map(args) => map::run(args, &runtime).await,
            Verb::Read(args) => read::run(args, &runtime).await,
            Verb::Write(args) => write::run(args, &runtime).await,
            Verb::Discard(args) => discard::discard(args, &runtime).await,
            Verb::WriteZeroes(args) => discard::write_zeroes(args, &runtime).await,
            Verb::Resize(args) => resize::run(args, &runtime).await,
            Verb::Snapshot(verb) => snapshot::run(verb, &runtime).await,
            Verb::Convert(args) => convert::run(args, &runtime).await,
            Verb::Compare(args) => compare::run(args, &runtime).await,
        }
    })
}
