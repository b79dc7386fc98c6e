//! Programs are interpreted by real tasks: [`run`] by greenlets, generators and code outside of any task,
//! [`run_async`] by futures.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::panic::{self, AssertUnwindSafe};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use wouldblock::generator::{Generator, GeneratorState, Yielder};
use wouldblock::group::{as_completed, gather, race};
use wouldblock::net::unix::UnixStream;
use wouldblock::op::{Either, select};
use wouldblock::{
    JoinHandle, Wait, future, green,
    group::{Group, Pool, Slot},
    offload, op, task, task_local, time,
};

use crate::program::{self, Block, Era, Op, Spawn, Stack, What};
use crate::report;
use crate::token::{Kind, Token};
use crate::world::{
    self, Boom, Failure, Gate, Guard, OwnWaker, Value, World, boom, dispose, is_foreign, quietly,
    take, take_waker,
};

/// Where code runs: how it waits.
#[derive(Clone, Copy)]
pub(crate) struct Ctx<'a> {
    /// That of the generator in whose body it is.
    pub(crate) y: Option<&'a Yielder<Wait>>,
    /// A generator that is resumed by hand, and not a task.
    pub(crate) by_hand: bool,
    /// In cleanup, or in a generator, which cleanup may resume: each wait has a limit.
    pub(crate) cleanup: bool,
    /// In a destructor.
    pub(crate) dropping: bool,
}

impl Ctx<'_> {
    pub(crate) fn green() -> Ctx<'static> {
        Ctx { y: None, by_hand: false, cleanup: false, dropping: false }
    }

    fn wait<T>(&self, operation: impl Future<Output = T>) -> T {
        match self.y {
            Some(y) => y.wait(operation),
            None => green::wait(operation),
        }
    }

    fn is_limited(&self) -> bool {
        self.cleanup || World::here().is_none_or(|world| world.limited)
    }
}

pub(crate) fn ms(ms: u8) -> Duration {
    Duration::from_millis(ms.into())
}

/// How long an operation is waited for that may never be ready.
const LONG: u8 = 50;

pub(crate) fn run(ctx: Ctx<'_>, block: &'static [Op]) {
    let frame = Token::new(Kind::Frame);
    for op in block {
        step(ctx, op);
    }
    frame.check();
}

/// Whether there is fuel for one more operation.
fn has_fuel(world: &World) -> bool {
    let fuel = world.fuel.get();
    note(world);
    world.fuel.set(fuel.saturating_sub(1));
    report::shared().operations.fetch_add(1, Relaxed);
    fuel > 0
}

/// Adds to the program's course which task executes an operation, and when.
fn note(world: &World) {
    let task = task::current().map_or(0, |task| task.id());
    let mut since = 0;
    if task != 0 {
        let now = time::now();
        let start = world.start.get().unwrap_or(now);
        world.start.set(Some(start));
        since = now.saturating_duration_since(start).as_millis() as u64;
    }
    for part in [task, since] {
        let course = (world.course.get() ^ part).wrapping_mul(0x0100_0000_01b3);
        world.course.set(course.rotate_left(5));
    }
}

