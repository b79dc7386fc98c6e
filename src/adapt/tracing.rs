//! Spans of the crate `tracing` that follow their task. (The feature `tracing`.)
//!
//! A subscriber keeps the spans that are entered for each *thread*. A greenlet that waits inside of a span would leave it
//! entered for all other tasks of the thread, whose events would be recorded as if they were of that span; and the spans
//! would be left in another order than they were entered. So the spans that a task has entered are exited when its turn
//! ends, and entered again when its next turn begins. A layer notes which they are. Once there is a layer, each run that is
//! made does this, by an observer of its own:
//!
//! ```
//! use tracing_subscriber::{Registry, layer::SubscriberExt};
//! use wouldblock::green;
//!
//! let subscriber = Registry::default().with(wouldblock::tracing::layer()); // and `fmt::layer()`, for example
//! tracing::subscriber::with_default(subscriber, || {
//!     wouldblock::run(|| {
//!         let task = green::spawn(|| {
//!             let _span = tracing::info_span!("request", id = 7).entered();
//!             green::yield_now(); // the root runs meanwhile, in no span
//!             tracing::Span::current().metadata().unwrap().name()
//!         });
//!         green::yield_now();
//!         assert!(tracing::Span::current().is_none());
//!         assert_eq!(task.join().unwrap(), "request");
//!     });
//! });
//! ```
//!
//! (A program sets its subscriber once, with `tracing::subscriber::set_global_default`, before its first run. The warnings of
//! this crate come by the crate `log`: `tracing_log::LogTracer::init()`, which `.init()` of a subscriber of
//! `tracing_subscriber` calls by default, makes events of them.)
//!
//! Spans that are entered around the run stay entered in all its tasks. A task that is spawned inside of a span does not
//! begin in it: `let span = Span::current(); green::spawn(move || span.in_scope(|| ..))`. An `async fn` with
//! `#[instrument]` enters its span for each poll, and needs none of this, unless it calls green code.
//!
//! What a subscriber does in an event must not wait: `tracing` itself drops what is recorded meanwhile.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::mem;
use std::rc::Rc;

use ::tracing::Subscriber;
use ::tracing::dispatcher::get_default;
use ::tracing::span::Id;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::kernel::edge::observe::{EventKind, Observer, TaskEvent};
use crate::run::builder::IN_EACH_RUN;

thread_local! {
    /// The spans that the code which runs has entered: those of the task that has its turn, or else of the code around
    /// the run.
    static ENTERED: RefCell<Vec<Id>> = const { RefCell::new(Vec::new()) };
    /// A turn begins or ends: what is entered and exited then is noted already.
    static SWITCHES: Cell<bool> = const { Cell::new(false) };
}

/// The layer that notes which spans a task has entered; each run that is made from now on switches them. See the
/// [module](self).
pub fn layer() -> SpanLayer {
    IN_EACH_RUN.get_or_init(|| || Rc::new(SpanObserver::default()));
    SpanLayer(())
}

/// See [`layer`].
#[derive(Debug)]
pub struct SpanLayer(());

impl<S: Subscriber> Layer<S> for SpanLayer {
    fn on_enter(&self, id: &Id, _: Context<'_, S>) {
        if !SWITCHES.get() {
            ENTERED.with_borrow_mut(|entered| entered.push(id.clone()));
        }
    }

    fn on_exit(&self, id: &Id, _: Context<'_, S>) {
        if !SWITCHES.get() {
            ENTERED.with_borrow_mut(|entered| {
                let at = entered.iter().rposition(|other| other == id);
                at.map(|at| entered.remove(at));
            });
        }
    }
}

/// Exits the spans of a task as its turn ends, and enters them again as the next begins.
#[derive(Debug, Default)]
struct SpanObserver {
    /// The spans of each task that waits inside of some.
    tasks: RefCell<HashMap<u64, Vec<Id>>>,
    /// The spans around the run, while a task has its turn.
    around: RefCell<Vec<Id>>,
}

impl Observer for SpanObserver {
    fn observe(&self, event: &TaskEvent<'_>) {
        match event.kind {
            EventKind::Turn => {
                let spans = self.tasks.borrow_mut().remove(&event.task).unwrap_or_default();
                switch(|dispatch| spans.iter().for_each(|id| dispatch.enter(id)));
                self.around.replace(ENTERED.replace(spans));
            }
            EventKind::Yields | EventKind::Waits(_) | EventKind::Ends(_) => {
                let spans = ENTERED.replace(mem::take(&mut *self.around.borrow_mut()));
                switch(|dispatch| spans.iter().rev().for_each(|id| dispatch.exit(id)));
                let goes_on = !matches!(event.kind, EventKind::Ends(_));
                if goes_on && !spans.is_empty() {
                    self.tasks.borrow_mut().insert(event.task, spans);
                }
            }
            _ => {}
        }
    }
}

/// Calls `f`, which enters or exits what is noted already.
fn switch(mut f: impl FnMut(&::tracing::Dispatch)) {
    /// However it ends: a subscriber may panic.
    struct Over;
    impl Drop for Over {
        fn drop(&mut self) {
            SWITCHES.set(false);
        }
    }
    SWITCHES.set(true);
    let _over = Over;
    get_default(&mut f);
}
