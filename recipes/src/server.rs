//! Servers that others wrote, as child processes.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::chown;
use std::path::Path;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;
use wouldblock::net::{TcpListener, TcpStream};
use wouldblock::process::{Child, Command, Stdio};
use wouldblock::signal::{SIGINT, SIGTERM};
use wouldblock::{green, offload};

/// A server that others wrote, in a process of its own, with a folder of its own. Both are gone when this is dropped.
#[derive(Debug)]
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    command: Command,
    /// What ends it in good order.
    end: i32,
    /// `None`: it was killed.
    child: Option<Child>,
    /// What it needs beside it.
    _helper: Option<Child>,
    /// Dropped after the process.
    folder: Option<TempDir>,
}

impl Server {
    /// Redis, which writes what it has acknowledged to its file first.
    pub fn redis() -> Server {
        Server::start("redis-server", |port, folder, command| {
            command.arg("--port").arg(port.to_string()).args(["--bind", "127.0.0.1", "--save", ""]);
            command.args(["--appendonly", "yes", "--appendfsync", "always", "--dir"]).arg(folder);
        })
    }

    /// NATS.
    pub fn nats() -> Server {
        Server::start("nats-server", |port, _, command| {
            command
                .args(["--addr", "127.0.0.1", "--log", "/dev/null"])
                .arg("--port")
                .arg(port.to_string());
        })
    }

    /// nginx, which passes all requests on to `upstream`.
    pub fn nginx(upstream: SocketAddr) -> Server {
        Server::nginx_with(upstream, None)
    }

    /// nginx with TLS: a certificate and its key, as PEM.
    pub fn nginx_tls(upstream: SocketAddr, certificate: &str, key: &str) -> Server {
        Server::nginx_with(upstream, Some((certificate, key)))
    }

    fn nginx_with(upstream: SocketAddr, tls: Option<(&str, &str)>) -> Server {
        Server::start("nginx", |port, folder, command| {
            let mut ssl = "";
            if let Some((certificate, key)) = tls {
                ssl = "ssl; ssl_certificate certificate.pem; ssl_certificate_key key.pem";
                fs::write(folder.join("certificate.pem"), certificate)
                    .expect("a folder of its own");
                fs::write(folder.join("key.pem"), key).expect("a folder of its own");
            }
            let configuration = format!(
                "daemon off; master_process off; pid nginx.pid; error_log stderr;
                 events {{ worker_connections 512; }}
                 http {{
                     access_log off;
                     client_body_temp_path tmp; proxy_temp_path tmp; fastcgi_temp_path tmp;
                     uwsgi_temp_path tmp; scgi_temp_path tmp;
                     upstream ours {{ server {upstream}; keepalive 8; }}
                     server {{
                         listen 127.0.0.1:{port} {ssl};
                         location / {{
                             proxy_pass http://ours; proxy_http_version 1.1;
                             proxy_set_header Connection \"\"; proxy_set_header X-Real-IP $remote_addr;
                         }}
                     }}
                 }}"
            );
            fs::write(folder.join("nginx.conf"), configuration).expect("a folder of its own");
            command.arg("-p").arg(folder).args(["-c", "nginx.conf", "-e", "stderr"]);
        })
    }

    /// RabbitMQ, with the user `guest` and the password `guest`. It takes some seconds to start.
    pub fn rabbitmq() -> Server {
        // It finds its own port by way of a server of Erlang's, which it would leave behind if it started that itself.
        let mut epmd = Command::new("epmd");
        let names = free_port().to_string();
        epmd.args(["-address", "127.0.0.1", "-port", &names])
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let epmd = epmd.spawn().expect("RabbitMQ is installed: see .ci/recipes");
        let mut server =
            Server::start("/usr/lib/rabbitmq/bin/rabbitmq-server", |port, folder, command| {
                command.env("ERL_EPMD_PORT", &names).env("HOME", folder);
                command.env("RABBITMQ_NODENAME", format!("recipe{port}@localhost"));
                command.env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1");
                command.env("RABBITMQ_NODE_PORT", port.to_string());
                command.env("RABBITMQ_DIST_PORT", free_port().to_string());
                command.env("RABBITMQ_MNESIA_BASE", folder.join("data")).env("RABBITMQ_LOGS", "-");
                command.env("RABBITMQ_ENABLED_PLUGINS_FILE", folder.join("plugins"));
                command.env("RABBITMQ_CONFIG_FILE", folder.join("rabbitmq"));
                // The script gives its process to Erlang's, which is what a signal is to reach.
                command.env("RABBITMQ_ALLOW_INPUT", "1");
                command.env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-noinput +S 1:1");
            });
        server.end = SIGTERM;
        server._helper = Some(epmd);
        server
    }

