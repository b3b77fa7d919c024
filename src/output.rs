//! Standard output and standard error. Colours go to terminals only.

use std::io::Write;

use crate::failure::Failure;

/// Writes text, which may have colours, to standard output. A reader that went away is no error.
pub(crate) fn print(text: &str) {
    let mut out = anstream::stdout().lock();
    drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}

/// Writes one line to standard output.
pub(crate) fn line(text: &str) {
    print(&format!("{text}\n"));
}

/// Writes bytes as they are to standard output.
pub(crate) fn bytes(bytes: &[u8]) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
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
