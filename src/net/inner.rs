//! What each socket of ours holds: std's socket, and the modes in which the green era uses it.
//!
//! std keeps time limits and the non-blocking mode with the kernel's socket. Ours is in the kernel's
//! non-blocking mode all its life, so that a scheduler may use it, and these modes are ours to keep. As
//! with std's, all clones of a socket share them.

use std::future::Future;
use std::io;
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::thread;
use std::time::Duration;

use super::socket::{Readiness, Socket};
use super::turn::can_suspend;
use crate::deadline;
use crate::kernel::door;
use crate::kernel::reactor::Direction;
use crate::kernel::wait;
use crate::time;

/// A socket of std's in the kernel's non-blocking mode, with the modes of the green era.
#[derive(Debug)]
pub(super) struct Inner<S: AsRawFd> {
    socket: Socket<S>,
    modes: Arc<Modes>,
}

#[derive(Debug, Default)]
struct Modes {
    nonblocking: AtomicBool,
    limits: [TimeLimit; 2],
}

impl<S: AsRawFd> Inner<S> {
    /// `std` must be in non-blocking mode.
    pub(super) fn new(std: S) -> Inner<S> {
        Inner { socket: Socket::new(std), modes: Arc::default() }
    }

    /// `std` is a duplicate of this socket.
    pub(super) fn clone_of(&self, std: S) -> Inner<S> {
        Inner { socket: self.socket.clone_of(std), modes: self.modes.clone() }
    }

    /// After std's `shutdown`: wakes the tasks that wait to write. (To readers, and to writers of TCP, the kernel
    /// reports it.)
    pub(super) fn after_shutdown(&self, how: Shutdown) {
        if how != Shutdown::Read {
            self.socket.end_writing();
        }
    }

    pub(super) fn std(&self) -> &S {
        self.socket.io()
    }

    /// Notes that a read of a TCP stream took `n` of the `asked` bytes.
    pub(super) fn took(&self, n: usize, asked: usize) {
        self.socket.took(n, asked);
    }

    /// See [`Socket::is_quiet`].
    pub(super) fn is_quiet(&self) -> bool {
        self.socket.is_quiet()
    }

    /// Still in non-blocking mode.
    pub(super) fn into_std(self) -> S {
        self.socket.into_io()
    }

    pub(super) fn is_nonblocking(&self) -> bool {
        self.modes.nonblocking.load(Ordering::Relaxed)
    }

    pub(super) fn set_nonblocking(&self, nonblocking: bool) {
        self.modes.nonblocking.store(nonblocking, Ordering::Relaxed);
    }

    pub(super) fn limit(&self, direction: Direction) -> &TimeLimit {
        &self.modes.limits[direction as usize]
    }

    pub(super) fn ready(&self, direction: Direction) -> Readiness<'_> {
        self.socket.ready(direction)
    }

    /// The generator era's: once, now or not at all.
    pub(super) fn attempt<R>(
        &self,
        direction: Direction,
        call: impl FnMut(&S) -> io::Result<R>,
    ) -> io::Result<R> {
        self.socket.try_io(direction, call)
    }

    /// The green era's: until it is done, in the modes of the socket.
    #[inline]
    pub(super) fn green<R>(
        &self,
        direction: Direction,
        mut call: impl FnMut(&S) -> io::Result<R>,
    ) -> io::Result<R> {
        begin()?;
        if !self.is_nonblocking() {
            return self.socket.blocking_io(direction, self.limit(direction).get(), call);
        }
        match self.socket.try_io(direction, &mut call) {
            Err(e) if would_block(&e) && can_suspend() => {
                door::yield_now(); // A loop of such calls is to starve no other task.
                self.socket.try_io(direction, call)
            }
            result => result,
        }
    }

    /// As [`green`](Inner::green), for a call of which the kernel does not tell when it becomes possible.
    pub(super) fn green_with_pauses<R>(
        &self,
        direction: Direction,
        mut call: impl FnMut(&S) -> io::Result<R>,
    ) -> io::Result<R> {
        if self.is_nonblocking() {
            return self.green(direction, call);
        }
        begin()?;
        let limit = self.limit(direction).get();
        let mut left = limit.unwrap_or(Duration::MAX);
        let mut pauses = Pauses::new();
        loop {
            match self.socket.try_io(direction, &mut call) {
                Err(e) if would_block(&e) => {}
                result => return result,
            }
            if wait::is_spent() {
                door::yield_now();
                continue;
            }
            if let (Some(limit), true) = (limit, left.is_zero()) {
                return Err(time::Elapsed::new(limit).into());
            }
            let next = pauses.next().min(left);
            pause(next)?;
            left -= next;
        }
    }

    /// The async era's: done, or `cx` is woken when it is worth another try.
    pub(super) fn poll<R>(
        &self,
        cx: &Context<'_>,
        direction: Direction,
        call: impl FnMut(&S) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        self.socket.poll_io(cx, direction, call)
    }

    /// The operation of making a call: for the generator era and the async one.
    pub(super) fn operation<C, R>(&self, direction: Direction, call: C) -> Operation<'_, S, C>
    where
        C: FnMut(&S) -> io::Result<R>,
    {
        Operation { inner: self, direction, ready: self.ready(direction), call }
    }
}

