//! Counts the words of all files of a folder: a queue of its own, scoped threads, a channel, a configuration that
//! all read, and a report that is written to a file.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Barrier, Condvar, Mutex, OnceLock, RwLock, mpsc};
use std::thread;
use std::time::Duration;

static SEPARATOR: OnceLock<char> = OnceLock::new();

struct Jobs {
    queue: Mutex<VecDeque<Option<PathBuf>>>,
    changed: Condvar,
}

impl Jobs {
    fn put(&self, job: Option<PathBuf>) {
        let mut queue = self.queue.lock().unwrap();
        while queue.len() == 2 {
            queue = self.changed.wait(queue).unwrap();
        }
        queue.push_back(job);
        self.changed.notify_all();
    }

    fn take(&self) -> Option<PathBuf> {
        let queue = self.queue.lock().unwrap();
        let mut queue = self.changed.wait_while(queue, |queue| queue.is_empty()).unwrap();
        let job = queue.pop_front().unwrap();
        self.changed.notify_all();
        job
    }
}

fn count(path: &Path, totals: &Mutex<BTreeMap<String, usize>>, shortest: usize) -> usize {
    let mut words = 0;
    for line in BufReader::new(File::open(path).unwrap()).lines() {
        let line = line.unwrap();
        for word in line.split(*SEPARATOR.get_or_init(|| ' ')).filter(|w| w.len() >= shortest) {
            *totals.lock().unwrap().entry(word.to_string()).or_default() += 1;
            words += 1;
        }
    }
    words
}

fn report(path: &Path, totals: &BTreeMap<String, usize>) -> String {
    let file = File::options().read(true).write(true).create_new(true).open(path).unwrap();
    let mut writer = BufWriter::new(file);
    for (word, n) in totals {
        writeln!(writer, "{word} {n}").unwrap();
    }
    let mut file = writer.into_inner().unwrap_or_else(|e| panic!("{e}"));
    file.rewind().unwrap();
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    text
}

/// Counts what lies in the folder, and gives the report.
pub fn main(folder: PathBuf) -> String {
    let jobs = Jobs { queue: Mutex::new(VecDeque::new()), changed: Condvar::new() };
    let totals = Arc::new(Mutex::new(BTreeMap::new()));
    let shortest = RwLock::new(0);
    *shortest.write().unwrap() = 2;
    let barrier = Barrier::new(3);
    let (sender, receiver) = mpsc::sync_channel(1);
    let sum: usize = thread::scope(|s| {
        for _ in 0..3 {
            let (sender, totals) = (sender.clone(), Arc::clone(&totals));
            let (jobs, barrier, shortest) = (&jobs, &barrier, &shortest);
            s.spawn(move || {
                while let Some(path) = jobs.take() {
                    let shortest = *shortest.read().unwrap();
                    sender.send(count(&path, &totals, shortest)).unwrap();
                }
                barrier.wait();
            });
        }
        drop(sender);
        let sum = s.spawn(move || receiver.iter().sum());
        for entry in fs::read_dir(&folder).unwrap() {
            jobs.put(Some(entry.unwrap().path()));
        }
        (0..3).for_each(|_| jobs.put(None));
        sum.join().unwrap()
    });
    let never = Condvar::new();
    let guard = totals.lock().unwrap();
    let (guard, result) = never.wait_timeout(guard, Duration::from_millis(1)).unwrap();
    assert!(result.timed_out() || !guard.is_empty());
    drop(guard);
    let totals = Arc::try_unwrap(totals).unwrap().into_inner().unwrap();
    let text = report(&folder.join("report"), &totals);
    fs::remove_file(folder.join("report")).unwrap();
    format!("{sum} words\n{text}")
}
