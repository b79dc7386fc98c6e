//! The async scope: child futures that borrow, kept and polled inside the scope's own future.
//!
//! Nothing relies on a destructor: a scope that is forgotten takes its children with it, and they are never
//! polled again. Each child has a waker of its own, which puts the child on the list of those to be polled, and
//! wakes the task that awaits the scope.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, pending, poll_fn};
use std::marker::PhantomData;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::AcqRel;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use super::members::First;
use crate::kernel::edge::foreign::KeptWaker;
use crate::kernel::wait;

/// Where child futures are spawned that may borrow whatever outlives the [`scope`].
pub struct Scope<'env> {
    /// Children that were spawned and are not yet known to [`drive`].
    new: RefCell<Vec<Child<'env>>>,
    /// As in `std::thread::Scope`: the lifetime may not shrink or grow.
    env: PhantomData<&'env mut &'env ()>,
}

type Child<'env> = Pin<Box<dyn Future<Output = ()> + 'env>>;

/// Opens a scope for futures that borrow, and is ready when `body` and all of them are.
///
/// They are polled one after the other, in the task that awaits the scope; a child that waits the green way
/// suspends that whole task. Each child has a waker of its own, so that a deadlock in which only children of
/// scopes wait is suspected, after ten seconds ([`Builder::deadlock_warning`](crate::Builder::deadlock_warning)),
/// and not reported at once.
///
/// ```
/// use std::time::Duration;
/// use wouldblock::{future, green, time::sleeping};
///
/// wouldblock::run(|| {
///     let words = ["a", "few", "words"];
///     let total = green::wait(future::scope(async |s| {
///         let count = |word: &'static str| async move { sleeping(Duration::from_millis(1)).await; word.len() };
///         let tasks: Vec<_> = words.iter().map(|word| s.spawn_future(count(word))).collect();
///         let mut total = 0;
///         for task in tasks {
///             total += task.await;
///         }
///         total
///     }));
///     assert_eq!(total, 9);
/// });
/// ```
///
/// # Panics
///
/// With whatever `body` or a child panics with; the others are dropped.
///
/// # Cancellation
///
/// `body` and all children are dropped where they wait.
pub async fn scope<'env, T>(body: impl AsyncFnOnce(&Scope<'env>) -> T) -> T {
    let scope = Scope { new: RefCell::default(), env: PhantomData };
    let value = drive(&scope, body(&scope), || false).await;
    value.expect("a scope that nothing stops ends with its body")
}

/// As [`scope`], for children that fail together: the first error, of a child or of `body`, is returned, and
/// `body` and the other children are dropped where they wait.
///
/// A proxy, of which each direction ends the other when it fails:
///
/// ```
/// use std::io;
/// use futures_lite::{AsyncWriteExt, io::copy};
/// use wouldblock::{future, net::TcpStream};
///
/// async fn proxy(client: &TcpStream, server: &TcpStream) -> io::Result<()> {
///     future::try_scope(async |s| {
///         s.spawn_future(pump(client, server));
///         pump(server, client).await
///     }).await
/// }
///
/// async fn pump(mut from: &TcpStream, mut to: &TcpStream) -> io::Result<()> {
///     copy(&mut from, &mut to).await?;
///     to.close().await // this direction: the peer meets the end
/// }
/// ```
///
/// # Errors
///
/// The first error. A child that has failed gives no result: what awaits it is dropped with the others.
///
/// # Panics
///
/// As [`scope`].
///
/// # Cancellation
///
/// As [`scope`].
pub async fn try_scope<'env, T, E>(
    body: impl AsyncFnOnce(&TryScope<'env, E>) -> Result<T, E>,
) -> Result<T, E> {
    let scope = Scope { new: RefCell::default(), env: PhantomData };
    let scope = TryScope { scope, failure: Rc::new(First::new()) };
    let body = async { value_of(body(&scope).await, &scope.failure).await };
    let value = drive(&scope.scope, body, || scope.failure.is_set()).await;
    match scope.failure.take() {
        Some(error) => Err(error),
        None => Ok(value.expect("a scope is stopped by an error")),
    }
}

