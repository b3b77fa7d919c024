//! Options of a new qcow2 image, as the command line has them.

use plugpull_engine::qcow2::create::CreateOptions;
use plugpull_engine::qcow2::header;

use super::layout::first_given;
use super::size::size;

/// How storage is laid out. What is not given is as `qemu-img create` has it.
#[derive(clap::Args, Debug, Clone, Default)]
pub(super) struct Qcow2Layout {
    /// Bytes per cluster, a power of two from 512 to 2 MiB [default: 64 KiB]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    cluster: Option<u64>,
    /// Bits per refcount: 1, 2, 4, 8, 16, 32 or 64 [default: 16]
    #[arg(long, value_name = "N")]
    refcount_bits: Option<u64>,
    /// The version of the format: 2 or 3 [default: 3]
    #[arg(long, value_name = "N")]
    qcow2_version: Option<u32>,
    /// Let refcounts be behind while the image is in use; opening repairs them after a power cut
    #[arg(long)]
    lazy_refcounts: bool,
    /// How clusters are compressed that are compressed [default: deflate]
    #[arg(long)]
    compression: Option<Compression>,
    /// Allocate in 32nds of a cluster
    #[arg(long)]
    extended_l2: bool,
}

/// How clusters are compressed.
#[derive(clap::ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum Compression {
    /// As always: what QEMU calls zlib
    #[value(alias = "zlib")]
    Deflate,
    /// Faster; needs QEMU 5.1
    Zstd,
}

impl Qcow2Layout {
    /// Options of an image of `virtual_size` bytes without base and data file.
    pub(super) fn options(&self, virtual_size: u64) -> CreateOptions {
        let mut options = CreateOptions { virtual_size, ..CreateOptions::default() };
        options.cluster_len = self.cluster.unwrap_or(options.cluster_len);
        options.refcount_bits = self.refcount_bits.unwrap_or(options.refcount_bits);
        options.version = self.qcow2_version.unwrap_or(options.version);
        options.lazy_refcounts = self.lazy_refcounts;
        options.extended_l2 = self.extended_l2;
        match self.compression {
            None => {}
            Some(Compression::Deflate) => options.compression = header::Compression::Deflate,
            Some(Compression::Zstd) => options.compression = header::Compression::Zstd,
        }
        options
    }

    /// The first of these options that is given.
    pub(super) fn given(&self) -> Option<&'static str> {
        first_given(&[
            ("--cluster", self.cluster.is_some()),
            ("--refcount-bits", self.refcount_bits.is_some()),
            ("--qcow2-version", self.qcow2_version.is_some()),
            ("--lazy-refcounts", self.lazy_refcounts),
            ("--compression", self.compression.is_some()),
            ("--extended-l2", self.extended_l2),
        ])
    }
}
