//! Runs a model under an engine until that one has enough.

use plugpull_sim::orders::{Engine, Footprint, Moment, NotRepeated, Pick, Ran, Ways};

/// Asks the engine which way the event under way goes.
pub(crate) type Choose<'a> = &'a mut dyn FnMut(usize) -> Result<usize, NotRepeated>;

/// A system that can be run again.
pub(crate) trait Model {
    type Footprint: Footprint;

    /// Back to the beginning.
    fn start(&mut self);

    /// Adds the enabled processes to an empty list.
    fn enabled(&self, into: &mut Vec<u64>);

    /// Runs the event of an enabled process, which is the `step`th of the execution.
    fn step(
        &mut self,
        process: u64,
        step: usize,
        choose: Choose<'_>,
    ) -> Result<Ran<Self::Footprint>, NotRepeated>;

    /// Identifies the state.
    fn fingerprint(&self) -> u128;
}

/// Runs all executions. `moment` sees the model at every moment that is new, and some that are not;
/// `end` sees it after each execution, with whether that one was complete.
pub(crate) fn search<M: Model, E: Engine<u64, M::Footprint>>(
    model: &mut M,
    engine: &mut E,
    mut moment: impl FnMut(&M),
    mut end: impl FnMut(&M, &E, bool),
) -> Result<(), NotRepeated> {
    let mut enabled = Vec::new();
    while engine.begin() {
        let complete = execute(model, engine, &mut enabled, &mut moment)?;
        let mut fingerprint = || model.fingerprint();
        engine.end(if complete { Some(&mut fingerprint) } else { None })?;
        end(model, engine, complete);
    }
    Ok(())
}

/// Runs one execution; whether it came to its end.
pub(crate) fn execute<M: Model, E: Engine<u64, M::Footprint>>(
    model: &mut M,
    engine: &mut E,
    enabled: &mut Vec<u64>,
    moment: &mut impl FnMut(&M),
) -> Result<bool, NotRepeated> {
    let new = engine.first_new_step();
    model.start();
    for step in 0.. {
        if step >= new {
            moment(model);
        }
        enabled.clear();
        model.enabled(enabled);
        if enabled.is_empty() {
            break;
        }
        let mut fingerprint = || model.fingerprint();
        let mut now = Moment { enabled, mishaps: 0, fingerprint: &mut fingerprint };
        let place = match engine.pick(&mut now)? {
            Pick::Run(place) => place,
            Pick::Stop(_) => return Ok(false),
        };
        let mut choose = |count| engine.choose(Ways { count, mishaps: 0 });
        let ran = model.step(enabled[place], step, &mut choose)?;
        if engine.ran(ran)?.is_some() {
            // The state after this event is reached even though nothing follows it.
            moment(model);
            return Ok(false);
        }
    }
    Ok(true)
}
