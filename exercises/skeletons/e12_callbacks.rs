//! 12 callbacks: what was a state machine is a function again.

use crate::given::{Image, Studio, Why, Work};

/// All that becomes of a picture: it is scaled, and what that gives is framed. Each is submitted again when it fails, up
/// to `ATTEMPTS` times in all; then the picture is given up. Returns the framed image.
pub fn picture(studio: &Studio, name: &str) -> Result<Image, Why> {
    todo!("picture: submit {:?} of {name} as job {}", Work::Scale, studio.log().len())
}

/// Takes what is posted, and sends it to the task that waits for that job, until the queue is shut down.
pub fn dispatch(studio: &Studio) {
    todo!("dispatch: take from the {:?}", studio.posted())
}
