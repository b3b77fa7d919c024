//! What a step of a stateful search pays to know whether it has been there, on one core.
//!
//! `cargo bench -p plugpull-sim --bench fingerprints`. A client writes sectors of 512 bytes, one
//! after the other, with a flush after every few, beside a flush in flight that is submitted and
//! completed in between; each event is a step.
//!
//! * `steps`: the disk alone.
//! * `fingerprints`: with its fingerprint after every step.
//! * `model`: the same for the sector model.

use divan::Bencher;
use divan::counter::ItemsCount;
use plugpull_engine::WriteFlags;
use plugpull_sim::disk::{DiskSpec, DiskState, Image, Model, Op, Outcome, RequestId};
use plugpull_sim::oracle::{End, SectorModel};

fn main() {
    divan::main();
}

/// Writes between two flushes.
const VOLATILE: &[u32] = &[4, 16, 64];
const FLUSHES: u32 = 16;

#[divan::bench(args = VOLATILE)]
fn steps(bencher: Bencher, volatile: u32) {
    bench(bencher, Model::Writeback, volatile, |_| 0);
}

#[divan::bench(args = VOLATILE)]
fn fingerprints(bencher: Bencher, volatile: u32) {
    bench(bencher, Model::Writeback, volatile, DiskState::fingerprint);
}

#[divan::bench(args = VOLATILE)]
fn fingerprints_ordered(bencher: Bencher, volatile: u32) {
    bench(bencher, Model::Ordered, volatile, DiskState::fingerprint);
}

#[divan::bench(args = VOLATILE)]
fn fingerprints_atomic(bencher: Bencher, volatile: u32) {
    bench(bencher, Model::AtomicWrite, volatile, DiskState::fingerprint);
}

fn bench(bencher: Bencher, model: Model, volatile: u32, after: fn(&DiskState) -> u128) {
    let spec = DiskSpec { model, ..DiskSpec::new("disk") };
    let start = DiskState::new(spec, Image::from_bytes(&[1; 64 * 512])).with_fingerprints();
    let events = FLUSHES * (2 * volatile + 2);
    bencher.counter(ItemsCount::new(events)).bench_local(|| {
        let mut disk = start.clone();
        let mut sum = 0_u128;
        let mut number = 0;
        for _ in 0..FLUSHES {
            let flush = RequestId::new(1, number);
            for sector in 0..volatile {
                if sector == volatile / 2 {
                    disk.submit(flush, Op::Flush);
                    sum = sum.wrapping_add(after(&disk));
                }
                let id = RequestId::new(0, number);
                number += 1;
                let data = vec![number.to_le_bytes()[0]; 512].into();
                let offset = u64::from(sector % 64) * 512;
                disk.submit(id, Op::Write { offset, data, flags: WriteFlags::NONE });
                sum = sum.wrapping_add(after(&disk));
                disk.complete(id, Outcome::Done).expect("a plain write");
                sum = sum.wrapping_add(after(&disk));
            }
            disk.complete(flush, Outcome::Done).expect("a plain flush");
            sum = sum.wrapping_add(after(&disk));
        }
        sum
    });
}

#[divan::bench(args = VOLATILE)]
fn model(bencher: Bencher, volatile: u32) {
    let events = FLUSHES * (2 * volatile + 2);
    bencher.counter(ItemsCount::new(events)).bench_local(|| {
        let mut model = SectorModel::new();
        let mut sum = 0_u128;
        let mut number = 0;
        for _ in 0..FLUSHES {
            let flush = model.submit_flush(number);
            sum = sum.wrapping_add(model.fingerprint());
            for sector in 0..u64::from(volatile) {
                number += 1;
                model.submit_write(sector..sector + 1, number);
                sum = sum.wrapping_add(model.fingerprint());
                model.end_write(sector..sector + 1, number, End::Success);
                sum = sum.wrapping_add(model.fingerprint());
            }
            model.flush_succeeded(flush);
            sum = sum.wrapping_add(model.fingerprint());
        }
        sum
    });
}
