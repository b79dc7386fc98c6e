//! A pool: tasks of which only so many are under way at once.

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::rc::Rc;
use std::time::Duration;

use crate::eras::pep342::Yielder;
use crate::eras::scope::members::Members;
use crate::inspect::holders::Kind;
use crate::kernel::door;
use crate::kernel::wait::Wait;
use crate::op::timeout;
use crate::run::join::JoinHandle;
use crate::run::spawn;
use crate::sync::{Event, Permit, Semaphore};
use crate::task;
use crate::time::Elapsed;

/// Room for so many tasks and no more: a place is [reserved](Pool::reserve), which waits while the pool is full, and
/// a task spawned into it, which does not. (gevent's `Pool`.)
///
/// ```
/// use std::time::Duration;
/// use wouldblock::{Builder, green, group::Pool, time};
///
/// Builder::new().virtual_clock().run(|| {
///     let start = time::now();
///     let pool = Pool::new(2);
///     for seconds in [1, 2, 3, 4] {
///         pool.reserve().spawn(move || green::sleep(Duration::from_secs(seconds)));
///     }
///     pool.join();
///     assert_eq!(time::now() - start, Duration::from_secs(6)); // 1 and 3 beside 2 and 4
///
///     let squares = pool.imap(1.., |n| n * n).map(Result::unwrap);
///     assert_eq!(squares.take(4).collect::<Vec<_>>(), [1, 4, 9, 16]);
/// });
/// ```
///
/// A task of the pool that reserves a place in it waits for room, while it takes up room itself. When all do, that is
/// a deadlock, and is reported as one:
///
/// ```text
/// deadlock: 2 tasks wait, and nothing can wake any of them
///   task 1 "root" (green, spawned at src/main.rs:5:5) waits for task 2
///   task 2 "fetch" (green, spawned at src/main.rs:7:10) waits for room in a pool (last taken by task 2 "fetch", src/main.rs:7:10)
///   cycle: task 2 → room in a pool (last taken by task 2 "fetch", src/main.rs:7:10) → task 2
/// ```
///
/// Its clones are the same pool. When the last is dropped, its tasks run on.
#[derive(Clone)]
pub struct Pool(Rc<Shared>);

struct Shared {
    room: Semaphore,
    members: Members,
    idle: Event,
    /// What its tasks are called.
    name: Option<Box<str>>,
    size: usize,
}

const ROOM: Kind = Kind { what: "room in a pool", how: "last taken by" };

impl Pool {
    /// A pool for `size` tasks.
    ///
    /// # Panics
    ///
    /// If there is room for none.
    #[track_caller]
    pub fn new(size: usize) -> Pool {
        Pool::make(size, None)
    }

    /// As [`new`](Pool::new), with a name for its tasks, which errors and reports show.
    ///
    /// # Panics
    ///
    /// As [`new`](Pool::new); and if there is a NUL in the name.
    #[track_caller]
    pub fn named(name: impl Into<String>, size: usize) -> Pool {
        Pool::make(size, task::Builder::new().name(name).name)
    }

    #[track_caller]
    fn make(size: usize, name: Option<Box<str>>) -> Pool {
        assert!(
            size > 0,
            "a pool with room for no task: a task that reserves there would wait for ever"
        );
        let idle = Event::of(&"the tasks of a pool");
        idle.set();
        let members = Members::of(&"the tasks of a pool");
        Pool(Rc::new(Shared { room: Semaphore::of(size, &ROOM), members, idle, name, size }))
    }

    /// Waits for room, and takes a place in the pool, into which a task is then spawned: the green era's way.
    ///
    /// # Blocking
    ///
    /// Waits while the pool is full, first come, first served. Where there is room, it goes on, but may give
    /// the other tasks a turn first.
    ///
    /// # Panics
    ///
    /// If it would have to wait outside of a task.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost: the room goes to the next in line.
    #[track_caller]
    pub fn reserve(&self) -> Slot {
        self.slot(self.room().acquire())
    }

