//! What of a fault plan is still to come.

use super::{Faults, Which};
use crate::disk::request::OpKind;
use crate::fingerprint::Parts;

impl Faults {
    /// Whether there is a fault for exactly this request.
    pub(crate) fn waits_for(&self, kind: OpKind, number: u32) -> bool {
        let nth = Which::Nth(number);
        self.plan.faults.iter().any(|fault| fault.on == kind && fault.which == nth)
    }

    /// Identifies the faults that may still hit, among executions of one plan.
    ///
    /// Submissions are counted only as far as a fault on the n-th request needs it, so that
    /// otherwise their order makes no difference.
    pub(crate) fn fingerprint(&self) -> u128 {
        if self.plan.faults.is_empty() && self.plan.bad_sectors.is_empty() {
            return 0;
        }
        let mut key = Parts::of("faults").word(u64::from(self.budget_left())).end();
        for (fault, &hit) in self.plan.faults.iter().zip(&self.hit) {
            let counted = match fault.which {
                Which::Nth(number) => number.min(self.submitted[fault.on as usize]),
                Which::Any => 0,
            };
            let on = fault.permanent && hit;
            key = Parts::of("fault").key(key).word(u64::from(on)).word(u64::from(counted)).end();
        }
        for &sector in &self.plan.bad_sectors {
            key = Parts::of("bad").key(key).word(sector).end();
        }
        key
    }

    /// How many more faults may be chosen, if there are any to choose from.
    fn budget_left(&self) -> u32 {
        let any = self.plan.faults.iter().any(|fault| fault.which == Which::Any);
        if any { self.plan.budget.saturating_sub(self.used) } else { 0 }
    }
}
