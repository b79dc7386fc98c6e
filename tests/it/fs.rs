//! `wouldblock::fs` behaves as `std::fs` is documented to, in a task and outside of one; and in a task, the
//! others run meanwhile.
//!
//! Each test of [`as_std!`] is run with both: what is expected of ours is what std does.

use std::cell::RefCell;
use std::ffi::CString;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::util::{self, ERAS, HOUR, MS, let_others_run, run, spawn_running, spawn_waiting};
use wouldblock::{Era, JoinHandle, generator, green, group::gather, offload, op, time};

/// Runs `body` with a folder that is removed afterwards.
fn in_folder<T>(body: impl FnOnce(&Path) -> T) -> T {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    body(folder.path())
}

/// Makes each test one of std's `fs`, one of ours outside of any task, and one of ours in a task of each era.
macro_rules! as_std {
    ($($(#[$doc:meta])* fn $name:ident($folder:ident) $body:block)*) => {
        /// What each test may name, of std's or of ours.
        macro_rules! tests_of {
            ($krate:ident, $run_it:ident) => {
                use super::*;
                #[allow(unused_imports, reason = "each test uses a part of this")]
                use std::io::{BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
                #[allow(unused_imports, reason = "as above")]
                use std::os::unix::fs::{
                    DirBuilderExt, DirEntryExt, FileExt, MetadataExt, OpenOptionsExt,
                };
                use $krate::fs::{self, DirBuilder, File, OpenOptions};

                $($(#[$doc])* #[test] fn $name() { $run_it(|$folder: &Path| $body); })*
            };
        }

        mod std_itself {
            tests_of!(std, in_folder);
        }

        mod ours_outside_of_a_task {
            tests_of!(wouldblock, in_folder);
        }

        mod ours_in_a_task {
            fn in_a_task(body: fn(&Path)) {
                for era in ERAS {
                    let result = run(|| spawn_running(era, move || in_folder(body)).join());
                    result.unwrap_or_else(|e| panic!("{era}: {e}"));
                }
            }
            tests_of!(wouldblock, in_a_task);
        }
    };
}

#[track_caller]
fn assert_fails<T>(result: io::Result<T>, kind: ErrorKind, number: impl Into<Option<i32>>) {
    let error = result.err().expect("this was to fail");
    assert_eq!((error.kind(), error.raw_os_error()), (kind, number.into()), "{error}");
}

as_std! {
    fn what_is_written_is_read(folder) {
        let path = folder.join("a");
        fs::write(&path, "longer than what comes").unwrap();
        fs::write(&path, [0, 159, 146, 150]).unwrap();
        assert_eq!(fs::read(&path).unwrap(), [0, 159, 146, 150]);
        assert_fails(fs::read_to_string(&path), ErrorKind::InvalidData, None);
        fs::write(&path, "häßlich").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "häßlich");
    }

    fn an_error_keeps_its_kind_and_its_number(folder) {
        let (file, nothing) = (folder.join("file"), folder.join("nothing"));
        File::create(&file).unwrap();
        for result in [
            fs::read(&nothing).map(drop),
            fs::read_dir(&nothing).map(drop),
            fs::metadata(&nothing).map(drop),
            fs::copy(&nothing, &file).map(drop),
            fs::rename(&nothing, &file),
            fs::remove_file(&nothing),
            fs::remove_dir_all(&nothing),
            fs::canonicalize(&nothing).map(drop),
            File::open(&nothing).map(drop),
        ] {
            assert_fails(result, ErrorKind::NotFound, libc::ENOENT);
        }
        assert_fails(fs::read(folder), ErrorKind::IsADirectory, libc::EISDIR);
        assert_fails(fs::read_dir(&file), ErrorKind::NotADirectory, libc::ENOTDIR);
        assert_fails(fs::create_dir(&file), ErrorKind::AlreadyExists, libc::EEXIST);
        assert_fails(File::create_new(&file), ErrorKind::AlreadyExists, libc::EEXIST);
        assert_fails(fs::remove_dir(folder), ErrorKind::DirectoryNotEmpty, libc::ENOTEMPTY);
        assert_fails(fs::read_link(&file), ErrorKind::InvalidInput, libc::EINVAL);
        assert_fails(fs::read("a\0b"), ErrorKind::InvalidInput, None);
    }

    fn a_copy_has_the_content_and_the_permissions(folder) {
        let (from, to) = (folder.join("from"), folder.join("to"));
        fs::write(&from, "12345").unwrap();
        fs::write(&to, "something longer").unwrap();
        fs::set_permissions(&from, PermissionsExt::from_mode(0o640)).unwrap();
        assert_eq!(fs::copy(&from, &to).unwrap(), 5);
        assert_eq!(fs::read(&to).unwrap(), b"12345");
        assert_eq!(fs::metadata(&to).unwrap().permissions().mode() & 0o777, 0o640);
    }

    fn renaming_replaces(folder) {
        let (from, to) = (folder.join("from"), folder.join("to"));
        fs::write(&from, "new").unwrap();
        fs::write(&to, "old").unwrap();
        fs::rename(&from, &to).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"new");
        assert!(!fs::exists(&from).unwrap());
    }

    fn links(folder) {
        let (file, hard, soft) = (folder.join("file"), folder.join("hard"), folder.join("soft"));
        fs::write(&file, "text").unwrap();
        fs::hard_link(&file, &hard).unwrap();
        assert_eq!(fs::metadata(&hard).unwrap().ino(), fs::metadata(&file).unwrap().ino());
        assert_fails(fs::hard_link(&file, &hard), ErrorKind::AlreadyExists, libc::EEXIST);
        symlink("file", &soft).unwrap();
        assert_eq!(fs::read_link(&soft).unwrap(), Path::new("file"));
        assert!(fs::metadata(&soft).unwrap().is_file());
        assert!(fs::symlink_metadata(&soft).unwrap().is_symlink());
        assert_eq!(fs::canonicalize(&soft).unwrap(), fs::canonicalize(&file).unwrap());
        fs::remove_file(&soft).unwrap();
        assert!(fs::exists(&file).unwrap());
    }

    fn folders_are_made_and_removed(folder) {
        let deep = folder.join("a/b/c");
        assert_fails(fs::create_dir(&deep), ErrorKind::NotFound, libc::ENOENT);
        fs::create_dir_all(&deep).unwrap();
        fs::create_dir_all(&deep).unwrap();
        fs::remove_dir(&deep).unwrap();
        assert!(!fs::exists(&deep).unwrap());

        DirBuilder::new().recursive(true).mode(0o700).create(&deep).unwrap();
        assert_eq!(fs::metadata(&deep).unwrap().mode() & 0o777, 0o700);
        let again = DirBuilder::new().create(&deep);
        assert_fails(again, ErrorKind::AlreadyExists, libc::EEXIST);

        fs::write(folder.join("kept"), "").unwrap();
        symlink(folder.join("kept"), deep.join("link")).unwrap();
        fs::remove_dir_all(folder.join("a")).unwrap();
        assert!(!fs::exists(folder.join("a")).unwrap());
        assert!(fs::exists(folder.join("kept")).unwrap());
    }

    /// More than two hand-overs of them.
    fn each_entry_of_a_folder_comes_once(folder) {
        let names: Vec<_> = (0..300).map(|n| format!("{n:03}")).collect();
        names[1..].iter().for_each(|name| fs::write(folder.join(name), name).unwrap());
        fs::create_dir(folder.join("000")).unwrap();
        let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(Result::unwrap).collect();
        entries.sort_by_key(|entry| entry.file_name());
        assert!(entries.iter().map(|entry| entry.file_name()).eq(names.iter().map(|name| &**name)));
        assert!(entries[0].file_type().unwrap().is_dir());
        assert_eq!(entries[1].path(), folder.join("001"));
        let metadata = entries[1].metadata().unwrap();
        assert_eq!((metadata.len(), metadata.ino()), (3, entries[1].ino()));
        fs::remove_file(entries[1].path()).unwrap();
        assert_fails(entries[1].metadata(), ErrorKind::NotFound, libc::ENOENT);
    }

    fn an_empty_folder_has_no_entries_however_often_one_asks(folder) {
        let mut entries = fs::read_dir(folder).unwrap();
        assert!(entries.next().is_none());
        assert!(entries.next().is_none());
    }

    fn options_say_how_a_file_is_opened(folder) {
        let path = folder.join("a");
        let nothing = OpenOptions::new().write(true).open(&path);
        assert_fails(nothing, ErrorKind::NotFound, libc::ENOENT);
        let mut options = File::options();
        let mut file = options.write(true).create(true).mode(0o600).open(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        file.write_all(b"12345").unwrap();
        let unreadable = file.read(&mut [0; 9]);
        assert_eq!(unreadable.unwrap_err().raw_os_error(), Some(libc::EBADF));

        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"67").unwrap();
        OpenOptions::new().write(true).open(&path).unwrap().write_all(b"ab").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"ab34567");
        OpenOptions::new().write(true).truncate(true).open(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"");

        let new = OpenOptions::new().write(true).create_new(true).open(&path);
        assert_fails(new, ErrorKind::AlreadyExists, libc::EEXIST);
        let none = OpenOptions::new().open(&path).unwrap_err();
        assert_eq!(none.kind(), ErrorKind::InvalidInput);
        let link = folder.join("link");
        symlink(&path, &link).unwrap();
        let link = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(&link);
        assert_eq!(link.unwrap_err().raw_os_error(), Some(libc::ELOOP));
    }

    fn a_file_has_a_cursor(folder) {
        let mut file = File::create_new(folder.join("a")).unwrap();
        assert_eq!(file.write(b"0123456789").unwrap(), 10);
        assert_eq!(file.stream_position().unwrap(), 10);
        let mut buf = [0; 4];
        assert_eq!(file.read(&mut buf).unwrap(), 0);
        file.rewind().unwrap();
        assert_eq!((file.read(&mut buf).unwrap(), &buf), (4, b"0123"));
        assert_eq!(file.read(&mut []).unwrap(), 0);
        assert_eq!(file.seek(SeekFrom::Current(1)).unwrap(), 5);
        assert_eq!(file.seek(SeekFrom::End(-3)).unwrap(), 7);
        let before = file.seek(SeekFrom::Current(-8));
        assert_fails(before, ErrorKind::InvalidInput, libc::EINVAL);
        assert_eq!(file.read(&mut buf).unwrap(), 3);
        assert_eq!(&buf, b"7893", "what lies behind the end is not touched");
        assert_eq!(file.seek(SeekFrom::Start(12)).unwrap(), 12);
        file.write_all(b"c").unwrap();
        file.flush().unwrap();
        assert_eq!(fs::read(folder.join("a")).unwrap(), b"0123456789\0\0c");
    }

    fn the_rest_is_added_to_what_was_read(folder) {
        fs::write(folder.join("a"), "0123456789").unwrap();
        let mut file = File::open(folder.join("a")).unwrap();
        file.seek(SeekFrom::Start(4)).unwrap();
        let (mut bytes, mut text) = (b"->".to_vec(), String::from("=>"));
        assert_eq!(file.read_to_end(&mut bytes).unwrap(), 6);
        assert_eq!(bytes, b"->456789");
        file.seek(SeekFrom::Start(7)).unwrap();
        assert_eq!(file.read_to_string(&mut text).unwrap(), 3);
        assert_eq!(text, "=>789");

        fs::write(folder.join("b"), b"a\xff").unwrap();
        let result = File::open(folder.join("b")).unwrap().read_to_string(&mut text);
        assert_fails(result, ErrorKind::InvalidData, None);
        assert_eq!(text, "=>789");
        let result = File::open(folder).unwrap().read_to_end(&mut bytes);
        assert_fails(result, ErrorKind::IsADirectory, libc::EISDIR);
        assert_eq!(bytes, b"->456789");
    }

    fn reading_and_writing_at_a_place_has_no_cursor(folder) {
        let file = File::create_new(folder.join("a")).unwrap();
        file.write_all_at(b"hello", 2).unwrap();
        assert_eq!((&file).stream_position().unwrap(), 0);
        let mut buf = [0; 4];
        assert_eq!(file.read_at(&mut buf, 4).unwrap(), 3);
        assert_eq!(&buf, b"llo\0");
        assert_eq!((&file).stream_position().unwrap(), 0);
        assert_fails(file.read_exact_at(&mut buf, 4), ErrorKind::UnexpectedEof, None);
    }

    fn a_file_is_asked_and_changed_through_its_handle(folder) {
        let file = File::create_new(folder.join("a")).unwrap();
        (&file).write_all(b"12345").unwrap();
        file.set_len(3).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 3);
        assert_eq!((&file).stream_position().unwrap(), 5);
        file.set_len(4).unwrap();
        file.sync_data().unwrap();
        file.sync_all().unwrap();
        assert_eq!(fs::read(folder.join("a")).unwrap(), b"123\0");
        file.set_permissions(PermissionsExt::from_mode(0o400)).unwrap();
        assert!(file.metadata().unwrap().permissions().readonly());
        let early = std::time::UNIX_EPOCH + 1000 * util::SECOND;
        file.set_modified(early).unwrap();
        assert_eq!(file.metadata().unwrap().modified().unwrap(), early);
        let times = std::fs::FileTimes::new().set_accessed(early).set_modified(early + HOUR);
        file.set_times(times).unwrap();
        let metadata = file.metadata().unwrap();
        assert_eq!(metadata.accessed().unwrap(), early);
        assert_eq!(metadata.modified().unwrap(), early + HOUR);
        let unwritable = File::open(folder.join("a")).unwrap().set_len(0);
        assert_fails(unwritable, ErrorKind::InvalidInput, libc::EINVAL);
    }

    fn clones_and_descriptors_share_the_cursor(folder) {
        let mut file = File::create_new(folder.join("a")).unwrap();
        let mut clone = file.try_clone().unwrap();
        file.write_all(b"one").unwrap();
        clone.write_all(b"two").unwrap();
        let mut duplicate = File::from(file.as_fd().try_clone_to_owned().unwrap());
        drop((file, clone));
        duplicate.write_all(b"three").unwrap();
        assert_eq!(fs::read(folder.join("a")).unwrap(), b"onetwothree");
    }

    /// `/dev/full` has no room, ever: its writes fail, and not those that follow.
    fn a_write_that_fails_says_so_itself(_folder) {
        let mut full = OpenOptions::new().read(true).write(true).open("/dev/full").unwrap();
        assert_fails(full.write(b"a"), ErrorKind::StorageFull, libc::ENOSPC);
        full.flush().unwrap();
        assert_eq!(full.read(&mut [1]).unwrap(), 1);
        assert_fails(fs::write("/dev/full", "a"), ErrorKind::StorageFull, libc::ENOSPC);
    }

    /// More than one hand-over's worth.
    fn large_files_through_what_std_has_for_readers_and_writers(folder) {
        let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| (n / 7) as u8).collect();
        let (a, b) = (folder.join("a"), folder.join("b"));
        File::create(&a).unwrap().write_all(&bytes).unwrap();
        let mut reader = BufReader::new(File::open(&a).unwrap());
        let mut writer = BufWriter::new(File::create(&b).unwrap());
        assert_eq!(io::copy(&mut reader, &mut writer).unwrap(), 3_000_000);
        writer.into_inner().unwrap().sync_all().unwrap();
        let mut copied = vec![0; bytes.len()];
        let file = File::open(&b).unwrap();
        (&file).read_exact(&mut copied).unwrap();
        assert!(copied == bytes);
        assert_eq!((&file).read(&mut copied).unwrap(), 0);
        (&file).rewind().unwrap();
        assert!(BufReader::new(&file).split(0).count() > 1000);
    }
}

