//! `[disks.NAME]`: the model and modifiers of each disk that the system has.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Result;
use super::value::{duration, parsed, unknown};
use crate::disk::DiskSpec;
use crate::scenario::error::Problem;
use crate::scenario::file::{self, Number, Text};
use crate::scenario::{StorageContent, SystemSpec};

/// Every disk of `system`, in its order; those that the file does not mention are the default.
pub(super) fn disks(
    shapes: &BTreeMap<Text, file::Disk>,
    system: &SystemSpec,
) -> Result<Vec<DiskSpec>> {
    let names = system.disk_names();
    for name in shapes.keys() {
        if !names.contains(&name.get_ref().as_str()) {
            return Err(unknown(name, "disk", names.iter().copied()));
        }
    }
    let storage = system.data_disk();
    let disk = |name: &'static str| {
        let mut disk = DiskSpec::new(name);
        disk.zero_init = name != storage || system.storage() == StorageContent::Zero;
        let shape = shapes.iter().find(|(key, _)| key.get_ref() == name);
        shape.map_or(Ok(()), |(_, shape)| fill(&mut disk, shape))?;
        Ok(disk)
    };
    names.into_iter().map(disk).collect()
}

fn fill(disk: &mut DiskSpec, shape: &file::Disk) -> Result<()> {
    if let Some(model) = &shape.model {
        disk.model = parsed(model, "not a device model")?;
    }
    if let Some(sector) = &shape.sector {
        disk.sector_len = match *sector.get_ref() {
            512 => 512,
            4096 => 4096,
            other => {
                let problem = format!("a sector of {other} bytes");
                return Err(Problem::at(sector, problem, "expected 512 or 4096"));
            }
        };
    }
    if let Some(tear) = &shape.tear {
        disk.tear = Some(tear_unit(tear, disk.sector_len)?);
    }
    if let Some(discard) = &shape.discard {
        disk.discard = parsed(discard, "not a content of discarded ranges")?;
    }
    if let Some(failed_flush) = &shape.failed_flush {
        disk.failed_flush = parsed(failed_flush, "not a meaning of a failed flush")?;
    }
    if let Some(resizable) = shape.resizable {
        disk.resizable = resizable;
    }
    if let Some(latency) = &shape.latency {
        disk.latency = duration(latency, Duration::from_micros(1), "microseconds")?;
    }
    Ok(())
}

fn tear_unit(tear: &Number, sector_len: usize) -> Result<usize> {
    usize::try_from(*tear.get_ref())
        .ok()
        .filter(|&unit| unit > 0 && unit < sector_len && 512_usize.is_multiple_of(unit))
        .ok_or_else(|| {
            let expected = "expected a divisor of 512 that is less than the sector";
            Problem::at(tear, format!("tears of {} bytes", tear.get_ref()), expected)
        })
}
