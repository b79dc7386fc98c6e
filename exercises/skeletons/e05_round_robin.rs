//! 05 round_robin: the scheduler is a queue.

use wouldblock::generator::Generator;

/// Gives each task one turn after the other, until all have ended. Returns what they yielded, in that order.
pub fn round_robin<Y: 'static>(tasks: Vec<Generator<Y>>) -> Vec<Y> {
    todo!("round_robin: give one turn to the first of {} tasks", tasks.len())
}