/// The kernel takes 1024 of them in one call.
#[test]
fn of_any_number_of_slices_the_first_are_written_in_one_call() {
    use std::io::{IoSlice, Write};
    in_folder(|folder| {
        let path = folder.join("file");
        let parts = [IoSlice::new(b"ab"); 1500];
        let written = run(|| wouldblock::fs::File::create(&path)?.write_vectored(&parts)).unwrap();
        assert!(written > 2, "more than the first");
        assert_eq!(std::fs::read(path).unwrap(), b"ab".repeat(1500)[..written]);
        let mut file = wouldblock::fs::File::create(folder.join("outside")).unwrap();
        assert!(file.write_vectored(&parts).unwrap() > 2);
        assert_eq!(file.write_vectored(&[]).unwrap(), 0);
    });
}

// A FIFO is a file whose calls take as long as the other end likes.

fn fifo(folder: &Path) -> PathBuf {
    let path = folder.join("fifo");
    let name = CString::new(path.as_os_str().as_bytes()).expect("a path without NUL");
    // SAFETY: the name ends with NUL, and lives as long as the call.
    let made = unsafe { libc::mkfifo(name.as_ptr(), 0o600) };
    assert_eq!(made, 0, "{}", io::Error::last_os_error());
    path
}

/// Both ends of a FIFO in one, for which opening does not wait.
fn open_fifo(folder: &Path) -> wouldblock::fs::File {
    let mut options = wouldblock::fs::File::options();
    options.read(true).write(true).open(fifo(folder)).expect("a FIFO that can be opened")
}

