//! What is given: a sensor whose driver blocks, and a test for primes.

#![allow(dead_code)] // until a solution uses it

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};
use std::time::Duration;

/// A sensor. Its clones are the same sensor, and may be sent to other threads.
#[derive(Clone)]
pub struct Sensor {
    pub(crate) beats: Arc<Mutex<Receiver<()>>>,
    pub(crate) read_on: Arc<Mutex<Option<ThreadId>>>,
}

impl Sensor {
    /// Reads the sensor, in degrees. Its driver knows nothing of coroutines: the *thread* is blocked until there is a value.
    ///
    /// (In the tests, there is a value when the heart has beaten; after 3 s without a beat, the driver gives up: -273.)
    pub fn read(&self) -> i32 {
        *self.read_on.lock().unwrap() = Some(thread::current().id());
        match self.beats.lock().unwrap().recv_timeout(Duration::from_secs(3)) {
            Ok(()) => 21,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => -273,
        }
    }
}

/// Whether a number is prime, by trying.
pub fn is_prime(n: u32) -> bool {
    n >= 2 && (2..).take_while(|d| d * d <= n).all(|d| !n.is_multiple_of(d))
}
