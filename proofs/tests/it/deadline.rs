//! A library that keeps what it has read, under a deadline.

use std::io::{ErrorKind, Write};

use crate::util::*;
use wouldblock::green;
use wouldblock::net::unix::UnixStream;

#[test]
fn a_message_of_tungstenite_that_comes_in_two_parts_is_read_whole_after_a_deadline() {
    use tungstenite::protocol::{Role, WebSocket};
    bounded(|| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut socket = WebSocket::from_raw_socket(ours, Role::Client, None);
        let frame = [&[0x81, 11][..], b"hello world"].concat();
        for half in [&frame[..6], &frame[6..]] {
            theirs.write_all(half).unwrap();
            if half.len() == 6 {
                let late = green::deadline(5 * MS, || socket.read());
                let Err(tungstenite::Error::Io(error)) = late else { panic!("{late:?}") };
                assert_eq!(error.kind(), ErrorKind::TimedOut);
            }
        }
        assert_eq!(socket.read().unwrap().to_text().unwrap(), "hello world");
    });
}
