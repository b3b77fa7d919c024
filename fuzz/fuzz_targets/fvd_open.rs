//! A damaged image: opened, checked, read, written. Errors are welcome, anything else is not.
#![no_main]

use arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use plugpull_engine::Access;
use plugpull_engine::ByteRange;
use plugpull_engine::fvd::Fvd;
use plugpull_engine::fvd::check::check;
use plugpull_fuzz::config::Config;
use plugpull_fuzz::damage::word;
use plugpull_fuzz::session::Session;
use plugpull_sim::disk::Image;

/// Most bytes that one request asks for.
const REQUEST_MAX: u64 = 64 << 10;

fuzz_target!(|data: &[u8]| {
    let _out_of_bytes = damaged(&mut Unstructured::new(data));
});

fn damaged(bytes: &mut Unstructured<'_>) -> Result<()> {
    let config: Config = bytes.arbitrary()?;
    let mut contents = used_image(config, bytes.arbitrary()?);
    let damage = damage(&mut contents, bytes);
    look(config, contents.clone());
    work(config, contents);
    damage
}

/// An image with some data in it, closed or not.
fn used_image(config: Config, closed: bool) -> Vec<Image> {
    let session = Session::create(config, 0xBA, false);
    let fvd = session.open(Access::ReadWrite).expect("a fresh image opens");
    for sector in [0, config.sectors / 2, config.sectors - 1] {
        session.run(fvd.write(sector * 512, vec![7; 512])).expect("a write");
    }
    if closed {
        session.run(fvd.close()).expect("a close");
    }
    session.contents()
}

/// Overwrites words here and there until the bytes run out, and perhaps cuts the image off.
fn damage(contents: &mut [Image], bytes: &mut Unstructured<'_>) -> Result<()> {
    if bytes.arbitrary()? {
        let len = u64::from(bytes.arbitrary::<u16>()?) * 16;
        let len = len.min(contents[0].len());
        contents[0].set_len(len);
    }
    while !bytes.is_empty() {
        let offset = match bytes.int_in_range(0..=3)? {
            0 | 1 => u64::from(bytes.int_in_range(0..=4336u16)?),
            _ => 8192 + u64::from(bytes.arbitrary::<u16>()?),
        };
        let word = word(bytes)?;
        if offset + word.len() as u64 <= contents[0].len() {
            contents[0].write(offset, &word);
        }
    }
    Ok(())
}

/// Checking, and opening for reading only, write nothing.
fn look(config: Config, contents: Vec<Image>) {
    let session = Session::new(config, contents.clone(), false);
    let _verdict = session.run(check(&*session.world.disks()[0], None));
    if let Ok(fvd) = session.open(Access::ReadOnly) {
        requests(&session, &fvd, false);
    }
    assert!(session.contents() == contents, "an image that was only looked at has changed");
}

/// Opening for writing never makes a file longer. Using what opened does at most what its geometry
/// says.
fn work(config: Config, contents: Vec<Image>) {
    let session = Session::new(config, contents.clone(), false);
    let Ok(fvd) = session.open(Access::ReadWrite) else {
        assert!(session.contents() == contents, "a refused image has changed");
        return;
    };
    let longer = session.contents().iter().zip(&contents).any(|(now, was)| now.len() > was.len());
    assert!(!longer, "opening has made a file longer");
    let geometry = fvd.geometry().clone();
    let chunks = geometry.compact.as_ref();
    let data = chunks.map_or(0, |compact| u64::from(compact.entries) * compact.chunk_len);
    let full = geometry.data_offset + data.max(geometry.virtual_size);
    requests(&session, &fvd, true);
    let _closed = session.run(fvd.close());
    for (image, before) in session.contents().iter().zip(&contents) {
        let max = before.len().max(full);
        assert!(image.len() <= max, "a file has grown to {} bytes, past {max}", image.len());
    }
}

fn requests(session: &Session, fvd: &Fvd, writing: bool) {
    let size = fvd.virtual_size();
    for offset in [0, size / 2 / 512 * 512, size.saturating_sub(REQUEST_MAX)] {
        let range = ByteRange::new(offset, (size - offset).min(REQUEST_MAX));
        let covered: u64 = fvd.map(range).iter().map(|extent| extent.range.len).sum();
        assert_eq!(covered, range.len, "the map of {range} has gaps");
        let before = session.run(fvd.read(range));
        if let Ok(read) = &before {
            assert_eq!(read.len() as u64, range.len);
        }
        if writing && size >= 512 {
            let offset = offset.min(size - 512);
            if session.run(fvd.write(offset, vec![9; 512])).is_ok() {
                let read = session.run(fvd.read(ByteRange::new(offset, 512)));
                assert!(read.is_ok_and(|read| read == [9; 512]), "a write at {offset} is lost");
            }
            let _flushed = session.run(fvd.flush());
        }
    }
}
