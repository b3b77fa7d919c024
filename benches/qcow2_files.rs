//! qcow2 images in files: our engine beside QEMU, on the same machine, in turn.
//!
//! `cargo bench --bench qcow2_files` prints a table: what is done, our rate, QEMU's, and ours
//! divided by QEMU's. Requests are 4 KiB, all over the image in the same order on both sides, through
//! the host's page cache. Conversions copy a raw file of which every other MiB is a hole, and end
//! when the copy is durable. A word after `--` chooses lines whose name contains it; a number is the
//! size of the file to convert, in MiB [default: 4096].
//!
//! Nothing is asserted. Without QEMU only our rates are printed.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
#[expect(clippy::disallowed_types, reason = "measures time")]
use std::time::Instant;

use futures_util::{StreamExt, TryStreamExt, stream};
use plugpull_engine::file_disk::FileMode;
use plugpull_engine::qcow2::create::{CreateOptions, create};
use plugpull_engine::qcow2::{OpenOptions, Qcow2};
use plugpull_engine::resolver::NoFiles;
use plugpull_engine::{Access, ByteRange, FileDisk, LocalRuntime};

/// Bytes of the image that requests go to.
const IMAGE_LEN: u64 = 1 << 30;
/// Bytes per request.
const REQUEST_LEN: u64 = 4096;
/// From one request to the next, as far as the disk reaches and then from its start: all over it,
/// and each place once.
const STEP: u64 = REQUEST_LEN * 51_787;
/// Requests of one measurement.
const COUNT: u64 = 100_000;
const MIB: u64 = 1 << 20;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let convert_mib = words.iter().find_map(|word| word.parse().ok()).unwrap_or(4096);
    let name = words.iter().find(|word| word.parse::<u64>().is_err());
    let chosen = |text: &str| name.is_none_or(|name| text.contains(name.as_str()));
    let folder = tempfile::tempdir().expect("a folder");
    line("", "ours", "QEMU", "ratio");
    let kinds = [
        ("read", Kind { write: false, new: false }),
        ("write", Kind { write: true, new: false }),
        ("write new clusters", Kind { write: true, new: true }),
    ];
    for (name, kind) in kinds {
        for depth in [1, 16] {
            let name = format!("{name}, depth {depth}");
            if chosen(&name) {
                requests(&name, kind, depth, folder.path());
            }
        }
    }
    if chosen("convert") {
        conversions(convert_mib * MIB, folder.path());
    }
}

/// What requests do.
#[derive(Clone, Copy)]
struct Kind {
    write: bool,
    /// Whether nothing is allocated before.
    new: bool,
}

fn requests(name: &str, kind: Kind, depth: usize, folder: &Path) {
    let path = folder.join("requests.qcow2");
    let count = if kind.new { COUNT / 10 } else { COUNT };
    make(&path, kind);
    let ours = per_second(count, ours(&path, kind, depth, count));
    make(&path, kind);
    let words = format!(
        "bench -f qcow2 -t writeback {} -c {count} -d {depth} -s {REQUEST_LEN} -S {STEP} {}",
        if kind.write { "-w" } else { "" },
        path.display()
    );
    let theirs = qemu_img(&words).map(|time| per_second(count, time));
    let ratio = theirs.map_or("-".to_owned(), |theirs| format!("{:.2}", ours / theirs));
    let theirs = theirs.map_or("-".to_owned(), |theirs| format!("{theirs:.0}/s"));
    line(name, &format!("{ours:.0}/s"), &theirs, &ratio);
}

/// An image in which everything is allocated, or nothing.
fn make(path: &Path, kind: Kind) {
    let runtime = LocalRuntime::new(1);
    let disk = FileDisk::open(path, FileMode::CreateOrTruncate).expect("a file");
    let options = CreateOptions { virtual_size: IMAGE_LEN, ..CreateOptions::default() };
    runtime.block_on(create(&disk, &options)).expect("an image");
    if kind.new {
        return;
    }
    let image = open(path, &runtime);
    for offset in (0..IMAGE_LEN).step_by(usize::try_from(MIB).expect("small")) {
        let data = vec![7; usize::try_from(MIB).expect("small")];
        runtime.block_on(image.write(offset, data)).expect("room");
    }
    runtime.block_on(image.close()).expect("it closes");
}