/// Polls the body and the children of a scope until all have ended. Returns `None` if `is_stopped` returns `true`
/// before that: then they are dropped.
async fn drive<'env, T>(
    scope: &Scope<'env>,
    body: impl Future<Output = T>,
    is_stopped: impl Fn() -> bool,
) -> Option<T> {
    let mut body = pin!(body);
    let mut result = None;
    let mut children = BTreeMap::new();
    let mut keys = 0..;
    let ready = Arc::new(Ready::default());
    let mut polled = |cx: &mut Context<'_>| {
        let waker = KeptWaker::of(cx);
        // Dropped when the lock is free again: a waker may be user code.
        let old = ready.lock().scope.replace(waker);
        drop(old);
        // Each child that is due is polled once, and the body a second time if a child has ended. Children that are due
        // again by then are polled in the next turn, after the other tasks of the thread.
        let mut due = std::mem::take(&mut ready.lock().children);
        for _ in 0..2 {
            if result.is_none()
                && let Poll::Ready(value) = body.as_mut().poll(cx)
            {
                result = Some(value);
            }
            if is_stopped() {
                return Poll::Ready(None);
            }
            for child in scope.new.take() {
                let key = keys.next().expect("there are fewer than 2^64 children");
                children.insert(key, (child, Arc::new(ChildWaker::new(key, ready.clone()))));
                due.push(key);
            }
            let before = children.len();
            for key in due.drain(..) {
                let Some((child, waker)) = children.get_mut(&key) else { continue };
                waker.is_due.swap(false, AcqRel); // This poll sees what happened before a wake.
                let waker = Waker::from(Arc::clone(waker));
                if child.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                    drop(children.remove(&key));
                }
                if is_stopped() {
                    return Poll::Ready(None);
                }
            }
            if children.len() == before {
                break;
            }
        }
        if !ready.lock().children.is_empty() || !scope.new.borrow().is_empty() {
            cx.waker().wake_by_ref();
        }
        match children.is_empty() && result.is_some() {
            true => Poll::Ready(result.take()),
            false => Poll::Pending,
        }
    };
    poll_fn(|cx| wait::poll_within_budget(cx, &mut polled)).await
}

impl<'env> Scope<'env> {
    /// Adds a child, which is polled for the first time when the body next waits.
    ///
    /// Returns an operation with the child's result. Dropping that detaches the child, which the scope still waits for.
    pub fn spawn_future<T: 'env>(&self, child: impl Future<Output = T> + 'env) -> Scoped<T> {
        let slot = Rc::new(Slot { value: Cell::new(None), waiter: Cell::new(None) });
        let into = slot.clone();
        self.new.borrow_mut().push(Box::pin(async move {
            into.value.set(Some(child.await));
            if let Some(waiter) = into.waiter.take() {
                waiter.wake();
            }
        }));
        Scoped { slot }
    }
}

impl fmt::Debug for Scope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scope")
    }
}

/// Where child futures are spawned that may borrow whatever outlives the [`try_scope`], and that fail together.
pub struct TryScope<'env, E> {
    scope: Scope<'env>,
    /// Shared, since children may borrow only what outlives the scope.
    failure: Rc<First<E>>,
}

impl<'env, E: 'env> TryScope<'env, E> {
    /// Adds a child, as [`Scope::spawn_future`] does, and drops the other futures of the scope if it fails.
    pub fn spawn_future<T: 'env>(
        &self,
        child: impl Future<Output = Result<T, E>> + 'env,
    ) -> Scoped<T> {
        let failure = self.failure.clone();
        self.scope.spawn_future(async move { value_of(child.await, &failure).await })
    }
}

/// Returns the value, if there is one. After an error this is never ready: the scope keeps the first error, and drops
/// its futures.
async fn value_of<T, E>(result: Result<T, E>, failure: &First<E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => {
            drop(failure.set(error));
            pending().await
        }
    }
}

impl<E> fmt::Debug for TryScope<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TryScope")
    }
}

/// The result of a [`Scope`]'s or a [`TryScope`]'s child, to be awaited.
pub struct Scoped<T> {
    slot: Rc<Slot<T>>,
}

struct Slot<T> {
    value: Cell<Option<T>>,
    waiter: Cell<Option<KeptWaker>>,
}

impl<T> Future for Scoped<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        wait::poll_within_budget(cx, |cx| match self.slot.value.take() {
            Some(value) => Poll::Ready(value),
            None => {
                self.slot.waiter.set(Some(KeptWaker::of(cx)));
                Poll::Pending
            }
        })
    }
}

impl<T> fmt::Debug for Scoped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scoped")
    }
}

/// Which children are to be polled. A child's waker may be used on any thread.
#[derive(Default)]
struct Ready(Mutex<Due>);

#[derive(Default)]
struct Due {
    children: Vec<u64>,
    scope: Option<KeptWaker>,
}

impl Ready {
    fn lock(&self) -> std::sync::MutexGuard<'_, Due> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct ChildWaker {
    /// No other child of the scope has this key, not even later: a waker that outlives its child wakes no other child.
    key: u64,
    /// The child is on the list of those to be polled.
    is_due: AtomicBool,
    ready: Arc<Ready>,
}

impl ChildWaker {
    /// Of a child that is to be polled for the first time.
    fn new(key: u64, ready: Arc<Ready>) -> ChildWaker {
        ChildWaker { key, is_due: AtomicBool::new(true), ready }
    }
}

impl Wake for ChildWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.is_due.swap(true, AcqRel) {
            return;
        }
        let scope = {
            let mut due = self.ready.lock();
            due.children.push(self.key);
            due.scope.take() // One wake is enough: the next poll stores a waker again.
        };
        if let Some(scope) = scope {
            scope.wake();
        }
    }
}