fn step(ctx: Ctx<'_>, op: &'static Op) {
    let Some(world) = World::here() else { return };
    if !has_fuel(&world) {
        return;
    }
    if thread::panicking() && op.may_suspend() {
        // To iterate a generator is not to wait; but not where its own stack unwinds.
        let iterates = matches!(op, Op::Yield) && ctx.by_hand && !ctx.dropping;
        if !iterates {
            return;
        }
    }
    match op {
        Op::Yield => match ctx.y {
            Some(y) => y.yield_now(),
            None => green::yield_now(),
        },
        Op::Wait(what @ What::Sleep(duration)) if !ctx.by_hand => {
            sleep(ctx, &world, what, *duration);
        }
        Op::Wait(what) => ctx.wait(waited_for(ctx, what)),
        Op::Spawn(task) => spawned(ctx, &world, task),
        Op::Join(number) => join(ctx, &world, *number),
        Op::Cancel(number) => cancel(*number),
        Op::DropHandle(number) => drop(take(&world.tasks, *number)),
        Op::OnDone(number, block) => on_done(&world, *number, block),
        Op::Timeout(limit, body) => time_limit(ctx, *limit, body),
        Op::ManyLimits(count) => many_limits(*count),
        Op::Catch { resume, body } => catch(ctx, *resume, body),
        Op::Finally { body, cleanup } => {
            // A generator that is being closed must not yield.
            let y = if ctx.by_hand { None } else { ctx.y };
            green::finally(|| run(ctx, body), || run(Ctx { y, cleanup: true, ..ctx }, cleanup));
        }
        Op::Guard { drops, body } => {
            let _guard = Guard::new(ctx, drops);
            run(ctx, body);
        }
        Op::Panic(payload) => {
            if !thread::panicking() {
                boom(*payload);
            }
        }
        Op::Scope { children, handles, body } => scope(ctx, children, *handles, body),
        Op::AsyncScope { children, body } => ctx.wait(async_scope(ctx.cleanup, children, body)),
        Op::Group { children, fails, body } => group(ctx, children, *fails, body),
        Op::Pool { size, children, cancel, join } => {
            pool(ctx, &world, *size, children, *cancel, *join);
        }
        Op::Switch(body) => ctx.wait(run_async(ctx.cleanup, body)),
        Op::Local(drops) => LOCAL.set(RefCell::new(Some(Guard::new(Ctx::green(), drops)))),
        Op::SetEvent(true) => world.event.set(),
        Op::SetEvent(false) => world.event.clear(),
        Op::TrySend(number) => try_send(&world, *number),
        Op::DropChannel(number) => drop_channel(&world, *number),
        Op::Wake { waker, how, thread } => wake(&world, *waker, *how, *thread),
        Op::Poll { what, waker, keep } => poll_by_hand(&world, what, *waker, *keep),
        Op::DropOperation(number) => drop(take(&world.operations, *number)),
        Op::NewGenerator(body) => new_generator(&world, body),
        Op::Resume { generator, follow } => resume(ctx, &world, *generator, *follow),
        Op::CloseGenerator(number) => {
            if let Some(mut generator) = take(&world.generators, *number).flatten() {
                generator.close();
            }
        }
        Op::ThrowInto(number) => {
            if let Some(mut generator) = take(&world.generators, *number).flatten()
                && !generator.is_finished()
            {
                drop(generator.throw(Box::new(Boom::new())));
            }
        }
        Op::DropGenerator(number) => drop(take(&world.generators, *number)),
        Op::Remote { era, body, cancel, join } => remote(&world, *era, body, *cancel, *join),
        Op::DropRuntime(number) => {
            let runtime = take(&world.runtimes, *number);
            world.apart(|| drop(runtime));
        }
        Op::TurnRuntime(number) => {
            if let Some(runtime) = take(&world.runtimes, *number) {
                let turned =
                    panic::catch_unwind(AssertUnwindSafe(|| world.apart(|| runtime.turn())));
                world.runtimes.borrow_mut().push(runtime);
                turned.unwrap_or_else(|payload| panic::resume_unwind(payload));
            }
        }
        Op::SpawnInRuntime(number, body) => spawn_in_runtime(&world, *number, body),
        Op::Look => look(),
        Op::NotifyCondvar(true) => world.condvar.notify_one(),
        Op::NotifyCondvar(false) => world.condvar.notify_all(),
    }
}

/// Virtual time passes while nothing is ready only, so that a sleep ends when it is due.
fn sleep(ctx: Ctx<'_>, world: &World, what: &'static What, duration: u8) {
    let end = time::now() + ms(duration);
    ctx.wait(operation(ctx, what));
    let late = time::now().saturating_duration_since(end);
    if late > ms(2) && !world.real_clock.get() {
        report::fail(format_args!("late end of a sleep: by {late:?}"));
    }
}

/// In a poll of a future: its own ways to wait, and the green way for the rest.
pub(crate) fn run_async(cleanup: bool, block: &'static [Op]) -> Pin<Box<dyn Future<Output = ()>>> {
    Box::pin(async move {
        let frame = Token::new(Kind::AsyncFrame);
        for op in block {
            step_async(cleanup, op).await;
        }
        frame.check();
    })
}

