//! Whether some bytes are the start of an FVD image.

use super::header::MAGIC;

/// Whether an image that starts with `bytes` is FVD version 1 or a later version of it.
///
/// For callers that inspect a file by request. Nothing in the engine guesses a format: what a
/// guest writes could otherwise decide how its disk is read.
#[must_use]
pub fn probe(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC.to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_magic_counts() {
        let cases: [(&[u8], bool); 4] = [
            (&[0xA9, 0xF5, 0x43, 0x51, 9], true),
            (&[0xA9, 0xF5, 0x43], false),
            (b"FVD\0", false),
            (b"", false),
        ];
        for (bytes, expected) in cases {
            assert_eq!(probe(bytes), expected, "{bytes:02X?}");
        }
    }
}
