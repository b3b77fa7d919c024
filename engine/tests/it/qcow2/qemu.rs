//! qemu-img and qemu-io as independent judges, where they are installed.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A directory in which qemu-img works.
pub(crate) struct Qemu {
    dir: tempfile::TempDir,
}

impl Qemu {
    /// The tools, or none after saying so. Where continuous integration runs they have to be there.
    pub(crate) fn find() -> Option<Self> {
        let runs = |tool| Command::new(tool).arg("--version").output().is_ok();
        if runs("qemu-img") && runs("qemu-io") {
            return Some(Self { dir: tempfile::tempdir().unwrap() });
        }
        assert!(!is_set("CI"), "qemu-img and qemu-io (package qemu-utils) are not installed");
        let reason = "skipped: no qemu-img and qemu-io (package qemu-utils) to compare with";
        writeln!(std::io::stderr(), "{reason}").expect("standard error takes a line");
        None
    }

    /// Where a file called `name` is.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs qemu-img in the directory.
    pub(crate) fn img(&self, arguments: &[&str]) {
        let output = self.run("qemu-img", arguments);
        assert!(output.is_ok(), "qemu-img {arguments:?}: {}", output.unwrap_err());
    }

    /// Runs commands of qemu-io on an image.
    pub(crate) fn io(&self, name: &str, commands: &[&str]) {
        let mut arguments = vec!["-f", "qcow2"];
        commands.iter().for_each(|command| arguments.extend(["-c", command]));
        arguments.push(name);
        let output = self.run("qemu-io", &arguments);
        assert!(output.is_ok(), "qemu-io {arguments:?}: {}", output.unwrap_err());
    }

    /// What `qemu-img check` has to complain about an image, if anything.
    pub(crate) fn check(&self, bytes: &[u8]) -> Result<(), String> {
        std::fs::write(self.path("checked.qcow2"), bytes).unwrap();
        self.run("qemu-img", &["check", "-f", "qcow2", "checked.qcow2"]).map(drop)
    }

    /// The bytes of a file.
    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    /// What the guest sees in an image.
    pub(crate) fn guest(&self, bytes: &[u8]) -> Vec<u8> {
        std::fs::write(self.path("seen.qcow2"), bytes).unwrap();
        self.img(&["convert", "-f", "qcow2", "-O", "raw", "seen.qcow2", "seen.raw"]);
        self.read("seen.raw")
    }

    /// What qemu-img has to say.
    pub(crate) fn said(&self, arguments: &[&str]) -> String {
        let output = self.run("qemu-img", arguments);
        output.unwrap_or_else(|said| panic!("qemu-img {arguments:?}: {said}"))
    }

    fn run(&self, tool: &str, arguments: &[&str]) -> Result<String, String> {
        let dir: &Path = self.dir.path();
        let output = Command::new(tool).args(arguments).current_dir(dir).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let said = text(&output.stdout) + &text(&output.stderr);
        if output.status.success() { Ok(said) } else { Err(said) }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "says whether tools must be there, not what is found"
)]
fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some()
}
