//! Refcounts in a refcount block: unsigned numbers of 1, 2, 4, 8, 16, 32 or 64 bits.
//!
//! Numbers of at least a byte are big-endian. Smaller ones fill a byte from its least significant
//! bits on.
//!
//! # Source
//! qcow2 specification, "Host cluster management".

/// The width of the refcounts of one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RefcountWidth {
    order: u32,
}

impl RefcountWidth {
    /// Refcounts of `1 << order` bits; none if that is more than 64.
    #[must_use]
    pub fn from_order(order: u32) -> Option<Self> {
        (order <= 6).then_some(Self { order })
    }

    /// Bits per refcount.
    #[must_use]
    pub fn bits(self) -> u64 {
        1 << self.order
    }

    /// The highest refcount.
    #[must_use]
    pub fn max(self) -> u64 {
        u64::MAX >> (64 - self.bits())
    }

    /// Refcounts in `len` bytes.
    #[must_use]
    pub fn entries(self, len: u64) -> u64 {
        len * 8 / self.bits()
    }

    /// The bytes, from first to past the last, in which refcount `index` of a block lies.
    #[must_use]
    pub fn bytes_of(self, index: u64) -> std::ops::Range<u64> {
        let first = index * self.bits() / 8;
        first..first + self.bits().div_ceil(8)
    }

    /// Refcount `index` of the block, or of the part of one, that starts at `bytes[0]`.
    #[must_use]
    pub fn get(self, bytes: &[u8], index: u64) -> u64 {
        let place = self.place(index);
        if self.order >= 3 {
            return bytes[place].iter().fold(0, |value, &byte| value << 8 | u64::from(byte));
        }
        u64::from(bytes[place.start]) >> self.shift(index) & self.max()
    }

    /// Sets refcount `index`.
    ///
    /// # Panics
    /// If `value` needs more bits.
    pub fn set(self, bytes: &mut [u8], index: u64, value: u64) {
        assert!(value <= self.max(), "{value} needs more than {} bits", self.bits());
        let place = self.place(index);
        if self.order >= 3 {
            let value = value.to_be_bytes();
            let len = place.len();
            bytes[place].copy_from_slice(&value[8 - len..]);
            return;
        }
        let shift = self.shift(index);
        let byte = u64::from(bytes[place.start]) & !(self.max() << shift) | value << shift;
        bytes[place.start] = u8::try_from(byte).expect("one byte");
    }

    fn place(self, index: u64) -> std::ops::Range<usize> {
        let bytes = self.bytes_of(index);
        let place = |at: u64| usize::try_from(at).expect("a place in memory");
        place(bytes.start)..place(bytes.end)
    }

    /// How far a number smaller than a byte is from the byte's end.
    fn shift(self, index: u64) -> u64 {
        index * self.bits() % 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every width against a plain list of numbers.
    #[test]
    fn neighbours_stay_as_they_are() {
        for order in 0..=6 {
            let width = RefcountWidth::from_order(order).unwrap();
            let entries = width.entries(16);
            let mut bytes = [0; 16];
            let mut plain = vec![0; usize::try_from(entries).unwrap()];
            let mut seed = 1_u64;
            for _ in 0..500 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let (index, value) = ((seed >> 33) % entries, (seed >> 7) & width.max());
                width.set(&mut bytes, index, value);
                plain[usize::try_from(index).unwrap()] = value;
                for (index, &value) in (0..).zip(&plain) {
                    assert_eq!(width.get(&bytes, index), value, "{width:?} {index}");
                }
            }
        }
        assert!(RefcountWidth::from_order(7).is_none());
    }

    #[test]
    fn layout() {
        let check = |order, index, value, expected: [u8; 4]| {
            let mut bytes = [0; 4];
            RefcountWidth::from_order(order).unwrap().set(&mut bytes, index, value);
            assert_eq!(bytes, expected);
        };
        check(0, 9, 1, [0, 2, 0, 0]);
        check(1, 3, 2, [0x80, 0, 0, 0]);
        check(2, 1, 0xf, [0xf0, 0, 0, 0]);
        check(3, 2, 7, [0, 0, 7, 0]);
        check(4, 1, 0x1234, [0, 0, 0x12, 0x34]);
        check(5, 0, 0x0102_0304, [1, 2, 3, 4]);
    }
}
