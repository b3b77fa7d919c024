//! Prefetching: the rest of the base is copied in the background, until it is not needed any more.
//!
//! One task. After its start delay it reads regions of the base one after the other into a few
//! slots, and stores them one after the other, softly like copy-on-read: a read and a store may be
//! in flight together. Blocks that became local meanwhile are left out. Reading or storing that is
//! too slow may make it pause; any error ends it.
//!
//! At the end, in this order: every block is seen to be local; the data storage is flushed; the
//! maps are written and durable; the header sector with `all_data_in_fvd_img` = 1 is written; flush.
//! So the medium never says that the base is not needed while a part of it is missing.

use std::collections::VecDeque;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use super::events;
use super::header::ALL_DATA_SECTOR;
use super::image::{Image, PrefetchState};
use super::plan::round_out_to_chunks;
use super::planted::Bug;
use super::throughput::Throughput;
use super::write_maps::MapsFlush;
use crate::error::Error;
use crate::runtime::BoxTask;
use crate::sync::LockMode;

/// The longest region, whatever the header asks for (unless one block is longer), the longest
/// block, and the largest number of slots: together they bound the memory that a header can make us
/// use.
const REGION_MAX: u64 = 1 << 20;
const BLOCK_MAX: u64 = 16 << 20;
const SLOTS_MAX: usize = 16;

impl Image {
    /// Starts prefetching, if the image wants it and may have it.
    pub(super) fn start_prefetching(self: &Arc<Self>) {
        let delay = self.settings.prefetch_start_delay;
        let wanted = self.geometry.base.is_some() && self.options.background && self.is_writable();
        let Some(delay) = u64::try_from(delay).ok().filter(|&delay| wanted && delay > 0) else {
            return;
        };
        if self.geometry.base.as_ref().is_some_and(|base| base.block_len > BLOCK_MAX) {
            return self.set_prefetch_state(PrefetchState::Disabled);
        }
        self.set_prefetch_state(PrefetchState::Running);
        let pass = self.requests.enter().expect("an image that is being opened is not shut");
        let image = Arc::clone(self);
        let task: BoxTask = Box::pin(async move {
            image.prefetch(Duration::from_secs(delay)).await;
            drop(pass);
        });
        self.options.runtime.spawn("prefetch", task);
    }

    async fn prefetch(self: &Arc<Self>, delay: Duration) {
        self.pause(delay).await;
        let copied = Prefetching::new(self).run().await;
        let finished = match copied {
            Ok(Copied::Everything) => self.finish_prefetching().await.map(|()| true),
            Ok(Copied::Stopped) => Ok(false),
            Err(error) => Err(error),
        };
        let (state, event) = match finished {
            Ok(true) => (PrefetchState::Finished, events::PREFETCH_FINISHED),
            Ok(false) => (PrefetchState::Off, events::PREFETCH_STOPPED),
            Err(_) => (PrefetchState::Disabled, events::PREFETCH_DISABLED),
        };
        self.set_prefetch_state(state);
        self.event(event);
    }

    fn set_prefetch_state(&self, prefetch: PrefetchState) {
        self.prefetch_state.set(prefetch);
    }

    /// Waits, but not longer than until the image is closed.
    async fn pause(&self, time: Duration) {
        let sleep = self.options.runtime.sleep(time);
        futures_util::future::select(sleep, self.stopping.happened()).await;
    }

    async fn finish_prefetching(&self) -> Result<(), Error> {
        let all = self.geometry.base_range();
        assert!(self.maps.missing(all).is_empty(), "blocks are missing after the last was copied");
        self.maps.fill();
        let early = self.planted().has(Bug::PrefetchDoneWithoutFlush);
        if early {
            self.write_all_data_flag().await?;
        }
        self.write_maps(MapsFlush::Durable).await?;
        if !early {
            self.write_all_data_flag().await?;
        }
        self.barrier.flush_metadata().await
    }

    async fn write_all_data_flag(&self) -> Result<(), Error> {
        self.write_header_sector(ALL_DATA_SECTOR, |header| header.all_data_in_fvd_img = 1).await
    }

    /// Stores what is still missing of a region that was read.
    async fn store_region(self: Arc<Self>, region: Region) -> Result<u64, Error> {
        let range = self.geometry.block_range(region.blocks);
        let lock = round_out_to_chunks(&self.geometry, range, &self.maps.unmapped(range));
        let _lock = self.lock(self.locks.new_key(), lock, LockMode::Exclusive).await;
        for blocks in self.maps.missing(range) {
            let part = self.geometry.block_range(blocks.clone());
            let at = |offset| usize::try_from(offset - range.offset).expect("within the bytes");
            let bytes = region.bytes[at(part.offset)..at(part.end())].to_vec();
            let stored = self.store_softly(blocks.clone(), bytes).await;
            if stored.is_err() && self.planted().has(Bug::PrefetchIgnoresFailedWrite) {
                self.publish(part, blocks, &[]);
                continue;
            }
            stored?;
            self.event(events::PREFETCH_COPIED);
        }
        Ok(range.len)
    }
}

/// How copying ended.
enum Copied {
    Everything,
    Stopped,
}

/// Blocks of the base, read and not yet stored.
#[derive(Hash)]
struct Region {
    blocks: Range<u64>,
    bytes: Vec<u8>,
}

/// A transfer in flight.
struct Transfer<T> {
    since: Duration,
    future: Pin<Box<dyn Future<Output = Result<T, Error>> + Send>>,
}

