//! Streams of futures-core, for combinators of other crates.

use std::pin::pin;

use futures::stream::{StreamExt, select};
use wouldblock::group::{Pool, as_completed};
use wouldblock::net::unix::{UnixListener, UnixStream};
use wouldblock::net::{TcpListener, TcpStream};
use wouldblock::op::timeout;
use wouldblock::process::Command;
use wouldblock::signal::{SIGWINCH, Signals};
use wouldblock::sync::{broadcast, channel, watch};
use wouldblock::{future, green, green::wait, time};

use crate::util::*;

#[test]
fn each_source_of_items_becomes_a_stream() {
    bounded(|| {
        let (sender, items) = channel::unbounded();
        let (feed, news) = broadcast::channel(8);
        let (state, states) = watch::channel(0);
        for n in 1..=3 {
            sender.send(n).unwrap();
            feed.send(10 * n);
            state.send(100 * n);
        }
        drop((sender, feed, state));
        let all = select(items.into_stream(), select(news.into_stream(), states.into_stream()));
        let mut all: Vec<_> = wait(all.collect::<Vec<_>>());
        all.sort();
        assert_eq!(all, [1, 2, 3, 10, 20, 30, 300]);

        let squares = Pool::new(2).imap(1..=4, |n| n * n).into_stream();
        let squares = squares.map(Result::unwrap).filter(|n| std::future::ready(n % 2 == 0));
        assert_eq!(wait(squares.collect::<Vec<_>>()), [4, 16]);
        let tasks = (0..3).map(|n| future::spawn(async move { n }));
        let sum = as_completed(tasks).into_stream().map(Result::unwrap);
        assert_eq!(wait(sum.fold(0, |sum, n| async move { sum + n })), 3);
        assert_eq!(wait(time::interval(MS).into_stream().take(3).count()), 3);
    });
}

#[test]
fn connections_and_signals_come_as_streams() {
    bounded(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let _clients = [TcpStream::connect(address).unwrap(), TcpStream::connect(address).unwrap()];
        let accepted = listener.into_stream().take(2).filter(|s| std::future::ready(s.is_ok()));
        assert_eq!(wait(accepted.count()), 2);

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let _client = UnixStream::connect(&path).unwrap();
        let mut accepted = pin!(listener.into_stream());
        assert!(wait(accepted.next()).unwrap().is_ok());

        let mut signals = pin!(Signals::new([SIGWINCH]).unwrap().into_stream());
        let id = std::process::id().to_string();
        assert!(Command::new("kill").args(["-WINCH", &id]).status().unwrap().success());
        assert_eq!(wait(signals.next()).unwrap().unwrap(), SIGWINCH);
    });
}

#[test]
fn a_wait_for_an_item_that_is_given_up_loses_none() {
    bounded(|| {
        let (sender, items) = channel::bounded(1);
        let mut items = pin!(items.into_stream());
        assert!(wait(timeout(MS, items.next())).is_err());
        let send = green::spawn(move || (0..3).for_each(|n| sender.send(n).unwrap()));
        assert_eq!(wait(items.next()), Some(0));
        assert_eq!(wait(items.collect::<Vec<_>>()), [1, 2]);
        send.join().unwrap();
    });
}