#[test]
fn opening_and_reading_wait_while_the_others_run() {
    use std::io::{Read, Write};
    for era in ERAS {
        in_folder(|folder| {
            let (path, reading) = (fifo(folder), folder.join("fifo"));
            run(|| {
                // Each open waits for the other; if one held the thread, they would wait for ever.
                let reader = spawn_running(era, move || {
                    let mut file = wouldblock::fs::File::open(reading).unwrap();
                    let mut byte = [0];
                    file.read_exact(&mut byte).unwrap();
                    let mut rest = String::new();
                    file.read_to_string(&mut rest).unwrap();
                    (byte, rest)
                });
                let mut file = wouldblock::fs::File::options().write(true).open(path).unwrap();
                file.write_all(b"a").unwrap();
                let_others_run();
                file.write_all(b"bc").unwrap();
                drop(file);
                assert_eq!(reader.join().unwrap(), ([b'a'], "bc".into()), "{era}");
            });
        });
    }
}

#[test]
fn one_task_reads_a_file_while_another_writes_it() {
    use std::io::{Read, Write};
    run(|| {
        let file = Rc::new(in_folder(open_fifo));
        let reader = Rc::clone(&file);
        let reader = green::spawn(move || {
            let mut buf = [0; 4];
            (&*reader).read_exact(&mut buf).map(|()| buf)
        });
        let_others_run();
        (&*file).write_all(b"ping").unwrap();
        assert_eq!(&reader.join().unwrap().unwrap(), b"ping");
    });
}

