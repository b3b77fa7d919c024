//! What one image is like.

use plugpull_engine::qcow2::create::{BackingOptions, CreateOptions, DataFileOptions};
use plugpull_engine::qcow2::header::Compression;

use super::ops::repeated;
use crate::world::Numbers;

/// The image's name, in its folder.
pub(super) const IMAGE: &str = "image.qcow2";
/// The base's name.
pub(super) const BASE: &str = "base.raw";
/// The data file's name.
pub(super) const DATA: &str = "data.raw";

/// What one image is like, and how our engine opens it.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) version: u32,
    pub(super) cluster_len: u64,
    pub(super) refcount_bits: u64,
    pub(super) virtual_size: u64,
    pub(super) base_len: Option<u64>,
    pub(super) extended_l2: bool,
    /// Whether there is a data file, and whether it is raw.
    pub(super) data_file: Option<bool>,
    pub(super) lazy_refcounts: bool,
    pub(super) zstd: bool,
    /// Whether our image was made by QEMU, too.
    pub(super) made_by_qemu: bool,
    pub(super) slice_len: u64,
    pub(super) slices_max: usize,
    pub(super) discards: bool,
}

impl Case {
    /// A small image of version 3 without anything special.
    pub(super) fn plain() -> Self {
        Self {
            version: 3,
            cluster_len: 65536,
            refcount_bits: 16,
            virtual_size: 4 << 20,
            base_len: None,
            extended_l2: false,
            data_file: None,
            lazy_refcounts: false,
            zstd: false,
            made_by_qemu: false,
            slice_len: 4096,
            slices_max: 4096,
            discards: false,
        }
    }

    pub(super) fn draw(numbers: &mut Numbers) -> Self {
        let pick = |numbers: &mut Numbers, values: &[u64]| values[numbers.index(values.len())];
        let cluster_len = pick(numbers, &[512, 512, 4096, 4096, 65536, 65536, 2 << 20]);
        let version = if numbers.one_in(4) { 2 } else { 3 };
        let new = version == 3;
        let clusters = if cluster_len == 2 << 20 { 4 } else { 96 };
        let sectors = cluster_len / 512 * (1 + numbers.below(clusters));
        // Not always whole clusters.
        let cut = if numbers.one_in(3) { numbers.below(cluster_len / 512) } else { 0 };
        let virtual_size = (sectors - cut).max(1) * 512;
        let base_sectors = 1 + numbers.below(sectors * 5 / 4);
        let odd = if numbers.one_in(4) { numbers.below(511) } else { 0 };
        let base_len = numbers.one_in(2).then_some(base_sectors * 512 + odd);
        let data_file = (new && numbers.one_in(6)).then(|| base_len.is_none() && numbers.one_in(2));
        Self {
            version,
            cluster_len,
            refcount_bits: match numbers.below(4) {
                0 if new => 1,
                1 if new => 64,
                _ => 16,
            },
            virtual_size,
            base_len,
            extended_l2: new && cluster_len >= 16384 && numbers.one_in(3),
            data_file,
            lazy_refcounts: new && numbers.one_in(5),
            zstd: new && numbers.one_in(4),
            made_by_qemu: numbers.one_in(3),
            slice_len: pick(numbers, &[512, 4096, 65536]),
            slices_max: numbers.index(4) * 5 + 1,
            discards: numbers.one_in(2),
        }
    }

    pub(super) fn can_snapshot(&self) -> bool {
        self.refcount_bits > 1 && self.data_file.is_none()
    }

    pub(super) fn can_compress(&self) -> bool {
        self.data_file.is_none() && (!self.is_compressed_or_resized() || !self.discards)
    }

    pub(super) fn can_resize(&self) -> bool {
        !self.is_compressed_or_resized() || self.discards
    }

    /// Whether only one of both happens to the image. QEMU 10.0 does not let it grow over a base when
    /// the disk ends inside a compressed cluster: it cannot zero some of its subclusters.
    fn is_compressed_or_resized(&self) -> bool {
        self.extended_l2 && self.base_len.is_some()
    }

    /// Whether a discarded cluster reads as zeros: version 2 cannot say so above a base.
    pub(super) fn discard_zeroes(&self) -> bool {
        self.version >= 3 || self.base_len.is_none()
    }

    /// What the guest sees of the base when the image is new.
    pub(super) fn base(&self) -> Vec<u8> {
        let len = self.base_len.map_or(0, index);
        // Repeats after a prime number of bytes: no two sectors or clusters hold the same.
        let byte = |at| u8::try_from(at / 512 % 199 + at % 53).expect("a byte") | 1;
        repeated(&(0..100_003).map(byte).collect::<Vec<u8>>(), len)
    }

    pub(super) fn options(&self) -> CreateOptions {
        let base = BackingOptions { name: BASE.into(), format: Some("raw".into()) };
        CreateOptions {
            virtual_size: self.virtual_size,
            version: self.version,
            cluster_len: self.cluster_len,
            refcount_bits: self.refcount_bits,
            backing: self.base_len.map(|_| base),
            lazy_refcounts: self.lazy_refcounts,
            compression: if self.zstd { Compression::Zstd } else { Compression::Deflate },
            extended_l2: self.extended_l2,
            data_file: self.data_file.map(|raw| DataFileOptions { name: DATA.into(), raw }),
            bitmaps: Vec::new(),
        }
    }

    /// The same for `qemu-img create`, without the program's and the file's name.
    pub(super) fn qemu_options(&self) -> Vec<String> {
        let mut options = vec![
            format!("compat={}", if self.version == 2 { "0.10" } else { "1.1" }),
            format!("cluster_size={}", self.cluster_len),
            format!("refcount_bits={}", self.refcount_bits),
        ];
        let mut set = |option: &str, given: bool| options.extend(given.then(|| option.to_owned()));
        set("lazy_refcounts=on", self.lazy_refcounts);
        set("extended_l2=on", self.extended_l2);
        set("compression_type=zstd", self.zstd);
        set("data_file=data.raw", self.data_file.is_some());
        set("data_file_raw=on", self.data_file == Some(true));
        let mut words = vec!["-o".to_owned(), options.join(",")];
        if self.base_len.is_some() {
            words.extend(["-b", BASE, "-F", "raw"].map(str::to_owned));
        }
        words
    }
}

/// A size that fits in memory.
pub(super) fn index(len: u64) -> usize {
    usize::try_from(len).expect("a small image")
}
