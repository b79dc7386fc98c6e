//! A pool: tasks of which only so many are under way at once.

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::rc::Rc;

use crate::eras::scope::members::Members;
use crate::inspect::deadlock::Kind;
use crate::run::join::JoinHandle;
use crate::run::spawn;
use crate::sync::{Event, Permit, Semaphore};
use crate::task;

/// A place for so many tasks and no more: whoever spawns when it is full, waits. (gevent's `Pool`.)
///
/// ```
/// use std::time::Duration;
/// use wouldblock::{Builder, green, group::Pool, time};
///
/// Builder::new().virtual_clock().run(|| {
///     let start = time::now();
///     let pool = Pool::new(2);
///     for seconds in [1, 2, 3, 4] {
///         pool.spawn(move || green::sleep(Duration::from_secs(seconds)));
///     }
///     pool.join();
///     assert_eq!(time::now() - start, Duration::from_secs(6)); // 1 and 3 beside 2 and 4
///
///     let squares = pool.imap(1.., |n| n * n).map(Result::unwrap);
///     assert_eq!(squares.take(4).collect::<Vec<_>>(), [1, 4, 9, 16]);
/// });
/// ```
///
/// A task of the pool that spawns into it waits for room, while it takes up room itself. When all do, that is
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

    /// As [`new`](Pool::new), with a name for its tasks, by which errors and reports tell whose they are.
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
            "a pool with room for no task: whoever spawned there would wait for ever"
        );
        let idle = Event::of(&"the tasks of a pool");
        idle.set();
        let members = Members::of(&"the tasks of a pool");
        Pool(Rc::new(Shared { room: Semaphore::of(size, &ROOM), members, idle, name, size }))
    }

    /// Waits for room, and starts a greenlet: the green era's way.
    ///
    /// # Blocking
    ///
    /// Waits while the pool is full, first come, first served. Where there is room, it goes on, but may give
    /// the other tasks a turn first.
    ///
    /// # Panics
    ///
    /// As [`green::spawn`](crate::green::spawn); and if it would have to wait outside of a task.
    ///
    /// # Cancellation
    ///
    /// `body` is dropped; the room goes to the next in line.
    #[track_caller]
    pub fn spawn<T: 'static>(&self, body: impl FnOnce() -> T + 'static) -> JoinHandle<T> {
        spawn::check_spawn();
        let site = Location::caller();
        let permit = self.room().acquire();
        spawn::check_spawn(); // The run may be ending by now.
        self.start(permit, site, |task| task.spawn(body))
    }

    /// The operation behind [`spawn`](Pool::spawn): waits for room, and then calls `start` with the
    /// [`Builder`](task::Builder) of a task of the pool, of whichever era.
    ///
    /// ```
    /// use wouldblock::{future, generator, group::Pool};
    ///
    /// wouldblock::run(|| {
    ///     let pool = Pool::new(1);
    ///     let same = pool.clone();
    ///     let a = generator::spawn(move |y| {
    ///         let task = y.wait(same.spawning(|task| task.spawn_generator(|y| { y.yield_now(); 1 })));
    ///         y.wait(task).unwrap()
    ///     });
    ///     let b = future::spawn(async move {
    ///         pool.spawning(|task| task.spawn_future(async { 2 })).await.await.unwrap()
    ///     });
    ///     assert_eq!((a.join().unwrap(), b.join().unwrap()), (1, 2));
    /// });
    /// ```
    ///
    /// # Cancellation
    ///
    /// As [`spawn`](Pool::spawn): `start` is dropped.
    #[track_caller]
    #[expect(
        clippy::async_yields_async,
        reason = "first there is room, and then the task to wait for"
    )]
    pub fn spawning<T: 'static>(
        &self,
        start: impl FnOnce(task::Builder) -> JoinHandle<T>,
    ) -> impl Future<Output = JoinHandle<T>> {
        let site = Location::caller();
        let room = self.room().acquiring();
        async move {
            let permit = room.await;
            self.start(permit, site, start)
        }
    }

    pub(super) fn room(&self) -> &Semaphore {
        &self.0.room
    }

    #[track_caller]
    pub(super) fn start<T: 'static>(
        &self,
        permit: Permit<'_>,
        site: &'static Location<'static>,
        start: impl FnOnce(task::Builder) -> JoinHandle<T>,
    ) -> JoinHandle<T> {
        let mut task = task::Builder::new().at(site);
        if let Some(name) = &self.0.name {
            task = task.name(&**name);
        }
        let (handle, shared) = (start(task), self.0.clone());
        permit.forget(); // Until the task is done.
        shared.room.is_held_by(Some(handle.task.id), site);
        shared.idle.clear();
        shared.members.enter();
        shared.members.keep(handle.canceller());
        handle.canceller().at_end(move || {
            shared.members.leave();
            shared.room.release(1);
            if shared.members.is_empty() {
                shared.idle.set();
            }
        });
        handle
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

    /// The operation behind [`join`](Pool::join): `y.wait(pool.joining())`, `pool.joining().await`.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    pub fn joining(&self) -> impl Future<Output = ()> {
        self.0.idle.waiting()
    }

    /// Cancels the tasks that are in the pool now. Whoever waits for room gets it when they have ended, which
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
