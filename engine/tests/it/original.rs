//! A reader that knows nothing of the engine: what the original implementation makes of an image.
//!
//! Written from the description of the format alone, with the original's peculiarities: a journal
//! sector is parsed until a word that is no record type; after a BITMAP record parsing goes on four
//! bytes too early, in the high word of its sector number; every sector is applied, in address
//! order; bit 31 of an entry is masked; storage that is shorter than the highest chunk needs is
//! refused.

const SECTOR: usize = 512;
const TABLE: u32 = 0xB4E6_F7AC;
const BITMAP: u32 = 0x3F2A_B8ED;
const EMPTY: u32 = u32::MAX;

/// The files of one image.
#[derive(Clone, Copy)]
pub(crate) struct Files<'a> {
    pub(crate) image: &'a [u8],
    pub(crate) data: Option<&'a [u8]>,
    pub(crate) base: &'a [u8],
}

/// The fields that reading takes.
struct Header {
    all_data_in_fvd_img: bool,
    virtual_size: usize,
    metadata_size: usize,
    has_base: bool,
    base_size: usize,
    bitmap: (usize, usize),
    block: usize,
    has_data_file: bool,
    compact: bool,
    table_offset: usize,
    chunk: usize,
    journal: (usize, usize),
    clean: bool,
}

impl Header {
    fn decode(image: &[u8]) -> Result<Self, String> {
        if word(image, 0) != 0x5143_F5A9 || word(image, 4) != 1 {
            return Err("not an image of version 1".to_owned());
        }
        let int = |offset| usize::try_from(word(image, offset)).expect("a 64-bit host");
        let long = |offset| int(offset) | int(offset + 4) << 32;
        Ok(Self {
            all_data_in_fvd_img: word(image, 8) != 0,
            virtual_size: long(12),
            metadata_size: long(20),
            has_base: image[28] != 0,
            base_size: long(1068),
            bitmap: (long(1076), long(1084)),
            block: int(1092),
            has_data_file: image[1108] != 0,
            compact: word(image, 2208) != 0,
            table_offset: long(2212),
            chunk: long(2220),
            journal: (long(4284), long(4292)),
            clean: word(image, 4300) != 0,
        })
    }
}

/// Whether the image says that it was closed.
pub(crate) fn is_clean(image: &[u8]) -> bool {
    word(image, 4300) == 1
}

/// What a guest of the original reads, or why it does not open the image.
pub(crate) fn read(files: Files<'_>) -> Result<Vec<u8>, String> {
    let header = Header::decode(files.image)?;
    let mut bitmap = None;
    if header.has_base && !header.all_data_in_fvd_img {
        let (offset, len) = header.bitmap;
        bitmap = Some(files.image[offset..offset + len].to_vec());
    }
    let mut table = Vec::new();
    if header.compact {
        let entries = header.virtual_size.div_ceil(header.chunk);
        table = (0..entries).map(|v| word(files.image, header.table_offset + 4 * v)).collect();
    }
    if !header.clean {
        let (offset, len) = header.journal;
        for sector in files.image[offset..offset + len].chunks(SECTOR) {
            replay(&header, sector, &mut table, bitmap.as_deref_mut())?;
        }
    }
    let storage = files.data.unwrap_or(files.image);
    let data_offset = if header.has_data_file { 0 } else { header.metadata_size };
    let used = table.iter().filter(|&&entry| entry != EMPTY).max();
    let end = used.map_or(0, |&last| data_offset + (last as usize + 1) * header.chunk);
    if storage.len() < end {
        return Err(format!("storage of {} bytes, chunks up to {end}", storage.len()));
    }
    let mut content = vec![0; header.virtual_size];
    for (sector, target) in content.chunks_mut(SECTOR).enumerate() {
        let address = sector * SECTOR;
        let in_base = bitmap.as_ref().is_some_and(|bitmap| {
            let block = address / header.block;
            address < header.base_size && bitmap[block / 8] >> (block % 8) & 1 == 0
        });
        let (file, offset) = if in_base {
            (files.base, address)
        } else if !header.compact {
            (storage, data_offset + address)
        } else if table[address / header.chunk] == EMPTY {
            continue;
        } else {
            let physical = table[address / header.chunk] as usize;
            (storage, data_offset + physical * header.chunk + address % header.chunk)
        };
        let end = file.len().min(offset + SECTOR);
        if offset < end {
            target[..end - offset].copy_from_slice(&file[offset..end]);
        }
    }
    Ok(content)
}

