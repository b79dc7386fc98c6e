//! A connection that outlives a download.

use crate::job::Job;

/// A connection that a worker keeps for its next request of the same server, or what holds one.
pub struct Kept<C> {
    origin: String,
    connection: Option<C>,
}

impl<C> Kept<C> {
    pub fn new() -> Kept<C> {
        Kept { origin: String::new(), connection: None }
    }

    /// Takes the connection out, if it is one for this job: which is then tried again at once, on a fresh connection,
    /// if the server has closed it meanwhile (RFC 9112, section 9.3.1).
    pub fn take(&mut self, job: &Job<'_>) -> Option<C> {
        let connection = self.connection.take().filter(|_| self.origin == job.target.origin());
        job.reuses(connection.is_some());
        connection
    }

    /// Keeps the connection after a whole answer, unless the server is to close it.
    pub fn put(&mut self, job: &Job<'_>, connection: C) {
        job.target.origin().clone_into(&mut self.origin);
        self.connection = Some(connection).filter(|_| job.keeps_alive());
    }
}
