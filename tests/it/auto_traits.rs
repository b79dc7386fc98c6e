//! What std's types are (`Send`, `Sync`, `Unpin`, `UnwindSafe`, `RefUnwindSafe`), ours of the same shape are, but for
//! what stays on its thread.

use std::fs;
use std::path::Path;

/// Whether a type implements a trait.
macro_rules! is {
    ($type:ty: $($trait:tt)+) => {{
        #[allow(dead_code, reason = "what has a trait is not asked whether it has it not")]
        trait No {
            const IS: bool = false;
        }
        impl<T: ?Sized> No for T {}
        #[allow(dead_code, reason = "it is only asked")]
        struct Probe<T: ?Sized>(std::marker::PhantomData<T>);
        impl<T: ?Sized + $($trait)+> Probe<T> {
            #[allow(dead_code, reason = "where the type is not, this is not asked")]
            const IS: bool = true;
        }
        <Probe<$type>>::IS
    }};
}

/// The letters of the traits that a type has: `s` Send, `y` Sync, `u` Unpin, `w` UnwindSafe, `r` RefUnwindSafe.
macro_rules! traits {
    ($type:ty) => {{
        let all = [
            (is!($type: Send), 's'),
            (is!($type: Sync), 'y'),
            (is!($type: Unpin), 'u'),
            (is!($type: std::panic::UnwindSafe), 'w'),
            (is!($type: std::panic::RefUnwindSafe), 'r'),
        ];
        all.iter().filter(|(is, _)| *is).map(|(_, letter)| *letter).collect::<String>()
    }};
}

/// What each type has, and what std's of the same shape has.
macro_rules! table {
    ($($ours:ty, $letters:literal $(, $std:ty)?;)*) => {
        [$((stringify!($ours), traits!($ours), $letters, None::<String>$(.or(Some(traits!($std))))?)),*]
    };
}

/// What can neither be sent nor unwound through.
type Plain = *mut std::cell::Cell<i32>;

