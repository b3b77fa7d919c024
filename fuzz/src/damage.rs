//! Words that are likely to hurt.

use arbitrary::{Result, Unstructured};

/// A few little-endian bytes: a byte, a word, a double word, or a size.
///
/// # Errors
/// If the bytes run out.
pub fn word(bytes: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    Ok(match bytes.int_in_range(0..=3)? {
        0 => bytes.arbitrary::<u8>()?.to_le_bytes().to_vec(),
        1 => bytes.arbitrary::<u32>()?.to_le_bytes().to_vec(),
        2 => bytes.arbitrary::<u64>()?.to_le_bytes().to_vec(),
        // Some sectors, pages or more.
        _ => {
            let size = u64::from(bytes.arbitrary::<u8>()?) << bytes.int_in_range(9..=56)?;
            size.to_le_bytes().to_vec()
        }
    })
}