    /// PostgreSQL, with the user `postgres` and no password.
    pub fn postgres() -> Server {
        let programs = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let newest = programs.map(|version| version.path().join("bin")).max();
        let programs = newest.expect("PostgreSQL is installed: see .ci/recipes");
        let server = Server::start(programs.join("postgres"), |port, folder, command| {
            let data = folder.join("data");
            let mut initdb = Command::new(programs.join("initdb"));
            initdb.args(["--auth=trust", "--username=postgres", "--no-sync", "-D"]).arg(&data);
            // It refuses to run as root.
            if let Some((user, group)) = user("postgres").filter(|_| is_root(folder)) {
                chown(folder, Some(user), Some(group)).expect("root may");
                for command in [&mut *command, &mut initdb] {
                    command.uid(user).gid(group);
                }
            }
            let made = initdb.output().expect("initdb is installed");
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
            command.args(["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]);
            command.args(["-c", "log_min_messages=panic"]);
            command.arg("-p").arg(port.to_string()).arg("-D").arg(data).current_dir(folder);
        });
        // It listens before it lets anyone in.
        let mut ready = Command::new(programs.join("pg_isready"));
        ready.args(["-q", "-h", "127.0.0.1", "-p"]).arg(server.address.port().to_string());
        while !ready.status().expect("it is installed with the server").success() {
            green::sleep(Duration::from_millis(5));
        }
        server
    }

    /// Starts a server at a free port. Where another program has taken the port meanwhile, it tries the next.
    fn start(program: impl AsRef<Path>, configure: impl Fn(u16, &Path, &mut Command)) -> Server {
        loop {
            let port = free_port();
            let folder = tempfile::tempdir().expect("a temporary folder");
            let mut command = Command::new(program.as_ref());
            configure(port, folder.path(), &mut command);
            command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
            let mut server = Server {
                address: ([127, 0, 0, 1], port).into(),
                command,
                end: SIGINT,
                child: None,
                _helper: None,
                folder: Some(folder),
            };
            if server.restart() {
                return server;
            }
        }
    }

    /// Starts it, as it was, and waits until it takes connections. Returns `false` if it has ended instead.
    pub fn restart(&mut self) -> bool {
        let child = self.command.spawn().expect("the server is installed: see .ci/recipes");
        let child = self.child.insert(child);
        while let Err(e) = TcpStream::connect(self.address) {
            assert_eq!(e.kind(), io::ErrorKind::ConnectionRefused);
            if child.try_wait().expect("it is our child").is_some() {
                return false;
            }
            green::sleep(Duration::from_millis(5));
        }
        true
    }

    /// Ends it as a power cut would.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("it is our child");
        child.wait().expect("it is our child");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // PostgreSQL has children of its own, which end when it is asked to in good order.
        // (The wait blocks the thread where this is dropped by a panic.)
        if let Some(child) = &mut self.child
            && child.send_signal(self.end).is_ok()
        {
            let _ = green::deadline(Duration::from_secs(5), || child.wait());
        }
        let folder = self.folder.take();
        if !thread::panicking() {
            green::wait(offload(move || drop(folder))); // There are thousands of files.
        }
    }
}

fn free_port() -> u16 {
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
    free.local_addr().expect("it is bound").port()
}

fn is_root(folder: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(folder).is_ok_and(|folder| folder.uid() == 0)
}

/// The numbers of a user and its group.
fn user(name: &str) -> Option<(u32, u32)> {
    let users = fs::read_to_string("/etc/passwd").ok()?;
    let fields = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let of_user = fields.into_iter().find(|fields| fields[0] == name)?;
    Some((of_user[2].parse().ok()?, of_user[3].parse().ok()?))
}
