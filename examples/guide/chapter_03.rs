//! Chapter 3: an image service that answers later, with callbacks and with a coroutine.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use wouldblock::sync::{Queue, oneshot};
use wouldblock::time::sleeping;
use wouldblock::{future, green};

use crate::stage::{drawn, quick};

pub fn run() {
    quick("the_service", the_service);
    quick("with_callbacks", with_callbacks);
    drawn("with_coroutines", with_coroutines);
}

type Answer = Result<String, &'static str>;

/// Takes a job, and answers at once with its id. The result comes later, into
/// the queue. Each fourth job fails.
struct Service {
    results: Rc<Queue<(u32, Answer)>>,
    last_id: Cell<u32>,
}

impl Service {
    fn new() -> Service {
        Service { results: Rc::new(Queue::unbounded()), last_id: Cell::new(0) }
    }

    fn submit(&self, work: &str, image: &str) -> u32 {
        let id = self.last_id.get() + 1;
        self.last_id.set(id);
        let answer = match id % 4 {
            0 => Err("out of paint"),
            _ => Ok(format!("{work} {image}")),
        };
        let results = self.results.clone();
        drop(future::spawn(async move {
            sleeping(Duration::from_millis(if id == 1 { 20 } else { 10 })).await;
            let _ = results.putting((id, answer)).await;
        }));
        id
    }
}

fn the_service() {
    let service = Service::new();
    println!("job {}", service.submit("small", "cat"));
    println!("job {}", service.submit("small", "dog"));
    println!("{:?}", service.results.get().unwrap());
    println!("{:?}", service.results.get().unwrap());
}

type Callback = Box<dyn FnOnce(&Callbacks, Answer)>;

struct Callbacks {
    service: Service,
    /// What to do when job N ends.
    pending: RefCell<HashMap<u32, Callback>>,
    /// Pictures. At 0, the loop below may end.
    unfinished: Cell<u32>,
}

impl Callbacks {
    fn ask(&self, work: &str, image: &str, then: impl FnOnce(&Callbacks, Answer) + 'static) {
        let id = self.service.submit(work, image);
        self.pending.borrow_mut().insert(id, Box::new(then));
    }

    fn picture(&self, name: &'static str) {
        self.ask("small", name, move |all, small| match small {
            Ok(small) => all.frame(name, small, 1),
            Err(why) => all.end(name, Err(why)),
        });
    }

    fn frame(&self, name: &'static str, small: String, attempt: u32) {
        let image = small.clone();
        self.ask("framed", &image, move |all, framed| match framed {
            Err(_) if attempt < 2 => all.frame(name, small, attempt + 1), // the loop
            result => all.end(name, result),
        });
    }

    fn end(&self, name: &str, result: Answer) {
        println!("{name}: {result:?}");
        self.unfinished.set(self.unfinished.get() - 1);
    }
}

fn with_callbacks() {
    let (service, unfinished) = (Service::new(), Cell::new(2));
    let all = Callbacks { service, pending: RefCell::default(), unfinished };
    all.picture("cat");
    all.picture("dog");
    while all.unfinished.get() > 0 {
        let (id, answer) = all.service.results.get().unwrap();
        let callback = all.pending.borrow_mut().remove(&id).unwrap();
        callback(&all, answer);
    }
}

struct Coroutines {
    service: Service,
    /// The channel on which a task waits for the end of job N.
    waiting: RefCell<HashMap<u32, oneshot::Sender<Answer>>>,
}

impl Coroutines {
    fn ask(&self, work: &str, image: &str) -> Answer {
        let id = self.service.submit(work, image);
        let (sender, receiver) = oneshot::channel();
        self.waiting.borrow_mut().insert(id, sender);
        receiver.recv().unwrap() // stops in the middle, and goes on with the answer
    }

    fn picture(&self, name: &str) -> Answer {
        let small = self.ask("small", name)?;
        let mut framed = self.ask("framed", &small);
        if framed.is_err() {
            framed = self.ask("framed", &small);
        }
        framed
    }

    fn dispatch(&self) {
        while let Ok((id, answer)) = self.service.results.get() {
            let waiter = self.waiting.borrow_mut().remove(&id).unwrap();
            let _ = waiter.send(answer);
        }
    }
}

fn with_coroutines() {
    let all = Coroutines { service: Service::new(), waiting: RefCell::default() };
    green::scope(|s| {
        s.spawn(|| all.dispatch());
        green::scope(|s| {
            for name in ["cat", "dog"] {
                let all = &all;
                s.spawn(move || println!("{name}: {:?}", all.picture(name)));
            }
        });
        all.service.results.shutdown();
    });
}
