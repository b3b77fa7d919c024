//! `[replay]`: the way to a violation.

use super::Result;
use super::value::{index, parsed, small, unknown};
use crate::exec::{ChoiceKind, Trace, TracedChoice};
use crate::scenario::error::Problem;
use crate::scenario::file;
use crate::scenario::{DiskLeft, Left, PowerCut, Replay};

pub(super) fn replay(shape: &file::Replay, disks: &[&str]) -> Result<Replay> {
    let version = small(&shape.trace_version)?;
    if version != Trace::VERSION {
        let problem = format!("a trace of version {version}");
        let expected = format!("expected {}: this program cannot replay others", Trace::VERSION);
        return Err(Problem::at(&shape.trace_version, problem, expected));
    }
    let choices = shape.choices.iter().map(choice).collect::<Result<_>>()?;
    let crashes = shape.crash.iter().map(|crash| power_cut(crash, disks)).collect::<Result<_>>()?;
    Ok(Replay {
        invariant: parsed(&shape.invariant, "not an invariant's name")?,
        message: shape.message.get_ref().clone(),
        trace: Trace { version, choices },
        crashes,
    })
}

fn choice(shape: &file::Choice) -> Result<TracedChoice> {
    let kinds = [ChoiceKind::Event, ChoiceKind::Coin];
    let kind = ChoiceKind::from_name(shape.kind.get_ref()).ok_or_else(|| {
        unknown(&shape.kind, "kind of choice", kinds.into_iter().map(ChoiceKind::name))
    })?;
    Ok(TracedChoice { kind, index: index(&shape.index)?, label: shape.label.get_ref().clone() })
}

fn power_cut(shape: &file::Crash, disks: &[&str]) -> Result<PowerCut> {
    let given = shape.disks.get_ref();
    for name in given.keys().chain(shape.unreadable.keys()) {
        if !disks.contains(&name.get_ref().as_str()) {
            return Err(unknown(name, "disk", disks.iter().copied()));
        }
    }
    let disk = |&name: &&str| {
        let left = given.iter().find(|(key, _)| key.get_ref() == name).map(|(_, left)| left);
        let Some(left) = left else {
            let problem = format!("nothing about the disk `{name}`");
            return Err(Problem::at(&shape.at, problem, "expected every disk of the system"));
        };
        let left = left.iter().map(left_of).collect::<Result<_>>()?;
        let unreadable = shape.unreadable.iter().find(|(key, _)| key.get_ref() == name);
        let unreadable = unreadable.map_or(&[][..], |(_, sectors)| sectors);
        let unreadable = unreadable.iter().map(|sector| *sector.get_ref()).collect();
        Ok(DiskLeft { disk: name.to_owned(), left, unreadable })
    };
    Ok(PowerCut {
        session: small(&shape.session)?,
        at: *shape.at.get_ref(),
        disks: disks.iter().map(disk).collect::<Result<_>>()?,
    })
}

fn left_of(shape: &file::Left) -> Result<Left> {
    let (option, of) = (index(&shape.option)?, index(&shape.of)?);
    if option >= of {
        let problem = format!("option {option} of {of}");
        return Err(Problem::at(&shape.option, problem, format!("expected less than {of}")));
    }
    Ok(Left {
        variable: shape.variable.get_ref().clone(),
        option,
        of,
        label: shape.label.get_ref().clone(),
    })
}
