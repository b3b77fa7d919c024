//! An opened image as a device.

use std::sync::Arc;
use std::time::Duration;

use plugpull_engine::fvd::{Fvd, PrefetchState};
use plugpull_engine::{ByteRange, Error, Runtime};

use crate::oracle::Finding;
use crate::system::fvd::structure;
use crate::system::{BoxFuture, Device};

/// How often the end of prefetching is looked for.
const JOB_POLL: Duration = Duration::from_millis(10);

pub(super) struct FvdDevice {
    fvd: Fvd,
    runtime: Arc<dyn Runtime>,
}

impl FvdDevice {
    pub(super) fn new(fvd: Fvd, runtime: Arc<dyn Runtime>) -> Self {
        Self { fvd, runtime }
    }
}

impl Device for FvdDevice {
    fn read(&self, range: ByteRange) -> BoxFuture<Result<Vec<u8>, Error>> {
        let fvd = self.fvd.clone();
        Box::pin(async move { fvd.read(range).await })
    }

    fn write(&self, offset: u64, data: Vec<u8>) -> BoxFuture<Result<(), Error>> {
        let fvd = self.fvd.clone();
        Box::pin(async move { fvd.write(offset, data).await })
    }

    fn flush(&self) -> BoxFuture<Result<(), Error>> {
        let fvd = self.fvd.clone();
        Box::pin(async move { fvd.flush().await })
    }

    fn close(&self) -> BoxFuture<Result<(), Error>> {
        let fvd = self.fvd.clone();
        Box::pin(async move { fvd.close().await })
    }

    fn wait_for_jobs(&self) -> BoxFuture<()> {
        let (fvd, runtime) = (self.fvd.clone(), Arc::clone(&self.runtime));
        Box::pin(async move {
            while fvd.prefetch_state() == PrefetchState::Running {
                runtime.sleep(JOB_POLL).await;
            }
        })
    }

    fn job_is_running(&self) -> bool {
        self.fvd.prefetch_state() == PrefetchState::Running
    }

    fn check(&self) -> Option<Finding> {
        structure::injective(&self.fvd).or_else(|| structure::local_blocks_are_mapped(&self.fvd))
    }
}
