//! A disk of a world as an engine sees it: submitting is a call, completing is an event.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use plugpull_engine::{Disk, DiskProperties, IoFuture, WriteFlags};

use super::request::{Op, Reply};
use crate::exec::{Fetch, Port};

/// [`Disk`] on one disk of a world. What it is asked becomes a pending request of the running
/// task; which completes when is the schedule's choice.
pub(crate) struct SimDisk {
    pub(crate) port: Port,
    pub(crate) properties: DiskProperties,
}

impl SimDisk {
    fn submit<T: 'static>(&self, op: Op, convert: fn(Vec<u8>) -> T) -> IoFuture<T> {
        Box::pin(Request { fetch: self.port.submit(op), convert })
    }
}

impl Disk for SimDisk {
    fn read(&self, offset: u64, len: usize) -> IoFuture<Vec<u8>> {
        self.submit(Op::Read { offset, len }, |bytes| bytes)
    }

    fn write(&self, offset: u64, data: Vec<u8>, flags: WriteFlags) -> IoFuture<()> {
        self.submit(Op::Write { offset, data: Arc::from(data), flags }, drop)
    }

    fn flush(&self) -> IoFuture<()> {
        self.submit(Op::Flush, drop)
    }

    fn discard(&self, offset: u64, len: u64) -> IoFuture<()> {
        self.submit(Op::Discard { offset, len }, drop)
    }

    fn resize(&self, len: u64) -> IoFuture<()> {
        self.submit(Op::Resize { len }, drop)
    }

    fn len(&self) -> u64 {
        self.port.disk_len()
    }

    fn properties(&self) -> DiskProperties {
        self.properties
    }
}

/// A submitted request; ready when it has completed. Dropping it leaves the request in flight.
struct Request<T> {
    fetch: Fetch,
    convert: fn(Vec<u8>) -> T,
}

impl<T> Future for Request<T> {
    type Output = Result<T, plugpull_engine::DiskError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let reply: Poll<Reply> = self.fetch.poll(context);
        reply.map(|reply| reply.map(self.convert))
    }
}
