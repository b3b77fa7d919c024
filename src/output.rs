//! Standard output and standard error. Colours go to terminals only.

use std::io::Write;

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

/// Writes an error message to standard error, after the program's name unless it has a heading of
/// its own.
pub(crate) fn complain(message: &str) {
    let heading = if message.contains("error:") || message.contains("error\u{1b}") {
        ""
    } else {
        "plugpull: "
    };
    drop(writeln!(anstream::stderr().lock(), "{heading}{message}"));
}
