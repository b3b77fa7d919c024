//! The archive of images: where it is, and unpacking it.
//!
//! Shared with the simulator's tests, which include this file by its path.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// Names the archive: a tar file, compressed with zstd, one folder for each image.
const ARCHIVE: &str = "PLUGPULL_FVD_IMAGES";
/// Set to 1 where the archive must be there.
const REQUIRED: &str = "PLUGPULL_REQUIRE_REAL_IMAGES";

/// Unpacked images; the files go away with this value.
pub(crate) struct Images {
    folder: TempDir,
    names: BTreeSet<String>,
}

impl Images {
    /// Unpacks the images whose name `wanted` accepts, entry by entry: sparse files stay sparse, and
    /// no file is ever in memory as a whole.
    ///
    /// `None` if there is no archive and none is required; the reason is printed.
    ///
    /// # Panics
    /// If a required archive is not named, or a named one cannot be read.
    pub(crate) fn unpack(wanted: impl Fn(&str) -> bool) -> Option<Self> {
        let Some(path) = setting(ARCHIVE) else {
            let required = setting(REQUIRED).is_some_and(|value| value == "1");
            assert!(!required, "{REQUIRED} is 1, but {ARCHIVE} is not set");
            skipped(&format!("skipped: {ARCHIVE} is not set, so there are no images to test"));
            return None;
        };
        let file = File::open(&path).unwrap_or_else(|error| panic!("{ARCHIVE}={path}: {error}"));
        let mut archive = tar::Archive::new(zstd::Decoder::new(file).expect("a zstd stream"));
        let folder = TempDir::new().expect("a temporary folder");
        let mut names = BTreeSet::new();
        for entry in archive.entries().expect("a tar archive") {
            let mut entry = entry.expect("a tar entry");
            let path = entry.path().expect("a file name").into_owned();
            let name = first_component(&path);
            // Equal bases are stored once, and as links to it in all other folders.
            if wanted(&name) || path.ends_with("base.raw") {
                entry.unpack_in(folder.path()).expect("room for the images");
            }
            if wanted(&name) {
                names.insert(name);
            }
        }
        Some(Self { folder, names })
    }

    /// The folder of each image, sorted by name.
    pub(crate) fn folders(&self) -> impl Iterator<Item = (&str, PathBuf)> {
        self.names.iter().map(|name| (name.as_str(), self.folder.path().join(name)))
    }
}

fn first_component(path: &Path) -> String {
    let component = path.components().next().expect("a name that is not empty");
    component.as_os_str().to_str().expect("an ASCII name").to_owned()
}

#[expect(clippy::disallowed_methods, reason = "says where the images are, not what tests find")]
fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Says why a test is skipped, past the capture of output that hides what passing tests print.
fn skipped(reason: &str) {
    writeln!(std::io::stderr(), "{reason}").expect("standard error takes a line");
}
