//! says: one resume, then to the BACK of the queue

use wouldblock::generator::Generator;

pub fn round_robin<Y: 'static>(tasks: Vec<Generator<Y>>) -> Vec<Y> {
    tasks.into_iter().flatten().collect()
}