#[test]
fn whoever_waits_for_a_file_can_be_cancelled() {
    use std::io::{Read, Write};
    for era in ERAS {
        run(|| {
            let file = Rc::new(in_folder(open_fifo));
            let reader = Rc::clone(&file);
            let task = spawn_running(era, move || (&*reader).read(&mut [0; 8]));
            let_others_run();
            task.cancel();
            assert!(task.join().unwrap_err().is_cancelled(), "{era}");
            // The file goes on, and is std's if one likes, while the other thread still reads it.
            assert_eq!((&*file).write(b"released").unwrap(), 8);
            let file = Rc::into_inner(file).expect("the reader is gone").into_std().unwrap();
            assert!(file.metadata().is_ok());
        });
    }
}

/// Wherever the fetch was when its task was cancelled: not begun, under way or just done.
#[test]
fn a_fetch_of_entries_that_is_given_up_loses_none() {
    in_folder(|folder| {
        (0..300).for_each(|n| std::fs::write(folder.join(n.to_string()), "").unwrap());
        run(|| {
            for turns in 0..20 {
                let entries = Rc::new(RefCell::new(wouldblock::fs::read_dir(folder).unwrap()));
                let names = Rc::new(RefCell::new(Vec::new()));
                let reader = || {
                    let (entries, names) = (Rc::clone(&entries), Rc::clone(&names));
                    move || {
                        let mut entries = entries.borrow_mut();
                        for entry in entries.by_ref() {
                            names.borrow_mut().push(entry.unwrap().file_name());
                        }
                    }
                };
                for _ in 0..4 {
                    let task = green::spawn(reader());
                    (0..=turns).for_each(|_| green::yield_now());
                    task.cancel();
                    let _done_or_cancelled = task.join();
                }
                green::spawn(reader()).join().unwrap();
                names.borrow_mut().sort();
                names.borrow_mut().dedup();
                assert_eq!((names.borrow().len(), turns), (300, turns));
            }
        });
    });
}

