//! says: lost its turn when

use wouldblock::generator::{Generator, GeneratorState};

pub fn round_robin<Y: 'static>(mut tasks: Vec<Generator<Y>>) -> Vec<Y> {
    let mut values = Vec::new();
    let mut at = 0;
    while !tasks.is_empty() {
        if at >= tasks.len() {
            at = 0;
        }
        match tasks[at].resume() {
            GeneratorState::Yielded(value) => values.push(value),
            GeneratorState::Complete(()) => {
                tasks.remove(at);
            }
        }
        at += 1;
    }
    values
}
