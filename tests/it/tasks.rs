//! The table of tasks, and the counts of a run.

use crate::util::*;
use wouldblock::net::TcpListener;
use wouldblock::{
    Builder, TaskState, WaitFor, future, generator, green, group::gather, stats, task, tasks,
};

#[test]
fn every_task_is_listed_with_what_it_does_and_since_when() {
    run_in_order(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let acceptor = task::Builder::new().name("acceptor").spawn(move || {
            drop(listener.accept());
        });
        let parent = future::spawn(async {
            let child = generator::spawn(|y| y.wait(wouldblock::time::sleeping(HOUR)));
            child.await.unwrap();
        });
        green::sleep(1500 * MS);
        let table = tasks();
        let rows: Vec<_> =
            table.tasks.iter().map(|info| (info.task.id(), info.state.to_string())).collect();
        let (root, rows) = rows.split_first().unwrap();
        assert_eq!((root.0, &*root.1), (1, "runs"));
        assert_eq!(table.tasks[0].state, TaskState::Running);
        assert!(rows[0].1.starts_with("waits for a connection on descriptor"), "{rows:?}");
        assert_eq!(rows[1..], [(3, "waits for task 4".into()), (4, "sleeps".into())]);
        assert!(matches!(table.tasks[3].state, TaskState::Waiting { what: WaitFor::Time, .. }));
        let [_, acceptor_row, parent_row, child_row] = &table.tasks[..] else { panic!("{table}") };
        assert_eq!(parent_row.waits, Some(1500 * MS));
        assert_eq!((parent_row.turns, parent_row.stack_used), (1, None), "no stack between polls");
        assert!(acceptor_row.stack_used.unwrap() <= acceptor_row.task.stack_size());
        assert_eq!((acceptor_row.task.parent(), child_row.task.parent()), (Some(1), Some(3)));

        let text = table.to_string();
        let line = |start: &str| {
            let line = text.lines().find(|line| line.trim_start().starts_with(start));
            line.unwrap_or_else(|| panic!("no {start:?} in\n{text}")).to_owned()
        };
        assert!(line("task 1 \"root\"").starts_with("task 1"), "{text}");
        assert!(line("task 2 \"acceptor\"").starts_with("  task 2"), "{text}");
        assert!(line("task 4 (generator").starts_with("    task 4"), "{text}");
        assert!(
            line("task 4 (generator").contains(": sleeps for 1.50 s, at tests/it/tasks.rs:"),
            "{text}"
        );
        assert_contains(
            &text,
            &["stacks, by where their tasks were spawned:\n", "KiB used, by 1 task\n"],
        );
        acceptor.cancel();
        parent.cancel();
    });
}

#[test]
fn a_task_whose_parent_has_ended_is_a_root_of_the_tree() {
    run_in_order(|| {
        let orphan = green::spawn(|| {
            drop(green::spawn(|| {
                drop(green::spawn(|| green::sleep(SECOND)));
                green::sleep(SECOND);
            }));
        });
        orphan.join().unwrap();
        green::sleep(MS);
        let text = tasks().to_string();
        let starts: Vec<_> =
            text.lines().take(3).map(|line| line.split(" (").next().unwrap()).collect();
        assert_eq!(starts, ["task 1 \"root\"", "task 3", "  task 4"]);
    });
}

#[test]
fn outside_of_a_run_there_are_no_tasks() {
    assert!(tasks().tasks.is_empty());
    assert_eq!(tasks().to_string(), "");
    let runtime = Builder::new().build().unwrap();
    let handle = runtime.enter(|| green::spawn(|| ()));
    assert_eq!(runtime.tasks().tasks.len(), 1);
    assert_eq!(runtime.tasks().tasks[0].state, TaskState::Ready);
    while runtime.turn() {}
    assert!(runtime.tasks().tasks.is_empty());
    drop(handle);
}

#[test]
fn the_counts_of_a_run_add_up() {
    run_in_order(|| {
        let fine = green::spawn(|| green::sleep(MS));
        let panics = green::spawn(|| panic!("the reason"));
        let cancelled = green::spawn(|| green::sleep(HOUR));
        let sleeps = green::spawn(|| green::sleep(HOUR));
        green::yield_now();
        cancelled.cancel();
        let ends = green::wait(gather([fine, panics, cancelled]));
        assert_eq!(ends.iter().filter(|end| end.is_err()).count(), 2);
        let stats = stats();
        assert_eq!((stats.spawned, stats.finished, stats.alive), (5, 3, 2));
        assert_eq!((stats.panicked, stats.cancelled), (1, 1));
        assert_eq!(stats.timers, 1, "the one that sleeps on");
        assert!(stats.wakes >= 3, "{stats:?}"); // the sleeper, the cancelled one, the root
        assert!(stats.polls >= 1 && stats.turns >= 7, "{stats:?}");
        assert_eq!(stats.stacks_used, 2);
        sleeps.cancel();
    });
}

#[test]
fn a_chain_of_tasks_stays_narrow() {
    fn chain(left: u32) {
        let _child = (left > 0).then(|| green::spawn(move || chain(left - 1)));
        green::sleep(HOUR);
    }
    let text = run_in_order(|| {
        let _first = green::spawn(|| chain(40));
        green::sleep(SECOND);
        tasks().to_string()
    });
    let rows = Vec::from_iter(text.lines().take(42));
    let indentation = |row: &str| row.len() - row.trim_start().len();
    assert_eq!(indentation(rows[32]), 64, "{text}");
    assert!(rows[32].trim_start().starts_with("task 33 ("), "{text}");
    for (at, row) in rows.iter().enumerate().skip(33) {
        assert_eq!(indentation(row), 64, "{text}");
        let start = format!("(level {at}) task {} (", at + 1);
        assert!(row.trim_start().starts_with(&start), "{text}");
    }
}

/// The state has what the row says: of a lock, what it is and which task has it.
#[test]
fn a_state_has_what_the_row_says() {
    run_in_order(|| {
        let mutex = std::rc::Rc::new(wouldblock::sync::Mutex::new(()));
        let guard = mutex.lock();
        let same = mutex.clone();
        let waits = green::spawn(move || drop(same.lock()));
        green::yield_now();
        let row = tasks().tasks.pop().unwrap();
        let TaskState::Waiting { what: WaitFor::Thing(thing), last_used, .. } = &row.state else {
            panic!("{row}")
        };
        assert_eq!(thing.name(), "a mutex");
        assert_contains(
            last_used.as_ref().unwrap(),
            &["held by task 1 \"root\", tests/it/tasks.rs:"],
        );
        assert_contains(
            &row.state.to_string(),
            &["waits for a mutex (held by task 1 \"root\", tests/it/tasks.rs:"],
        );
        drop(guard);
        waits.join().unwrap();
    });
}
