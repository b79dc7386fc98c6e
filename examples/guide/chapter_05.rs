//! Chapter 5: what Python 2 could do with generators, and what `yield from` added.

use std::time::Duration;

use wouldblock::generator::{Coroutine, Generator, Thrown, Yielder};
use wouldblock::time::{now, sleeping};
use wouldblock::{Wait, green, group::gather, task};

use crate::stage::{drawn, panic_of, plain};

pub fn run() {
    plain("the_mean", the_mean);
    plain("not_primed", || println!("{}", panic_of(not_primed)));
    plain("thrown_and_closed", thrown_and_closed);
    plain("called_only", called_only);
    plain("delegated", delegated);
    drawn("three_deep", three_deep);
}

fn mean() -> Generator<f64, f64> {
    Generator::new(|y: &Yielder<f64, f64>| {
        let (mut sum, mut count) = (y.yield_(0.0), 1.0);
        loop {
            sum += y.yield_(sum / count);
            count += 1.0;
        }
    })
}

fn the_mean() {
    let mut mean = mean();
    mean.prime(); // runs to the first `yield_`, which can then return what is sent
    for number in [10.0, 20.0, 60.0] {
        println!("send({number}) -> {:?}", mean.send(number));
    }
}

fn not_primed() {
    mean().send(10.0);
}

fn thrown_and_closed() {
    let mut patient = Generator::new(|y: &Yielder<u32>| {
        for n in 1.. {
            match y.try_yield(n) {
                Ok(()) => {}
                Err(Thrown::Error(_)) => println!("    caught, and goes on"),
                Err(Thrown::Exit) => return println!("    closed, and tidies up"),
            }
        }
    });
    println!("{:?}", patient.resume());
    println!("{:?}", patient.throw(Box::new("trouble")));
    patient.close();
}

fn pages() -> Generator<&'static str> {
    Generator::new(|y: &Yielder<&'static str>| {
        y.yield_("page 1");
        y.yield_("page 2");
    })
}

fn called_only() {
    let book = Generator::new(|y: &Yielder<&'static str>| {
        y.yield_("title");
        drop(pages()); // makes a generator, which is never resumed
        y.yield_("index");
    });
    println!("{:?}", book.collect::<Vec<_>>());
}

fn delegated() {
    let book = Generator::new(|y: &Yielder<&'static str>| {
        y.yield_("title");
        y.yield_from(pages());
        y.yield_("index");
    });
    println!("{:?}", book.collect::<Vec<_>>());
}

fn descend(name: &'static str, levels: u32) -> Coroutine<u32> {
    Generator::new(move |y: &Yielder<Wait>| {
        if levels > 0 {
            return y.yield_from(descend(name, levels - 1)) + 1;
        }
        y.wait(sleeping(Duration::from_millis(10)));
        println!("{name} is awake, at the bottom");
        0
    })
}

fn three_deep() {
    let start = now();
    let tasks = ["ann", "bob"].map(|name| {
        task::Builder::new().name(name).spawn_generator(move |y| y.yield_from(descend(name, 3)))
    });
    let levels: Vec<u32> = green::wait(gather(tasks)).into_iter().map(Result::unwrap).collect();
    println!("{levels:?} levels, in {:?}", now() - start);
}
