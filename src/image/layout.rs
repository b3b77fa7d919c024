//! Options of new images, by format.

use super::format::Format;
use super::fvd_options::FvdLayout;
use super::qcow2_options::Qcow2Layout;
use crate::failure::Failure;

/// How a new image stores things.
#[derive(clap::Args, Debug, Clone, Default)]
pub(super) struct Layout {
    #[command(flatten, next_help_heading = "FVD options")]
    pub(super) fvd: FvdLayout,
    #[command(flatten, next_help_heading = "qcow2 options")]
    pub(super) qcow2: Qcow2Layout,
}

impl Layout {
    /// Fails if an option is given that images of `format`, which `choose` says, do not have.
    pub(super) fn must_fit(&self, format: Format, choose: &str) -> Result<(), Failure> {
        let fvd = self.fvd.given().map(|option| (Format::Fvd, option));
        let qcow2 = self.qcow2.given().map(|option| (Format::Qcow2, option));
        match [fvd, qcow2].into_iter().flatten().find(|&(owner, _)| owner != format) {
            None => Ok(()),
            Some((owner, option)) => Err(only_for(option, owner, choose)),
        }
    }
}

/// The failure that `option` is for images of `owner`, which `choose` chooses.
pub(super) fn only_for(option: &str, owner: Format, choose: &str) -> Failure {
    let name = owner.name();
    Failure::input(format!("{option} is for {name} images; leave it out, or add {choose} {name}"))
}

/// The first option that is given.
pub(super) fn first_given(options: &[(&'static str, bool)]) -> Option<&'static str> {
    options.iter().find(|&&(_, given)| given).map(|&(name, _)| name)
}