fn replay(
    header: &Header,
    sector: &[u8],
    table: &mut [u32],
    mut bitmap: Option<&mut [u8]>,
) -> Result<(), String> {
    let mut at = 0;
    while at + 4 <= SECTOR {
        match word(sector, at) {
            TABLE => {
                let (first, count) = (word(sector, at + 4), word(sector, at + 8));
                at += 12;
                for v in first..first + count {
                    let target = table.get_mut(v as usize).ok_or("a wild write")?;
                    *target = word(sector, at) & !(1 << 31);
                    at += 4;
                }
            }
            BITMAP => {
                let count = word(sector, at + 4) as usize;
                let start = word(sector, at + 8) as usize * SECTOR;
                let end = header.base_size.min(start + count * SECTOR);
                if start < end {
                    let bitmap = bitmap.as_deref_mut().ok_or("a bit without a bitmap")?;
                    for block in start / header.block..end.div_ceil(header.block) {
                        bitmap[block / 8] |= 1 << (block % 8);
                    }
                }
                // Not 16: the original's parser goes on here.
                at += 12;
            }
            _ => break,
        }
    }
    Ok(())
}

/// What our images promise beyond what the original needs: in each journal sector a BITMAP record
/// is the last one and everything behind it is zero; no entry of the table is marked dirty; bytes
/// that no structure uses are zero, or ones at the end of the table.
pub(crate) fn tidiness(image: &[u8]) -> Result<(), String> {
    let header = Header::decode(image)?;
    let (offset, len) = header.journal;
    for (index, sector) in image[offset..offset + len].chunks(SECTOR).enumerate() {
        let end =
            end_of_records(sector).map_err(|rule| format!("journal sector {index}: {rule}"))?;
        if sector[end..].iter().any(|&byte| byte != 0) {
            return Err(format!("journal sector {index}: not zero from byte {end} on"));
        }
    }
    if image[4336..8192].iter().any(|&byte| byte != 0) {
        return Err("the header's padding is not zero".to_owned());
    }
    if header.compact {
        let entries = header.virtual_size.div_ceil(header.chunk);
        let padded = entries.next_multiple_of(1024);
        for v in 0..padded {
            let entry = word(image, header.table_offset + 4 * v);
            if entry != EMPTY && (v >= entries || entry >> 31 == 1) {
                return Err(format!("table entry {v} is {entry:#x}"));
            }
        }
    }
    if header.has_base {
        let (offset, len) = header.bitmap;
        let blocks = header.base_size.div_ceil(header.block);
        let (last, padding) = image[offset..offset + len].split_at(blocks.div_ceil(8));
        let tail = last.last().map_or(0, |byte| u32::from(*byte) >> ((blocks - 1) % 8 + 1));
        // The end of prefetching fills the whole region.
        if !header.all_data_in_fvd_img && (tail != 0 || padding.iter().any(|&byte| byte != 0)) {
            return Err("the bitmap's padding is not zero".to_owned());
        }
    }
    Ok(())
}

fn end_of_records(sector: &[u8]) -> Result<usize, &'static str> {
    let mut at = 0;
    while at + 4 <= SECTOR {
        at += match word(sector, at) {
            TABLE => {
                let entries = sector[at + 12..].chunks(4).take(word(sector, at + 8) as usize);
                if entries.clone().any(|entry| word(entry, 0) & !(1 << 31) == !(1 << 31)) {
                    return Err("an empty entry");
                }
                12 + 4 * entries.len()
            }
            BITMAP => return Ok(at + 16),
            0 => return Ok(at),
            _ => return Err("an unknown record"),
        };
    }
    Ok(at)
}

fn word(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(bytes[offset..offset + 4].try_into().expect("four bytes"))
}
