//! With callbacks: what becomes of a picture is a state machine, which the queue and timers move on.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use wouldblock::time::sleeping;
use wouldblock::{JoinHandle, future};

use super::{ATTEMPTS, Id, Image, LIMIT, Posted, Studio, TOO_LATE, Why, Work};

/// What a picture waits for.
enum State {
    Scaling,
    Framing,
}

/// All that is known of a picture between two callbacks.
struct Job {
    name: String,
    image: Image,
    state: State,
    attempt: u32,
}

struct Machine {
    studio: Rc<Studio>,
    /// What each job is for, and the timer of its limit.
    pending: RefCell<HashMap<Id, (Job, JoinHandle<()>)>>,
    unfinished: Cell<usize>,
}

/// Makes all pictures. Returns when each is saved or given up.
pub fn pictures(studio: &Rc<Studio>, names: &[&str]) {
    let machine = Rc::new(Machine {
        studio: studio.clone(),
        pending: RefCell::default(),
        unfinished: Cell::new(names.len()),
    });
    for name in names {
        let (name, image) = (name.to_string(), name.to_string());
        machine.submit(Job { name, image, state: State::Scaling, attempt: 1 });
    }
    while let Ok(posted) = studio.posted().get() {
        machine.on_posted(posted);
    }
}

impl Machine {
    fn submit(self: &Rc<Self>, job: Job) {
        let work = match job.state {
            State::Scaling => Work::Scale,
            State::Framing => Work::Frame,
        };
        let id = self.studio.submit(work, &job.image);
        let machine = self.clone();
        let timer = future::spawn(async move {
            sleeping(LIMIT).await;
            machine.on_timeout(id);
        });
        self.pending.borrow_mut().insert(id, (job, timer));
    }

    fn on_posted(self: &Rc<Self>, Posted { id, result }: Posted) {
        let Some((job, timer)) = self.take(id) else {
            return self.studio.stray(id);
        };
        timer.cancel();
        match result {
            Ok(image) => self.on_image(job, image),
            Err(why) => self.on_failure(id, job, why),
        }
    }

    fn on_timeout(self: &Rc<Self>, id: Id) {
        if let Some((job, _)) = self.take(id) {
            self.on_failure(id, job, TOO_LATE);
        }
    }

    fn on_image(self: &Rc<Self>, job: Job, image: Image) {
        match job.state {
            State::Scaling => {
                self.submit(Job { image, state: State::Framing, attempt: 1, ..job });
            }
            State::Framing => self.on_end(&job.name, Ok(image)),
        }
    }

    fn on_failure(self: &Rc<Self>, id: Id, job: Job, why: Why) {
        self.studio.failed(id, &job.image, why);
        if job.attempt < ATTEMPTS {
            self.submit(Job { attempt: job.attempt + 1, ..job });
        } else {
            self.on_end(&job.name, Err(why));
        }
    }

    fn on_end(&self, name: &str, result: Result<Image, Why>) {
        self.studio.ended(name, &result);
        self.unfinished.set(self.unfinished.get() - 1);
        if self.unfinished.get() == 0 {
            self.studio.posted().shutdown();
        }
    }

    fn take(&self, id: Id) -> Option<(Job, JoinHandle<()>)> {
        self.pending.borrow_mut().remove(&id)
    }
}