/// See [`Inner::operation`].
#[must_use = "an operation does nothing until it is waited for"]
pub(super) struct Operation<'a, S: AsRawFd, C> {
    inner: &'a Inner<S>,
    direction: Direction,
    ready: Readiness<'a>,
    call: C,
}

impl<S, C, R> Future for Operation<'_, S, C>
where
    S: AsRawFd,
    C: FnMut(&S) -> io::Result<R> + Unpin,
{
    type Output = io::Result<R>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<R>> {
        let this = &mut *self;
        loop {
            deadline::begin()?; // Here, so that a socket which is ready for another call does not end in a loop.
            match this.inner.attempt(this.direction, &mut this.call) {
                Err(e) if would_block(&e) => {}
                result => return Poll::Ready(result),
            }
            ready!(Pin::new(&mut this.ready).poll(cx))?;
        }
    }
}

pub(super) fn would_block(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

/// A time limit that may be set through a shared reference, in nanoseconds; 0 is none.
#[derive(Debug, Default)]
pub(super) struct TimeLimit(AtomicU64);

impl TimeLimit {
    pub(super) fn get(&self) -> Option<Duration> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            nanos => Some(Duration::from_nanos(nanos)),
        }
    }

    pub(super) fn set(&self, limit: Option<Duration>) -> io::Result<()> {
        let nanos = match limit {
            None => 0,
            Some(Duration::ZERO) => {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "a time limit of zero"));
            }
            Some(limit) => limit.as_nanos().try_into().unwrap_or(u64::MAX),
        };
        self.0.store(nanos, Ordering::Relaxed);
        Ok(())
    }
}

/// The pauses between tries at something that no event announces: 1 ms, 2, 4, .. and then 100 ms each. So it is met
/// soon if it comes soon, late by a tenth of a second at most, and the waiting costs nothing to speak of.
#[derive(Debug)]
pub(super) struct Pauses {
    next: Duration,
}

impl Pauses {
    const FIRST: Duration = Duration::from_millis(1);
    const LONGEST: Duration = Duration::from_millis(100);

    pub(super) fn new() -> Pauses {
        Pauses { next: Pauses::FIRST }
    }

    pub(super) fn next(&mut self) -> Duration {
        let pause = self.next;
        self.next = (2 * pause).min(Pauses::LONGEST);
        pause
    }
}

/// How a green call begins: see [`deadline::begin`]. One that fails is one of the turn's operations: code that makes it
/// again and again starves no other task.
#[inline]
fn begin() -> io::Result<()> {
    deadline::begin().map(drop).inspect_err(|_| {
        if can_suspend() {
            door::completed();
        }
    })
}

/// The green way to pause: suspends the task; where there is none to suspend, blocks the thread.
///
/// # Errors
///
/// As [`pausing`].
pub(super) fn pause(duration: Duration) -> io::Result<()> {
    let duration = until_deadline(duration)?;
    match can_suspend() {
        true => door::wait(time::sleeping(duration)),
        false => thread::sleep(duration),
    }
    Ok(())
}

/// The operation of pausing, until the deadline in force at the latest.
///
/// # Errors
///
/// The deadline has passed.
pub(super) fn pausing(duration: Duration) -> io::Result<time::Sleeping> {
    Ok(time::sleeping(until_deadline(duration)?))
}

fn until_deadline(pause: Duration) -> io::Result<Duration> {
    deadline::check()?;
    Ok(deadline::left().map_or(pause, |(left, _)| pause.min(left)))
}