async fn step_async(cleanup: bool, op: &'static Op) {
    let Some(world) = World::here() else { return };
    let ctx = Ctx { cleanup, ..Ctx::green() };
    match op {
        Op::Yield if has_fuel(&world) => future::yield_now().await,
        Op::Wait(what) if has_fuel(&world) => waited_for(ctx, what).await,
        Op::Timeout(limit, body) if has_fuel(&world) => {
            let end = time::now() + ms(*limit);
            let result = op::timeout(ms(*limit), run_async(cleanup, body)).await;
            check_limit(result.is_ok(), end);
        }
        Op::Catch { resume, body } if has_fuel(&world) => {
            let mut inner = run_async(cleanup, body);
            let result = poll_fn(|cx| {
                let polled = panic::catch_unwind(AssertUnwindSafe(|| inner.as_mut().poll(cx)));
                match polled {
                    Ok(poll) => poll.map(Ok),
                    Err(payload) => Poll::Ready(Err(payload)),
                }
            });
            match result.await {
                Ok(()) => {}
                Err(payload) if *resume => panic::resume_unwind(payload),
                Err(payload) => dispose(payload),
            }
        }
        Op::Guard { drops, body } if has_fuel(&world) => {
            let _guard = Guard::new(ctx, drops);
            run_async(cleanup, body).await;
        }
        Op::AsyncScope { children, body } if has_fuel(&world) => {
            async_scope(cleanup, children, body).await;
        }
        Op::Group { children, fails, body } if has_fuel(&world) => {
            group_async(cleanup, children, *fails, body).await;
        }
        Op::Switch(body) if has_fuel(&world) => run(ctx, body),
        op => step(ctx, op),
    }
}

