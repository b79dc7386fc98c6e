//! 10 green: blocking-style code that yields from any depth.
//!
//! To be ported: an echo server with a thread for each client, and its client. (Its imports stand in the README.)
//!
//!     fn serve(listener: TcpListener) -> io::Result<()> {
//!         loop {
//!             let (stream, _) = listener.accept()?;
//!             thread::spawn(move || io::copy(&mut &stream, &mut &stream));
//!         }
//!     }
//!     fn ask(address: SocketAddr, text: &str) -> io::Result<String> {
//!         let mut stream = TcpStream::connect(address)?;
//!         stream.write_all(text.as_bytes())?;
//!         stream.shutdown(Shutdown::Write)?;
//!         let mut answer = String::new();
//!         stream.read_to_string(&mut answer)?;
//!         Ok(answer)
//!     }

use std::io::{self, Read};
use std::net::SocketAddr;

use wouldblock::net::TcpListener;

/// Sends back to each client what it sends, to all clients at once. Returns only when `accept` fails.
pub fn serve(listener: TcpListener) -> io::Result<()> {
    todo!("serve: accept clients on {listener:?}")
}

/// Sends `text`, ends what it sends, and returns all that comes back.
pub fn ask(address: SocketAddr, text: &str) -> io::Result<String> {
    todo!("ask: send {text:?} to {address}")
}

/// How deep brackets are nested in what `input` brings, up to its end or to a `)` that nothing here has opened.
///
/// Calls itself for what stands between `(` and `)`. Other bytes do not matter.
pub fn depth(input: &mut dyn Read) -> io::Result<usize> {
    let mut byte = [0];
    let n = input.read(&mut byte)?;
    todo!("depth: {n} byte was read, {byte:?}")
}
