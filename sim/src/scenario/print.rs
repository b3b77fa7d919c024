//! A scenario as text: the canonical form, which reads back as the same scenario.
//!
//! Values that are the default of version 1 are left out, except what a reader wants to see: the
//! model and sector of every disk, the schedules and the crashes. A list goes on one line if the
//! line stays within 100 columns, else one item a line.

use std::fmt::{Display, Write as _};

use plugpull_engine::ByteRange;
use plugpull_engine::qcow2::header::Compression;

use super::convert::{DRAWS, ERRORS, KINDS, READY, REDUCTIONS, VERSION};
use super::size::{Len, LongLen, duration_text};
use super::{
    Access, AnyFault, BaseSpec, Client, Crashes, Draw, Expected, Explore, FvdSpec, PatternSpec,
    PlacedFault, PlacedFaultKind, PowerCut, PrefetchSpec, Qcow2Spec, Reduction, Replay, Scenario,
    Schedules, StorageContent, SystemSpec, ThrottleSpec,
};
use crate::disk::{DiscardContent, DiskSpec, FailedFlush, FaultEffect, Which};
use crate::exec::ReadyOrder;
use crate::workload::GuestOp;

const WIDTH: usize = 100;

impl Scenario {
    /// The scenario in canonical form. Comments of the file that it was read from are gone.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut text = Printer(String::new());
        text.key("version", VERSION);
        text.key("claim", quoted(&self.claim));
        text.section("[system]");
        match &self.system {
            SystemSpec::Fvd(fvd) => text.fvd(fvd),
            SystemSpec::Qcow2(qcow2) => text.qcow2(qcow2),
        }
        text.use_of(&self.system);
        for disk in &self.disks {
            text.disk(disk);
        }
        for client in &self.clients {
            text.client(client);
        }
        for ops in &self.after {
            text.section("[[after]]");
            text.ops(ops);
        }
        text.explore(&self.explore);
        text.section("[expect]");
        let (verdict, invariant) = match self.expect.verdict {
            Expected::Holds => ("holds", None),
            Expected::Violated(invariant) => ("violated", Some(invariant)),
            Expected::Incomplete => ("incomplete", None),
        };
        text.key("verdict", quoted(verdict));
        if let Some(invariant) = invariant {
            text.key("invariant", quoted(invariant.name()));
        }
        text.unless_empty("reach", self.expect.reach.iter().map(|goal| quoted(goal)));
        if let Some(replay) = &self.replay {
            text.replay(replay);
        }
        text.0
    }
}

/// A text in TOML's basic quotes.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() => {
                write!(quoted, "\\u{:04X}", u32::from(c)).expect("a string takes everything");
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

fn long(bytes: u64) -> String {
    quoted(&LongLen(bytes).to_string())
}

