//! Chapter 1: a coroutine stops in the middle, and goes on there.

use wouldblock::generator::{Generator, GeneratorState::Yielded, Yielder};
use wouldblock::{green, group::gather, task};

use crate::stage::{drawn, plain};

pub fn run() {
    plain("at_once", at_once);
    plain("in_the_middle", in_the_middle);
    plain("without_an_end", without_an_end);
    plain("two_by_hand", two_by_hand);
    drawn("two_tasks", two_tasks);
}

fn squares_at_once(count: u32) -> Vec<u32> {
    let mut squares = Vec::new();
    for n in 1..=count {
        println!("    squares: computes {n} * {n}");
        squares.push(n * n);
    }
    squares
}

fn at_once() {
    for square in squares_at_once(3) {
        println!("caller: has {square}");
    }
}

fn squares(count: u32) -> Generator<u32> {
    Generator::new(move |y: &Yielder<u32>| {
        for n in 1..=count {
            println!("    squares: computes {n} * {n}");
            y.yield_(n * n);
        }
    })
}

fn in_the_middle() {
    let mut squares = squares(3);
    println!("caller: made the generator");
    while let Yielded(square) = squares.resume() {
        println!("caller: has {square}");
    }
}

fn without_an_end() {
    let mut n = 0;
    let powers = Generator::new(move |y: &Yielder<u64>| {
        loop {
            y.yield_(1 << n);
            n += 1;
        }
    });
    let first: Vec<u64> = powers.take(8).collect();
    println!("{first:?}");
}

fn spelling(word: &'static str) -> Generator<char> {
    Generator::new(move |y: &Yielder<char>| {
        for letter in word.chars() {
            y.yield_(letter);
        }
    })
}

fn two_by_hand() {
    let (mut upper, mut lower) = (spelling("STOP"), spelling("go"));
    println!("{:?} {:?}", upper.resume(), lower.resume());
    println!("{:?} {:?}", upper.resume(), lower.resume());
    println!("{:?} {:?}", upper.resume(), lower.resume());
    println!("{:?}", upper.resume());
}

fn two_tasks() {
    let tasks = ["STOP", "go"].map(|word| {
        task::Builder::new().name(word).spawn_generator(move |y| {
            for letter in word.chars() {
                println!("{letter}");
                y.yield_now();
            }
        })
    });
    green::wait(gather(tasks));
}