/// What every socket has: clones, modes, and conversions. (Macros, since each of our types is to have
/// methods of its own, with std's names, that std has in no trait.)
macro_rules! socket {
    ($Socket:ident, $std:ty, $Address:ty) => {
        impl $Socket {
            /// Makes std's socket one of ours; it is put into the kernel's non-blocking mode, and so are its
            /// duplicates.
            ///
            /// # Errors
            ///
            /// The kernel's.
            pub fn from_std(socket: $std) -> io::Result<$Socket> {
                socket.set_nonblocking(true)?;
                Ok($Socket { inner: Inner::new(socket) })
            }

            /// Makes it std's, in blocking mode unless [`set_nonblocking`](Self::set_nonblocking) said
            /// otherwise; and so are its clones then, which must not be used on a scheduler's thread any
            /// more: the kernel keeps the mode with the socket.
            ///
            /// # Errors
            ///
            /// The kernel's.
            pub fn into_std(self) -> io::Result<$std> {
                let nonblocking = self.inner.is_nonblocking();
                let socket = self.inner.into_std();
                socket.set_nonblocking(nonblocking)?;
                Ok(socket)
            }

            /// A second handle to the same socket. Time limits and modes are those of both.
            ///
            /// # Errors
            ///
            /// The kernel's: too many descriptors.
            pub fn try_clone(&self) -> io::Result<$Socket> {
                Ok($Socket { inner: self.inner.clone_of(self.inner.std().try_clone()?) })
            }

            /// In non-blocking mode, green calls fail as `WouldBlock` where they would wait. Before they do, the
            /// other tasks have a turn, so that a loop of such calls starves no other task. The kernel's mode stays
            /// as it is, non-blocking.
            ///
            /// # Errors
            ///
            /// None; a `Result` because std's is.
            pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
                self.inner.set_nonblocking(nonblocking);
                Ok(())
            }

            /// The operation of waiting until there may be something to take, or an error.
            pub fn readable(&self) -> Readiness<'_> {
                self.inner.ready(Direction::Read)
            }

            stds! {
                /// The address of this side.
                fn local_addr() -> $Address;
                /// Takes the error that is pending on the socket (`SO_ERROR`), which no call has returned yet.
                fn take_error() -> Option<io::Error>;
            }
        }

        impl AsFd for $Socket {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.inner.std().as_fd()
            }
        }

        impl AsRawFd for $Socket {
            fn as_raw_fd(&self) -> RawFd {
                self.inner.std().as_raw_fd()
            }
        }

        /// As [`from_std`](Self::from_std).
        impl TryFrom<$std> for $Socket {
            type Error = io::Error;

            fn try_from(socket: $std) -> io::Result<$Socket> {
                $Socket::from_std(socket)
            }
        }

        /// As `into_std`.
        impl TryFrom<$Socket> for $std {
            type Error = io::Error;

            fn try_from(socket: $Socket) -> io::Result<$std> {
                socket.into_std()
            }
        }

        /// As [`from_std`](Self::from_std).
        ///
        /// # Panics
        ///
        /// The descriptor has no modes, and so is none of a socket.
        impl From<OwnedFd> for $Socket {
            fn from(fd: OwnedFd) -> $Socket {
                $Socket::from_std(fd.into()).expect("an open socket takes a mode")
            }
        }

        /// As `into_std`: in blocking mode, which its new owner expects.
        impl From<$Socket> for OwnedFd {
            fn from(socket: $Socket) -> OwnedFd {
                socket.into_std().expect("an open socket takes a mode").into()
            }
        }

        /// As from [`OwnedFd`].
        impl FromRawFd for $Socket {
            /// # Safety
            ///
            /// `fd` is an open socket of this kind, and has no other owner.
            unsafe fn from_raw_fd(fd: RawFd) -> $Socket {
                // SAFETY: the caller's to keep, as said above.
                unsafe { OwnedFd::from_raw_fd(fd) }.into()
            }
        }

        /// As to [`OwnedFd`].
        impl IntoRawFd for $Socket {
            fn into_raw_fd(self) -> RawFd {
                OwnedFd::from(self).into_raw_fd()
            }
        }

        impl fmt::Debug for $Socket {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.inner.std().fmt(f)
            }
        }
    };
}

