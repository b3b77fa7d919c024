//! Whether some bytes are the start of a qcow2 image.

use super::header::MAGIC;

/// Whether an image that starts with `bytes` is qcow2, of whatever version.
///
/// For callers that inspect a file by request. Nothing in the engine guesses a format: what a
/// guest writes could otherwise decide how its disk is read.
#[must_use]
pub fn probe(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_magic_counts() {
        let cases: [(&[u8], bool); 4] =
            [(b"QFI\xfb\0", true), (b"QFI", false), (b"QFI\xfa", false), (b"", false)];
        for (bytes, expected) in cases {
            assert_eq!(probe(bytes), expected, "{bytes:02X?}");
        }
    }
}
