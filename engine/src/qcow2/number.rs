//! Big-endian numbers in bytes, as every structure of the format has them.

/// The number at `at`.
///
/// # Panics
/// If the bytes end before it does.
pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes(array(bytes, at))
}

/// The number at `at`.
///
/// # Panics
/// If the bytes end before it does.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(array(bytes, at))
}

/// The number at `at`.
///
/// # Panics
/// If the bytes end before it does.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(array(bytes, at))
}

/// Puts `number`, in the bytes that `to_be_bytes` gives, at `at`.
pub(super) fn put<const N: usize>(bytes: &mut [u8], at: usize, number: [u8; N]) {
    bytes[at..at + N].copy_from_slice(&number);
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("the slice has N bytes")
}