#[test]
fn a_run_ends_while_a_read_is_under_way() {
    use std::io::{Read, Write};
    for era in ERAS {
        let file = run(|| {
            let file = in_folder(open_fifo);
            let reader = file.try_clone().unwrap();
            drop(spawn_running(era, move || (&reader).read(&mut [0; 8])));
            let_others_run();
            file
        });
        (&file).write_all(b"released").unwrap(); // The thread that reads may end too.
    }
}

#[test]
fn a_green_time_limit_holds_for_a_file() {
    use std::io::{Read, Write};
    wouldblock::run(|| {
        let file = in_folder(open_fifo);
        assert!(green::timeout(MS, || (&file).read(&mut [0; 8])).is_err());
        (&file).write_all(b"released").unwrap();
    });
}

#[test]
fn a_task_that_is_to_stop_begins_no_call() {
    in_folder(|folder| {
        let path = folder.join("a");
        run(|| {
            let task = green::spawn({
                let path = path.clone();
                move || {
                    let sleep = || green::sleep(HOUR);
                    assert!(panic::catch_unwind(AssertUnwindSafe(sleep)).is_err());
                    wouldblock::fs::write(path, "")
                }
            });
            let_others_run();
            task.cancel();
            assert!(task.join().unwrap_err().is_cancelled());
        });
        assert!(!path.exists());
    });
}