/// The copying task: at most one read and one store in flight, and slots between them.
struct Prefetching<'a> {
    image: &'a Arc<Image>,
    region_len: u64,
    slots: usize,
    throttle: Duration,
    reads: Throughput,
    writes: Throughput,
    /// The first block that was not looked at yet.
    next: u64,
    reading: Option<Transfer<Region>>,
    filled: VecDeque<Region>,
    storing: Option<Transfer<u64>>,
    pause_is_due: bool,
}

/// What has ended.
enum Ended {
    Read(Result<Region, Error>),
    Store(Result<u64, Error>),
}

impl<'a> Prefetching<'a> {
    fn new(image: &'a Arc<Image>) -> Self {
        let header = &image.settings;
        let unsigned = |value: i32| u64::try_from(value).unwrap_or(0);
        let alpha = header.prefetch_perf_calc_alpha;
        Self {
            image,
            region_len: unsigned(header.bytes_per_prefetch).min(REGION_MAX),
            slots: usize::try_from(header.num_prefetch_slots).unwrap_or(0).clamp(1, SLOTS_MAX),
            throttle: Duration::from_millis(unsigned(header.prefetch_throttle_time)),
            reads: Throughput::new(
                header.prefetch_read_throughput_measure_time,
                alpha,
                header.prefetch_min_read_throughput,
            ),
            writes: Throughput::new(
                header.prefetch_write_throughput_measure_time,
                alpha,
                header.prefetch_min_write_throughput,
            ),
            next: 0,
            reading: None,
            filled: VecDeque::new(),
            storing: None,
            pause_is_due: false,
        }
    }

    async fn run(mut self) -> Result<Copied, Error> {
        loop {
            self.forget_what_was();
            let stop = self.image.stopping.has_happened();
            if !stop {
                self.start_reading();
                self.start_storing();
            }
            if self.reading.is_none() && self.storing.is_none() {
                if stop {
                    return Ok(Copied::Stopped);
                }
                if !self.pause_is_due {
                    return Ok(Copied::Everything);
                }
                self.pause().await;
                continue;
            }
            match self.ended().await {
                Ok(()) => {}
                Err(error) => return self.wind_up(error).await,
            }
        }
    }

    /// With nothing in flight this is all there is to know of the rounds before.
    fn forget_what_was(&self) {
        if self.reading.is_none() && self.storing.is_none() {
            let left = (self.next, self.pause_is_due, &self.filled, &self.reads, &self.writes);
            self.image.options.runtime.tracker().forget(&left);
        }
    }

    /// Reads the next region, if there is one, a slot is free and no pause is due.
    fn start_reading(&mut self) {
        let in_slots = self.filled.len() + usize::from(self.storing.is_some());
        if self.reading.is_some() || self.pause_is_due || in_slots >= self.slots {
            return;
        }
        let Some(blocks) = self.next_region() else { return };
        self.next = blocks.end;
        let image = Arc::clone(self.image);
        let read = async move {
            let bytes = image.read_base(image.geometry.block_range(blocks.clone())).await?;
            Ok(Region { blocks, bytes })
        };
        self.reading = Some(Transfer { since: self.now(), future: Box::pin(read) });
    }

    fn next_region(&self) -> Option<Range<u64>> {
        let block_len = self.image.geometry.base.as_ref()?.block_len;
        self.image.maps.next_missing(self.next, (self.region_len / block_len).max(1))
    }

    fn start_storing(&mut self) {
        if self.storing.is_some() {
            return;
        }
        let Some(region) = self.filled.pop_front() else { return };
        let store = Arc::clone(self.image).store_region(region);
        self.storing = Some(Transfer { since: self.now(), future: Box::pin(store) });
    }

    /// Waits for one of the transfers, and counts it.
    async fn ended(&mut self) -> Result<(), Error> {
        match self.next_end().await {
            Ended::Read(region) => {
                let since = self.reading.take().expect("a read has ended").since;
                let region = region?;
                let slow = self.reads.add(region.bytes.len() as u64, self.now() - since);
                self.filled.push_back(region);
                self.consider_pause(slow);
            }
            Ended::Store(len) => {
                let since = self.storing.take().expect("a store has ended").since;
                let slow = self.writes.add(len?, self.now() - since);
                self.consider_pause(slow);
            }
        }
        Ok(())
    }

    async fn next_end(&mut self) -> Ended {
        std::future::poll_fn(|context| {
            if let Some(reading) = &mut self.reading
                && let Poll::Ready(read) = reading.future.as_mut().poll(context)
            {
                return Poll::Ready(Ended::Read(read));
            }
            if let Some(storing) = &mut self.storing
                && let Poll::Ready(stored) = storing.future.as_mut().poll(context)
            {
                return Poll::Ready(Ended::Store(stored));
            }
            Poll::Pending
        })
        .await
    }

    /// A slow transfer makes a pause due in one of two cases, so that images that share a slow
    /// disk do not all pause and resume together.
    fn consider_pause(&mut self, slow: bool) {
        if slow && !self.throttle.is_zero() && !self.pause_is_due {
            self.pause_is_due = self.image.options.runtime.coin("pause prefetching");
        }
    }

    async fn pause(&mut self) {
        self.image.event(events::PREFETCH_THROTTLED);
        self.image.pause(self.throttle).await;
        self.pause_is_due = false;
        self.reads.reset();
        self.writes.reset();
    }

    /// Waits for what is in flight, so that nothing goes on after the end.
    async fn wind_up(mut self, error: Error) -> Result<Copied, Error> {
        if let Some(reading) = self.reading.take() {
            drop(reading.future.await);
        }
        if let Some(storing) = self.storing.take() {
            drop(storing.future.await);
        }
        Err(error)
    }

    fn now(&self) -> Duration {
        self.image.options.runtime.now()
    }
}
