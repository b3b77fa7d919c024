//! The scenarios: those of the folder, and some that are longer than an exact search can be.

use std::fs;
use std::path::Path;

use plugpull_sim::scenario::{Expected, Scenario, SystemSpec};

/// Sessions that do a bit of everything: the system's special lines, disks besides `image`, and the
/// requests of each client.
const OWN: &[(&str, &str, &[&str], &[&str])] = &[
    (
        "own: snapshots come and go",
        r#"setup = ["write 0 16K", "flush", "snapshot s1", "write 4K 8K", "flush"]"#,
        &[],
        &[
            r#""snapshot s2", "write 0 6K", "flush", "delete-snapshot s1", "apply s2", "write 9K 512", "delete-snapshot s2", "write 0 4K", "flush", "close""#,
            r#""write 20K 2K", "flush", "discard 20K 2K", "write 22K 512", "flush""#,
        ],
    ),
    (
        "own: everything above a backing file",
        r#"backing = "pattern"
discards = true
setup = ["write 0 8K", "flush", "snapshot s1"]"#,
        &["backing"],
        &[
            r#""write 512 512", "write-compressed 8K 4K", "flush", "discard 0 4K", "write-zeroes 9K 3K", "unmap-zeroes 16K 4K", "write 9K 512", "flush", "delete-snapshot s1", "write 0 8K", "flush""#,
        ],
    ),
    (
        "own: compressed clusters are freed one by one",
        r#"discards = true
setup = ["write-compressed 0 8K", "flush"]"#,
        &[],
        &[
            r#""write 0 2K", "write 2K 2K", "flush", "write-compressed 8K 8K", "discard 4K 4K", "write 8K 512", "flush", "write-compressed 0 8K", "flush", "close""#,
        ],
    ),
    (
        "own: extended L2 entries above a backing file",
        r#"cluster = "16 KiB"
size = "256 KiB"
backing = "pattern"
extended_l2 = true
setup = ["write 512 1K", "flush", "snapshot s1"]"#,
        &["backing"],
        &[
            r#""write 16K 512", "write-zeroes 18K 2K", "flush", "discard 0 16K", "write 5K 3K", "unmap-zeroes 32K 16K", "flush", "delete-snapshot s1", "close""#,
        ],
    ),
    (
        "own: a disk of tiny clusters grows and shrinks",
        r#"cluster = "512 B"
size = "64 KiB"
refcount_bits = 64
setup = ["write 0 4K", "flush"]"#,
        &[],
        &[
            r#""write 8K 24K", "flush", "resize 1M", "write 900K 8K", "flush", "discard 8K 16K", "resize 32K", "write 0 24K", "flush", "resize 2M", "write 1M 4K", "close""#,
        ],
    ),
    (
        "own: lazy refcounts and a data file",
        r#"data_file = true
lazy_refcounts = true
backing = "pattern"
setup = ["write 0 8K", "flush"]"#,
        &["data", "backing"],
        &[
            r#""write 8K 3K", "discard 0 4K", "flush", "write-zeroes 4K 4K", "write 4608 512", "flush", "unmap-zeroes 8K 2K", "write 20K 8K", "flush""#,
            r#""write 12K 2K", "flush", "write 12K 512""#,
        ],
    ),
];

/// Every scenario that promises something of an engine without planted bugs, by its name.
pub(super) fn scenarios() -> Vec<(String, Scenario)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/qcow2");
    #[expect(clippy::disallowed_methods, reason = "sorted right away")]
    let entries = fs::read_dir(folder).expect("a folder of scenarios");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    let of_folder = paths.iter().map(|path| {
        let name = path.file_stem().expect("a file").to_string_lossy().into_owned();
        (name, fs::read_to_string(path).expect("a text"))
    });
    let own = OWN.iter().map(|(name, system, disks, clients)| {
        ((*name).to_owned(), text(name, system, disks, clients))
    });
    let parsed = of_folder.chain(own).map(|(name, text)| {
        let scenario = Scenario::parse(&name, &text).unwrap_or_else(|error| panic!("{error}"));
        (name, scenario)
    });
    parsed.filter(|(_, scenario)| promises(scenario)).collect()
}

fn promises(scenario: &Scenario) -> bool {
    let SystemSpec::Qcow2(spec) = &scenario.system else { return false };
    let broken = matches!(scenario.expect.verdict, Expected::Violated(_));
    !broken && !spec.damaged && spec.planted.is_empty()
}

fn text(claim: &str, system: &str, disks: &[&str], clients: &[&str]) -> String {
    let has = |key: &str| system.lines().any(|line| line.starts_with(key));
    let given = |key: &str, line: &str| if has(key) { String::new() } else { format!("{line}\n") };
    let size = given("size", r#"size = "32 KiB""#);
    let cluster = given("cluster", r#"cluster = "2 KiB""#);
    let disk = |name: &&str| format!("[disks.{name}]\nmodel = \"writeback\"\nsector = 512\n");
    let disks: String = ["image"].iter().chain(disks).map(disk).collect();
    let client = |ops: &&str| format!("[[client]]\nops = [{ops}]\n");
    let clients: String = clients.iter().map(client).collect();
    format!(
        "version = 1\nclaim = \"{claim}.\"\n[system]\nkind = \"qcow2\"\n{size}{cluster}{system}\n\
         {disks}{clients}[explore]\nschedules = \"fifo\"\nready = \"any\"\ncrashes = \"exact\"\n\
         recovery_crashes = 0\n[expect]\nverdict = \"holds\"\n"
    )
}
