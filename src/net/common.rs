//! What the socket types have in common, as macros: each is to have methods of its own, with std's names, that std has
//! in no trait.

/// What every socket has: clones, modes, and conversions.
macro_rules! socket {
    ($Socket:ident, $std:ty, $Address:ty) => {
        impl $Socket {
            /// Makes a socket of this crate from std's. It is put into the operating system's non-blocking mode, and so
            /// are its duplicates.
            ///
            /// # Errors
            ///
            /// The operating system's.
            pub fn from_std(socket: $std) -> io::Result<$Socket> {
                socket.set_nonblocking(true)?;
                Ok($Socket { socket: Socket::new(socket) })
            }

            /// Makes std's socket from it, in blocking mode unless [`set_nonblocking`](Self::set_nonblocking) has
            /// set the other. The operating system keeps the mode with the socket: clones have the same mode then,
            /// and must not be used on a scheduler's thread any more.
            ///
            /// # Errors
            ///
            /// The operating system's.
            pub fn into_std(self) -> io::Result<$std> {
                let nonblocking = self.socket.is_nonblocking();
                let socket = self.socket.into_std();
                socket.set_nonblocking(nonblocking)?;
                Ok(socket)
            }

            /// A second handle to the same socket, with the same time limits and mode: what is set on one handle holds
            /// for both.
            ///
            /// # Errors
            ///
            /// The operating system's: too many descriptors.
            pub fn try_clone(&self) -> io::Result<$Socket> {
                Ok($Socket { socket: self.socket.clone_of(self.socket.std().try_clone()?) })
            }

            /// In non-blocking mode, green calls fail as `WouldBlock` where they would wait. Before they do, the other
            /// tasks have a turn, so that a loop of such calls starves no other task. The operating system's mode stays
            /// as it is, non-blocking.
            ///
            /// # Errors
            ///
            /// None; a `Result` because std's is.
            pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
                self.socket.set_nonblocking(nonblocking);
                Ok(())
            }

            /// The operation of waiting until there may be something to read, or an error.
            pub fn readable(&self) -> Readiness<'_> {
                self.socket.ready(Direction::Read)
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
                self.socket.std().as_fd()
            }
        }

        impl AsRawFd for $Socket {
            fn as_raw_fd(&self) -> RawFd {
                self.socket.std().as_raw_fd()
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
                // SAFETY: the caller keeps what is required above.
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
                self.socket.std().fmt(f)
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
        /// The operating system's.
        pub fn $name(&self $(, $arg: $type)*) -> io::Result<stds!(@ $($result)?)> {
            self.socket.std().$name($($arg),*)
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
        /// The operating system's.
        pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
            self.socket.std().shutdown(how)?;
            if how != Shutdown::Read {
                self.socket.end_writing();
            }
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
        #[track_caller]
        pub fn $green(&self, $($arg: $type),*) -> io::Result<$result> {
            self.socket.green(Direction::$direction, $call)
        }

        #[doc = concat!("[`", stringify!($green), "`](Self::", stringify!($green), "), without a wait.")]
        ///
        /// # Errors
        ///
        /// `WouldBlock`, when it would have to wait: wait for `readable` or `writable`. The same when the
        /// budget of the task for this turn is used up; the wait then only gives the other tasks a turn.
        pub fn $try(&self, $($arg: $type),*) -> io::Result<$result> {
            self.socket.attempt(Direction::$direction, $call)
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
            self.socket.operation(Direction::$direction, $call)
        }
    )*};
}

/// What sockets that carry data have, and listeners do not.
macro_rules! limits {
    ($Address:ty) => {
        /// The operation of waiting until there may be room to write.
        pub fn writable(&self) -> Readiness<'_> {
            self.socket.ready(Direction::Write)
        }

        /// How long a green call may wait for something to read before it fails as `TimedOut`; `None`,
        /// the default: for ever. It is a limit on each single wait: see
        /// [silent peers and half lines](crate::net#silent-peers-and-half-lines).
        ///
        /// # Errors
        ///
        /// `InvalidInput` for a limit of zero.
        pub fn set_read_timeout(&self, limit: Option<Duration>) -> io::Result<()> {
            self.socket.set_limit(Direction::Read, limit)
        }

        /// How long a green call may wait for room to write before it fails as `TimedOut`; `None`, the
        /// default: for ever.
        ///
        /// # Errors
        ///
        /// `InvalidInput` for a limit of zero.
        pub fn set_write_timeout(&self, limit: Option<Duration>) -> io::Result<()> {
            self.socket.set_limit(Direction::Write, limit)
        }

        /// The limit on green reads.
        ///
        /// # Errors
        ///
        /// None; a `Result` because std's is.
        pub fn read_timeout(&self) -> io::Result<Option<Duration>> {
            Ok(self.socket.limit(Direction::Read))
        }

        /// The limit on green writes.
        ///
        /// # Errors
        ///
        /// None; a `Result` because std's is.
        pub fn write_timeout(&self) -> io::Result<Option<Duration>> {
            Ok(self.socket.limit(Direction::Write))
        }

        stds! {
            /// The address of the other side.
            fn peer_addr() -> $Address;
        }
    };
}

pub(super) use {limits, shutdown, socket, stds, three_eras};
