//! says: take from the FRONT

use wouldblock::generator::{Generator, GeneratorState};

pub fn round_robin<Y: 'static>(mut tasks: Vec<Generator<Y>>) -> Vec<Y> {
    let mut values = Vec::new();
    while let Some(mut task) = tasks.pop() {
        if let GeneratorState::Yielded(value) = task.resume() {
            values.push(value);
            tasks.insert(0, task);
        }
    }
    values
}
