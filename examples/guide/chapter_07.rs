//! Chapter 7: async functions, what `.await` does, and the colour.

use std::cell::{Cell, RefCell};
use std::io::{BufRead, BufReader, Write};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use wouldblock::net::unix::UnixStream;
use wouldblock::time::{now, sleeping};
use wouldblock::{future, green, task};

use crate::stage::{drawn, plain, quick};

pub fn run() {
    quick("never_awaited", never_awaited);
    quick("in_a_row", in_a_row);
    quick("at_once", at_once);
    drawn("the_bell", the_bell);
    quick("no_colour", no_colour);
    plain("as_large_as_its_locals", as_large_as_its_locals);
}

async fn nap(ms: u64) -> u64 {
    println!("    sleeps {ms} ms");
    sleeping(Duration::from_millis(ms)).await;
    ms
}

fn never_awaited() {
    let future = nap(10);
    println!("the call has returned");
    drop(future);
}

fn in_a_row() {
    let start = now();
    let both = async { nap(20).await + nap(10).await };
    println!("{} ms of sleep took {:?}", green::wait(both), now() - start);
}

fn at_once() {
    let start = now();
    let (long, short) = (future::spawn(nap(20)), future::spawn(nap(10)));
    let both = async { long.await.unwrap() + short.await.unwrap() };
    println!("{} ms of sleep took {:?}", green::wait(both), now() - start);
}

#[derive(Clone, Default)]
struct Bell {
    rung: Rc<Cell<bool>>,
    waker: Rc<RefCell<Option<Waker>>>,
}

impl Bell {
    fn ring(&self) {
        self.rung.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake(); // puts the task back into the queue
        }
    }
}

impl Future for Bell {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        println!("    polled: {}", if self.rung.get() { "it has rung" } else { "not yet" });
        if self.rung.get() {
            return Poll::Ready(());
        }
        self.waker.replace(Some(context.waker().clone())); // the task to wake, later
        Poll::Pending
    }
}

fn the_bell() {
    let bell = Bell::default();
    let listener = task::Builder::new().name("listener").spawn_future(bell.clone());
    sleep_and_ring(&bell);
    listener.join().unwrap();
}

fn sleep_and_ring(bell: &Bell) {
    green::sleep(Duration::from_millis(10));
    println!("rings");
    bell.ring();
}

fn first_line(stream: UnixStream) -> String {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap(); // plain code, which waits
    line
}

async fn shout(stream: UnixStream) -> String {
    first_line(stream).to_uppercase()
}

fn no_colour() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let shouting = future::spawn(shout(ours));
    green::sleep(Duration::from_millis(10));
    theirs.write_all(b"hello\n").unwrap();
    println!("{:?}", shouting.join().unwrap());
}

async fn holds(bytes: [u8; 1000]) -> u8 {
    sleeping(Duration::from_millis(1)).await;
    bytes[0]
}

fn as_large_as_its_locals() {
    println!("with the array, above 1000 bytes: {}", size_of_val(&holds([0; 1000])) > 1000);
    println!("without it, below 200: {}", size_of_val(&nap(1)) < 200);
}
