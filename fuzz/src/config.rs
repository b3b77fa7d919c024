//! The kinds of image that targets work on.

use arbitrary::{Arbitrary, Result, Unstructured};
use plugpull_engine::fvd::create::{BaseOptions, CompactOptions, CreateOptions, JournalSize};

/// A small image: few enough bytes that any offset is interesting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Config {
    /// Bytes that the guest sees, in sectors of 512.
    pub sectors: u64,
    /// Bytes per chunk, if the image is compact.
    pub chunk: Option<u64>,
    /// Length of the base in sectors and bytes per block, if there is a base.
    pub base: Option<(u64, u64)>,
    /// Whether there is a journal.
    pub journal: bool,
    /// Whether the data is in a file of its own.
    pub data_file: bool,
}

/// Sizes that do not divide one another are where the original went wrong.
const SECTORS: [u64; 4] = [16, 63, 96, 130];
const CHUNKS: [u64; 3] = [4096, 8192, 12288];
const BLOCKS: [u64; 4] = [512, 4096, 7680, 16384];

impl<'a> Arbitrary<'a> for Config {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> Result<Self> {
        let sectors = *bytes.choose(&SECTORS)?;
        let chunk = if bytes.arbitrary()? { Some(*bytes.choose(&CHUNKS)?) } else { None };
        let base = if bytes.arbitrary()? {
            Some((bytes.int_in_range(1..=sectors)?, *bytes.choose(&BLOCKS)?))
        } else {
            None
        };
        Ok(Self {
            sectors,
            chunk,
            base,
            journal: bytes.arbitrary()?,
            data_file: bytes.arbitrary()?,
        })
    }
}

impl Config {
    /// Bytes that the guest sees.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.sectors * 512
    }

    /// Whether the guest sees nothing: never.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sectors == 0
    }

    /// The options that create such an image.
    #[must_use]
    pub fn options(&self) -> CreateOptions {
        CreateOptions {
            virtual_size: self.len(),
            base: self.base.map(|(_, block)| BaseOptions {
                block_size: Some(block),
                ..BaseOptions::new("base")
            }),
            data_file: if self.data_file { "data".to_owned() } else { String::new() },
            compact: self.chunk.map(|chunk| CompactOptions {
                chunk_size: Some(chunk),
                storage_grow_unit: Some(chunk),
            }),
            journal_size: if self.journal { JournalSize::Bytes(4096) } else { JournalSize::None },
            ..CreateOptions::default()
        }
    }
}
