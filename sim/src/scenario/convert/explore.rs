//! `[explore]`: the bounds of the search and what may fail.

use plugpull_engine::DiskErrorKind;
use toml::Spanned;

use super::Result;
use super::value::{multiple, named, positive, positive_u32, small, unknown};
use crate::disk::{DiskSpec, Fault, FaultEffect, OpKind, Which};
use crate::exec::ReadyOrder;
use crate::scenario::error::Problem;
use crate::scenario::file::{self, Text, TextOr};
use crate::scenario::{
    AnyFault, Crashes, Draw, Explore, Faults, PlacedFault, PlacedFaultKind, Reduction, Schedules,
};

/// Kinds of request as faults name them.
pub(in crate::scenario) const KINDS: [(&str, OpKind); 5] = [
    ("read", OpKind::Read),
    ("write", OpKind::Write),
    ("flush", OpKind::Flush),
    ("discard", OpKind::Discard),
    ("resize", OpKind::Resize),
];

/// Errors as faults name them.
pub(in crate::scenario) const ERRORS: [(&str, DiskErrorKind); 2] =
    [("eio", DiskErrorKind::Io), ("enospc", DiskErrorKind::NoSpace)];

/// Orders of ready tasks.
pub(in crate::scenario) const READY: [(&str, ReadyOrder); 2] =
    [("any", ReadyOrder::Any), ("macro-step", ReadyOrder::MacroStep)];

/// Reductions of an exhaustive search.
pub(in crate::scenario) const REDUCTIONS: [(&str, Reduction); 3] =
    [("plain", Reduction::Plain), ("dpor", Reduction::Dpor), ("stateful", Reduction::Stateful)];

/// Ways to draw executions.
pub(in crate::scenario) const DRAWS: [(&str, Draw); 5] = [
    ("walk", Draw::Walk),
    ("pos", Draw::Pos),
    ("surw", Draw::Surw),
    ("pct", Draw::Pct),
    ("portfolio", Draw::Portfolio),
];

pub(super) fn explore(shape: &file::Explore, disks: &[DiskSpec]) -> Result<Explore> {
    let any = match &shape.faults {
        None => AnyFault::default(),
        Some(any) => any_fault(any, disks)?,
    };
    let placed = |fault| placed_fault(fault, disks, any.errors);
    let placed = shape.fault.iter().map(placed).collect::<Result<_>>()?;
    Ok(Explore {
        schedules: schedules(&shape.schedules)?,
        ready: match &shape.ready {
            None => ReadyOrder::Any,
            Some(text) => named(text, "order of ready tasks", &READY)?,
        },
        crashes: shape.crashes.as_ref().map_or(Ok(Crashes::Exact), crashes)?,
        recovery_crashes: shape.recovery_crashes.as_ref().map_or(Ok(0), depth)?,
        paths_max: shape.paths_max.as_ref().map_or(Ok(Explore::PATHS_MAX), positive)?,
        unreadable: shape.unreadable.as_ref().map_or(Ok(0), |count| unreadable(count, shape))?,
        faults: Faults { any, placed },
        cancel: shape.cancel.as_ref().map_or(Ok(0), small)?,
    })
}

/// How deep power cuts may be nested: what is deeper than this has more ways than anybody can wait
/// for.
const DEPTH_MAX: u32 = 16;

fn depth(count: &file::Number) -> Result<u32> {
    let depth = small(count)?;
    if depth > DEPTH_MAX {
        let problem = format!("{depth} power cuts inside one another");
        return Err(Problem::at(count, problem, format!("expected at most {DEPTH_MAX}")));
    }
    Ok(depth)
}

/// A budget that only the exact search knows.
fn unreadable(count: &file::Number, shape: &file::Explore) -> Result<u32> {
    match shape.crashes.as_ref().map(Spanned::get_ref) {
        None => small(count),
        Some(TextOr::Text(text)) if text == "exact" => small(count),
        _ => {
            let problem = "unreadable sectors without exact crash states".to_owned();
            Err(Problem::at(count, problem, "expected `crashes = \"exact\"` beside it"))
        }
    }
}

fn schedules(shape: &Spanned<TextOr<file::SomeSchedules>>) -> Result<Schedules> {
    match shape.get_ref() {
        TextOr::Table(table) => some_schedules(shape, table),
        TextOr::Text(text) => match text.as_str() {
            "exhaustive" => Ok(Schedules::Exhaustive(Reduction::Chosen)),
            "fifo" => Ok(Schedules::Fifo),
            _ => {
                let problem = format!("unknown schedules `{text}`");
                Err(Problem::at(shape, problem, SCHEDULES_EXPECTED))
            }
        },
    }
}

const SCHEDULES_EXPECTED: &str = "expected \"exhaustive\", \"fifo\", { exhaustive = ENGINE }, \
                                  { delays = COUNT } or { random = COUNT, seed = SEED }";

fn some_schedules<T>(place: &Spanned<T>, table: &file::SomeSchedules) -> Result<Schedules> {
    match table {
        file::SomeSchedules {
            exhaustive: Some(engine),
            delays: None,
            random: None,
            seed: None,
            by: None,
        } => Ok(Schedules::Exhaustive(named(engine, "engine", &REDUCTIONS)?)),
        file::SomeSchedules {
            exhaustive: None,
            delays: Some(delays),
            random: None,
            seed: None,
            by: None,
        } => Ok(Schedules::Delays(small(delays)?)),
        file::SomeSchedules {
            exhaustive: None,
            delays: None,
            random: Some(count),
            seed: Some(seed),
            by,
        } => Ok(Schedules::Random {
            count: positive(count)?,
            seed: *seed.get_ref(),
            by: by.as_ref().map_or(Ok(Draw::Walk), |by| named(by, "way to draw", &DRAWS))?,
        }),
        _ => Err(Problem::at(place, "not one kind of schedules", SCHEDULES_EXPECTED)),
    }
}

