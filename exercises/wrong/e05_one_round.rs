//! says: had more to yield

use wouldblock::generator::{Generator, GeneratorState};

pub fn round_robin<Y: 'static>(tasks: Vec<Generator<Y>>) -> Vec<Y> {
    let mut values = Vec::new();
    for mut task in tasks {
        if let GeneratorState::Yielded(value) = task.resume() {
            values.push(value);
        }
    }
    values
}