    /// As [`reserve`](Pool::reserve), for `limit` at most.
    ///
    /// # Errors
    ///
    /// [`Elapsed`], if the time has passed first.
    ///
    /// # Panics
    ///
    /// Outside of a task.
    ///
    /// # Cancellation
    ///
    /// As [`reserve`](Pool::reserve).
    #[track_caller]
    pub fn reserve_timeout(&self, limit: Duration) -> Result<Slot, Elapsed> {
        door::wait(timeout(limit, self.reserving()))
    }

    /// The operation behind [`reserve`](Pool::reserve): `y.wait(pool.reserving())`, `pool.reserving().await`.
    ///
    /// ```
    /// use wouldblock::{future, generator, group::Pool};
    ///
    /// wouldblock::run(|| {
    ///     let pool = Pool::new(1);
    ///     let same = pool.clone();
    ///     let a = generator::spawn(move |y| {
    ///         let slot = y.wait(same.reserving());
    ///         y.wait(slot.spawn_generator(|y| { y.yield_now(); 1 })).unwrap()
    ///     });
    ///     let b = future::spawn(async move {
    ///         let slot = pool.reserving().await;
    ///         slot.spawn_future(async { 2 }).await.unwrap()
    ///     });
    ///     assert_eq!((a.join().unwrap(), b.join().unwrap()), (1, 2));
    /// });
    /// ```
    ///
    /// # Cancellation
    ///
    /// As [`reserve`](Pool::reserve).
    #[track_caller]
    pub fn reserving(&self) -> impl Future<Output = Slot> {
        let room = self.room().acquiring();
        async { self.slot(room.await) }
    }

    /// A place in the pool, if there is room and no task waits for it. This never waits.
    #[track_caller]
    pub fn try_reserve(&self) -> Option<Slot> {
        let permit = self.room().try_acquire()?;
        Some(self.slot(permit))
    }

    fn room(&self) -> &Semaphore {
        &self.0.room
    }

    fn slot(&self, permit: Permit<'_>) -> Slot {
        permit.forget(); // The slot gives it back.
        Slot { pool: Some(self.0.clone()), task: task::Builder::new() }
    }

    /// Waits until no task of the pool is left: the green era's way.
    ///
    /// # Blocking
    ///
    /// As long as there are tasks, also such as come meanwhile. Where there is none, it goes on, but may
    /// give the other tasks a turn first.
    ///
    /// # Panics
    ///
    /// If it would have to wait outside of a task.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    #[track_caller]
    pub fn join(&self) {
        self.0.idle.wait();
    }

    /// As [`join`](Pool::join), for `limit` at most. (gevent's `join(timeout)`.)
    ///
    /// # Errors
    ///
    /// [`Elapsed`], if the time has passed first; the tasks run on.
    ///
    /// # Panics
    ///
    /// Outside of a task.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    #[track_caller]
    pub fn join_timeout(&self, limit: Duration) -> Result<(), Elapsed> {
        self.0.idle.wait_timeout(limit)
    }

    /// The operation behind [`join`](Pool::join): `y.wait(pool.joining())`, `pool.joining().await`.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    pub fn joining(&self) -> impl Future<Output = ()> {
        self.0.idle.waiting()
    }

    /// Cancels the tasks that are in the pool now. A task that waits for room gets it when they have ended, which
    /// [`join`](Pool::join) waits for. (gevent's `kill`.)
    pub fn cancel(&self) {
        self.0.members.cancel_present();
    }

    /// How many tasks are in the pool.
    pub fn len(&self) -> usize {
        self.0.members.len()
    }

    /// Whether no task is in the pool.
    pub fn is_empty(&self) -> bool {
        self.0.members.is_empty()
    }

    /// For how many tasks there is room.
    pub fn free_count(&self) -> usize {
        self.room().available()
    }

    /// For how many tasks there is room when there are none.
    pub fn size(&self) -> usize {
        self.0.size
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pool({} of {})", self.len(), self.size())
    }
}

