//! A damaged qcow2 image: checked, opened, read, written, repaired. Errors are welcome, anything else
//! is not.
#![no_main]

use arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use plugpull_engine::qcow2::Qcow2;
use plugpull_engine::qcow2::check::check;
use plugpull_engine::qcow2::planted::PlantedBugs;
use plugpull_engine::qcow2::repair::{Repair, repair};
use plugpull_engine::{Access, ByteRange};
use plugpull_fuzz::damage::word;
use plugpull_fuzz::qcow2::{Config, Session};
use plugpull_sim::disk::Image;

/// Most bytes that one request asks for.
const REQUEST_MAX: u64 = 64 << 10;
/// Bytes that a file may grow by: two refcount blocks of bits are full before it does.
const GROWTH_MAX: u64 = 512 << 20;

fuzz_target!(|data: &[u8]| {
    let _out_of_bytes = damaged(&mut Unstructured::new(data));
});

fn damaged(bytes: &mut Unstructured<'_>) -> Result<()> {
    let config: Config = bytes.arbitrary()?;
    let mut contents = used_image(config, bytes.arbitrary()?);
    let damage = damage(&mut contents, bytes);
    look(config, contents.clone());
    work(config, contents.clone());
    for what in [Repair::Leaks, Repair::All] {
        mend(config, contents.clone(), what);
    }
    damage
}

/// An image with some data in it, and perhaps a snapshot.
fn used_image(config: Config, snapshot: bool) -> Vec<Image> {
    let session = Session::create(config, 0xBA);
    let image = session.open(Access::ReadWrite).expect("a fresh image opens");
    for sector in [0, config.sectors / 2, config.sectors - 1] {
        session.run(image.write(sector * 512, vec![7; 512])).expect("a write");
    }
    if snapshot && !config.data_file && config.refcount_bits > 1 {
        session.run(image.create_snapshot("s")).expect("a snapshot");
        session.run(image.write(0, vec![8; 512])).expect("a write");
    }
    session.run(image.close()).expect("a close");
    session.contents()
}

/// Overwrites words here and there until the bytes run out, and perhaps cuts the image off.
fn damage(contents: &mut [Image], bytes: &mut Unstructured<'_>) -> Result<()> {
    let image = &mut contents[0];
    if bytes.ratio(1, 4)? {
        let len = u64::from(bytes.arbitrary::<u16>()?) * 16;
        image.set_len(len.min(image.len()));
    }
    while !bytes.is_empty() {
        let sector = bytes.int_in_range(0..=image.len() / 512)?;
        let offset = sector * 512 + u64::from(bytes.int_in_range(0..=127u8)?);
        let mut word = word(bytes)?;
        word.reverse();
        if offset + word.len() as u64 <= image.len() {
            image.write(offset, &word);
        }
    }
    Ok(())
}

/// Checking, and opening for reading only, write nothing.
fn look(config: Config, contents: Vec<Image>) {
    let session = Session::new(config, contents.clone());
    let _verdict = session.run(check(&*session.world.disks()[0], None));
    if let Ok(image) = session.open(Access::ReadOnly) {
        requests(&session, &image, false);
    }
    assert!(session.contents() == contents, "an image that was only looked at has changed");
}

fn work(config: Config, contents: Vec<Image>) {
    let session = Session::new(config, contents.clone());
    let Ok(image) = session.open(Access::ReadWrite) else {
        assert!(session.contents() == contents, "a refused image has changed");
        return;
    };
    requests(&session, &image, true);
    let _made = session.run(image.create_snapshot("new"));
    if let Some(snapshot) = image.snapshots().first() {
        let _applied = session.run(image.apply_snapshot(&snapshot.id));
        let _deleted = session.run(image.delete_snapshot(&snapshot.id));
    }
    requests(&session, &image, true);
    let _closed = session.run(image.close());
    let (now, was) = (session.contents()[0].len(), contents[0].len());
    assert!(now <= was + GROWTH_MAX, "the file has grown from {was} to {now} bytes");
    assert!(session.open(Access::ReadOnly).is_ok(), "what was open does not open again");
}

/// A repair that fails writes nothing, and one that does not has nothing left to do.
fn mend(config: Config, contents: Vec<Image>, what: Repair) {
    let session = Session::new(config, contents.clone());
    let disk = &session.world.disks()[0];
    if session.run(repair(&**disk, what, PlantedBugs::NONE)).is_err() {
        assert!(session.contents() == contents, "a repair that failed has changed the image");
        return;
    }
    let repaired = session.contents();
    let again = session.run(repair(&**disk, what, PlantedBugs::NONE)).expect("a second repair");
    assert!(
        session.contents() == repaired,
        "a second repair has changed the image: {what:?} {again:#?}"
    );
}

fn requests(session: &Session, image: &Qcow2, writing: bool) {
    let size = image.virtual_size();
    for offset in [0, size / 2 / 512 * 512, size.saturating_sub(REQUEST_MAX)] {
        let offset = offset.next_multiple_of(512).min(size);
        let range = ByteRange::new(offset, (size - offset).min(REQUEST_MAX));
        if let Ok(read) = session.run(image.read(range)) {
            assert_eq!(read.len() as u64, range.len);
        }
        if let Ok(extents) = session.run(image.map(range)) {
            let covered: u64 = extents.iter().map(|extent| extent.range.len).sum();
            assert_eq!(covered, range.len, "the map of {range} has gaps");
        }
        if writing && size >= 512 {
            let offset = offset.min(size - 512);
            if session.run(image.write(offset, vec![9; 512])).is_ok() {
                let read = session.run(image.read(ByteRange::new(offset, 512)));
                assert!(read.is_ok_and(|read| read == [9; 512]), "a write at {offset} is lost");
            }
            let _discarded =
                session.run(image.discard(ByteRange::new(offset / 2 / 512 * 512, 512)));
            let _flushed = session.run(image.flush());
        }
    }
}
