//! `plugpull image write`.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use plugpull_engine::Access;
use plugpull_engine::LocalRuntime;

use super::error::file_error;
use super::guest::Guest;
use super::open::Source;
use super::resolver::{Consent, Instead};
use super::size::{PIECE, size};
use crate::failure::Failure;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(flatten)]
    source: Source,
    /// First byte
    #[arg(value_parser = size)]
    offset: u64,
    /// The bytes to write [default: standard input]
    input: Option<PathBuf>,
    #[command(flatten)]
    consent: Consent,
    #[command(flatten)]
    instead: Instead,
}

pub(super) async fn run(args: Args, runtime: &LocalRuntime) -> Result<u8, Failure> {
    let input_name = args.input.clone().unwrap_or_else(|| PathBuf::from("standard input"));
    let mut input: Box<dyn Read> = match &args.input {
        None => Box::new(io::stdin().lock()),
        Some(path) => Box::new(File::open(path).map_err(|error| file_error(path, error))?),
    };
    let guest = args.source.open(Access::ReadWrite, &args.consent, &args.instead, runtime).await?;
    if let Some(len) = known_len(args.input.as_deref())
        && args.offset.checked_add(len).is_none_or(|end| end > guest.len())
    {
        // Nothing is written if it is known that not everything fits.
        let refused = does_not_fit(&guest);
        return guest.close().await.and(Err(refused));
    }
    let mut at = args.offset;
    let written = loop {
        let mut piece = Vec::new();
        let read = input.by_ref().take(PIECE - at % PIECE).read_to_end(&mut piece);
        if let Err(error) = read {
            break Err(file_error(&input_name, error));
        }
        if piece.is_empty() {
            break Ok(());
        }
        let end = at.checked_add(piece.len() as u64).filter(|&end| end <= guest.len());
        let Some(end) = end else {
            break Err(does_not_fit(&guest));
        };
        if let Err(failure) = guest.write(at, piece).await {
            break Err(failure);
        }
        at = end;
    };
    // Also after an error: what was written is the guest's, and the image is left closed.
    let closed = guest.close().await;
    written.and(closed).map(|()| 0)
}

/// The length of the input, if it is an ordinary file.
fn known_len(input: Option<&Path>) -> Option<u64> {
    let found = fs::metadata(input?).ok()?;
    found.is_file().then_some(found.len())
}

fn does_not_fit(guest: &Guest) -> Failure {
    let message = format!("the data does not end inside the disk of {} bytes", guest.len());
    file_error(&guest.file, message)
}
