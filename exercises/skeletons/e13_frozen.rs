//! 13 frozen: what stops every task, and one core.
//!
//! To be mended:
//!
//!     pub fn count(below: u32) -> usize {
//!         (2..below).filter(|n| is_prime(*n)).count()          // computes, and gives up no turn
//!     }
//!     pub fn read(sensor: &Sensor) -> i32 {
//!         sensor.read()                                        // blocks the thread
//!     }
//!     pub struct Account {
//!         balance: std::sync::Mutex<u64>,
//!     }
//!     pub fn deposit(&self, amount: u64, bank: &dyn Fn(u64)) {
//!         let mut balance = self.balance.lock().unwrap();      // std's lock ..
//!         let new = *balance + amount;
//!         bank(new);                                           // .. is held across a wait
//!         *balance = new;
//!     }
//!     pub fn primes(below: Vec<u32>, threads: usize, count: fn(u32) -> usize) -> Vec<usize> {
//!         below.into_iter().map(count).collect()               // on one core
//!     }

use crate::given::{Sensor, is_prime};

/// How many primes there are below this. Gives the other tasks turns meanwhile.
pub fn count(below: u32) -> usize {
    todo!("count: whether {below} is prime is {}", is_prime(below))
}

/// Reads the sensor; the other tasks run meanwhile.
pub fn read(sensor: &Sensor) -> i32 {
    todo!("read: call `read` of the sensor at {sensor:p}")
}

/// An account at a bank.
pub struct Account {}

impl Account {
    /// An account with so much in it.
    pub fn new(balance: u64) -> Account {
        todo!("Account::new: with {balance}")
    }

    /// How much is in it.
    pub fn balance(&self) -> u64 {
        todo!("Account::balance")
    }

    /// Adds an amount: works out the new balance, has it confirmed by `bank`, which waits, and sets it. No other deposit
    /// comes in between.
    pub fn deposit(&self, amount: u64, bank: &dyn Fn(u64)) {
        todo!("Account::deposit: have the balance with {amount} more confirmed by {bank:p}")
    }
}

/// Calls `count` for each number, on so many threads; each of them runs a scheduler of its own. Returns the results in the
/// order of the numbers.
pub fn primes(below: Vec<u32>, threads: usize, count: fn(u32) -> usize) -> Vec<usize> {
    todo!("primes: call {count:p} for {below:?} on {threads} threads")
}
