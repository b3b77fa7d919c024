//! Q-REPAIR: what a recovery leaves that has repaired, and that another one has nothing to do.
//!
//! Asked of a copy of the disks as recovery has left them. A repair has read all tables, so that no
//! answer depends on anything undecided; if one does, it is asked in every way.

use std::ops::ControlFlow;

use crate::crash::{Certificate, DirectWorld};
use crate::explore::cuts::{Cuts, Report};
use crate::explore::leaf::{Recovered, run};
use crate::oracle::Finding;
use crate::system::Purpose;
use crate::verdict::Invariant;

impl Cuts {
    /// Judges a recovery that has changed the disks of a system that repairs. Not where sectors may be
    /// unreadable.
    pub(super) fn check_repair(
        &mut self,
        recovered: &Recovered,
        report: Report<'_>,
    ) -> ControlFlow<()> {
        if !self.system.repairs() || !recovered.world.changed() {
            return ControlFlow::Continue(());
        }
        let disks = recovered.world.with_disks(|disks| disks.clone());
        if disks.unreadable().is_some() {
            return ControlFlow::Continue(());
        }
        let taken = self.chain.last().expect("a power cut was taken").taken.clone();
        let mut path = disks.path.branch_here();
        let mut certificate = Certificate::new(disks.states());
        loop {
            let world = DirectWorld::new(disks.clone().on(path));
            let finding = self.left_by_repair(&world);
            path = world.path();
            self.trusted(path.end())?;
            world.with_disks(|disks| {
                self.narrow(disks);
                certificate.add(&disks.states());
            });
            if let Some(finding) = finding {
                self.observe(|observed| observed.finding(&finding));
                self.note_wrong(|wrong| wrong.everything = true);
                self.lost(finding, None, report)?;
            }
            if !path.advance() {
                self.trusted(certificate.verify())?;
                break;
            }
            if self.is_too_many(certificate.ways()) {
                break;
            }
        }
        self.chain.last_mut().expect("a power cut was taken").taken = taken;
        ControlFlow::Continue(())
    }

    /// What is left to be done after a repair: by the oracle, and by another recovery.
    fn left_by_repair(&self, world: &DirectWorld) -> Option<Finding> {
        let left = world.with_disks(|disks| self.system.check_repaired(disks));
        if left.is_some() {
            return left;
        }
        let changes = world.with_disks(|disks| disks.changes());
        let open = self.system.open(world.disks(), world.runtime(), Purpose::Recovery);
        let opened = match run(world, "a second recovery", open) {
            Ok(opened) => opened,
            Err(finding) => return Some(finding),
        };
        world.settle();
        let message = match opened {
            Err(error) => format!("after a repair the device refuses to open: {error}"),
            Ok(_) if world.with_disks(|disks| disks.changes()) > changes => {
                "after a repair another opening writes".to_owned()
            }
            Ok(_) => return None,
        };
        Some(Finding { invariant: Invariant::QRepair, message })
    }
}