fn open(path: &Path, runtime: &LocalRuntime) -> Qcow2 {
    let disk = FileDisk::open(path, FileMode::ReadWrite).expect("a file");
    let world = Arc::new(runtime.clone());
    let options = OpenOptions::new(Access::ReadWrite, Arc::new(NoFiles), world);
    runtime.block_on(Qcow2::open(Arc::new(disk), options)).expect("an image")
}

fn ours(path: &Path, kind: Kind, depth: usize, count: u64) -> Duration {
    let runtime = LocalRuntime::new(1);
    let image = open(path, &runtime);
    let request = |number: u64| {
        let image = image.clone();
        let offset = number * STEP % IMAGE_LEN;
        async move {
            if kind.write {
                image.write(offset, vec![1; usize::try_from(REQUEST_LEN).expect("small")]).await
            } else {
                image.read(ByteRange::new(offset, REQUEST_LEN)).await.map(drop)
            }
        }
    };
    let all = stream::iter(0..count).map(request).buffer_unordered(depth);
    let all = all.try_for_each(|()| std::future::ready(Ok(())));
    let (time, done) = timed(|| runtime.block_on(all));
    done.expect("the requests succeed");
    runtime.block_on(image.close()).expect("it closes");
    time
}

fn conversions(len: u64, folder: &Path) {
    let source = folder.join("source.raw");
    half_empty(&source, len);
    let legs = [("raw", "qcow2", &source), ("qcow2", "raw", &folder.join("copy.qcow2"))];
    for (from, to, source) in legs {
        let target = folder.join(format!("copy.{to}"));
        let words = format!("-f {from} -O {to} {} {}", source.display(), target.display());
        let theirs = qemu_img(&format!("convert -t writeback {words}"));
        drop(std::fs::remove_file(&target));
        let ours = program(&format!("image convert {words}"));
        let rate = |time: Duration| format!("{:.0} MiB/s", per_second(len / MIB, time));
        let ratio = theirs.map(|theirs| theirs.as_secs_f64() / ours.as_secs_f64());
        let ratio = ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}"));
        line(
            &format!("convert {from} to {to}"),
            &rate(ours),
            &theirs.map_or("-".to_owned(), rate),
            &ratio,
        );
    }
}

/// A raw file in which every other MiB is a hole.
fn half_empty(path: &Path, len: u64) {
    let file = File::create(path).expect("a file");
    file.set_len(len).expect("room");
    for number in 0..len / MIB / 2 {
        let mut data: Vec<u8> =
            (0..MIB).map(|at| u8::try_from(at % 251).expect("a byte")).collect();
        data[..8].copy_from_slice(&number.to_le_bytes());
        file.write_all_at(&data, number * 2 * MIB).expect("room");
    }
    file.sync_all().expect("it is durable");
}

/// How long `qemu-img` takes, if it is there.
fn qemu_img(words: &str) -> Option<Duration> {
    let mut command = Command::new("qemu-img");
    command.args(words.split_whitespace());
    let (time, output) = timed(|| command.output());
    let output = output.ok()?;
    assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8_lossy(&output.stdout);
    // `bench` tells its time without opening and closing the image.
    let told = said.lines().find_map(|line| line.strip_prefix("Run completed in "));
    let told = told.and_then(|rest| rest.split(' ').next()?.parse().ok());
    Some(told.map_or(time, Duration::from_secs_f64))
}

fn program(words: &str) -> Duration {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plugpull"));
    command.args(words.split_whitespace());
    let (time, status) = timed(|| command.status());
    assert!(status.expect("the program").success(), "{words}");
    time
}

#[expect(clippy::disallowed_types, reason = "measures time")]
fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let done = work();
    (start.elapsed(), done)
}

fn per_second(count: u64, time: Duration) -> f64 {
    let count = u32::try_from(count).expect("a number of requests");
    f64::from(count) / time.as_secs_f64()
}

#[expect(clippy::disallowed_macros, reason = "a benchmark prints")]
fn line(name: &str, ours: &str, theirs: &str, ratio: &str) {
    println!("{name:32} {ours:>14} {theirs:>14} {ratio:>7}");
}