/// Methods of std's that never wait.
macro_rules! stds {
    ($($(#[$doc:meta])* fn $name:ident($($arg:ident: $type:ty),*) $(-> $result:ty)?;)*) => {$(
        $(#[$doc])*
        ///
        /// # Errors
        ///
        /// The kernel's.
        pub fn $name(&self $(, $arg: $type)*) -> io::Result<stds!(@ $($result)?)> {
            self.inner.std().$name($($arg),*)
        }
    )*};
    (@ $result:ty) => { $result };
    (@) => { () };
}

/// The end of what can be read, written, or both.
macro_rules! shutdown {
    () => {
        /// Closes one or both directions, of all clones too. The tasks that wait for what it ends are woken.
        ///
        /// # Errors
        ///
        /// The kernel's.
        pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
            self.inner.std().shutdown(how)?;
            self.inner.after_shutdown(how);
            Ok(())
        }
    };
}

/// A call of std's that may have to wait, three times: `green, generator, operation`.
macro_rules! three_eras {
    ($(
        $(#[$doc:meta])*
        $direction:ident: $green:ident, $try:ident, $operation:ident
        ($($arg:ident: $type:ty),*) -> $result:ty = $call:expr;
    )*) => {$(
        $(#[$doc])*
        ///
        /// # Errors
        ///
        /// The socket's; the kind is `TimedOut` if its time limit, or a
        /// [`green::deadline`](crate::green::deadline) around this, passes first.
        ///
        /// # Blocking
        ///
        /// Suspends the task; outside of one, and [while a stack unwinds](crate::net#blocking), blocks the thread.
        ///
        /// # Cancellation
        ///
        /// Nothing is lost.
        pub fn $green(&self, $($arg: $type),*) -> io::Result<$result> {
            self.inner.green(Direction::$direction, $call)
        }

        #[doc = concat!("[`", stringify!($green), "`](Self::", stringify!($green), "), now or not")]
        /// at all.
        ///
        /// # Errors
        ///
        /// `WouldBlock`, when it would have to wait: wait for `readable` or `writable`. The same when the
        /// task has had its share of this turn; the wait then only gives the others theirs.
        pub fn $try(&self, $($arg: $type),*) -> io::Result<$result> {
            self.inner.attempt(Direction::$direction, $call)
        }

        #[doc = concat!("[`", stringify!($green), "`](Self::", stringify!($green), ") as an operation:")]
        /// `y.wait(..)` or `.await` it.
        ///
        /// # Errors
        ///
        /// The socket's, and those of [`Readiness`].
        ///
        /// # Cancellation
        ///
        /// Nothing is lost.
        pub fn $operation(
            &self,
            $($arg: $type),*
        ) -> impl Future<Output = io::Result<$result>> + Unpin {
            self.inner.operation(Direction::$direction, $call)
        }
    )*};
}

/// What sockets that carry data have, and listeners do not.
macro_rules! limits {
    ($Address:ty) => {
        /// The operation of waiting until there may be room to write.
        pub fn writable(&self) -> Readiness<'_> {
            self.inner.ready(Direction::Write)
        }

        /// How long a green call may wait for something to read before it fails as `TimedOut`; `None`,
        /// the default: for ever.
        ///
        /// # Errors
        ///
        /// `InvalidInput` for a limit of zero.
        pub fn set_read_timeout(&self, limit: Option<Duration>) -> io::Result<()> {
            self.inner.limit(Direction::Read).set(limit)
        }

        /// How long a green call may wait for room to write before it fails as `TimedOut`; `None`, the
        /// default: for ever.
        ///
        /// # Errors
        ///
        /// `InvalidInput` for a limit of zero.
        pub fn set_write_timeout(&self, limit: Option<Duration>) -> io::Result<()> {
            self.inner.limit(Direction::Write).set(limit)
        }

        /// The limit on green reads.
        ///
        /// # Errors
        ///
        /// None; a `Result` because std's is.
        pub fn read_timeout(&self) -> io::Result<Option<Duration>> {
            Ok(self.inner.limit(Direction::Read).get())
        }

        /// The limit on green writes.
        ///
        /// # Errors
        ///
        /// None; a `Result` because std's is.
        pub fn write_timeout(&self) -> io::Result<Option<Duration>> {
            Ok(self.inner.limit(Direction::Write).get())
        }

        stds! {
            /// The address of the other side.
            fn peer_addr() -> $Address;
        }
    };
}

pub(super) use {limits, shutdown, socket, stds, three_eras};
