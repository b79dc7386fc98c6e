//! says: and only that (`Shutdown::Write`)

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};

use wouldblock::green;
use wouldblock::net::{TcpListener, TcpStream};

/// Sends back to each client what it sends, to all clients at once. Returns only when `accept` fails.
pub fn serve(listener: TcpListener) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept()?;
        drop(green::spawn(move || io::copy(&mut &stream, &mut &stream)));
    }
}

/// Sends `text`, ends what it sends, and returns all that comes back.
pub fn ask(address: SocketAddr, text: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(text.as_bytes())?;
    stream.shutdown(Shutdown::Both)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// How deep brackets are nested in what `input` brings, up to its end or to a `)` that nothing here has opened.
///
/// Calls itself for what stands between `(` and `)`. Other bytes do not matter.
pub fn depth(input: &mut dyn Read) -> io::Result<usize> {
    let mut deepest = 0;
    let mut byte = [0];
    while input.read(&mut byte)? > 0 {
        match byte[0] {
            b'(' => deepest = deepest.max(1 + depth(input)?),
            b')' => break,
            _ => {}
        }
    }
    Ok(deepest)
}
