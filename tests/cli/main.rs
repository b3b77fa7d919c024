//! The program as its users see it: arguments in; exit code, output and files out.

mod checkpoint;
mod hostile;
mod image;
mod qcow2;
mod run;
mod shards;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A folder to run the program in.
struct Place(TempDir);

/// What the program did.
struct Ran {
    code: Option<i32>,
    stdout: Vec<u8>,
    stderr: String,
}

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Every file below the folder, sorted.
    fn files(&self) -> Vec<String> {
        fn collect(folder: &Path, root: &Path, found: &mut Vec<String>) {
            #[expect(clippy::disallowed_methods, reason = "sorted at the end")]
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    collect(&path, root, found);
                } else {
                    found.push(path.strip_prefix(root).unwrap().display().to_string());
                }
            }
        }
        let mut found = Vec::new();
        collect(self.0.path(), self.0.path(), &mut found);
        found.sort();
        found
    }

    /// Runs the program with arguments that hold no blanks.
    fn run(&self, args: &str) -> Ran {
        self.run_with(args, None)
    }

    /// The same, with a file as standard input.
    fn run_with(&self, args: &str, input: Option<&str>) -> Ran {
        let words: Vec<&str> = args.split_whitespace().collect();
        self.start(&words, input)
    }

    /// The same, with arguments that hold anything.
    fn run_words(&self, words: &[&str]) -> Ran {
        self.start(words, None)
    }

    fn start(&self, words: &[&str], input: Option<&str>) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_plugpull"));
        command.args(words).current_dir(self.0.path());
        if let Some(name) = input {
            command.stdin(fs::File::open(self.path(name)).unwrap());
        }
        let output = command.output().unwrap();
        Ran {
            code: output.status.code(),
            stdout: output.stdout,
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Ran {
    #[track_caller]
    fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}{}", self.text(), self.stderr);
        self
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    #[track_caller]
    fn says(self, part: &str) -> Self {
        assert!(self.text().contains(part), "no {part:?} in: {}", self.text());
        self
    }

    #[track_caller]
    fn complains(self, part: &str) -> Self {
        assert!(self.stderr.contains(part), "no {part:?} in: {}", self.stderr);
        assert!(!self.stderr.contains('\u{1b}'), "colours without a terminal: {}", self.stderr);
        self
    }
}
