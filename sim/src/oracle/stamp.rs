//! Content that tells where it came from: every sector a workload writes carries its own address
//! and the serial number of the write, so that whatever is read later can be traced.
//!
//! ```text
//! offset  bytes  content
//! 0       8      kind: b"PPwrite\0", b"PPbase\0\0", b"PPold\0\0\0" or b"PPnone\0\0"
//! 8       8      address, in sectors, little-endian
//! 16      8      serial number, little-endian (0 for all but writes)
//! 24      488    61 words mixed from the three, so that a torn or shifted sector matches nothing
//! ```
//!
//! What is to be compressed has the kind b"PPpack\0\0" and the first of these words in the place of
//! all, because nobody can make the others smaller.

/// Bytes in a guest sector.
pub const SECTOR_LEN: usize = 512;

/// The content of one guest sector.
pub type Sector = [u8; SECTOR_LEN];

/// Who wrote a sector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A guest write.
    Write {
        /// The sector it was written to.
        sector: u64,
        /// Which write.
        serial: u64,
    },
    /// The base image.
    Base {
        /// Its place there.
        sector: u64,
    },
    /// What lay on the storage before the image was created.
    Old {
        /// Its place there.
        sector: u64,
    },
    /// Nobody: there is no such sector, because the disk ends before it or the snapshot does not
    /// exist. Never stored; what a device shows in its place.
    Nothing {
        /// The place where there is nothing.
        sector: u64,
    },
}

impl Origin {
    fn words(self) -> [u64; 3] {
        let kind = |name: &[u8; 8]| u64::from_le_bytes(*name);
        match self {
            Self::Write { sector, serial } => [kind(b"PPwrite\0"), sector, serial],
            Self::Base { sector } => [kind(b"PPbase\0\0"), sector, 0],
            Self::Old { sector } => [kind(b"PPold\0\0\0"), sector, 0],
            Self::Nothing { sector } => [kind(b"PPnone\0\0"), sector, 0],
        }
    }

    /// The sector's content.
    #[must_use]
    pub fn content(self) -> Sector {
        filled(self.words(), mixed)
    }

    /// The origin of `content`, if it [is](Origin::is) exactly that.
    #[must_use]
    pub fn of(content: &Sector) -> Option<Self> {
        let word = |at: usize| {
            let bytes = content[at..at + 8].try_into().expect("eight bytes");
            u64::from_le_bytes(bytes)
        };
        let (sector, serial) = (word(8), word(16));
        let origin = match &content[..8] {
            b"PPwrite\0" | b"PPpack\0\0" => Self::Write { sector, serial },
            b"PPbase\0\0" => Self::Base { sector },
            b"PPold\0\0\0" => Self::Old { sector },
            b"PPnone\0\0" => Self::Nothing { sector },
            _ => return None,
        };
        origin.is(content).then_some(origin)
    }

    /// Whether `content` is what [`Origin::content`] gives for this origin, or of a write what
    /// [`packed_content`] does.
    #[must_use]
    pub fn is(self, content: &Sector) -> bool {
        if let (Self::Write { sector, serial }, Some(PACKED)) = (self, content.first_chunk()) {
            return packed(sector, serial) == *content;
        }
        // Nearly everything that is something else says so in its first words.
        let claims = |(index, word): (usize, u64)| content[index * 8..][..8] == word.to_le_bytes();
        (0..).zip(self.words()).all(claims) && self.content() == *content
    }
}

/// The kind of sectors that are to be compressed.
const PACKED: &[u8; 8] = b"PPpack\0\0";

