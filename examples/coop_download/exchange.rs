//! HTTP for the ways that have no HTTP library of their own, the sequential and the generator way: a request as bytes to
//! send, and an answer from the bytes that come. It does no I/O, so the two ways differ in theirs and in nothing else.
//!
//! The protocol is `ureq-proto`'s, the state machine beneath ureq. It is sans-I/O, speaks HTTP/1.1 only, and is in the
//! build already, since the green way has ureq; so three of the four ways also agree in what they take for HTTP.
//! hyper's parser is bound to hyper's I/O; `httparse` alone leaves chunks, framing and 1xx to be written by hand.

use ureq_proto::BodyMode;
use ureq_proto::client::state::{RecvBody, RecvResponse};
use ureq_proto::client::{Call, RecvResponseResult, SendRequestResult};

use crate::error::Error;
use crate::job::{Job, Kept};
use crate::part::Write;
use crate::policy::LONGEST_HEAD;

pub struct Exchange<'a, 'b> {
    job: &'a Job<'b>,
    request: Vec<u8>,
    state: State,
    /// What has come, and is not yet understood.
    input: Vec<u8>,
    output: Vec<u8>,
}

enum State {
    Head(Call<RecvResponse>),
    Body(Call<RecvBody>),
    Over,
}

impl<'a, 'b> Exchange<'a, 'b> {
    pub fn new(job: &'a Job<'b>) -> Result<Exchange<'a, 'b>, Error> {
        let mut call = Call::new(job.request()?)?.proceed();
        let (mut request, mut output) = (Vec::new(), vec![0; LONGEST_HEAD]);
        while !call.can_proceed() {
            let n = call.write(&mut output)?;
            request.extend_from_slice(&output[..n]);
        }
        let Some(SendRequestResult::RecvResponse(call)) = call.proceed()? else {
            unreachable!("a GET has no body");
        };
        Ok(Exchange { job, request, state: State::Head(call), input: Vec::new(), output })
    }

    /// What is to be sent.
    pub fn request(&self) -> &[u8] {
        &self.request
    }

    /// Whether nothing more is to be read.
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// Keeps the connection, if nothing has come on it after the answer.
    pub fn end<C>(&self, kept: &mut Kept<C>, connection: C) {
        if self.is_over() && self.input.is_empty() {
            kept.put(self.job, connection);
        }
    }

    /// Takes what was read; none is the end of the connection. What it gives now and then is to be called before the
    /// next read: it writes to the disk.
    pub fn take(&mut self, bytes: &[u8]) -> Result<Option<Write>, Error> {
        self.input.extend_from_slice(bytes);
        let mut input = &self.input[..];
        loop {
            let (used, made) = match &mut self.state {
                State::Head(call) => match call.try_response(input, false)? {
                    (used, None) => (used, 0), // all or nothing of an answer of 1xx, before the one that counts
                    (used, Some(head)) => {
                        self.job.answer(&head.into_parts().0)?;
                        self.state.proceed();
                        (used, 0)
                    }
                },
                State::Body(call) => {
                    let (used, made) = call.read(input, &mut self.output)?;
                    self.job.add(&self.output[..made]);
                    (used, made)
                }
                State::Over => (0, 0),
            };
            input = &input[used..];
            if let State::Body(call) = &self.state
                && call.can_proceed()
                && (call.body_mode() != BodyMode::CloseDelimited || bytes.is_empty() && used == 0)
            {
                self.state = State::Over;
            }
            if used + made == 0 {
                break;
            }
        }
        let left = input.len();
        self.input.drain(..self.input.len() - left);
        match self.state {
            State::Over => {}
            _ if bytes.is_empty() => return Err(Error::closed()),
            State::Head(_) if left > LONGEST_HEAD => {
                return Err(Error::Protocol("its head is too large".into()));
            }
            _ => {}
        }
        Ok(self.job.full())
    }
}

impl State {
    /// After the head.
    fn proceed(&mut self) {
        if let State::Head(call) = std::mem::replace(self, State::Over)
            && let Some(RecvResponseResult::RecvBody(call)) = call.proceed()
        {
            *self = State::Body(call);
        }
    }
}
