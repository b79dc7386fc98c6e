//! says: those that are left keep their order

use wouldblock::generator::{Generator, GeneratorState::Yielded};

/// Gives each task one turn after the other, until all have ended. Returns what they yielded, in that order.
pub fn round_robin<Y: 'static>(tasks: Vec<Generator<Y>>) -> Vec<Y> {
    let mut tasks = tasks;
    let mut yielded = Vec::new();
    while !tasks.is_empty() {
        let mut n = 0;
        while n < tasks.len() {
            match tasks[n].resume() {
                Yielded(value) => {
                    yielded.push(value);
                    n += 1;
                }
                _ => drop(tasks.swap_remove(n)),
            }
        }
    }
    yielded
}
