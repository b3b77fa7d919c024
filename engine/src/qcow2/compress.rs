//! Compressed clusters: each is a stream of its own.
//!
//! Deflate streams are raw, with a window of 4 KiB; zstd streams are frames, one when written here.
//! The descriptor in the L2 entry counts whole sectors, so behind a stream may follow anything.
//!
//! # Source
//! qcow2 specification, "Compressed Clusters Descriptor", "compression_type".

use flate2::{Compress, Decompress, FlushCompress, FlushDecompress, Status};

use super::header::Compression;
use crate::error::Error;

/// The window of deflate, as a power of two.
const WINDOW_BITS: u8 = 12;
const ZSTD_LEVEL: i32 = 3;

/// The compressed cluster; none if that is not smaller.
#[must_use]
pub fn compress(compression: Compression, cluster: &[u8]) -> Option<Vec<u8>> {
    let room = cluster.len().checked_sub(1)?;
    match compression {
        Compression::Deflate => deflate(cluster, room),
        Compression::Zstd => {
            let data = zstd::bulk::compress(cluster, ZSTD_LEVEL).ok()?;
            (data.len() <= room).then_some(data)
        }
    }
}

/// The cluster that is compressed in `data`, which may have more behind it.
///
/// # Errors
/// [`Error::Corrupt`] if `data` does not start with a stream of exactly `cluster_len` bytes. No more
/// than that is made of it, whatever it claims.
pub fn decompress(
    compression: Compression,
    data: &[u8],
    cluster_len: usize,
) -> Result<Vec<u8>, Error> {
    let cluster = match compression {
        Compression::Deflate => inflate(data, cluster_len)?,
        Compression::Zstd => unzstd(data, cluster_len)?,
    };
    if cluster.len() != cluster_len {
        return Err(corrupt("the stream holds exactly one cluster", cluster.len()));
    }
    Ok(cluster)
}

fn deflate(cluster: &[u8], room: usize) -> Option<Vec<u8>> {
    let mut stream =
        Compress::new_with_window_bits(flate2::Compression::default(), false, WINDOW_BITS);
    let mut data = Vec::with_capacity(room);
    let status = stream.compress_vec(cluster, &mut data, FlushCompress::Finish).ok()?;
    (status == Status::StreamEnd && data.len() <= room).then_some(data)
}

fn inflate(data: &[u8], cluster_len: usize) -> Result<Vec<u8>, Error> {
    let mut stream = Decompress::new_with_window_bits(false, WINDOW_BITS);
    // One byte more than there should be, to notice it.
    let mut cluster = vec![0; cluster_len + 1];
    stream
        .decompress(data, &mut cluster, FlushDecompress::Finish)
        .map_err(|error| corrupt("the data is a deflate stream", error))?;
    let len = usize::try_from(stream.total_out()).expect("at most the buffer");
    cluster.truncate(len);
    Ok(cluster)
}

/// Frame by frame, into a buffer of fixed size: no frame's window is ever allocated.
fn unzstd(mut data: &[u8], cluster_len: usize) -> Result<Vec<u8>, Error> {
    let frame = |code| corrupt("the data is a zstd frame", zstd::zstd_safe::get_error_name(code));
    let mut cluster = vec![0; cluster_len];
    let mut len = 0;
    while len < cluster_len {
        let frame_len = zstd::zstd_safe::find_frame_compressed_size(data).map_err(frame)?;
        len +=
            zstd::zstd_safe::decompress(&mut cluster[len..], &data[..frame_len]).map_err(frame)?;
        data = &data[frame_len..];
    }
    Ok(cluster)
}

fn corrupt(rule: &'static str, found: impl std::fmt::Display) -> Error {
    Error::corrupt("compressed cluster", rule, found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: [Compression; 2] = [Compression::Deflate, Compression::Zstd];

    fn text(len: usize) -> Vec<u8> {
        b"compressible ".iter().copied().cycle().take(len).collect()
    }

    /// Bytes that no method makes smaller.
    fn noise(len: usize) -> Vec<u8> {
        let mut seed = 1_u64;
        std::iter::repeat_with(|| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            seed.to_be_bytes()[0]
        })
        .take(len)
        .collect()
    }

    #[test]
    fn decompress_undoes_compress() {
        for compression in BOTH {
            for len in [512, 65536, 2 << 20] {
                for cluster in [text(len), vec![0; len]] {
                    let mut data = compress(compression, &cluster).unwrap();
                    assert!(data.len() < len);
                    data.extend_from_slice(&noise(600));
                    assert_eq!(decompress(compression, &data, len), Ok(cluster));
                }
                assert_eq!(compress(compression, &noise(len)), None, "{compression:?} {len}");
            }
            assert_eq!(compress(compression, b""), None);
        }
    }

    #[test]
    fn a_stream_of_another_length_is_refused() {
        for compression in BOTH {
            let data = compress(compression, &text(65536)).unwrap();
            for len in [512, 65535, 65537, 2 << 20] {
                assert!(decompress(compression, &data, len).is_err(), "{compression:?} {len}");
            }
        }
    }

    #[test]
    fn damaged_streams_are_refused_or_read() {
        for compression in BOTH {
            let data = compress(compression, &[text(3000), noise(1096)].concat()).unwrap();
            for len in 0..data.len() - 1 {
                assert!(decompress(compression, &data[..len], 4096).is_err(), "{len}");
            }
            for at in 0..data.len() {
                let mut damaged = data.clone();
                damaged[at] ^= 0x55;
                if let Ok(cluster) = decompress(compression, &damaged, 4096) {
                    assert_eq!(cluster.len(), 4096);
                }
            }
        }
    }
}