/// Removes its file when it is dropped, as temporary files are.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        wouldblock::fs::remove_file(&self.0).expect("the file is there");
    }
}

#[test]
fn whoever_is_cancelled_can_still_remove_its_files() {
    in_folder(|folder| {
        let files = [0, 1].map(|n| folder.join(format!("{n}")));
        let temporary = || {
            files.clone().map(|path| {
                std::fs::write(&path, "").unwrap();
                Temporary(path)
            })
        };
        let assert_removed = |task: JoinHandle<()>| {
            task.cancel();
            assert!(task.join().unwrap_err().is_cancelled());
            assert!(files.iter().all(|path| !path.exists()));
        };
        for era in ERAS {
            run(|| {
                assert_removed(spawn_waiting(era, time::sleeping(HOUR), temporary())); // not begun

                let waiting = spawn_waiting(era, time::sleeping(HOUR), temporary());
                let_others_run();
                assert_removed(waiting);

                let held = temporary();
                let waiting_the_green_way = spawn_running(era, move || {
                    let _held = held;
                    green::sleep(HOUR);
                });
                let_others_run();
                assert_removed(waiting_the_green_way);
            });
        }
    });
}

// Three eras.

#[test]
fn the_operation_is_offloaded_std() {
    in_folder(|folder| {
        std::fs::write(folder.join("a"), "text").unwrap();
        run(|| {
            let reading = || {
                let path = folder.join("a");
                offload(move || std::fs::read_to_string(path))
            };
            for era in ERAS {
                let limited = op::timeout(HOUR, reading());
                assert_eq!(
                    spawn_waiting(era, limited, ()).join().unwrap().unwrap().unwrap(),
                    "text"
                );
            }
            let many = (0..3).map(|_| spawn_waiting(Era::Future, reading(), ()));
            assert_eq!(green::wait(gather(many)).len(), 3);
        });
    });
}

