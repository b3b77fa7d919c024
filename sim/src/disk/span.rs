//! When a change was in flight, and what is known of its fate: the partial order that every rule
//! of the cache is stated in.
//!
//! *a precedes b* if a ended before b was submitted. Changes that do not precede one another are
//! unordered: the medium may take them in either order.

/// The life of one change of one unit (a sector, the length).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    /// Moment of submission.
    pub(crate) submitted: u64,
    /// Moment of completion, successful or not.
    pub(crate) ended: Option<u64>,
    /// It ended in an error: it may or may not have taken place, and nothing makes it durable.
    pub(crate) failed: bool,
    /// It is durable: every crash state includes it.
    pub(crate) required: bool,
    /// A failed flush made the cache forget that it is dirty: later flushes do not cover it.
    pub(crate) dropped: bool,
}

impl Span {
    /// A change that is submitted now.
    pub(crate) fn new(submitted: u64) -> Self {
        Self { submitted, ended: None, failed: false, required: false, dropped: false }
    }

    /// Whether it ended before `other` was submitted.
    pub(crate) fn precedes(&self, other: &Self) -> bool {
        self.ended.is_some_and(|ended| ended < other.submitted)
    }

    /// Whether a successful flush submitted at `moment` makes it durable.
    pub(crate) fn covered_by(&self, moment: u64) -> bool {
        !self.failed && !self.dropped && self.ended.is_some_and(|ended| ended < moment)
    }

    /// Whether nothing more is going to be decided about it.
    fn settled(&self) -> bool {
        self.ended.is_some() && (self.required || self.failed)
    }
}

/// Something with a [`Span`].
pub(crate) trait Spanned {
    /// Its span.
    fn span(&self) -> &Span;
    /// Its span, to change.
    fn span_mut(&mut self) -> &mut Span;
}

/// Makes durable what a flush submitted at `moment` covers. Returns whether anything is new.
pub(crate) fn cover<T: Spanned>(items: &mut [T], moment: u64) -> bool {
    let mut any = false;
    for item in items.iter_mut() {
        let span = item.span_mut();
        if !span.required && span.covered_by(moment) {
            span.required = true;
            any = true;
        }
    }
    any && {
        require_predecessors(items);
        true
    }
}

/// Makes durable what precedes something durable: the medium took the changes of one unit in an
/// order that extends *precedes*. Failed changes stay optional.
pub(crate) fn require_predecessors<T: Spanned>(items: &mut [T]) {
    for index in 0..items.len() {
        let span = *items[index].span();
        if span.required || span.failed || span.ended.is_none() {
            continue;
        }
        let needed = items.iter().any(|later| later.span().required && span.precedes(later.span()));
        items[index].span_mut().required = needed;
    }
}

/// Marks what a failed flush submitted at `moment` loses sight of.
pub(crate) fn drop_dirty<T: Spanned>(items: &mut [T], moment: u64) -> bool {
    let mut any = false;
    for span in items.iter_mut().map(T::span_mut) {
        if !span.required && span.covered_by(moment) {
            span.dropped = true;
            any = true;
        }
    }
    any
}

/// Which items can be folded into what lies beneath: the largest set of settled items all of
/// which precede everything outside the set, `barriers` included.
pub(crate) fn foldable<T: Spanned>(items: &[T], barriers: &[Span]) -> Vec<bool> {
    let mut inside: Vec<bool> = items
        .iter()
        .map(|item| {
            let span = item.span();
            span.settled() && barriers.iter().all(|barrier| span.precedes(barrier))
        })
        .collect();
    loop {
        let blocked = (0..items.len()).find(|&x| {
            inside[x]
                && (0..items.len())
                    .any(|y| !inside[y] && !items[x].span().precedes(items[y].span()))
        });
        match blocked {
            Some(x) => inside[x] = false,
            None => return inside,
        }
    }
}

/// The order in which "everything kept" applies items: completed ones by completion, then those
/// in flight by submission; failed ones are left out.
pub(crate) fn kept_order<T: Spanned>(items: &[T]) -> Vec<usize> {
    let mut order: Vec<usize> =
        (0..items.len()).filter(|&index| !items[index].span().failed).collect();
    order.sort_by_key(|&index| {
        let span = items[index].span();
        (span.ended.unwrap_or(u64::MAX), span.submitted)
    });
    order
}