fn crashes(shape: &Spanned<TextOr<file::SampledCrashes>>) -> Result<Crashes> {
    match shape.get_ref() {
        TextOr::Table(table) => {
            Ok(Crashes::Sampled { count: positive(&table.sampled)?, seed: *table.seed.get_ref() })
        }
        TextOr::Text(text) => match text.as_str() {
            "exact" => Ok(Crashes::Exact),
            "none" => Ok(Crashes::None),
            _ => {
                let expected = "expected \"exact\", \"none\" or { sampled = COUNT, seed = SEED }";
                Err(Problem::at(shape, format!("unknown crashes `{text}`"), expected))
            }
        },
    }
}

fn any_fault(shape: &file::AnyFaults, disks: &[DiskSpec]) -> Result<AnyFault> {
    let default = AnyFault::default();
    let any = AnyFault {
        errors: small(&shape.errors)?,
        kinds: set(&shape.kinds, "kind of request", &KINDS, default.kinds)?,
        error: set(&shape.error, "error", &ERRORS, default.error)?,
        permanent: shape.permanent,
        disks: shape.disks.iter().map(|name| disk_name(name, disks)).collect::<Result<_>>()?,
    };
    // Without a budget the rest means nothing: one way to say "none".
    Ok(if any.errors == 0 { AnyFault::default() } else { any })
}

/// Some of `names`, each at most once and in their order.
fn set<T: Copy + PartialEq>(
    shape: &Option<Spanned<Vec<Text>>>,
    what: &str,
    names: &[(&str, T)],
    default: Vec<T>,
) -> Result<Vec<T>> {
    let Some(list) = shape else { return Ok(default) };
    if list.get_ref().is_empty() {
        return Err(Problem::at(list, "an empty list", format!("expected at least one {what}")));
    }
    let values =
        list.get_ref().iter().map(|text| named(text, what, names)).collect::<Result<Vec<_>>>()?;
    Ok(names.iter().map(|&(_, value)| value).filter(|value| values.contains(value)).collect())
}

fn disk_name(name: &Text, disks: &[DiskSpec]) -> Result<String> {
    if disks.iter().any(|disk| disk.name == *name.get_ref()) {
        Ok(name.get_ref().clone())
    } else {
        Err(unknown(name, "disk", disks.iter().map(|disk| disk.name.as_str())))
    }
}

fn placed_fault(
    fault: &Spanned<file::PlacedFault>,
    disks: &[DiskSpec],
    budget: u32,
) -> Result<PlacedFault> {
    let shape = fault.get_ref();
    let disk = disk_name(&shape.disk, disks)?;
    let kind = match &shape.bad_sector {
        Some(sector) => {
            let others = [
                shape.on.is_some(),
                shape.nth.is_some(),
                shape.fail.is_some(),
                shape.corrupt.is_some(),
                shape.misdirect.is_some(),
                shape.permanent.is_some(),
            ];
            if others.contains(&true) {
                let expected = "expected only `disk` beside it";
                return Err(Problem::at(
                    sector,
                    "a bad sector that is something else too",
                    expected,
                ));
            }
            PlacedFaultKind::BadSector(*sector.get_ref())
        }
        None => {
            let sector_len =
                disks.iter().find(|it| it.name == disk).map_or(512, |it| it.sector_len);
            PlacedFaultKind::Request(request_fault(fault, sector_len as u64, budget)?)
        }
    };
    Ok(PlacedFault { disk, kind })
}

fn request_fault(
    fault: &Spanned<file::PlacedFault>,
    sector_len: u64,
    budget: u32,
) -> Result<Fault> {
    let shape = fault.get_ref();
    let Some(on_text) = &shape.on else {
        let expected = "expected `on`, or `bad_sector`";
        return Err(Problem::at(&shape.disk, "which requests does it hit?", expected));
    };
    let on = named(on_text, "kind of request", &KINDS)?;
    let which = match &shape.nth {
        Some(nth) => Which::Nth(positive_u32(nth)?),
        None if budget > 0 => Which::Any,
        None => {
            let expected = "expected `nth`, or a budget in faults = { errors = COUNT }";
            return Err(Problem::at(on_text, "which request of the kind?", expected));
        }
    };
    let effect = effect(shape, sector_len, on_text)?;
    let allowed = match effect {
        FaultEffect::Fail(_) => true,
        FaultEffect::Corrupt => matches!(on, OpKind::Read | OpKind::Write),
        FaultEffect::Misdirect { .. } => on == OpKind::Write,
    };
    if !allowed {
        let problem = format!("a {} cannot end like that", on_text.get_ref());
        return Err(Problem::at(on_text, problem, "expected `write`, or `read` for `corrupt`"));
    }
    Ok(Fault { on, which, effect, permanent: shape.permanent.unwrap_or(false) })
}

fn effect(shape: &file::PlacedFault, sector_len: u64, place: &Text) -> Result<FaultEffect> {
    let corrupt = shape.corrupt.as_ref().is_some_and(|flag| *flag.get_ref());
    match (&shape.fail, corrupt, &shape.misdirect) {
        (Some(error), false, None) => Ok(FaultEffect::Fail(named(error, "error", &ERRORS)?)),
        (None, true, None) => Ok(FaultEffect::Corrupt),
        (None, false, Some(shift)) => {
            Ok(FaultEffect::Misdirect { shift: multiple(shift, sector_len)? })
        }
        _ => {
            let expected = "expected exactly one of `fail`, `corrupt = true`, `misdirect`";
            Err(Problem::at(place, "what happens to the request?", expected))
        }
    }
}