#[test]
fn the_traits_of_async_await() {
    use wouldblock::fs::{File, OpenOptions};
    use wouldblock::future::prelude::*;

    in_folder(|folder| {
        let folder = folder.to_owned();
        let task = async move {
            let mut file = File::create_new(folder.join("a"))?;
            file.write_all(b"one two three").await?;
            assert_eq!(
                futures_lite::AsyncSeekExt::seek(&mut file, io::SeekFrom::Start(4)).await?,
                4
            );
            let mut buf = [0; 3];
            file.read_exact(&mut buf).await?;
            assert_eq!(&buf, b"two");
            let mut text = String::new();
            (&file).read_to_string(&mut text).await?;
            assert_eq!(text, " three");
            file.flush().await?;
            file.close().await?;

            let mut copy = File::create_new(folder.join("b"))?;
            let from = futures_lite::io::BufReader::new(File::open(folder.join("a"))?);
            assert_eq!(futures_lite::io::copy(from, &mut copy).await?, 13);

            // A write's error is its own.
            let mut full = OpenOptions::new().write(true).open("/dev/full")?;
            assert_fails(full.write(b"a").await, ErrorKind::StorageFull, libc::ENOSPC);
            full.flush().await
        };
        run(|| spawn(task).join().unwrap().unwrap());
    });
}

#[test]
fn an_async_read_waits_while_the_others_run() {
    use wouldblock::future::prelude::*;
    run(|| {
        let file = in_folder(open_fifo);
        let mut reader = file.try_clone().unwrap();
        let task = spawn(async move {
            let mut buf = [0; 4];
            reader.read_exact(&mut buf).await.map(|()| buf)
        });
        let_others_run();
        let writer = spawn(async move { (&file).write_all(b"ping").await });
        writer.join().unwrap().unwrap();
        assert_eq!(&task.join().unwrap().unwrap(), b"ping");
    });
}

#[test]
fn a_generator_calls_what_a_greenlet_calls() {
    in_folder(|folder| {
        let path = folder.join("a");
        run(|| {
            let task = generator::spawn(move |y| {
                wouldblock::fs::write(&path, "one")?;
                y.yield_now();
                wouldblock::fs::read(&path)
            });
            assert_eq!(task.join().unwrap().unwrap(), b"one");
        });
    });
}

// Conversions.

#[test]
fn a_file_comes_from_stds_and_becomes_it() {
    use std::io::{Read, Seek, Write};
    use wouldblock::fs::{File, OpenOptions};
    run(|| {
        let mut file = File::from(tempfile::tempfile().unwrap());
        file.write_all(b"text").unwrap();
        let mut std = file.into_std().unwrap();
        std.rewind().unwrap();
        let mut text = String::new();
        File::from(OwnedFd::from(std)).read_to_string(&mut text).unwrap();
        assert_eq!(text, "text");

        let mut options = std::fs::File::options();
        options.read(true);
        let null = OpenOptions::from(options).open("/dev/null").unwrap();
        assert_eq!((&null).read(&mut [0]).unwrap(), 0);
        assert!(format!("{null:?}").contains("/dev/null"));
    });
}

#[test]
fn a_file_becomes_a_descriptor_and_a_childs_output() {
    use std::io::{Read, Seek, Write};
    use std::os::fd::{FromRawFd, IntoRawFd};
    use std::process::{Command, Stdio};
    use wouldblock::fs::File;
    let round_trip = || {
        let file = File::from(tempfile::tempfile().unwrap());
        let descriptor = OwnedFd::from(file);
        let raw = File::from(descriptor).into_raw_fd();
        // SAFETY: it was just given up.
        let mut file = unsafe { File::from_raw_fd(raw) };
        assert!(!file.is_terminal());
        file.write_all(b"one ").unwrap();
        let child = Command::new("echo").arg("two").stdout(file.try_clone().unwrap()).status();
        assert!(child.unwrap().success());
        let _: Stdio = file.try_clone().unwrap().into();
        file.rewind().unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "one two\n");
    };
    round_trip();
    run(round_trip);
}

/// Two handles to one file.
fn two_handles(folder: &Path) -> [wouldblock::fs::File; 2] {
    std::fs::write(folder.join("locked"), "").unwrap();
    two_handles_again(folder)
}

