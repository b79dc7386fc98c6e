//! Chapter 8: four kinds of waiting, and queues that push back.

use std::cell::Cell;
use std::io::{BufRead, BufReader, Write};
use std::rc::Rc;
use std::time::Duration;

use wouldblock::net::{TcpListener, TcpStream};
use wouldblock::sync::Queue;
use wouldblock::{JoinHandle, fs, green, offload, task};

use crate::stage::{drawn, live, quick};

pub fn run() {
    live("four_at_once", four_at_once);
    quick("held_up", held_up);
    quick("without_a_bound", without_a_bound);
    drawn("with_a_bound", with_a_bound);
}

fn network() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = green::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"an answer\n").unwrap();
    });
    let mut line = String::new();
    BufReader::new(TcpStream::connect(address).unwrap()).read_line(&mut line).unwrap();
    server.join().unwrap();
    line.trim_end().into()
}

fn file() -> String {
    let path = std::env::temp_dir().join(format!("wouldblock-guide-{}", std::process::id()));
    fs::write(&path, "a file").unwrap();
    let text = fs::read_to_string(&path).unwrap();
    fs::remove_file(&path).unwrap();
    text
}

fn database() -> String {
    green::wait(offload(|| blocking_call("a row")))
}

fn message_queue() -> String {
    let queue = Rc::new(Queue::bounded(1));
    let inbox = queue.clone();
    let sender = green::spawn(move || queue.put("a message".to_owned()).unwrap());
    let message = inbox.get().unwrap();
    sender.join().unwrap();
    message
}

/// Stands for a slow disk, or for the library of a database: it holds its thread.
fn blocking_call(answer: &str) -> String {
    std::thread::sleep(Duration::from_millis(5));
    answer.into()
}

/// Whether another task had a turn during `call`.
fn others_run_during(call: impl FnOnce() -> String) -> bool {
    let turns = Rc::new(Cell::new(0));
    let counter = turns.clone();
    let other = green::spawn(move || {
        loop {
            counter.set(counter.get() + 1);
            green::yield_now();
        }
    });
    let before = turns.get();
    call();
    other.cancel();
    turns.get() > before
}

fn held_up() {
    let directly = others_run_during(|| blocking_call("a file"));
    println!("called in the task, others run: {directly}");
    let offloaded = others_run_during(|| green::wait(offload(|| blocking_call("a file"))));
    println!("on another thread, others run: {offloaded}");
}

fn start(name: &'static str, operation: fn() -> String) -> (&'static str, JoinHandle<String>) {
    (name, task::Builder::new().name(name).spawn(operation))
}

fn four_at_once() {
    let tasks = [
        start("network", network),
        start("file", file),
        start("database", database),
        start("message queue", message_queue),
    ];
    for (name, task) in tasks {
        println!("{name}: {}", task.join().unwrap());
    }
}

fn produce_and_consume(queue: Queue<u32>, items: u32) -> usize {
    let (queue, most) = (Rc::new(queue), Rc::new(Cell::new(0)));
    let (inlet, longest) = (queue.clone(), most.clone());
    let producer = task::Builder::new().name("producer").spawn(move || {
        for item in 0..items {
            inlet.put(item).unwrap(); // waits while the queue is full
            longest.set(longest.get().max(inlet.len()));
        }
        inlet.shutdown();
    });
    let consumer = task::Builder::new().name("consumer").spawn(move || {
        while queue.get().is_ok() {
            green::sleep(Duration::from_millis(1)); // slower than the producer
        }
    });
    producer.join().unwrap();
    consumer.join().unwrap();
    most.get()
}

fn without_a_bound() {
    let longest = produce_and_consume(Queue::unbounded(), 1000);
    println!("up to {longest} items were in the queue");
}

fn with_a_bound() {
    let longest = produce_and_consume(Queue::bounded(2), 5);
    println!("up to {longest} items were in the queue");
}
