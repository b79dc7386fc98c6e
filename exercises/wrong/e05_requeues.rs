//! says: resumed after it had finished

use std::collections::VecDeque;

use wouldblock::generator::{Generator, GeneratorState};

pub fn round_robin<Y: 'static>(tasks: Vec<Generator<Y>>) -> Vec<Y> {
    let mut queue: VecDeque<_> = tasks.into();
    let mut values = Vec::new();
    while let Some(mut task) = queue.pop_front() {
        if let GeneratorState::Yielded(value) = task.resume() {
            values.push(value);
        }
        queue.push_back(task);
    }
    values
}
