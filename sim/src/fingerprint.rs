//! What a fingerprint is made of: a few words and keys, hashed together.
//!
//! A fingerprint stands for a state in a search that visits every state once. Equal ones mean that
//! nothing that happens later can tell the states apart, up to a hash collision (128 bits). What
//! has no order is added up, never combined by exclusive or: two equal parts must not cancel.

use xxhash_rust::xxh3::xxh3_128;

/// Gathers parts, on the stack.
#[derive(Debug, Clone)]
pub(crate) struct Parts {
    bytes: [u8; Self::ROOM],
    len: usize,
}

impl Parts {
    /// Enough for a tag and fifteen words.
    const ROOM: usize = 128;

    /// Nothing yet; the tag, of at most eight bytes, says what the parts mean.
    pub(crate) fn of(tag: &str) -> Self {
        let mut bytes = [0; Self::ROOM];
        bytes[..tag.len()].copy_from_slice(tag.as_bytes());
        assert!(tag.len() <= 8, "tag {tag} is too long");
        Self { bytes, len: 8 }
    }

    /// With one more number.
    #[must_use]
    pub(crate) fn word(self, word: u64) -> Self {
        self.push(&word.to_le_bytes())
    }

    /// With one more number of items.
    #[must_use]
    pub(crate) fn count(self, count: usize) -> Self {
        self.word(count as u64)
    }

    /// With one more key or fingerprint.
    #[must_use]
    pub(crate) fn key(self, key: u128) -> Self {
        self.push(&key.to_le_bytes())
    }

    /// With the hash of some bytes.
    #[must_use]
    pub(crate) fn content(self, bytes: &[u8]) -> Self {
        self.key(xxh3_128(bytes))
    }

    /// The hash of all of it.
    #[must_use]
    pub(crate) fn end(self) -> u128 {
        xxh3_128(&self.bytes[..self.len])
    }

    fn push(mut self, part: &[u8]) -> Self {
        self.bytes[self.len..self.len + part.len()].copy_from_slice(part);
        self.len += part.len();
        self
    }
}

/// The sum of fingerprints: of what has no order.
pub(crate) fn sum(parts: impl Iterator<Item = u128>) -> u128 {
    parts.fold(0, u128::wrapping_add)
}
