//! As a coroutine: what becomes of a picture is one function, read from top to bottom.

use std::cell::RefCell;
use std::collections::HashMap;

use wouldblock::green;
use wouldblock::sync::oneshot;

use crate::service::{ATTEMPTS, Album, Id, Image, LIMIT, Picture, Posted, Service, TOO_LATE, Work};

type Answer = Result<Image, &'static str>;

struct Studio<'a> {
    service: &'a Service,
    album: &'a Album,
    /// Who waits for the end of which job.
    waiting: RefCell<HashMap<Id, oneshot::Sender<Answer>>>,
}

pub fn process(service: &Service, album: &Album, pictures: &[Picture]) {
    let studio = Studio { service, album, waiting: RefCell::default() };
    green::scope(|s| {
        s.spawn(|| studio.dispatch());
        green::scope(|s| {
            for Picture { name, .. } in pictures {
                s.spawn(|| {
                    if let Err(why) = studio.frame(name) {
                        album.give_up(name, why);
                    }
                });
            }
        });
        service.queue.shutdown();
    });
}

impl Studio<'_> {
    /// All that becomes of a picture.
    fn frame(&self, picture: &str) -> Result<(), &'static str> {
        let small = self.ask(Work::Scale, picture)?;
        let framed = self.ask(Work::Frame, &small)?;
        self.album.save(picture, framed);
        Ok(())
    }

    /// Asks the service until it gives an image, or once too often.
    fn ask(&self, work: Work, image: &str) -> Answer {
        let mut answer = Err(TOO_LATE);
        for _ in 0..ATTEMPTS {
            let id = self.service.submit(work, image);
            self.album.submitted(id, work, image);
            answer = self.answer(id);
            match answer {
                Ok(_) => break,
                Err(why) => self.album.failed(id, image, why),
            }
        }
        answer
    }

    /// Waits for the end of a job.
    fn answer(&self, id: Id) -> Answer {
        let (sender, mut receiver) = oneshot::channel();
        self.waiting.borrow_mut().insert(id, sender);
        receiver.recv_timeout(LIMIT).unwrap_or_else(|_| {
            self.waiting.borrow_mut().remove(&id);
            Err(TOO_LATE)
        })
    }

    /// Reads the queue, and hands each message to whoever waits for it.
    fn dispatch(&self) {
        while let Ok(Posted { id, result }) = self.service.queue.get() {
            match self.waiting.borrow_mut().remove(&id) {
                Some(waiter) => drop(waiter.send(result)),
                None => self.album.stray(id),
            }
        }
    }
}
