//! Datagram sockets, UDP's and Unix's: receiving and sending in three eras.

/// What a datagram socket has besides what every [`socket`](super::common::socket) has.
macro_rules! datagram {
    ($Socket:ident, $Address:ty) => {
        impl $Socket {
            limits!($Address);

            three_eras! {
                /// Receives one datagram into the beginning of `buf`, and returns how many bytes that were; those
                /// that do not fit are lost.
                Read: recv, try_recv, receiving(buf: &mut [u8]) -> usize
                    = move |s| s.recv(buf);

                /// As [`recv`](Self::recv), and returns the sender's address.
                Read: recv_from, try_recv_from, receiving_from(buf: &mut [u8]) -> (usize, $Address)
                    = move |s| s.recv_from(buf);

                /// Sends a datagram to the connected address; it is sent whole or not at all.
                Write: send, try_send, sending(buf: &[u8]) -> usize
                    = move |s| s.send(buf);
            }
        }
    };
}

pub(super) use datagram;
