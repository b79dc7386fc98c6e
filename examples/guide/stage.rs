//! How a program of the guide is run: under its name, on a virtual clock or on the machine's, with or without a picture.

use std::io;

use wouldblock::Builder;
use wouldblock::timeline::Timeline;

/// Runs a program that has no scheduler.
pub fn plain(name: &str, program: impl FnOnce()) {
    println!("\n--- {name}");
    program();
}

/// Runs a program as the root task on a virtual clock, on which waiting takes no time.
pub fn quick(name: &str, program: impl FnOnce()) {
    plain(name, || Builder::new().virtual_clock().round_robin().run(program));
}

/// As [`quick`], and draws what each task did.
pub fn drawn(name: &str, program: impl FnOnce()) {
    let timeline = Timeline::new();
    let builder = Builder::new().virtual_clock().round_robin().observe(timeline.clone());
    plain(name, || builder.run(program));
    draw(name, &timeline);
}

/// Runs a program as the root task on the machine's clock, and draws what each task did.
pub fn live(name: &str, program: impl FnOnce()) {
    let timeline = Timeline::new();
    let builder = Builder::new().round_robin().observe(timeline.clone());
    plain(name, || builder.run(program));
    draw(name, &timeline);
}

fn draw(name: &str, timeline: &Timeline) {
    let picture = timeline.terminal(80).colour_on(&io::stdout()).to_string();
    println!("\n--- {name}, drawn\n{}", picture.trim_end());
}

/// The message with which `program` panics; it is not printed by the panic hook.
pub fn panic_of(program: impl FnOnce() + std::panic::UnwindSafe) -> String {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let payload = std::panic::catch_unwind(program).expect_err("the program panics");
    std::panic::set_hook(hook);
    match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => payload.downcast::<&str>().map_or(String::new(), |text| text.to_string()),
    }
}
