//! Which disk an image means by a name: the scenario's, whatever the name.

use std::sync::Arc;

use plugpull_engine::resolver::{BoxFuture, Resolver, Role};
use plugpull_engine::{Disk, Error, Runtime};

pub(super) struct SimResolver {
    pub(super) data: Option<Arc<dyn Disk>>,
    /// The base image or backing file.
    pub(super) below: Option<Arc<dyn Disk>>,
    pub(super) runtime: Arc<dyn Runtime>,
}

impl Resolver for SimResolver {
    fn open<'a>(
        &'a self,
        role: Role,
        name: &'a str,
        format: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Arc<dyn Disk>, Error>> {
        if !matches!(format, None | Some("raw")) {
            // Only an engine that probes asks for this: the scenario's files are raw.
            self.runtime.event("foreign-format-opened");
        }
        let disk = match role {
            Role::Base => &self.below,
            Role::Data => &self.data,
        };
        let answer = disk.clone().ok_or_else(|| {
            Error::Unsupported(format!("the scenario has no file for {role:?} {name:?}"))
        });
        Box::pin(std::future::ready(answer))
    }
}
