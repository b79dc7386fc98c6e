//! Parks a million greenlets at once, wakes them all, joins them all, and prints what one costs.
//!
//!     cargo run --release --example million -- [--tasks N] [--stack BYTES] [--json]
//!
//! Each has a guarded stack of its own, of which it touches one page.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Instant;

use clap::Parser;
use serde_json::json;
use wouldblock::{Builder, green};

/// Park many greenlets at once, wake them, join them, and print what one costs.
#[derive(Parser)]
struct Arguments {
    /// How many.
    #[arg(long, default_value_t = 1_000_000)]
    tasks: usize,
    /// The usable bytes of each stack.
    #[arg(long, default_value_t = 256 << 10, value_name = "BYTES")]
    stack: usize,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

fn main() {
    let Arguments { tasks, stack, json } = Arguments::parse();
    Builder::new().stack_size(stack).run(|| {
        let before = Memory::now();
        let gate = Rc::new(Gate::default());
        let start = Instant::now();
        let handles: Vec<_> = (0..tasks)
            .map(|_| {
                let gate = gate.clone();
                green::spawn(move || gate.pass())
            })
            .collect();
        while gate.waiting.borrow().len() < tasks {
            green::yield_now();
        }
        let park_seconds = start.elapsed().as_secs_f64();
        let parked = Memory::now();

        let start = Instant::now();
        gate.open();
        for handle in handles {
            handle.join().expect("a greenlet that only waits");
        }
        let join_seconds = start.elapsed().as_secs_f64();

        let each = |bytes: fn(&Memory) -> u64| {
            bytes(&parked).saturating_sub(bytes(&before)) / tasks.max(1) as u64
        };
        let rss = each(|m| m.resident);
        let page_tables = each(|m| m.page_tables);
        let virtual_ = each(|m| m.mapped);
        if json {
            let report = json!({
                "tasks": tasks,
                "stack_bytes": stack,
                "rss_bytes_per_task": rss,
                "page_table_bytes_per_task": page_tables,
                "virtual_bytes_per_task": virtual_,
                "park_seconds": park_seconds,
                "join_seconds": join_seconds,
            });
            println!("{report}");
        } else {
            println!(
                "{tasks} greenlets parked in {park_seconds:.2} s, joined in {join_seconds:.2} s"
            );
            println!(
                "each: {rss} bytes resident, {page_tables} of page tables, {virtual_} reserved"
            );
        }
    });
}

/// Whoever comes waits until it is opened.
#[derive(Default)]
struct Gate {
    is_open: Cell<bool>,
    waiting: RefCell<Vec<Waker>>,
}

impl Gate {
    fn pass(&self) {
        green::wait(poll_fn(|cx| match self.is_open.get() {
            true => Poll::Ready(()),
            false => {
                self.waiting.borrow_mut().push(cx.waker().clone());
                Poll::Pending
            }
        }));
    }

    fn open(&self) {
        self.is_open.set(true);
        self.waiting.take().into_iter().for_each(Waker::wake);
    }
}

/// The memory of this process, in bytes.
struct Memory {
    resident: u64,
    page_tables: u64,
    mapped: u64,
}

impl Memory {
    fn now() -> Memory {
        let status = std::fs::read_to_string("/proc/self/status").expect("this is Linux");
        let field = |name: &str| -> u64 {
            let line = status.lines().find(|line| line.starts_with(name));
            let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
            kib.unwrap_or(0) * 1024
        };
        Memory { resident: field("VmRSS:"), page_tables: field("VmPTE:"), mapped: field("VmSize:") }
    }
}
