//! As callbacks: what becomes of a picture is a state machine, moved on by the queue and by timers.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use wouldblock::time::sleeping;
use wouldblock::{JoinHandle, future};

use crate::service::{ATTEMPTS, Album, Id, Image, LIMIT, Picture, Posted, Service, TOO_LATE, Work};

/// What a picture waits for.
enum State {
    Scaling,
    Framing,
}

/// All that is known of a picture between two callbacks.
struct Job {
    picture: String,
    image: Image,
    state: State,
    attempt: u32,
}

struct Machine {
    service: Rc<Service>,
    album: Rc<Album>,
    /// What each job is for, and what runs out if it never ends.
    pending: RefCell<HashMap<Id, (Job, JoinHandle<()>)>>,
    /// Pictures that are neither saved nor given up.
    unfinished: Cell<usize>,
}

pub fn process(service: &Rc<Service>, album: &Rc<Album>, pictures: &[Picture]) {
    let machine = Rc::new(Machine {
        service: service.clone(),
        album: album.clone(),
        pending: RefCell::default(),
        unfinished: Cell::new(pictures.len()),
    });
    for Picture { name, .. } in pictures {
        let (picture, image) = (name.clone(), name.clone());
        machine.submit(Job { picture, image, state: State::Scaling, attempt: 1 });
    }
    while let Ok(posted) = service.queue.get() {
        machine.on_posted(posted);
    }
}

impl Machine {
    fn submit(self: &Rc<Self>, job: Job) {
        let work = match job.state {
            State::Scaling => Work::Scale,
            State::Framing => Work::Frame,
        };
        let id = self.service.submit(work, &job.image);
        self.album.submitted(id, work, &job.image);
        let machine = self.clone();
        let timer = future::spawn(async move {
            sleeping(LIMIT).await;
            machine.on_timeout(id);
        });
        self.pending.borrow_mut().insert(id, (job, timer));
    }

    fn on_posted(self: &Rc<Self>, Posted { id, result }: Posted) {
        let Some((job, timer)) = self.take(id) else {
            return self.album.stray(id);
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
            State::Framing => {
                self.album.save(&job.picture, image);
                self.on_finished();
            }
        }
    }

    fn on_failure(self: &Rc<Self>, id: Id, job: Job, why: &'static str) {
        self.album.failed(id, &job.image, why);
        if job.attempt < ATTEMPTS {
            self.submit(Job { attempt: job.attempt + 1, ..job });
        } else {
            self.album.give_up(&job.picture, why);
            self.on_finished();
        }
    }

    fn on_finished(&self) {
        self.unfinished.set(self.unfinished.get() - 1);
        if self.unfinished.get() == 0 {
            self.service.queue.shutdown();
        }
    }

    fn take(&self, id: Id) -> Option<(Job, JoinHandle<()>)> {
        self.pending.borrow_mut().remove(&id)
    }
}