task_local! { static LOCAL: RefCell<Option<Guard<'static>>> = RefCell::new(None); }

// Tasks.

fn spawned(ctx: Ctx<'_>, world: &World, task: &'static Spawn) {
    let handle = spawn(builder(task), task);
    keep(ctx, world, handle, task.handle);
}

fn builder(task: &Spawn) -> task::Builder {
    let mut builder = task::Builder::new();
    if task.name {
        builder = builder.name("named");
    }
    match task.stack {
        Stack::OfTheRun => builder,
        Stack::Small => builder.stack_size(STACK / 2),
        Stack::TooLarge => builder.stack_size(TOO_LARGE),
    }
}

/// Frames of the interpreter are large, those of a debug build and under a sanitizer above all.
pub(crate) const STACK: usize = 2 << 20;

/// Of which the address space that a child is given has no room.
const TOO_LARGE: usize = (4 << 30) - (64 << 10);

/// What a task of each era is spawned with.
trait Spawner: Sized {
    fn green(self, body: impl FnOnce() -> Value + 'static) -> JoinHandle<Value>;
    fn generator(self, body: impl FnOnce(&Yielder<Wait>) -> Value + 'static) -> JoinHandle<Value>;
    fn future(self, body: impl Future<Output = Value> + 'static) -> JoinHandle<Value>;
}

macro_rules! spawner {
    ($type:ty) => {
        impl Spawner for $type {
            fn green(self, body: impl FnOnce() -> Value + 'static) -> JoinHandle<Value> {
                self.spawn(body)
            }

            fn generator(
                self,
                body: impl FnOnce(&Yielder<Wait>) -> Value + 'static,
            ) -> JoinHandle<Value> {
                self.spawn_generator(body)
            }

            fn future(self, body: impl Future<Output = Value> + 'static) -> JoinHandle<Value> {
                self.spawn_future(body)
            }
        }
    };
}

spawner!(task::Builder);
spawner!(Slot);

fn spawn(spawner: impl Spawner, task: &'static Spawn) -> JoinHandle<Value> {
    let token = Token::new(Kind::Captured);
    let guard = (!task.captured.is_empty()).then(|| Guard::new(Ctx::green(), &task.captured));
    let captured = (token, guard);
    match task.era {
        Era::Green => spawner.green(move || {
            let captured = captured;
            run(Ctx::green(), &task.body);
            captured.0.check();
            drop(captured); // First: a result is leaked by rustc where a destructor behind it panics.
            Value::new(&task.result)
        }),
        Era::Generator => spawner.generator(move |y| {
            let captured = captured;
            run(Ctx { y: Some(y), ..Ctx::green() }, &task.body);
            captured.0.check();
            drop(captured); // First: a result is leaked by rustc where a destructor behind it panics.
            Value::new(&task.result)
        }),
        Era::Future => spawner.future(async move {
            let captured = captured;
            run_async(false, &task.body).await;
            captured.0.check();
            drop(captured); // First: a result is leaked by rustc where a destructor behind it panics.
            Value::new(&task.result)
        }),
    }
}

fn keep(ctx: Ctx<'_>, world: &World, handle: JoinHandle<Value>, how: program::Handle) {
    match how {
        program::Handle::Keep => world::keep(&world.tasks, handle),
        program::Handle::Drop => drop(handle),
        program::Handle::Join => join_handle(ctx, world, handle),
        program::Handle::Cancel => {
            handle.cancel();
            world::keep(&world.tasks, handle);
        }
    }
}

fn join(ctx: Ctx<'_>, world: &World, number: u8) {
    if let Some(handle) = take(&world.tasks, number) {
        join_handle(ctx, world, handle);
    }
}

fn join_handle(ctx: Ctx<'_>, world: &World, mut handle: JoinHandle<Value>) {
    if !ctx.is_limited() {
        return drop(ctx.wait(handle));
    }
    match ctx.wait(op::timeout(ms(LONG), &mut handle)) {
        Ok(result) => drop(result),
        Err(_) => world::keep(&world.tasks, handle),
    }
}

pub(crate) fn cancel(number: u8) {
    let Some(world) = World::here() else { return };
    if let Some(handle) = take(&world.tasks, number) {
        handle.cancel();
        world::keep(&world.tasks, handle);
    }
}

fn on_done(world: &Rc<World>, number: u8, block: &'static Block) {
    let Some(handle) = take(&world.tasks, number) else { return };
    let token = Token::new(Kind::Callback);
    world.registered.set(world.registered.get() + 1);
    handle.on_done(move |_| {
        token.check();
        if let Some(world) = World::here() {
            world.called.set(world.called.get() + 1);
        }
        run(Ctx { cleanup: true, ..Ctx::green() }, block);
    });
    world::keep(&world.tasks, handle);
}

// Unwinding.

fn time_limit(ctx: Ctx<'_>, limit: u8, body: &'static [Op]) {
    let end = time::now() + ms(limit);
    let result = green::timeout(ms(limit), || run(ctx, body));
    check_limit(result.is_ok(), end);
}

fn check_limit(ok: bool, end: std::time::Instant) {
    if !ok && time::now() < end {
        report::fail(format_args!("early time limit: {:?} too soon", end - time::now()));
    }
}

/// Code that catches panics, and obeys: it returns, and does not wait again.
fn many_limits(count: u16) {
    for _ in 0..count {
        let end = time::now() + ms(1);
        let _ = green::timeout(ms(1), || {
            let caught = panic::catch_unwind(|| green::sleep(ms(LONG)));
            match caught {
                Ok(()) => {}
                Err(payload) if time::now() < end => panic::resume_unwind(payload),
                Err(payload) => dispose(payload),
            }
        });
    }
}

fn catch(ctx: Ctx<'_>, resume: bool, body: &'static [Op]) {
    let Err(payload) = panic::catch_unwind(AssertUnwindSafe(|| run(ctx, body))) else { return };
    // A generator that is being closed has to end.
    match resume || ctx.by_hand && is_foreign(&*payload) {
        true => panic::resume_unwind(payload),
        false => dispose(payload),
    }
}

// Several at once.

fn scope(ctx: Ctx<'_>, children: &'static [Block], handles: program::Handle, body: &'static [Op]) {
    let data = [Token::new(Kind::Borrowed), Token::new(Kind::Borrowed)];
    let inside = Ctx { cleanup: ctx.cleanup, ..Ctx::green() };
    green::scope(|s| {
        let mut kept = Vec::new();
        for (n, child) in children.iter().enumerate() {
            let (token, data) = (Token::new(Kind::Captured), &data);
            let end = move || {
                data[1].check();
                token.check();
                Value::new(&[])
            };
            let handle = match n % 3 {
                0 => s.spawn(move || {
                    data[0].check();
                    run(inside, child);
                    end()
                }),
                1 => s.spawn_generator(move |y| {
                    data[0].check();
                    run(Ctx { y: Some(y), ..inside }, child);
                    end()
                }),
                _ => s.spawn_future(async move {
                    data[0].check();
                    run_async(inside.cleanup, child).await;
                    end()
                }),
            };
            match handles {
                program::Handle::Keep => kept.push(handle),
                program::Handle::Drop => drop(handle),
                program::Handle::Join => drop(handle.join()),
                program::Handle::Cancel => {
                    handle.cancel();
                    kept.push(handle);
                }
            }
        }
        run(ctx, body);
    });
}

async fn async_scope(cleanup: bool, children: &'static [Block], body: &'static [Op]) {
    let data = [Token::new(Kind::Borrowed), Token::new(Kind::Borrowed)];
    future::scope(async |s: &future::Scope<'_>| {
        let mut kept = Vec::new();
        for child in children {
            let data = &data;
            kept.push(s.spawn_future(async move {
                data[0].check();
                run_async(cleanup, child).await;
                data[1].check();
                Token::new(Kind::Result)
            }));
        }
        run_async(cleanup, body).await;
        for child in kept {
            drop(child.await);
        }
    })
    .await;
}

fn of_group(cleanup: bool, group: &Group<Failure>, task: &'static Spawn) -> JoinHandle<Value> {
    let token = Token::new(Kind::Captured);
    let guard = (!task.captured.is_empty()).then(|| Guard::new(Ctx::green(), &task.captured));
    let captured = (token, guard);
    let ctx = Ctx { cleanup, ..Ctx::green() };
    let result = move || match task.name {
        true => Err(Failure(Token::new(Kind::Payload))),
        false => Ok(Value::new(&task.result)),
    };
    match task.era {
        Era::Green => group.spawn(move || {
            let captured = captured;
            run(ctx, &task.body);
            drop(captured);
            result()
        }),
        Era::Generator => group.spawn_generator(move |y| {
            let captured = captured;
            run(Ctx { y: Some(y), ..ctx }, &task.body);
            drop(captured);
            result()
        }),
        Era::Future => group.spawn_future(async move {
            let captured = captured;
            run_async(cleanup, &task.body).await;
            drop(captured);
            result()
        }),
    }
}

fn outcome(fails: bool) -> Result<Token, Failure> {
    match fails {
        true => Err(Failure(Token::new(Kind::Payload))),
        false => Ok(Token::new(Kind::Result)),
    }
}

fn group(ctx: Ctx<'_>, children: &'static [Spawn], fails: bool, body: &'static [Op]) {
    let result = Group::<Failure>::run(|group| {
        let mut kept = Vec::new();
        for child in children {
            kept.push(of_group(ctx.cleanup, group, child));
        }
        run(ctx, body);
        drop(kept);
        outcome(fails)
    });
    drop(result.map_err(|failures| failures.into_errors().count()));
}

async fn group_async(cleanup: bool, children: &'static [Spawn], fails: bool, body: &'static [Op]) {
    let result = Group::<Failure>::running(async |group: &Group<Failure>| {
        let mut kept = Vec::new();
        for child in children {
            kept.push(of_group(cleanup, group, child));
        }
        run_async(cleanup, body).await;
        drop(kept);
        outcome(fails)
    });
    drop(result.await.map_err(|failures| failures.into_errors().count()));
}

fn pool(
    ctx: Ctx<'_>,
    world: &World,
    size: u8,
    children: &'static [Spawn],
    cancel: bool,
    join: bool,
) {
    let pool = Pool::new(size.into());
    for child in children {
        let reserving = pool.reserving();
        let slot = match ctx.is_limited() {
            false => Some(ctx.wait(reserving)),
            true => ctx.wait(op::timeout(ms(LONG), reserving)).ok(),
        };
        if let Some(slot) = slot {
            keep(ctx, world, spawn(slot, child), child.handle);
        }
    }
    if cancel {
        pool.cancel();
    }
    if join {
        match ctx.is_limited() {
            true => drop(ctx.wait(op::timeout(ms(LONG), pool.joining()))),
            false => ctx.wait(pool.joining()),
        }
    }
}

// What is shared.

fn try_send(world: &World, number: u8) {
    let sender = world.channels[number as usize % 2].borrow().0.clone();
    if let Some(sender) = sender {
        drop(sender.try_send(Token::new(Kind::Message)));
    }
}

fn drop_channel(world: &World, number: u8) {
    let ends = &world.channels[number as usize % 2];
    match number / 2 % 2 {
        0 => {
            let end = ends.borrow_mut().0.take();
            drop(end);
        }
        _ => {
            let end = ends.borrow_mut().1.take();
            drop(end);
        }
    }
}

fn wake(world: &World, number: u8, how: program::Wake, elsewhere: bool) {
    let Some(waker) = take_waker(number) else { return };
    let act = move || match how {
        program::Wake::ByRef => {
            waker.wake_by_ref();
            world::keep_waker(waker);
        }
        program::Wake::ByValue => waker.wake(),
        program::Wake::Drop => drop(waker),
        program::Wake::Clone => {
            world::keep_waker(waker.clone());
            world::keep_waker(waker);
        }
    };
    match elsewhere {
        false => act(),
        true => {
            world.threaded.set(true);
            let thread = thread::spawn(move || {
                quietly(act);
            });
            world.threads.borrow_mut().push(thread);
        }
    }
}

fn remote(world: &World, era: Era, body: &'static [Op], cancel: bool, join: bool) {
    world.threaded.set(true);
    let handle = wouldblock::Spawner::current();
    let token = Token::new(Kind::Captured);
    let act = move || {
        let spawned = match era {
            Era::Green => drop_code(handle.spawn(move || {
                run(Ctx::green(), body);
                token.check();
                Token::new(Kind::Result)
            })),
            Era::Generator => drop_code(handle.spawn_generator(move |y: &Yielder<Wait>| {
                run(Ctx { y: Some(y), ..Ctx::green() }, body);
                token.check();
                Token::new(Kind::Result)
            })),
            Era::Future => drop_code(handle.spawn_future(move || async move {
                run_async(false, body).await;
                token.check();
                Token::new(Kind::Result)
            })),
        };
        if let Some(task) = spawned {
            if cancel {
                task.cancel();
            }
            if join {
                drop(task.join());
            }
        }
        drop(handle);
    };
    let thread = thread::spawn(move || {
        quietly(act);
    });
    world.threads.borrow_mut().push(thread);
}

fn drop_code<T, F>(
    result: Result<wouldblock::RemoteJoinHandle<T>, wouldblock::RunEnded<F>>,
) -> Option<wouldblock::RemoteJoinHandle<T>> {
    result.ok()
}

fn spawn_in_runtime(world: &World, number: u8, body: &'static [Op]) {
    let Some(runtime) = take(&world.runtimes, number) else { return };
    let (handle, token) = (runtime.spawner(), Token::new(Kind::Captured));
    world.runtimes.borrow_mut().push(runtime);
    let task = handle.spawn(move || {
        run(Ctx::green(), body);
        token.check();
        Token::new(Kind::Result)
    });
    drop(task);
}

fn look() {
    let text = format!("{} {:?} {:?}", wouldblock::tasks(), wouldblock::stats(), task::current());
    drop(text);
}

// Generators.

fn new_generator(world: &World, body: &'static [Op]) {
    let token = Token::new(Kind::Generator);
    let generator = Generator::with_stack_size(STACK / 2, move |y: &Yielder<Wait>| {
        run(Ctx { y: Some(y), by_hand: true, cleanup: true, dropping: false }, body);
        token.check();
        Value::new(&[])
    });
    world::keep(&world.generators, Some(generator));
}

fn resume(ctx: Ctx<'_>, world: &World, number: u8, follow: bool) {
    let Some(mut generator) = take(&world.generators, number).flatten() else { return };
    if generator.is_finished() {
        return;
    }
    match generator.resume() {
        GeneratorState::Complete(value) => drop(value),
        GeneratorState::Yielded(wait) => {
            world::keep(&world.generators, Some(generator));
            if follow {
                let _ = ctx.wait(op::timeout(ms(LONG), wait));
            }
        }
    }
}

// Operations.

fn poll_by_hand(world: &World, what: &'static What, waker: program::Waker, keep: bool) {
    let waker = OwnWaker::make(waker, None);
    let mut operation = operation(Ctx::green(), what);
    let polled = operation.as_mut().poll(&mut Context::from_waker(&waker));
    if polled.is_pending() && keep {
        world::keep(&world.operations, operation);
    }
}

/// What is waited for: in cleanup never for ever, wherever the program's making smaller has put it.
fn waited_for<'a>(ctx: Ctx<'a>, what: &'static What) -> Pin<Box<dyn Future<Output = ()> + 'a>> {
    let whole = operation(ctx, what);
    match ctx.cleanup && what.is_endless() {
        true => Box::pin(async {
            let _ = op::timeout(ms(LONG), whole).await;
        }),
        false => whole,
    }
}

fn operation<'a>(ctx: Ctx<'a>, what: &'static What) -> Pin<Box<dyn Future<Output = ()> + 'a>> {
    let Some(world) = World::here() else { return Box::pin(async {}) };
    let token = Token::new(Kind::Operation);
    match what {
        What::Ready => Box::pin(async move { token.check() }),
        What::Never { keep } => Box::pin(poll_fn(move |cx| {
            token.check();
            if *keep {
                world::keep_waker(cx.waker().clone());
            }
            Poll::Pending
        })),
        What::Stuck { root } => {
            /// A wait that is unwound (a generator may not yield there) does not last for ever.
            struct Stuck(bool);
            impl Stuck {
                fn begins(&self) {
                    report::shared().any_is_stuck.store(true, Relaxed);
                    if self.0 {
                        report::shared().root_is_stuck.store(true, Relaxed);
                    }
                }
            }
            impl Drop for Stuck {
                fn drop(&mut self) {
                    if self.0 {
                        report::shared().root_is_stuck.store(false, Relaxed);
                    }
                }
            }
            // By a method, so that the closure has the whole of it, and not a copy of its field.
            let stuck = Stuck(*root);
            Box::pin(poll_fn(move |_| {
                token.check();
                world.stuck.set(true);
                stuck.begins();
                Poll::Pending
            }))
        }
        What::Sleep(duration) => {
            let (end, sleep) = (time::now() + ms(*duration), time::sleeping(ms(*duration)));
            Box::pin(async move {
                sleep.await;
                token.check();
                if time::now() < end {
                    report::fail(format_args!("early end of a sleep"));
                }
            })
        }
        What::Turn => Box::pin(future::yield_now()),
        What::Receive(number) => {
            let receiver = world.channels[*number as usize % 2].borrow().1.clone();
            Box::pin(async move {
                if let Some(receiver) = receiver {
                    drop(receiver.receiving().await);
                }
                token.check();
            })
        }
        What::Send(number) => {
            let sender = world.channels[*number as usize % 2].borrow().0.clone();
            Box::pin(async move {
                if let Some(sender) = sender {
                    drop(sender.sending(Token::new(Kind::Message)).await);
                }
                token.check();
            })
        }
        What::Lock(number, hold) => {
            let mutex = world.mutexes[*number as usize % 2].clone();
            Box::pin(async move {
                let guard = mutex.locking().await;
                guard.check();
                if *hold > 0 {
                    time::sleeping(ms(*hold)).await;
                }
                guard.check();
                token.check();
            })
        }
        What::Permit(hold) => {
            let semaphore = world.semaphore.clone();
            Box::pin(async move {
                let _permit = semaphore.acquiring().await;
                time::sleeping(ms(*hold)).await;
                token.check();
            })
        }
        What::Event => {
            let event = world.event.clone();
            Box::pin(async move {
                event.waiting().await;
                token.check();
            })
        }
        What::Task(number) => {
            let handle = take(&world.tasks, *number);
            Box::pin(async move {
                if let Some(handle) = handle {
                    drop(handle.await);
                }
                token.check();
            })
        }
        What::Gather(count) => {
            let gathered = gather(several(&world, *count));
            Box::pin(async move {
                drop(gathered.await);
                token.check();
            })
        }
        What::Race(count) => {
            let tasks = several(&world, *count);
            if tasks.is_empty() {
                return Box::pin(async {});
            }
            let raced = race(tasks);
            Box::pin(async move {
                drop(raced.await);
                token.check();
            })
        }
        What::Completed(count) => {
            let mut all = as_completed(several(&world, *count));
            Box::pin(async move {
                while let Some(result) = all.next_result().await {
                    drop(result);
                }
                token.check();
            })
        }
        What::Condvar => {
            let (mutex, condvar) = (world.mutexes[0].clone(), world.condvar.clone());
            Box::pin(async move {
                let guard = mutex.locking().await;
                let guard = condvar.waiting(guard).await;
                guard.check();
                token.check();
            })
        }
        What::Barrier => {
            let barrier = world.barrier.clone();
            Box::pin(async move {
                barrier.waiting().await;
                token.check();
            })
        }
        What::Offload { panics } => {
            world.threaded.set(true);
            let work = offload(move || {
                token.check();
                if *panics {
                    panic::panic_any(Boom::new());
                }
                Token::new(Kind::Result)
            });
            Box::pin(async move { drop(work.await) })
        }
        What::Read(number) => {
            let socket = socket(&world, *number);
            Box::pin(async move {
                let Some(socket) = socket else { return };
                while matches!(socket.try_read(&mut [0; 4]), Err(e) if would_block(&e)) {
                    if socket.readable().await.is_err() {
                        break;
                    }
                }
                token.check();
            })
        }
        What::Write(number) => {
            let socket = socket(&world, *number);
            Box::pin(async move {
                let Some(socket) = socket else { return };
                while matches!(socket.try_write(&[7; 3]), Err(e) if would_block(&e)) {
                    if socket.writable().await.is_err() {
                        break;
                    }
                }
                token.check();
            })
        }
        What::Select(a, b) => {
            let (a, b) = (operation(ctx, a), operation(ctx, b));
            Box::pin(async move {
                match select(a, b).await {
                    Either::First(()) | Either::Second(()) => token.check(),
                }
            })
        }
        What::Limit(limit, what) => {
            let (end, inner) = (time::now() + ms(*limit), operation(ctx, what));
            Box::pin(async move {
                let result = op::timeout(ms(*limit), inner).await;
                check_limit(result.is_ok(), end);
                token.check();
            })
        }
        What::First(kind, parts) => {
            let mut parts: Vec<_> = parts.iter().map(|part| operation(ctx, part)).collect();
            Box::pin(poll_fn(move |cx| {
                token.check();
                for part in &mut parts {
                    let waker = OwnWaker::make(*kind, Some(cx.waker().clone()));
                    if part.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                        return Poll::Ready(());
                    }
                }
                Poll::Pending
            }))
        }
        What::InPoll { pend, wakes, body } => {
            let polls = Cell::new(0);
            Box::pin(poll_fn(move |cx| {
                token.check();
                if polls.replace(polls.get() + 1) > 0 {
                    return Poll::Ready(());
                }
                run(ctx, body);
                if *wakes {
                    cx.waker().wake_by_ref();
                }
                if *pend { Poll::Pending } else { Poll::Ready(()) }
            }))
        }
        What::Lends(body) => Box::pin(poll_fn(move |cx| {
            lend(ctx, &world, cx.waker(), body);
            token.check();
            Poll::Ready(())
        })),
    }
}

/// Runs `body` while another thread borrows `waker`, by which it wakes when `body` has ended, or the program.
fn lend(ctx: Ctx<'_>, world: &World, waker: &Waker, body: &'static [Op]) {
    struct Opens(Arc<Gate>);
    impl Drop for Opens {
        fn drop(&mut self) {
            self.0.open();
        }
    }
    let gate = Arc::new(Gate::default());
    world.gates.borrow_mut().push(gate.clone());
    thread::scope(|s| {
        let there = gate.clone();
        s.spawn(move || {
            there.pass();
            quietly(|| waker.wake_by_ref());
            there.leave();
        });
        let _opens = Opens(gate);
        run(ctx, body);
    });
}

fn several(world: &World, count: u8) -> Vec<JoinHandle<Value>> {
    (0..count).filter_map(|_| take(&world.tasks, u8::MAX)).collect()
}

fn socket(world: &World, number: u8) -> Option<Rc<UnixStream>> {
    if world.sockets.borrow().is_empty() {
        let (a, b) = UnixStream::pair().ok()?;
        world.sockets.borrow_mut().extend([Rc::new(a), Rc::new(b)]);
    }
    let sockets = world.sockets.borrow();
    sockets.get(number as usize % 2).cloned()
}

fn would_block(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::WouldBlock
}
