//! says: a call that blocks, in which

use std::thread;

use std::sync::Mutex;
use wouldblock::{green, offload};

use crate::given::{Sensor, is_prime};

/// How many primes there are below this. Gives the other tasks turns meanwhile.
pub fn count(below: u32) -> usize {
    let mut primes = 0;
    for n in 2..below {
        if is_prime(n) {
            primes += 1;
        }
        if n % 1000 == 0 {
            green::yield_now();
        }
    }
    primes
}

/// Reads the sensor; the other tasks run meanwhile.
pub fn read(sensor: &Sensor) -> i32 {
    let sensor = sensor.clone();
    green::wait(offload(move || sensor.read()))
}

/// An account at a bank.
pub struct Account {
    balance: Mutex<u64>,
}

impl Account {
    /// An account with so much in it.
    pub fn new(balance: u64) -> Account {
        Account { balance: Mutex::new(balance) }
    }

    /// How much is in it.
    pub fn balance(&self) -> u64 {
        *self.balance.lock().unwrap()
    }

    /// Adds an amount: works out the new balance, has it confirmed by `bank`, which waits, and sets it. No other deposit
    /// comes in between.
    pub fn deposit(&self, amount: u64, bank: &dyn Fn(u64)) {
        let mut balance = self.balance.lock().unwrap();
        let new = *balance + amount;
        bank(new);
        *balance = new;
    }
}

/// Calls `count` for each number, on so many threads; each of them runs a scheduler of its own. Returns the results in the
/// order of the numbers.
pub fn primes(below: Vec<u32>, threads: usize, count: fn(u32) -> usize) -> Vec<usize> {
    let share = below.len().div_ceil(threads).max(1);
    thread::scope(|scope| {
        let shares = below.chunks(share).map(|share| {
            scope.spawn(move || {
                wouldblock::run(|| share.iter().map(|n| count(*n)).collect::<Vec<_>>())
            })
        });
        let threads: Vec<_> = shares.collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().expect("`count` does not panic"))
            .collect()
    })
}
