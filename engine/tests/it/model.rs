//! What a guest may read: for each sector the writes that are not ruled out.

use std::sync::Arc;

use crate::cell::Cell;

/// Content of a sector: which guest address it was written to, and by which write. The base has
/// serial 1; 0 is a sector of zeros.
pub(crate) type Value = u64;

pub(crate) fn stamp(sector: u64, serial: u64) -> Value {
    serial << 32 | (sector + 1)
}

pub(crate) fn fill(value: Value) -> Vec<u8> {
    value.to_le_bytes().repeat(64)
}

/// The value of a sector.
///
/// # Panics
/// If the sector is a mixture.
pub(crate) fn value_of(bytes: &[u8]) -> Value {
    let value = Value::from_le_bytes(bytes[..8].try_into().unwrap());
    assert_eq!(bytes, fill(value), "a torn sector");
    value
}

#[derive(Debug, Clone)]
struct Write {
    value: Value,
    submitted: u64,
    /// When nothing of it could happen any more: it completed, failed, or was dropped.
    ended: Option<u64>,
    succeeded: bool,
}

#[derive(Debug, Clone)]
struct Sector {
    /// What it reads as before any write of this session.
    live: Value,
    /// What it may read as after a power cut, if no write of this session is promised.
    initial: Vec<Value>,
    writes: Vec<Write>,
}

#[derive(Debug, Clone, Default)]
struct State {
    now: u64,
    flushed: u64,
    sectors: Vec<Sector>,
    serials: u64,
}

/// The model, shared by the clients.
#[derive(Clone)]
pub(crate) struct Model {
    state: Arc<Cell<State>>,
}

/// When a request began.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Begun(u64);

impl Write {
    /// Whether `later` rules this write out for whoever looks after `time`.
    fn is_over(&self, later: &Self, time: u64) -> bool {
        let done = later.succeeded && later.ended.is_some_and(|ended| ended < time);
        done && self.ended.is_some_and(|ended| ended < later.submitted)
    }
}

impl Sector {
    fn candidates(&self, initial: &[Value], time: u64) -> Vec<Value> {
        let promised =
            |write: &Write| write.succeeded && write.ended.is_some_and(|ended| ended < time);
        let mut values = Vec::new();
        if !self.writes.iter().any(promised) {
            values.extend(initial);
        }
        for write in &self.writes {
            if !self.writes.iter().any(|later| write.is_over(later, time)) {
                values.push(write.value);
            }
        }
        values
    }
}

impl Model {
    pub(crate) fn new(values: impl Iterator<Item = Value>) -> Self {
        let sector = |value| Sector { live: value, initial: vec![value], writes: Vec::new() };
        let state = State { sectors: values.map(sector).collect(), ..State::default() };
        Self { state: Arc::new(Cell::new(state)) }
    }

    fn tick(state: &mut State) -> u64 {
        state.now += 1;
        state.now
    }

    /// A serial that no other write has.
    pub(crate) fn new_serial(&self) -> u64 {
        self.state.with(|state| {
            state.serials += 1;
            1 + state.serials
        })
    }

    pub(crate) fn begin(&self) -> Begun {
        Begun(self.state.with(Self::tick))
    }

    pub(crate) fn begin_write(&self, first: u64, values: &[Value]) -> Begun {
        self.state.with(|state| {
            let submitted = Self::tick(state);
            for (at, &value) in (usize::try_from(first).unwrap()..).zip(values) {
                let write = Write { value, submitted, ended: None, succeeded: false };
                state.sectors[at].writes.push(write);
            }
            Begun(submitted)
        })
    }

    pub(crate) fn end_write(&self, first: u64, values: &[Value], succeeded: bool) {
        self.state.with(|state| {
            let now = Self::tick(state);
            for (at, value) in (usize::try_from(first).unwrap()..).zip(values) {
                let writes = &mut state.sectors[at].writes;
                let write = writes.iter_mut().find(|write| write.value == *value).unwrap();
                write.ended = Some(now);
                write.succeeded = succeeded;
            }
        });
    }

    pub(crate) fn end_flush(&self, begun: Begun) {
        self.state.with(|state| state.flushed = state.flushed.max(begun.0));
    }

    /// Checks what a read that began at `begun` has returned.
    pub(crate) fn check_read(&self, begun: Begun, first: u64, bytes: &[u8]) {
        self.state.with(|state| {
            for (at, sector) in (usize::try_from(first).unwrap()..).zip(bytes.chunks(512)) {
                let model = &state.sectors[at];
                let allowed = model.candidates(&[model.live], begun.0);
                let value = value_of(sector);
                assert!(allowed.contains(&value), "sector {at}: {value:#x} of {model:#x?}");
            }
        });
    }

    /// Checks the whole disk after a power cut; what it holds is what it holds from now on.
    pub(crate) fn check_recovered(&self, bytes: &[u8]) {
        self.state.with(|state| {
            let flushed = state.flushed;
            for (at, sector) in bytes.chunks(512).enumerate() {
                let model = &mut state.sectors[at];
                let allowed = model.candidates(&model.initial, flushed);
                let value = value_of(sector);
                assert!(
                    allowed.contains(&value),
                    "sector {at}: {value:#x} after the power cut, flushed {flushed}, {model:#x?}"
                );
                *model = Sector { live: value, initial: vec![value], writes: Vec::new() };
            }
            (state.now, state.flushed) = (0, 0);
        });
    }

    /// Checks the whole disk after a new open without a power cut. Unless the image was `closed`,
    /// it holds what a power cut could have left, and a later one may still bring back the rest.
    pub(crate) fn check_reopened(&self, bytes: &[u8], closed: bool) {
        self.state.with(|state| {
            let (now, flushed) = (state.now + 1, state.flushed);
            for (at, sector) in bytes.chunks(512).enumerate() {
                let model = &mut state.sectors[at];
                let promised = if closed { now } else { flushed };
                let allowed = model.candidates(&model.initial, promised);
                let value = value_of(sector);
                assert!(allowed.contains(&value), "sector {at}: {value:#x} of {model:#x?}");
                let initial = if closed { vec![value] } else { allowed };
                *model = Sector { live: value, initial, writes: Vec::new() };
            }
            (state.now, state.flushed) = (0, 0);
        });
    }
}
