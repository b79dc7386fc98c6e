//! Streams of futures-core: what gives one item after the other, for the combinators of other crates.
//!
//! Each is an iterator, or a thing with a verb of its own, in the first place. So it becomes a stream by a call, and not by a
//! trait: the methods of `Iterator` and `StreamExt` have the same names.

use std::io;
use std::time::Instant;

use futures_lite::Stream;
use futures_lite::stream::unfold;

use crate::group::{AsCompleted, Imap};
use crate::net::unix::{UnixListener, UnixStream};
use crate::net::{TcpListener, TcpStream};
use crate::run::join::JoinError;
use crate::signal::Signals;
use crate::sync::{broadcast, channel, watch};
use crate::time::Interval;

/// `into_stream` for a type.
macro_rules! streams {
    ($(
        $(#[$doc:meta])*
        impl<$($T:ident $(: $bound:ident)?),*> $Type:ty => $Item:ty = |$source:ident| $next:expr;
    )*) => {$(
        impl<$($T: $($bound +)? 'static),*> $Type {
            $(#[$doc])*
            ///
            /// It is a [`Stream`](futures_lite::Stream) of futures-core, for the combinators of the crates `futures` and
            /// `futures-lite`.
            ///
            /// # Cancellation
            ///
            /// A wait for the next item that is given up loses none.
            pub fn into_stream(self) -> impl Stream<Item = $Item> {
                unfold(self, async |mut $source| {
                    let _ = &mut $source;
                    let next: Option<$Item> = $next;
                    Some((next?, $source))
                })
            }
        }
    )*};
}

streams! {
    /// The items as a stream, until the last sender is gone.
    ///
    /// ```
    /// use futures_lite::StreamExt;
    /// use wouldblock::{green, sync::channel};
    ///
    /// wouldblock::run(|| {
    ///     let (sender, receiver) = channel::unbounded();
    ///     for n in 1..=3 { sender.send(n).unwrap(); }
    ///     drop(sender);
    ///     let doubles = receiver.into_stream().map(|n| 2 * n).collect::<Vec<_>>();
    ///     assert_eq!(green::wait(doubles), [2, 4, 6]);
    /// });
    /// ```
    impl<T> channel::Receiver<T> => T = |receiver| receiver.receiving().await.ok();

    /// The values that come from now on, each the latest, as a stream, until the last sender is gone.
    impl<T: Clone> watch::Receiver<T> => T = |receiver| receiver.receiving().await.ok();

    /// The items as a stream, until the last sender is gone.
    impl<T> broadcast::Receiver<T> => T = |receiver| receiver.receiving().await.ok();

    /// The results as a stream, in the order of this iterator. A stream that is dropped cancels what is under way.
    impl<T> Imap<T> => Result<T, JoinError> = |imap| imap.next_result().await;

    /// The results as a stream, each as its task ends.
    impl<T> AsCompleted<T> => Result<T, JoinError> = |all| all.next_result().await;

    /// The ticks as a stream without an end.
    impl<> Interval => Instant = |ticks| Some(ticks.ticking().await);

    /// The signals as a stream; an error ends nothing.
    impl<> Signals => io::Result<i32> = |signals| Some(signals.receiving().await);

    /// The connections as a stream without an end, as [`incoming`](TcpListener::incoming) gives them.
    impl<> TcpListener => io::Result<TcpStream> =
        |listener| Some(listener.accepting().await.map(|(stream, _)| stream));

    /// The connections as a stream without an end, as [`incoming`](UnixListener::incoming) gives them.
    impl<> UnixListener => io::Result<UnixStream> =
        |listener| Some(listener.accepting().await.map(|(stream, _)| stream));
}