#[test]
fn each_public_type_of_sync_op_thread_and_fs_has_the_auto_traits_that_it_is_to_have() {
    use std::sync as s;
    use std::thread as t;
    use wouldblock::{fs, op, sync, thread};
    let of_sync = table! {
        sync::Barrier, "uwr", s::Barrier;
        sync::BarrierWaitResult, "syuwr", s::BarrierWaitResult;
        sync::BarrierWaiting<'_>, "uwr";
        sync::Condvar, "uwr", s::Condvar;
        sync::CondvarWaiting<'_, '_, i32>, "uwr";
        sync::WaitTimeoutResult, "syuwr", s::WaitTimeoutResult;
        sync::Event, "uwr";
        sync::EventWaiting<'_>, "uwr";
        sync::Mutex<i32>, "uwr", s::Mutex<i32>;
        sync::Mutex<Plain>, "uwr", s::Mutex<Plain>;
        sync::MutexGuard<'_, i32>, "uwr", s::MutexGuard<'_, i32>;
        sync::MutexGuard<'_, Plain>, "uwr", s::MutexGuard<'_, Plain>;
        sync::Locking<'_, i32>, "uwr";
        sync::RwLock<i32>, "uwr", s::RwLock<i32>;
        sync::RwLock<Plain>, "uwr", s::RwLock<Plain>;
        sync::RwLockReadGuard<'_, i32>, "uwr", s::RwLockReadGuard<'_, i32>;
        sync::RwLockReadGuard<'_, Plain>, "u", s::RwLockReadGuard<'_, Plain>;
        sync::RwLockWriteGuard<'_, Plain>, "uwr", s::RwLockWriteGuard<'_, Plain>;
        sync::Reading<'_, i32>, "uwr";
        sync::Writing<'_, i32>, "uwr";
        sync::Queue<Plain>, "uwr";
        sync::Joining<'_, i32>, "uwr";
        sync::Semaphore, "uwr";
        sync::Acquiring<'_>, "uwr";
        sync::Permit<'_>, "uwr";
        sync::channel::Sender<Plain>, "uwr", s::mpsc::Sender<Plain>;
        sync::channel::Receiver<Plain>, "uwr", s::mpsc::Receiver<Plain>;
        sync::channel::Sending<'_, i32>, "uwr";
        sync::channel::Receiving<'_, i32>, "uwr";
        sync::channel::SendTimeoutError<i32>, "syuwr", s::mpsc::TrySendError<i32>;
        sync::channel::Iter<'_, Plain>, "uwr", s::mpsc::Iter<'_, Plain>;
        sync::channel::TryIter<'_, Plain>, "uwr", s::mpsc::TryIter<'_, Plain>;
        sync::channel::IntoIter<Plain>, "uwr", s::mpsc::IntoIter<Plain>;
        sync::mpsc::SyncSender<Plain>, "uwr", s::mpsc::SyncSender<Plain>;
        sync::oneshot::Sender<Plain>, "uwr";
        sync::oneshot::Receiver<Plain>, "uwr";
        sync::PriorityQueue<i32>, "uwr";
        sync::watch::Sender<Plain>, "uwr";
        sync::watch::Receiver<Plain>, "uwr";
        sync::broadcast::Sender<Plain>, "uwr";
        sync::broadcast::Receiver<Plain>, "uwr";
    };
    let of_op = table! {
        op::Either<i32, i32>, "syuwr";
        op::Select<i32, i32>, "syuwr";
        op::SelectAll<i32>, "syuwr";
        op::Timeout<i32>, "syuwr";
    };
    let of_thread = table! {
        thread::Builder, "syuwr", t::Builder;
        thread::JoinHandle<i32>, "u", t::JoinHandle<i32>;
        thread::Scope<'_, '_>, "ur", t::Scope<'_, '_>;
        thread::ScopedJoinHandle<'_, i32>, "u", t::ScopedJoinHandle<'_, i32>;
        thread::Thread, "syuwr", t::Thread;
        thread::ThreadId, "syuwr", t::ThreadId;
    };
    let of_fs = table! {
        fs::File, "syuwr", std::fs::File;
        fs::OpenOptions, "syuwr", std::fs::OpenOptions;
        fs::DirBuilder, "syuwr", std::fs::DirBuilder;
        fs::DirEntry, "syuwr", std::fs::DirEntry;
        fs::ReadDir, "syuwr", std::fs::ReadDir;
        fs::TryLockError, "syu", std::io::Error;
    };
    let all = [&of_sync[..], &of_op, &of_thread, &of_fs].concat();
    for (name, ours, letters, std) in &all {
        assert_eq!(ours, letters, "{name}");
        // What std's has, ours has, but for leaving its thread.
        let stays = !ours.contains('s');
        for letter in std.iter().flat_map(|std| std.chars()) {
            let has = ours.contains(letter) || stays && "sy".contains(letter);
            assert!(has, "{name} has no {letter}, which std's has");
        }
    }
    let table: String = all.iter().map(|row| row.0).collect();
    for name in public_types(&["src/sync", "src/op.rs", "src/fs", "src/thread"]) {
        assert!(table.contains(&format!("::{name}")), "{name} is not in this table");
    }
}

/// The names of the public types of these files.
fn public_types(paths: &[&str]) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths: Vec<_> = paths.iter().map(|path| root.join(path)).collect();
    let mut names = Vec::new();
    while let Some(path) = paths.pop() {
        if path.is_dir() {
            paths.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        for line in fs::read_to_string(path).unwrap().lines() {
            let line = line.trim_start();
            if let Some(rest) = line.strip_prefix("pub struct ").or(line.strip_prefix("pub enum "))
            {
                names.push(rest.split(|c: char| !c.is_alphanumeric()).next().unwrap().to_owned());
            }
        }
    }
    assert!(names.len() > 40, "{names:?}");
    names
}
