//! A listener with options that are set before it is bound: the crate `socket2` sets them, and `from_std` makes it ours. Two
//! listeners at one port, between which the kernel shares out the connections: one for each thread of a server.
//!
//! It is not compared with threads: the options are the kernel's, and so is what they cost.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Socket, Type};
use wouldblock::net::{TcpListener, TcpStream};

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_port(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    TcpListener::from_std(socket.into())
}

#[test]
fn two_listeners_at_one_port() {
    recipes::run(|| {
        let one = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = one.local_addr().unwrap();
        let two = listen(address).unwrap();
        let _client = TcpStream::connect(address).unwrap();
        let accepted = wouldblock::op::select(one.accepting(), two.accepting());
        assert!(
            match wouldblock::green::wait(accepted) {
                wouldblock::op::Either::First(accepted) => accepted,
                wouldblock::op::Either::Second(accepted) => accepted,
            }
            .is_ok()
        );
    });
}
