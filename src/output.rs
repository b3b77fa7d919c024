//! Standard output and standard error. Colours go to terminals only.

use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicI32, Ordering};

use crate::failure::Failure;

/// The host's number of what went wrong with standard output, 0 for nothing. There is one standard
/// output, and nothing can be done about it where it is written: [`check`] tells at the end.
static FAILED: AtomicI32 = AtomicI32::new(0);
/// Stands for errors that have no number.
const EIO: i32 = 5;

/// Writes text, which may have colours, to standard output. A reader that went away is no error.
pub(crate) fn print(text: &str) {
    let mut out = anstream::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            FAILED.store(error.raw_os_error().unwrap_or(EIO), Ordering::Relaxed);
        }
        _ => {}
    }
}

/// Fails if something was printed and did not arrive.
pub(crate) fn check() -> Result<(), Failure> {
    match FAILED.load(Ordering::Relaxed) {
        0 => Ok(()),
        number => {
            let error = io::Error::from_raw_os_error(number);
            Err(Failure::input(format!("standard output: {error}")))
        }
    }
}

/// What a file says, without control characters: a terminal would obey them.
pub(crate) fn plain(text: &str) -> String {
    let escaped = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.into() };
    text.chars().map(escaped).collect()
}

/// Writes one line to standard output.
pub(crate) fn line(text: &str) {
    print(&format!("{text}\n"));
}

/// Writes bytes as they are to standard output.
pub(crate) fn bytes(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush())
}

/// Tells on standard error why the program failed.
pub(crate) fn complain(failure: &Failure) {
    let message = match failure {
        // It has a heading of its own.
        Failure::Scenario(error) => error.render(true),
        Failure::Input(_) | Failure::Broken(_) => format!("plugpull: {failure}"),
    };
    drop(writeln!(anstream::stderr().lock(), "{message}"));
}