fn name_of<T: PartialEq>(names: &[(&'static str, T)], value: &T) -> String {
    let name = names.iter().find(|(_, named)| named == value).map(|&(name, _)| name);
    quoted(name.expect("every value that a scenario can hold has a name"))
}

fn inline(pairs: &[(&str, String)]) -> String {
    let pairs: Vec<String> = pairs.iter().map(|(key, value)| format!("{key} = {value}")).collect();
    format!("{{ {} }}", pairs.join(", "))
}

fn bracketed(items: impl IntoIterator<Item = String>) -> String {
    format!("[{}]", items.into_iter().collect::<Vec<_>>().join(", "))
}

struct Printer(String);

impl Printer {
    fn line(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }

    fn section(&mut self, header: &str) {
        self.0.push('\n');
        self.line(header);
    }

    fn key(&mut self, key: &str, value: impl Display) {
        self.line(&format!("{key} = {value}"));
    }

    fn list(&mut self, key: &str, items: impl IntoIterator<Item = String>) {
        let items: Vec<String> = items.into_iter().collect();
        let line = format!("{key} = [{}]", items.join(", "));
        if line.chars().count() <= WIDTH {
            return self.line(&line);
        }
        self.lines(key, items);
    }

    fn lines(&mut self, key: &str, items: impl IntoIterator<Item = String>) {
        self.line(&format!("{key} = ["));
        for item in items {
            self.line(&format!("  {item},"));
        }
        self.line("]");
    }

    fn unless_empty(&mut self, key: &str, items: impl IntoIterator<Item = String>) {
        let items: Vec<String> = items.into_iter().collect();
        if !items.is_empty() {
            self.list(key, items);
        }
    }

    fn ops(&mut self, ops: &[GuestOp]) {
        self.list("ops", ops.iter().map(|op| quoted(&op.to_string())));
    }

    fn fvd(&mut self, fvd: &FvdSpec) {
        self.key("kind", quoted("fvd"));
        self.key("size", long(fvd.size));
        if let Some(compact) = fvd.compact {
            self.key("chunk", long(compact.chunk));
            if compact.grow_unit != compact.chunk {
                self.key("grow_unit", long(compact.grow_unit));
            }
        }
        if let Some(base) = &fvd.base {
            self.base(base, fvd.size);
        }
        match fvd.journal {
            Some(bytes) => self.key("journal", long(bytes)),
            None => self.key("journal", quoted("none")),
        }
    }

    fn qcow2(&mut self, qcow2: &Qcow2Spec) {
        self.key("kind", quoted("qcow2"));
        self.key("size", long(qcow2.size));
        if qcow2.version != Qcow2Spec::VERSION {
            self.key("version", qcow2.version);
        }
        self.key("cluster", long(qcow2.cluster));
        if qcow2.refcount_bits != Qcow2Spec::REFCOUNT_BITS {
            self.key("refcount_bits", qcow2.refcount_bits);
        }
        if let Some(backing) = &qcow2.backing {
            self.pattern("backing", backing, qcow2.size);
        }
        self.flag("lazy_refcounts", qcow2.lazy_refcounts);
        if qcow2.compression == Compression::Zstd {
            self.key("compression", quoted("zstd"));
        }
        self.flag("extended_l2", qcow2.extended_l2);
        self.flag("discards", qcow2.discards);
        if let Some(granularity) = qcow2.bitmap {
            self.key("bitmap", long(granularity));
        }
        if qcow2.slice != Qcow2Spec::SLICE {
            self.key("slice", long(qcow2.slice));
        }
        if qcow2.cache != Qcow2Spec::CACHE {
            self.key("cache", qcow2.cache);
        }
    }

    /// What images of every kind have.
    fn use_of(&mut self, system: &SystemSpec) {
        self.flag("data_file", system.data_disk() == "data");
        if system.storage() == StorageContent::OldContent {
            self.key("storage", quoted("old-content"));
        }
        if system.access() == Access::ReadOnly {
            self.key("access", quoted("read-only"));
        }
        self.unless_empty("setup", system.setup().iter().map(|op| quoted(&op.to_string())));
        self.flag("damaged", system.is_damaged());
        self.unless_empty("planted", system.planted_ids().into_iter().map(quoted));
    }

    fn flag(&mut self, key: &str, value: bool) {
        if value {
            self.key(key, true);
        }
    }

    fn pattern(&mut self, key: &str, pattern: &PatternSpec, size: u64) {
        if pattern.len == size && pattern.holes.is_empty() {
            self.key(key, quoted("pattern"));
        } else {
            let mut pairs = vec![("len", long(pattern.len))];
            if !pattern.holes.is_empty() {
                let hole =
                    |hole: &ByteRange| quoted(&format!("{} {}", Len(hole.offset), Len(hole.len)));
                pairs.push(("holes", bracketed(pattern.holes.iter().map(hole))));
            }
            self.key(key, inline(&pairs));
        }
    }

    fn base(&mut self, base: &BaseSpec, size: u64) {
        self.pattern("base", &base.pattern, size);
        self.key("block", long(base.block));
        if base.copy_on_read {
            self.key("copy_on_read", true);
        }
        if base.max_copy_on_read != BaseSpec::MAX_COPY_ON_READ {
            self.key("max_copy_on_read", long(base.max_copy_on_read));
        }
        if let Some(prefetch) = base.prefetch {
            self.key("prefetch", prefetch_text(prefetch));
        }
        if let Some(window) = base.detect_holes {
            self.key("detect_holes", long(window));
        }
    }

    fn disk(&mut self, disk: &DiskSpec) {
        self.section(&format!("[disks.{}]", disk.name));
        self.key("model", quoted(&disk.model.to_string()));
        self.key("sector", disk.sector_len);
        if let Some(tear) = disk.tear {
            self.key("tear", tear);
        }
        if disk.discard != DiscardContent::Zeros {
            self.key("discard", quoted(&disk.discard.to_string()));
        }
        if disk.failed_flush != FailedFlush::Keep {
            self.key("failed_flush", quoted(&disk.failed_flush.to_string()));
        }
        if !disk.resizable {
            self.key("resizable", false);
        }
        if !disk.latency.is_zero() {
            self.key("latency", quoted(&duration_text(disk.latency)));
        }
    }

    fn client(&mut self, client: &Client) {
        self.section("[[client]]");
        self.ops(&client.ops);
        if client.repeat != 1 {
            self.key("repeat", client.repeat);
        }
    }

    fn explore(&mut self, explore: &Explore) {
        self.section("[explore]");
        let drawn = |key, count: u64, seed: u64| {
            inline(&[(key, count.to_string()), ("seed", seed.to_string())])
        };
        match explore.schedules {
            Schedules::Exhaustive(Reduction::Chosen) => {
                self.key("schedules", quoted("exhaustive"));
            }
            Schedules::Exhaustive(reduction) => {
                let engine = name_of(&REDUCTIONS, &reduction).to_string();
                self.key("schedules", inline(&[("exhaustive", engine)]));
            }
            Schedules::Delays(delays) => {
                self.key("schedules", inline(&[("delays", delays.to_string())]));
            }
            Schedules::Fifo => self.key("schedules", quoted("fifo")),
            Schedules::Random { count, seed, by: Draw::Walk } => {
                self.key("schedules", drawn("random", count, seed));
            }
            Schedules::Random { count, seed, by } => {
                let by = name_of(&DRAWS, &by).to_string();
                let (count, seed) = (count.to_string(), seed.to_string());
                self.key("schedules", inline(&[("random", count), ("seed", seed), ("by", by)]));
            }
        }
        if explore.ready != ReadyOrder::Any {
            self.key("ready", name_of(&READY, &explore.ready));
        }
        match explore.crashes {
            Crashes::Exact => self.key("crashes", quoted("exact")),
            Crashes::None => self.key("crashes", quoted("none")),
            Crashes::Sampled { count, seed } => self.key("crashes", drawn("sampled", count, seed)),
        }
        if explore.recovery_crashes != 0 {
            self.key("recovery_crashes", explore.recovery_crashes);
        }
        if explore.paths_max != Explore::PATHS_MAX {
            self.key("paths_max", explore.paths_max);
        }
        if explore.unreadable != 0 {
            self.key("unreadable", explore.unreadable);
        }
        if explore.faults.any.errors != 0 {
            self.key("faults", any_fault(&explore.faults.any));
        }
        if explore.cancel != 0 {
            self.key("cancel", explore.cancel);
        }
        for fault in &explore.faults.placed {
            self.placed_fault(fault);
        }
    }

    fn placed_fault(&mut self, placed: &PlacedFault) {
        self.section("[[explore.fault]]");
        self.key("disk", quoted(&placed.disk));
        let fault = match placed.kind {
            PlacedFaultKind::BadSector(sector) => return self.key("bad_sector", sector),
            PlacedFaultKind::Request(fault) => fault,
        };
        self.key("on", name_of(&KINDS, &fault.on));
        if let Which::Nth(nth) = fault.which {
            self.key("nth", nth);
        }
        match fault.effect {
            FaultEffect::Fail(error) => self.key("fail", name_of(&ERRORS, &error)),
            FaultEffect::Corrupt => self.key("corrupt", true),
            FaultEffect::Misdirect { shift } => self.key("misdirect", long(shift)),
        }
        if fault.permanent {
            self.key("permanent", true);
        }
    }

    fn replay(&mut self, replay: &Replay) {
        self.section("[replay]");
        self.key("trace_version", replay.trace.version);
        self.key("invariant", quoted(replay.invariant.name()));
        self.key("message", quoted(&replay.message));
        let choice = |choice: &crate::exec::TracedChoice| {
            inline(&[
                ("kind", quoted(choice.kind.name())),
                ("index", choice.index.to_string()),
                ("label", quoted(&choice.label)),
            ])
        };
        if replay.trace.choices.is_empty() {
            self.key("choices", "[]");
        } else {
            self.lines("choices", replay.trace.choices.iter().map(choice));
        }
        for cut in &replay.crashes {
            self.power_cut(cut);
        }
    }

    fn power_cut(&mut self, cut: &PowerCut) {
        self.section("[[replay.crash]]");
        self.key("session", cut.session);
        self.key("at", cut.at);
        self.section("[replay.crash.disks]");
        let left = |left: &super::Left| {
            inline(&[
                ("variable", quoted(&left.variable)),
                ("option", left.option.to_string()),
                ("of", left.of.to_string()),
                ("label", quoted(&left.label)),
            ])
        };
        for disk in &cut.disks {
            if disk.left.is_empty() {
                self.key(&disk.disk, "[]");
            } else {
                self.lines(&disk.disk, disk.left.iter().map(left));
            }
        }
        if cut.disks.iter().any(|disk| !disk.unreadable.is_empty()) {
            self.section("[replay.crash.unreadable]");
            for disk in cut.disks.iter().filter(|disk| !disk.unreadable.is_empty()) {
                self.list(&disk.disk, disk.unreadable.iter().map(u64::to_string));
            }
        }
    }
}

fn prefetch_text(prefetch: PrefetchSpec) -> String {
    let mut pairs = vec![
        ("start_delay", quoted(&format!("{}s", prefetch.start_delay))),
        ("slots", prefetch.slots.to_string()),
        ("bytes", long(prefetch.bytes)),
    ];
    if let Some(throttle) = prefetch.throttle {
        pairs.push(("throttle", throttle_text(throttle)));
    }
    inline(&pairs)
}

fn throttle_text(throttle: ThrottleSpec) -> String {
    let time = |time| quoted(&duration_text(time));
    inline(&[
        ("read_measure", time(throttle.read_measure)),
        ("write_measure", time(throttle.write_measure)),
        ("alpha", throttle.alpha.to_string()),
        ("min_read", throttle.min_read.to_string()),
        ("min_write", throttle.min_write.to_string()),
        ("pause", time(throttle.pause)),
    ])
}

fn any_fault(any: &AnyFault) -> String {
    let default = AnyFault::default();
    let mut pairs = vec![("errors", any.errors.to_string())];
    if any.kinds != default.kinds {
        pairs.push(("kinds", bracketed(any.kinds.iter().map(|kind| name_of(&KINDS, kind)))));
    }
    if any.error != default.error {
        pairs.push(("error", bracketed(any.error.iter().map(|error| name_of(&ERRORS, error)))));
    }
    if any.permanent {
        pairs.push(("permanent", "true".to_owned()));
    }
    if !any.disks.is_empty() {
        pairs.push(("disks", bracketed(any.disks.iter().map(|disk| quoted(disk)))));
    }
    inline(&pairs)
}

#[cfg(test)]
mod tests;
