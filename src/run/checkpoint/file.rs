//! The file of a checkpoint.
//!
//! | offset | length | |
//! |---|---|---|
//! | 0 | 16 | `plugpull ckpt 1\n` |
//! | 16 | 8 | length of the content, little-endian |
//! | 24 | 16 | xxh3-128 of the content, little-endian |
//! | 40 | | the content: [`Content`] by postcard |
//!
//! It is written beside its place, made durable and then moved there: whatever happens, there is the
//! checkpoint before or the new one.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use plugpull_sim::verdict::{CrashReach, Goals, ScheduleReach, ShardReach};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

const MAGIC: [u8; 16] = *b"plugpull ckpt 1\n";
const HEADER_LEN: usize = MAGIC.len() + 8 + 16;

/// What a run has done so far.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Content {
    pub(super) identity: Identity,
    /// One for each scenario of the run.
    pub(super) scenarios: Vec<State>,
}

/// What has to be the same for a run to go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    /// Name and version of the program, and its hash.
    pub(super) program: (String, u128),
    /// The hash of the options.
    pub(super) options: u128,
    /// The name and the hash of each scenario.
    pub(super) scenarios: Vec<(String, u128)>,
}

/// How far a scenario is.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) enum State {
    /// Nothing is known of it.
    #[default]
    Unexplored,
    /// Its search goes on from here.
    UnderWay(Vec<u8>),
    /// Nothing was violated.
    Done(Box<Done>),
}

/// The result of a scenario in which nothing is violated.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Done {
    /// Whether it holds; else it is incomplete.
    pub(super) holds: bool,
    pub(super) schedules: ScheduleReach,
    pub(super) crashes: CrashReach,
    pub(super) goals: Goals,
    pub(super) seed: Option<u64>,
    pub(super) bounds: Vec<String>,
    pub(super) incomplete: Vec<String>,
    pub(super) shard: Option<ShardReach>,
    pub(super) milliseconds: u64,
}

/// Writes a checkpoint in place of the one before.
pub(super) fn write(path: &Path, content: &Content) -> io::Result<()> {
    let content = postcard::to_allocvec(content).map_err(io::Error::other)?;
    let new = beside(path);
    let mut file = File::create(&new)?;
    file.write_all(&MAGIC)?;
    file.write_all(&(content.len() as u64).to_le_bytes())?;
    file.write_all(&xxh3_128(&content).to_le_bytes())?;
    file.write_all(&content)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    File::open(folder(path))?.sync_all()
}

/// Reads a checkpoint; none if there is no such file.
///
/// # Errors
/// Why it is none.
pub(super) fn read(path: &Path) -> Result<Option<Content>, String> {
    let mut bytes = Vec::new();
    match File::open(path).and_then(|mut file| file.read_to_end(&mut bytes)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
        Ok(_) => {}
    }
    parse(&bytes).map(Some)
}

fn parse(bytes: &[u8]) -> Result<Content, String> {
    if !bytes.starts_with(&MAGIC) {
        return Err("not a checkpoint of this version of plugpull".to_owned());
    }
    let (Some(header), Some(content)) = (bytes.get(..HEADER_LEN), bytes.get(HEADER_LEN..)) else {
        return Err("the checkpoint is cut off".to_owned());
    };
    let (len, hash) = header[MAGIC.len()..].split_at(8);
    if len != (content.len() as u64).to_le_bytes() {
        return Err("the checkpoint is cut off, or something follows it".to_owned());
    }
    if hash != xxh3_128(content).to_le_bytes() {
        return Err("the checkpoint is damaged".to_owned());
    }
    postcard::from_bytes(content).map_err(|error| format!("the checkpoint is damaged: {error}"))
}

/// Removes a checkpoint that is no longer needed.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Where the next one is written.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    path.with_file_name(name)
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_damaged_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint");
        assert!(read(&path).unwrap().is_none());
        let identity = Identity {
            program: ("plugpull".to_owned(), u128::MAX),
            options: 1,
            scenarios: vec![("a.toml".to_owned(), 1 << 100)],
        };
        let scenarios = vec![State::UnderWay(vec![1, 2, 3]), State::Unexplored];
        write(&path, &Content { identity: identity.clone(), scenarios }).unwrap();
        assert_eq!(read(&path).unwrap().unwrap().identity, identity);
        let bytes = fs::read(&path).unwrap();
        for len in 0..bytes.len() {
            assert!(parse(&bytes[..len]).is_err(), "the first {len} bytes");
        }
        assert!(parse(&[&bytes[..], &[0]].concat()).is_err(), "a byte more");
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                assert!(parse(&damaged).is_err(), "bit {bit} of byte {at}");
            }
        }
        remove(&path).unwrap();
        remove(&path).unwrap();
    }
}
