//! Immutable-by-sharing disk contents: sparse pages, cheap clones, and a key that is kept up to
//! date with every change unless nobody is going to ask for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128_with_seed};

/// Bytes in a page; the unit of sharing between images.
pub const PAGE: u64 = 4096;
const PAGE_LEN: usize = 4096;
/// Bytes in the smallest unit that the key is computed over.
const GRAIN: usize = 512;

type Page = [u8; PAGE_LEN];

/// What an absent page holds.
static ZERO_PAGE: Page = [0; PAGE_LEN];

/// The content of a disk: `len` bytes, absent pages are zero.
///
/// A clone shares everything until one side writes. Equal contents have equal keys however they
/// came about.
#[derive(Debug, Clone)]
pub struct Image {
    len: u64,
    pages: Arc<BTreeMap<u64, Arc<Page>>>,
    /// Kept up to date with every change, or none if it is computed when somebody asks.
    content_key: Option<u128>,
}

impl Image {
    /// An image of `len` zero bytes.
    #[must_use]
    pub fn zeroed(len: u64) -> Self {
        Self { len, pages: Arc::default(), content_key: Some(0) }
    }

    /// An image with exactly these bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut image = Self::zeroed(bytes.len() as u64);
        image.write(0, bytes);
        image
    }

    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the length is zero.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Identifies length and content, up to a hash collision (128 bits).
    #[must_use]
    pub fn key(&self) -> u128 {
        let content = self.content_key.unwrap_or_else(|| key_of(&self.pages));
        content.wrapping_add(xxh3_128_with_seed(&self.len.to_le_bytes(), 1))
    }

    /// The same, with a key that is kept: asking for it is cheap, changes are not.
    #[must_use]
    pub(crate) fn with_key(mut self) -> Self {
        self.content_key.get_or_insert_with(|| key_of(&self.pages));
        self
    }

    /// The same, with a key that is not kept: changes are cheap, asking for it is not.
    #[must_use]
    pub(crate) fn without_key(self) -> Self {
        Self { content_key: None, ..self }
    }

    /// What the bytes of a range of whole grains of 512 bytes add to [`Image::key`].
    pub(crate) fn range_key(&self, offset: u64, len: usize) -> u128 {
        let grains = (offset / GRAIN as u64)..(offset + len as u64).div_ceil(GRAIN as u64);
        let per_page = PAGE / GRAIN as u64;
        grains.fold(0, |key, grain| {
            let Some(page) = self.pages.get(&(grain / per_page)) else { return key };
            let within = usize::try_from(grain % per_page).expect("within a page");
            key.wrapping_add(grain_key(grain / per_page, within, page))
        })
    }

    /// The bytes from `offset` to the end of the [`PAGE`] that it lies in; bytes past the end are
    /// zero.
    #[must_use]
    pub fn part(&self, offset: u64) -> &[u8] {
        let (page, start, len) = page_part(offset, PAGE_LEN);
        &self.page(page)[start..start + len]
    }

    /// Fills `buffer` with the bytes from `offset` on; bytes past the end are zero.
    pub fn read(&self, offset: u64, buffer: &mut [u8]) {
        let mut done = 0;
        while done < buffer.len() {
            let (page, start, len) = page_part(offset + done as u64, buffer.len() - done);
            buffer[done..done + len].copy_from_slice(&self.page(page)[start..start + len]);
            done += len;
        }
    }

    /// The `len` bytes from `offset` on; bytes past the end are zero.
    #[must_use]
    pub fn bytes(&self, offset: u64, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len);
        while bytes.len() < len {
            let (page, start, part) = page_part(offset + bytes.len() as u64, len - bytes.len());
            bytes.extend_from_slice(&self.page(page)[start..start + part]);
        }
        bytes
    }

    /// Whether it holds `bytes` from `offset` on; past the end it holds zeros.
    #[must_use]
    pub fn holds(&self, offset: u64, bytes: &[u8]) -> bool {
        let mut done = 0;
        while done < bytes.len() {
            let (page, start, len) = page_part(offset + done as u64, bytes.len() - done);
            if self.page(page)[start..start + len] != bytes[done..done + len] {
                return false;
            }
            done += len;
        }
        true
    }

    /// Replaces the bytes from `offset` on.
    ///
    /// # Panics
    /// If the range does not end within the image.
    pub fn write(&mut self, offset: u64, data: &[u8]) {
        let end = offset.checked_add(data.len() as u64);
        assert!(end.is_some_and(|end| end <= self.len), "write past the end of an image");
        self.write_unbounded(offset, data);
    }

    /// Changes the length. What is cut off is forgotten: growing again shows zeros.
    pub fn set_len(&mut self, len: u64) {
        if len < self.len {
            let tail = self.len.min(len.div_ceil(PAGE) * PAGE) - len;
            let zeros = vec![0; usize::try_from(tail).expect("less than a page")];
            self.write_unbounded(len, &zeros);
            let first_gone = len.div_ceil(PAGE);
            let gone: Vec<u64> = self.pages.range(first_gone..).map(|(&page, _)| page).collect();
            for page in gone {
                self.write_unbounded(page * PAGE, &[0; PAGE_LEN]);
                Arc::make_mut(&mut self.pages).remove(&page);
            }
        }
        self.len = len;
    }

    /// The bytes from the first to the last, for tests and files.
    ///
    /// # Panics
    /// If the length does not fit in memory.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.bytes(0, usize::try_from(self.len).expect("image fits in memory"))
    }

    fn page(&self, page: u64) -> &Page {
        self.pages.get(&page).map_or(&ZERO_PAGE, |bytes| bytes)
    }

    fn write_unbounded(&mut self, offset: u64, data: &[u8]) {
        let mut done = 0;
        while done < data.len() {
            let (page, start, len) = page_part(offset + done as u64, data.len() - done);
            self.write_page(page, start, &data[done..done + len]);
            done += len;
        }
    }

    /// Unshares, copies and hashes no more than what changes.
    fn write_page(&mut self, page: u64, start: usize, data: &[u8]) {
        if self.page(page)[start..start + data.len()] == *data {
            return;
        }
        let pages = Arc::make_mut(&mut self.pages);
        let bytes = Arc::make_mut(pages.entry(page).or_insert_with(|| Arc::new(ZERO_PAGE)));
        let Some(mut key) = self.content_key else {
            bytes[start..start + data.len()].copy_from_slice(data);
            return;
        };
        let mut done = 0;
        while done < data.len() {
            let at = start + done;
            let grain = at / GRAIN;
            let len = ((grain + 1) * GRAIN - at).min(data.len() - done);
            if bytes[at..at + len] != data[done..done + len] {
                key = key.wrapping_sub(grain_key(page, grain, bytes));
                bytes[at..at + len].copy_from_slice(&data[done..done + len]);
                key = key.wrapping_add(grain_key(page, grain, bytes));
            }
            done += len;
        }
        self.content_key = Some(key);
    }
}

