//! says: `studio.stray(id)` writes them there

use wouldblock::sync::oneshot;

use crate::given::{ATTEMPTS, Id, Image, LIMIT, Posted, Studio, TOO_LATE, Why, Work};

/// All that becomes of a picture: it is scaled, and what that gives is framed. Each is submitted again when it fails, up
/// to `ATTEMPTS` times in all; then the picture is given up. Returns the framed image.
pub fn picture(studio: &Studio, name: &str) -> Result<Image, Why> {
    let small = done(studio, Work::Scale, name)?;
    done(studio, Work::Frame, &small)
}

/// Submits a job until it gives an image, or once too often.
fn done(studio: &Studio, work: Work, image: &str) -> Result<Image, Why> {
    let mut result = Err(TOO_LATE);
    for _ in 0..ATTEMPTS {
        let id = studio.submit(work, image);
        result = end_of(studio, id);
        match result {
            Ok(_) => break,
            Err(why) => studio.failed(id, image, why),
        }
    }
    result
}

/// Waits for the end of a job.
fn end_of(studio: &Studio, id: Id) -> Result<Image, Why> {
    let (sender, mut receiver) = oneshot::channel();
    studio.waiting.borrow_mut().insert(id, sender);
    receiver.recv_timeout(LIMIT).unwrap_or_else(|_| {
        studio.waiting.borrow_mut().remove(&id);
        Err(TOO_LATE)
    })
}

/// Takes what is posted, and sends it to the task that waits for that job, until the queue is shut down.
pub fn dispatch(studio: &Studio) {
    while let Ok(Posted { id, result }) = studio.posted().get() {
        let waiter = studio.waiting.borrow_mut().remove(&id);
        match waiter {
            Some(waiter) => drop(waiter.send(result)),
            None => {}
        }
    }
}
