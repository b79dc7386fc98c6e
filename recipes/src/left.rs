//! What a recipe must not leave behind: descriptors and child processes.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions, waitid};

/// What the descriptors of this process are open to, without those of event queues: a library may keep a runtime for the
/// whole process, as lapin does.
pub(crate) fn descriptors() -> Vec<String> {
    let open = fs::read_dir("/proc/self/fd").expect("Linux has it").flatten();
    // The one that reads the folder is gone by now.
    let open = open.filter_map(|entry| fs::read_link(entry.path()).ok());
    let open = open.map(|path| path.display().to_string());
    open.filter(|path| !path.contains("[eventpoll]") && !path.contains("[eventfd]")).collect()
}

fn has_children() -> bool {
    let any =
        waitid(WaitId::All, WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT);
    !matches!(any, Err(Errno::CHILD))
}

/// Panics if more descriptors are open than `before`, or if there is a child process. What a library closes on a thread
/// of its own is waited for.
pub(crate) fn check(before: Vec<String>) {
    let end = Instant::now() + Duration::from_secs(5);
    loop {
        let now = descriptors();
        if now.len() <= before.len() && !has_children() {
            return;
        }
        assert!(
            Instant::now() < end,
            "left behind: a child process: {}; descriptors, before: {before:?}, after: {now:?}",
            has_children()
        );
        thread::yield_now();
    }
}