impl PartialEq for Image {
    fn eq(&self, other: &Self) -> bool {
        let covers = |a: &Self, b: &Self| {
            a.pages.iter().all(|(page, bytes)| match b.pages.get(page) {
                Some(theirs) => Arc::ptr_eq(bytes, theirs) || bytes == theirs,
                None => **bytes == ZERO_PAGE,
            })
        };
        self.len == other.len && covers(self, other) && covers(other, self)
    }
}

impl Eq for Image {}

/// The page that holds `offset`, where in it that is, and how many of `len` bytes it holds.
fn page_part(offset: u64, len: usize) -> (u64, usize, usize) {
    let start = usize::try_from(offset % PAGE).expect("less than a page");
    (offset / PAGE, start, len.min(PAGE_LEN - start))
}

/// What all grains add to the key of their image.
fn key_of(pages: &BTreeMap<u64, Arc<Page>>) -> u128 {
    let grains = pages.iter().flat_map(|(&page, bytes)| {
        (0..PAGE_LEN / GRAIN).map(move |grain| grain_key(page, grain, bytes))
    });
    grains.fold(0, u128::wrapping_add)
}

/// What one grain adds to the key of its image: zero for zeros, so that sparse and written zeros
/// are the same.
fn grain_key(page: u64, grain: usize, bytes: &Page) -> u128 {
    let content = &bytes[grain * GRAIN..(grain + 1) * GRAIN];
    if *content == ZERO_PAGE[..GRAIN] {
        return 0;
    }
    let place = page * (PAGE / GRAIN as u64) + grain as u64;
    xxh3_128_with_seed(content, xxh3_64_with_seed(&place.to_le_bytes(), 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_contents_have_equal_keys_however_they_came_about() {
        let mut a = Image::zeroed(8192);
        a.write(512, &[7; 1024]);
        a.write(512, &[0; 512]);
        let mut b = Image::zeroed(16384);
        b.write(9000, &[3; 100]);
        b.write(1024, &[7; 512]);
        b.set_len(8192);
        assert_eq!(a, b);
        assert_eq!(a.key(), b.key());
        b.set_len(8704);
        assert_ne!(a.key(), b.key());
    }

    #[test]
    fn a_key_that_is_not_kept_is_the_same() {
        let mut kept = Image::zeroed(8192);
        kept.write(512, &[7; 1024]);
        let mut not_kept = kept.clone().without_key();
        for image in [&mut kept, &mut not_kept] {
            image.write(1000, &[3; 5000]);
            image.set_len(5000);
        }
        assert_eq!(not_kept.content_key, None);
        assert_eq!(kept.key(), not_kept.key());
        assert_eq!(not_kept.with_key().content_key, kept.content_key);
    }

    #[test]
    fn cutting_and_growing_again_shows_zeros() {
        let mut image = Image::from_bytes(&[9; 6000]);
        image.set_len(4500);
        image.set_len(6000);
        let mut expected = vec![9; 4500];
        expected.resize(6000, 0);
        assert_eq!(image.to_bytes(), expected);
    }

    #[test]
    fn a_clone_does_not_see_later_writes() {
        let mut a = Image::from_bytes(&[1; 4096]);
        let b = a.clone();
        a.write(0, &[2; 512]);
        assert_eq!(b.to_bytes(), [1; 4096]);
        assert_ne!(a.key(), b.key());
    }
}
