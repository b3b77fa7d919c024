//! Options of a new FVD image, as the command line has them.

use plugpull_engine::fvd::create::{CompactOptions, CreateOptions, JournalSize};

use super::layout::first_given;
use super::size::size;

/// How storage is laid out.
#[derive(clap::Args, Debug, Clone, Default)]
pub(super) struct FvdLayout {
    /// Allocate space on demand, in chunks
    #[arg(long)]
    compact: bool,
    /// Bytes per chunk, rounded up to 4096 [default: 1 MiB]; implies --compact
    #[arg(long, value_name = "SIZE", value_parser = size)]
    chunk: Option<u64>,
    /// Bytes by which the storage grows [default: 100 MiB]; implies --compact
    #[arg(long, value_name = "SIZE", value_parser = size)]
    grow_unit: Option<u64>,
    /// Bytes of the journal, or `none` [default: 16 MiB]
    #[arg(long, value_name = "SIZE", value_parser = journal)]
    journal: Option<JournalSize>,
    /// A command to store in the image; plugpull never runs it
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    add_storage_cmd: String,
}

impl FvdLayout {
    /// Options of an image of `virtual_size` bytes without base and data file.
    pub(super) fn options(&self, virtual_size: u64) -> CreateOptions {
        let compact = self.compact || self.chunk.is_some() || self.grow_unit.is_some();
        CreateOptions {
            virtual_size,
            compact: compact.then_some(CompactOptions {
                chunk_size: self.chunk,
                storage_grow_unit: self.grow_unit,
            }),
            journal_size: self.journal.unwrap_or_default(),
            add_storage_cmd: self.add_storage_cmd.clone(),
            ..CreateOptions::default()
        }
    }

    /// The first of these options that is given.
    pub(super) fn given(&self) -> Option<&'static str> {
        first_given(&[
            ("--compact", self.compact),
            ("--chunk", self.chunk.is_some()),
            ("--grow-unit", self.grow_unit.is_some()),
            ("--journal", self.journal.is_some()),
            ("--add-storage-cmd", !self.add_storage_cmd.is_empty()),
        ])
    }
}

fn journal(text: &str) -> Result<JournalSize, String> {
    match text {
        "none" => Ok(JournalSize::None),
        text => size(text).map(JournalSize::Bytes),
    }
}
