//! The names of `std::{thread, sync, net, fs}` and their shapes, held by the compiler: the same code, written once, is
//! compiled with std's and with ours.
//!
//! Left out are what std has deprecated or not made stable; what is newer than the oldest Rust that builds the crate
//! (locks of files); what names poisoning; and `Read` and its kin for `Arc<File>`, which only std can implement.

macro_rules! with_each {
    ($($code:tt)*) => {
        #[allow(dead_code, unused_imports, reason = "it is only compiled")]
        mod of_std {
            use std::{fs, net, os::unix::net as unix, sync, thread};
            $($code)*
        }

        #[allow(dead_code, unused_imports, reason = "it is only compiled")]
        mod ours {
            use wouldblock::{fs, net, net::unix, sync, thread};
            $($code)*
        }
    };
}

with_each! {
    use std::io::{self, BufRead, Read, Seek, Write};
    use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
    use std::os::unix::fs::{DirBuilderExt, DirEntryExt, FileExt, OpenOptionsExt};
    use std::path::{Path, PathBuf};
    use std::process::Stdio;
    use std::time::Duration;

    mod names {
        pub(super) use super::fs::{
            DirBuilder, DirEntry, File, FileTimes, FileType, Metadata, OpenOptions, Permissions, ReadDir,
            canonicalize, copy, create_dir, create_dir_all, exists, hard_link, metadata, read, read_dir,
            read_link, read_to_string, remove_dir, remove_dir_all, remove_file, rename, set_permissions,
            symlink_metadata, write,
        };
        pub(super) use super::net::{
            AddrParseError, Incoming, IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, SocketAddrV4, SocketAddrV6,
            TcpListener, TcpStream, ToSocketAddrs, UdpSocket,
        };
        pub(super) use super::sync::{
            Arc, Barrier, BarrierWaitResult, Condvar, LazyLock, Mutex, MutexGuard, Once, OnceLock, OnceState, RwLock,
            RwLockReadGuard, RwLockWriteGuard, WaitTimeoutResult, Weak, atomic, mpsc,
        };
        pub(super) use super::thread::{
            AccessError, Builder, JoinHandle, LocalKey, Result, Scope, ScopedJoinHandle, Thread, ThreadId,
            available_parallelism, current, panicking, park, park_timeout, scope, sleep, spawn, yield_now,
        };
        pub(super) use super::unix::{
            Incoming as UnixIncoming, SocketAddr as UnixAddr, UnixDatagram, UnixListener, UnixStream,
        };
    }
    use names::*;
    use sync::mpsc::{
        IntoIter, Iter, Receiver, RecvError, RecvTimeoutError, SendError, Sender, SyncSender, TryIter, TryRecvError,
        TrySendError, channel, sync_channel,
    };

    fn threads() -> io::Result<()> {
        let handle: JoinHandle<i32> = spawn(|| 7);
        let (thread, finished): (&Thread, bool) = (handle.thread(), handle.is_finished());
        let (id, name): (ThreadId, Option<&str>) = (thread.id(), thread.name());
        let (_, _, _) = (id == current().id(), name, finished);
        thread.unpark();
        let result: Result<i32> = handle.join();
        drop(result);
        let builder = Builder::new().name("name".into()).stack_size(1 << 20);
        let _: JoinHandle<()> = builder.spawn(|| ())?;
        let words = [1, 2];
        let sum: i32 = scope(|s: &Scope<'_, '_>| {
            let a: ScopedJoinHandle<'_, i32> = s.spawn(|| words[0]);
            let b = Builder::new().spawn_scoped(s, || words[1]).unwrap();
            let _ = (b.thread(), b.is_finished());
            a.join().unwrap() + b.join().unwrap()
        });
        let _: (i32, bool, usize) = (sum, panicking(), available_parallelism()?.get());
        sleep(Duration::ZERO);
        park_timeout(Duration::ZERO);
        let _ = (yield_now(), park());
        Ok(())
    }

    fn locks_without_their_guards() {
        let (mut mutex, mut lock) = (Mutex::new(1), RwLock::from(2));
        let _ = (mutex.get_mut(), lock.get_mut());
        let (_, _): (Mutex<i32>, RwLock<i32>) = Default::default();
        let condvar = Condvar::new();
        condvar.notify_one();
        condvar.notify_all();
        let result: BarrierWaitResult = Barrier::new(1).wait();
        let _: bool = result.is_leader();
        let _: fn(&WaitTimeoutResult) -> bool = WaitTimeoutResult::timed_out;
        let _: (Arc<OnceLock<i32>>, Weak<i32>) = (Arc::new(OnceLock::new()), Weak::new());
    }

    fn channels() {
        let (sender, receiver): (Sender<i32>, Receiver<i32>) = channel();
        let _: std::result::Result<(), SendError<i32>> = sender.clone().send(1);
        let (bounded, _): (SyncSender<i32>, _) = sync_channel(1);
        let _: std::result::Result<(), SendError<i32>> = bounded.send(1);
        let _: std::result::Result<(), TrySendError<i32>> = bounded.clone().try_send(1);
        let _: std::result::Result<i32, RecvError> = receiver.recv();
        let _: std::result::Result<i32, TryRecvError> = receiver.try_recv();
        let _: std::result::Result<i32, RecvTimeoutError> = receiver.recv_timeout(Duration::ZERO);
        let (_, _): (Iter<'_, i32>, TryIter<'_, i32>) = (receiver.iter(), receiver.try_iter());
        for _ in &receiver {}
        let _: IntoIter<i32> = receiver.into_iter();
    }

    fn is_stream<S: Read + Write + AsFd + AsRawFd + IntoRawFd + FromRawFd + From<OwnedFd> + Into<OwnedFd>>()
    where
        for<'a> &'a S: Read + Write,
    {
    }

    fn is_socket<S: AsFd + AsRawFd + IntoRawFd + FromRawFd + From<OwnedFd> + Into<OwnedFd>>() {}

    fn tcp(how: Shutdown) -> io::Result<()> {
        is_stream::<TcpStream>();
        is_socket::<TcpListener>();
        let listener = TcpListener::bind(("localhost", 0))?;
        let address: SocketAddr = listener.local_addr()?;
        let (stream, _): (TcpStream, SocketAddr) = listener.accept()?;
        let mut incoming: Incoming<'_> = listener.incoming();
        let _: Option<io::Result<TcpStream>> = incoming.next();
        let _ = (listener.try_clone()?, listener.set_ttl(1)?, listener.ttl()?, listener.take_error()?);
        listener.set_nonblocking(false)?;
        let _: io::Result<TcpStream> = TcpStream::connect("localhost:80");
        let _: io::Result<TcpStream> = TcpStream::connect(&[address][..]);
        let _: io::Result<TcpStream> = TcpStream::connect_timeout(&address, Duration::ZERO);
        let _: (SocketAddr, SocketAddr) = (stream.peer_addr()?, stream.local_addr()?);
        let _ = (stream.try_clone()?, stream.shutdown(how)?, stream.take_error()?);
        let _ = (stream.set_read_timeout(None)?, stream.set_write_timeout(None)?);
        let _: (Option<Duration>, Option<Duration>) = (stream.read_timeout()?, stream.write_timeout()?);
        let _: usize = stream.peek(&mut [0])?;
        let _ = (stream.set_nodelay(true)?, stream.nodelay()?, stream.set_ttl(1)?, stream.ttl()?);
        stream.set_nonblocking(false)?;
        let _: Option<SocketAddr> = "localhost:80".to_socket_addrs()?.next();
        let _ = (("localhost", 80).to_socket_addrs()?, String::from("localhost:80").to_socket_addrs()?);
        Ok(())
    }

    fn udp(socket: &UdpSocket, v4: Ipv4Addr, v6: Ipv6Addr) -> io::Result<()> {
        is_socket::<UdpSocket>();
        let _: UdpSocket = UdpSocket::bind("localhost:0")?;
        let _: (usize, SocketAddr) = socket.recv_from(&mut [0])?;
        let _: (usize, SocketAddr) = socket.peek_from(&mut [0])?;
        let _: usize = socket.send_to(&[0], "localhost:80")?;
        let _ = (socket.connect("localhost:80")?, socket.send(&[0])?, socket.recv(&mut [0])?, socket.peek(&mut [0])?);
        let _ = (socket.peer_addr()?, socket.local_addr()?, socket.try_clone()?, socket.take_error()?);
        let _ = (socket.set_read_timeout(None)?, socket.set_write_timeout(None)?);
        let _ = (socket.read_timeout()?, socket.write_timeout()?, socket.set_nonblocking(false)?);
        let _ = (socket.set_broadcast(true)?, socket.broadcast()?, socket.set_ttl(1)?, socket.ttl()?);
        let _ = (socket.set_multicast_loop_v4(true)?, socket.multicast_loop_v4()?);
        let _ = (socket.set_multicast_ttl_v4(1)?, socket.multicast_ttl_v4()?);
        let _ = (socket.set_multicast_loop_v6(true)?, socket.multicast_loop_v6()?);
        let _ = (socket.join_multicast_v4(&v4, &v4)?, socket.leave_multicast_v4(&v4, &v4)?);
        let _ = (socket.join_multicast_v6(&v6, 0)?, socket.leave_multicast_v6(&v6, 0)?);
        Ok(())
    }

    fn unix_sockets(address: &UnixAddr, socket: &UnixDatagram, how: Shutdown) -> io::Result<()> {
        is_stream::<UnixStream>();
        is_socket::<UnixListener>();
        is_socket::<UnixDatagram>();
        let (stream, _): (UnixStream, UnixStream) = UnixStream::pair()?;
        let _ = (UnixStream::connect("a")?, UnixStream::connect_addr(address)?);
        let _: (UnixAddr, UnixAddr) = (stream.local_addr()?, stream.peer_addr()?);
        let _ = (stream.try_clone()?, stream.set_read_timeout(None)?, stream.set_write_timeout(None)?);
        let _ = (stream.read_timeout()?, stream.write_timeout()?, stream.set_nonblocking(false)?);
        let _ = (stream.take_error()?, stream.shutdown(how)?);
        let listener = UnixListener::bind("a")?;
        let _: (UnixStream, UnixAddr) = listener.accept()?;
        let _: UnixIncoming<'_> = listener.incoming();
        let _ = (UnixListener::bind_addr(address)?, listener.try_clone()?, listener.local_addr()?);
        let _ = (listener.set_nonblocking(false)?, listener.take_error()?);
        let _ = (UnixDatagram::bind("a")?, UnixDatagram::bind_addr(address)?, UnixDatagram::unbound()?);
        let _ = (UnixDatagram::pair()?, socket.connect("a")?, socket.connect_addr(address)?);
        let _ = (socket.try_clone()?, socket.local_addr()?, socket.peer_addr()?, socket.take_error()?);
        let _: (usize, UnixAddr) = socket.recv_from(&mut [0])?;
        let _ = (socket.recv(&mut [0])?, socket.send_to(&[0], "a")?, socket.send_to_addr(&[0], address)?);
        let _ = (socket.send(&[0])?, socket.set_read_timeout(None)?, socket.set_write_timeout(None)?);
        let _ = (socket.read_timeout()?, socket.write_timeout()?, socket.set_nonblocking(false)?);
        socket.shutdown(how)
    }

    fn is_file<F: Read + Write + Seek>() {}

    fn files(times: FileTimes, permissions: Permissions) -> io::Result<()> {
        is_file::<File>();
        is_file::<&File>();
        is_socket::<File>(); // its descriptors
        let file = File::options().read(true).write(true).truncate(true).create(true).open("a")?;
        let _ = (File::open("a")?, File::create("a")?, File::create_new("a")?, file.try_clone()?);
        let _ = (file.sync_all()?, file.sync_data()?, file.set_len(1)?, file.set_times(times)?);
        file.set_modified(std::time::SystemTime::now())?;
        file.set_permissions(permissions)?;
        let _: Metadata = file.metadata()?;
        let _ = (file.read_at(&mut [0], 0)?, file.write_at(&[0], 0)?, file.read_exact_at(&mut [0], 0)?);
        file.write_all_at(&[0], 0)?;
        let _: Stdio = file.into();
        OpenOptions::new().append(true).create_new(true).mode(0o600).custom_flags(0).open("a")?;
        Ok(())
    }

    fn folders(permissions: Permissions) -> io::Result<()> {
        let mut entries: ReadDir = read_dir("a")?;
        let entry: DirEntry = entries.next().unwrap()?;
        let (_, _): (PathBuf, std::ffi::OsString) = (entry.path(), entry.file_name());
        let (_, _, _): (Metadata, FileType, u64) = (entry.metadata()?, entry.file_type()?, entry.ino());
        DirBuilder::new().recursive(true).mode(0o700).create("a")?;
        let _: PathBuf = canonicalize("a")?;
        let _: u64 = copy("a", Path::new("b"))?;
        let _ = (create_dir("a")?, create_dir_all("a")?, hard_link("a", "b")?, rename("a", "b")?);
        let (_, _, _): (bool, Metadata, Metadata) = (exists("a")?, metadata("a")?, symlink_metadata("a")?);
        let (_, _): (Vec<u8>, String) = (read("a")?, read_to_string("a")?);
        let _: PathBuf = read_link("a")?;
        let _ = (remove_dir("a")?, remove_dir_all("a")?, remove_file("a")?, write("a", "text")?);
        set_permissions("a", permissions)
    }
}

/// The code above is compiled: that is the test.
#[test]
fn code_with_stds_names_compiles_with_ours() {}