/// The three words of a stamp, and what `next` makes of them and of what it has made before.
fn filled(words: [u64; 3], next: impl Fn(u64) -> u64) -> Sector {
    let mut bytes = [0; SECTOR_LEN];
    let mut state = words[0] ^ words[1].rotate_left(20) ^ words[2].rotate_left(40);
    for (index, part) in bytes.chunks_exact_mut(8).enumerate() {
        let word = words.get(index).copied().unwrap_or_else(|| {
            state = next(state);
            state
        });
        part.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

fn mixed(state: u64) -> u64 {
    state.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x1234_5677)
}

fn packed(sector: u64, serial: u64) -> Sector {
    filled([u64::from_le_bytes(*PACKED), sector, serial], |state| state)
}

/// The same as [`write_content`], for a write that is to be compressed.
#[must_use]
pub fn packed_content(first: u64, sectors: u64, serial: u64) -> Vec<u8> {
    (first..first + sectors).flat_map(|sector| packed(sector, serial)).collect()
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Write { sector, serial } => {
                write!(f, "{} at sector {sector}", WriteName(*serial))
            }
            Self::Base { sector } => write!(f, "base image sector {sector}"),
            Self::Old { sector } => write!(f, "old storage content of sector {sector}"),
            Self::Nothing { .. } => f.write_str("nothing"),
        }
    }
}

/// Reads a serial number back: session, client and operation, as [`serial`] packed them.
struct WriteName(u64);

impl std::fmt::Display for WriteName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (session, client, op) = (self.0 >> 48, self.0 >> 32 & 0xffff, self.0 & 0xffff_ffff);
        match session {
            0 => write!(f, "setup write {op}"),
            1 => write!(f, "write c{client}.{op}"),
            later => write!(f, "write s{later}.c{client}.{op}"),
        }
    }
}

/// The serial number of operation `op` of `client` in `session` (0 is the setup, 1 the workload,
/// 2 and up the sessions after a power cut).
///
/// # Panics
/// If a number does not fit its field: 16, 16 and 32 bits.
#[must_use]
pub fn serial(session: u64, client: u64, op: u64) -> u64 {
    assert!(session < 1 << 16 && client < 1 << 16 && op < 1 << 32, "serial number too large");
    session << 48 | client << 32 | op
}

/// The content of a guest write of `sectors` sectors from `first` on.
#[must_use]
pub fn write_content(first: u64, sectors: u64, serial: u64) -> Vec<u8> {
    (first..first + sectors).flat_map(|sector| Origin::Write { sector, serial }.content()).collect()
}

/// The guest sectors that `bytes`, read at `offset`, are the content of.
#[must_use]
pub fn sectors_of(offset: u64, bytes: &[u8]) -> std::ops::Range<u64> {
    let first = offset / SECTOR_LEN as u64;
    first..first + (bytes.len() / SECTOR_LEN) as u64
}

/// What a person should be told about a sector's content.
#[must_use]
pub fn describe(content: &Sector) -> String {
    if let Some(origin) = Origin::of(content) {
        return origin.to_string();
    }
    if content.iter().all(|&byte| byte == 0) {
        return "zeros".to_owned();
    }
    let start: Vec<String> = content[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("unknown content starting {}", start.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_tells_where_it_came_from() {
        for origin in [
            Origin::Write { sector: 17, serial: serial(1, 2, 3) },
            Origin::Base { sector: 0 },
            Origin::Old { sector: 9 },
            Origin::Nothing { sector: 5 },
        ] {
            assert_eq!(Origin::of(&origin.content()), Some(origin));
        }
        assert_eq!(
            Origin::Write { sector: 17, serial: serial(1, 2, 3) }.to_string(),
            "write c2.3 at sector 17"
        );
    }

    #[test]
    fn what_is_to_be_compressed_is_a_write_like_any_other() {
        let content = packed_content(17, 1, 5);
        let content: Sector = content.try_into().unwrap();
        assert_eq!(Origin::of(&content), Some(Origin::Write { sector: 17, serial: 5 }));
        assert!(!Origin::Write { sector: 17, serial: 6 }.is(&content));
        assert!(!Origin::Write { sector: 18, serial: 5 }.is(&content));
        let mut torn = content;
        torn[256..].copy_from_slice(&packed(18, 5)[256..]);
        assert_eq!(Origin::of(&torn), None);
    }

    #[test]
    fn a_torn_sector_has_no_origin() {
        let mut content = Origin::Write { sector: 1, serial: 1 }.content();
        let other = Origin::Write { sector: 1, serial: 2 }.content();
        content[256..].copy_from_slice(&other[256..]);
        assert_eq!(Origin::of(&content), None);
        assert_eq!(Origin::of(&[0; SECTOR_LEN]), None);
        assert_eq!(describe(&[0; SECTOR_LEN]), "zeros");
    }
}