#[test]
fn a_locked_file_is_not_locked_by_another_handle() {
    use wouldblock::fs::TryLockError;
    let locks = || {
        in_folder(|folder| {
            let [a, b] = two_handles(folder);
            a.lock().unwrap();
            let refused = b.try_lock().unwrap_err();
            assert!(matches!(refused, TryLockError::WouldBlock), "{refused:?}");
            assert!(refused.to_string().contains("locked by another handle"));
            assert_eq!(io::Error::from(refused).kind(), ErrorKind::WouldBlock);
            assert!(b.try_lock_shared().is_err());
            a.unlock().unwrap();
            b.try_lock_shared().unwrap();
            a.lock_shared().unwrap();
            assert!(a.try_lock().is_err());
            drop(b); // gives it back
            a.try_lock().unwrap();
        });
    };
    locks();
    for era in ERAS {
        run(|| spawn_running(era, locks).join()).unwrap();
    }
}

#[test]
fn whoever_waits_for_a_files_lock_lets_the_others_run() {
    wouldblock::run(|| {
        in_folder(|folder| {
            let [a, b] = two_handles(folder);
            a.lock().unwrap();
            let waits = green::spawn(move || b.lock());
            let_others_run();
            assert!(!waits.is_finished());
            a.unlock().unwrap();
            waits.join().unwrap().unwrap();
        });
    });
}

#[test]
fn a_files_lock_that_comes_for_somebody_who_is_gone_is_given_back() {
    wouldblock::run(|| {
        in_folder(|folder| {
            let [a, b] = two_handles(folder).map(Rc::new);
            a.lock().unwrap();
            let waits = b.clone();
            let gone = green::spawn(move || waits.lock());
            let_others_run();
            gone.cancel();
            assert!(gone.join().unwrap_err().is_cancelled());
            a.unlock().unwrap();
            let [c, _] = two_handles_again(folder);
            c.lock().unwrap(); // `b` is open, and would have it
            drop(b);
        });
    });
}

/// There are 64 threads for the calls of files: a lock that was given up keeps none of them.
#[test]
fn locks_that_were_waited_for_in_vain_leave_the_other_calls_their_threads() {
    wouldblock::run(|| {
        in_folder(|folder| {
            let [a, b] = two_handles(folder);
            a.lock().unwrap();
            for _ in 0..70 {
                let locked = green::timeout(MS, || b.lock());
                assert!(locked.is_err(), "the other handle has it");
            }
            assert_eq!(wouldblock::fs::read(folder.join("locked")).unwrap(), b"");
            a.unlock().unwrap();
            b.lock().unwrap();
        });
    });
}

/// As [`two_handles`], of the file that is there.
fn two_handles_again(folder: &Path) -> [wouldblock::fs::File; 2] {
    [0; 2].map(|_| wouldblock::fs::File::open(folder.join("locked")).unwrap())
}

#[test]
fn files_go_to_other_threads() {
    fn is_plain_data<T: Send + Sync>() {}
    is_plain_data::<wouldblock::fs::File>();
    is_plain_data::<wouldblock::fs::OpenOptions>();
    is_plain_data::<wouldblock::fs::DirBuilder>();
    is_plain_data::<wouldblock::fs::DirEntry>();
    is_plain_data::<wouldblock::fs::ReadDir>();
}

struct Remove(PathBuf);

impl Drop for Remove {
    fn drop(&mut self) {
        wouldblock::fs::remove_file(&self.0).unwrap();
    }
}

wouldblock::task_local! { static LEFT: RefCell<Option<Remove>> = RefCell::new(None); }

#[test]
fn a_cancelled_tasks_own_values_remove_their_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("temporary");
    std::fs::write(&path, "half").unwrap();
    let left = path.clone();
    wouldblock::run(|| {
        let task = green::spawn(move || {
            LEFT.with(|value| *value.borrow_mut() = Some(Remove(left)));
            green::wait(std::future::pending::<()>());
        });
        let_others_run();
        task.cancel();
        assert!(task.join().unwrap_err().is_cancelled());
    });
    assert!(!path.exists());
}