/// A place in a [`Pool`], for one task: see [`Pool::reserve`].
///
/// Dropping it makes room for the next in line.
///
/// ```
/// use wouldblock::{green, group::Pool};
///
/// wouldblock::run(|| {
///     let pool = Pool::new(1);
///     let slot = pool.reserve();
///     assert!(pool.try_reserve().is_none(), "it is taken");
///     let task = slot.spawn(|| 6 * 7);
///     assert!(pool.try_reserve().is_none(), "the task has it");
///     assert_eq!(task.join().unwrap(), 42);
///     assert!(pool.try_reserve().is_some(), "the task is done");
/// });
/// ```
#[must_use = "dropping the slot gives it back"]
pub struct Slot {
    /// `None`: a task has it.
    pool: Option<Rc<Shared>>,
    task: task::Builder,
}

impl Slot {
    /// Sets the name and the stack size of the task to come, in place of the pool's name and the run's size.
    ///
    /// ```
    /// use wouldblock::{group::Pool, task};
    ///
    /// wouldblock::run(|| {
    ///     let parser = task::Builder::new().name("parser").stack_size(1 << 20);
    ///     let task = Pool::named("worker", 1).reserve().with(parser).spawn(|| task::current().unwrap());
    ///     assert_eq!(task.join().unwrap().name(), Some("parser"));
    /// });
    /// ```
    pub fn with(mut self, task: task::Builder) -> Slot {
        self.task = task;
        self
    }

    /// Starts a greenlet in this place: see [`green::spawn`](crate::green::spawn).
    ///
    /// # Panics
    ///
    /// As [`green::spawn`](crate::green::spawn).
    #[track_caller]
    pub fn spawn<T: 'static>(self, body: impl FnOnce() -> T + 'static) -> JoinHandle<T> {
        self.start(Location::caller(), |task| task.spawn(body))
    }

    /// Starts a generator in this place: see [`generator::spawn`](crate::generator::spawn).
    ///
    /// # Panics
    ///
    /// As [`generator::spawn`](crate::generator::spawn).
    #[track_caller]
    pub fn spawn_generator<T: 'static>(
        self,
        body: impl FnOnce(&Yielder<Wait>) -> T + 'static,
    ) -> JoinHandle<T> {
        self.start(Location::caller(), |task| task.spawn_generator(body))
    }

    /// Starts a future in this place: see [`future::spawn`](crate::future::spawn).
    ///
    /// # Panics
    ///
    /// As [`future::spawn`](crate::future::spawn).
    #[track_caller]
    pub fn spawn_future<F>(self, future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: 'static> + 'static,
    {
        self.start(Location::caller(), |task| task.spawn_future(future))
    }

    #[track_caller]
    pub(super) fn start<T: 'static>(
        mut self,
        site: &'static Location<'static>,
        start: impl FnOnce(task::Builder) -> JoinHandle<T>,
    ) -> JoinHandle<T> {
        spawn::check_spawn(); // Here, so that a panic is at the caller's line.
        let mut task = std::mem::take(&mut self.task).at(site);
        let name = self.pool.as_ref().and_then(|shared| shared.name.as_deref());
        if let Some(name) = name.filter(|_| task.name.is_none()) {
            task = task.name(name);
        }
        let handle = start(task); // If it panics, the slot is dropped.
        let shared = self.pool.take().expect("a slot is spawned into once");
        shared.room.is_held_by(Some(handle.task.id), site);
        shared.idle.clear();
        shared.members.enter();
        shared.members.keep(handle.bare());
        handle.bare().at_end(move || {
            shared.members.leave();
            shared.room.release(1);
            if shared.members.is_empty() {
                shared.idle.set();
            }
        });
        handle
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(shared) = self.pool.take() {
            shared.room.release(1);
        }
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Slot")
    }
}
