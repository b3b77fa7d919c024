//! The formats of images: their names, and how a file shows which one it has.

use plugpull_engine::{fvd, qcow2};

/// The format of a file.
#[derive(clap::ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// The guest's bytes as they are
    Raw,
    /// FVD, version 1
    Fvd,
    /// qcow2, versions 2 and 3
    Qcow2,
}

/// How many bytes [`Format::probe`] looks at.
pub(super) const PROBE_LEN: usize = 16;

impl Format {
    /// What a file is that starts with `bytes`.
    pub(super) fn probe(bytes: &[u8]) -> Self {
        if fvd::probe::probe(bytes) {
            Self::Fvd
        } else if qcow2::probe::probe(bytes) {
            Self::Qcow2
        } else {
            Self::Raw
        }
    }

    /// The format that an image means by `name`, if it is one of these.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "raw" => Some(Self::Raw),
            "fvd" | "fvd1" => Some(Self::Fvd),
            "qcow2" => Some(Self::Qcow2),
            _ => None,
        }
    }

    /// Its name, in images and for people.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Fvd => "fvd",
            Self::Qcow2 => "qcow2",
        }
    }
}
