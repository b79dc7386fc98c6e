//! Standard input: a program that takes commands, line by line, while its other tasks run. It says that it still waits
//! when none comes for a while, and loses no line by that; at the end of the input it finishes what it has begun.
//!
//! It is not compared with threads: people type slower than either.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::time::Duration;

use wouldblock::io::stdin;
use wouldblock::process::{Command, Stdio};
use wouldblock::{green, group::gather};

/// Reads a line, and says once that it waits. Returns `None` at the end of the input.
fn prompt(patience: Duration) -> io::Result<Option<String>> {
    let mut line = String::new();
    // What has come of a line when the time passes stays for the next read.
    let read = match green::timeout(patience, || stdin().read_line(&mut line)) {
        Ok(read) => read?,
        Err(_late) => {
            println!("say something");
            stdin().read_line(&mut line)?
        }
    };
    Ok((read > 0).then(|| line.trim_end().to_owned()))
}

fn program() -> io::Result<()> {
    let mut tasks = Vec::new();
    while let Some(command) = prompt(Duration::from_millis(50))? {
        match command.strip_prefix("wait ") {
            Some(name) => {
                let name = name.to_owned();
                tasks.push(green::spawn(move || {
                    green::sleep(Duration::from_millis(100));
                    println!("{name} has waited");
                }));
            }
            None => println!("unknown: {command}"),
        }
    }
    for task in green::wait(gather(tasks)) {
        task.map_err(io::Error::other)?;
    }
    println!("bye");
    Ok(())
}

#[test]
fn commands_by_standard_input() {
    // The test starts itself again as the program.
    if std::env::var_os("PROGRAM").is_some() {
        return wouldblock::run(program).unwrap();
    }
    recipes::run(|| {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "commands_by_standard_input", "--nocapture"])
            .env("PROGRAM", "")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut until = |what: &str| {
            let mut line = String::new();
            while line.trim_end() != what {
                line.clear();
                assert_ne!(output.read_line(&mut line).unwrap(), 0, "the program ends");
            }
        };
        input.write_all(b"wait ann\nwait b").unwrap(); // The second line breaks off.
        until("say something");
        input.write_all(b"ob\nhello").unwrap();
        drop(input);
        until("unknown: hello");
        let mut rest = String::new();
        output.read_to_string(&mut rest).unwrap();
        assert!(rest.contains("bob has waited\n") && rest.contains("\nbye\n"), "{rest}");
        assert!(child.wait().unwrap().success());
    });
}
