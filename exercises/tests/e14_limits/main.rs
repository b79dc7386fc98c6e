//! The tests of 14 limits.

mod exercise;
mod given;

use std::time::Duration;

use exercise::{all_or_none, first_of};
use given::{Error, Mirror, World};
use kit::{check, lesson, picture};
use wouldblock::testing::explore;
use wouldblock::{green, stats};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn t01_the_first_wins() {
    check(
        "b has the file after 1 s, a after 9 s, c after 5 s: it is b's, and nothing goes on",
        || {
            within_a_world(|world| {
                let mirrors =
                    vec![world.mirror("a", 9), world.mirror("b", 1), world.mirror("c", 5)];
                let file = first_of(mirrors, 60 * SECOND);
                let took = world.ms();
                assert!(
                    took < 9000,
                    "b needs 1 s, and it took {took} ms: b was not asked until a had ended; a task for each, all at once"
                );
                assert_eq!(file, Ok(b"the file from b".to_vec()), "the first file to come is b's");
                let open = world.open.borrow().clone();
                assert!(
                    open.is_empty(),
                    "mirror {} still reads, {} ms after the beginning, and b has won: the others are to be cancelled, and to \
                 have ended",
                    open[0],
                    world.ms()
                );
                expect_goodbyes(world);
                // 100 to connect, 1000 to read, 10 for b's goodbye, and 10 for the others'.
                expect_ms(world, 1120);
            });
        },
    );
}

#[test]
fn t02_a_failure_may_be_first() {
    check("b finds after 1 s that it does not have the file, and is the first to end", || {
        within_a_world(|world| {
            let file = first_of(vec![world.mirror("a", 9), world.without("b", 1)], 60 * SECOND);
            assert_eq!(
                file,
                Err(Error::NotFound("b")),
                "what the first to end gives, a failure too"
            );
            expect_goodbyes(world);
        });
    });
}

#[test]
fn t03_one_limit_for_all() {
    check("three mirrors of 3 s each, and a limit of 2 s: it is too late after 2 s", || {
        within_a_world(|world| {
            let mirrors = ["a", "b", "c"].map(|name| world.mirror(name, 3));
            let file = first_of(mirrors.to_vec(), 2 * SECOND);
            let ms = world.ms();
            assert!(
                ms <= 2050,
                "it took {ms} ms, and the limit was 2000 ms: one limit, outside, around all of it"
            );
            assert_eq!(file, Err(Error::TooLate), "no file has come within the limit");
            // They may still be saying goodbye.
            green::sleep(SECOND / 10);
            expect_none_left(world);
            expect_goodbyes(world);
        });
    });
}

#[test]
fn t04_a_limit_before_any_connection() {
    check("the limit passes while all connect: there is none to say goodbye to", || {
        within_a_world(|world| {
            let file = first_of(vec![world.mirror("a", 1), world.mirror("b", 1)], SECOND / 20);
            assert_eq!(file, Err(Error::TooLate));
            green::sleep(SECOND);
            let lines = world.log.lines();
            assert!(lines.is_empty(), "it has gone on after its limit: {lines:?}");
        });
    });
}

#[test]
fn t05_all_of_them() {
    check(
        "a, b and c take 3, 1 and 2 s: their files come in the order of the mirrors, after 3 s",
        || {
            within_a_world(|world| {
                let mirrors =
                    vec![world.mirror("a", 3), world.mirror("b", 1), world.mirror("c", 2)];
                let files = all_or_none(mirrors, 60 * SECOND).expect("all have the file");
                let wanted =
                    ["a", "b", "c"].map(|name| format!("the file from {name}").into_bytes());
                assert_eq!(files, wanted, "the files come in the order of the mirrors");
                let ms = world.ms();
                assert!(
                    ms < 6000,
                    "it took {ms} ms, and 3110 suffice: one after the other? Start all, and then wait for each"
                );
                expect_goodbyes(world);
                expect_ms(world, 3110);
            });
        },
    );
}

#[test]
fn t06_or_none() {
    check(
        "b fails after 1 s, while a and c read for 9 s: the error comes, and nothing goes on",
        || {
            within_a_world(|world| {
                let mirrors =
                    vec![world.mirror("a", 9), world.without("b", 1), world.mirror("c", 9)];
                let files = all_or_none(mirrors, 60 * SECOND);
                assert_eq!(files, Err(Error::NotFound("b")), "the first error is b's");
                let ms = world.ms();
                assert!(
                    ms < 2000,
                    "b failed after 1110 ms; it was to return then, and took {ms} ms"
                );
                expect_none_left(world);
                expect_goodbyes(world);
                expect_ms(world, 1120);
            });
        },
    );
}

#[test]
fn t07_a_limit_on_all() {
    check("c takes 9 s, and the limit is 2 s: too late, and nothing goes on", || {
        within_a_world(|world| {
            let mirrors = vec![world.mirror("a", 1), world.mirror("c", 9)];
            let files = all_or_none(mirrors, 2 * SECOND);
            assert_eq!(files, Err(Error::TooLate));
            assert!(world.ms() <= 2050, "it took {} ms, and the limit was 2000 ms", world.ms());
            green::sleep(SECOND / 10);
            expect_none_left(world);
            expect_goodbyes(world);
        });
    });
}

#[test]
fn t08_in_fifty_orders() {
    check("the same in 50 orders of turns", || {
        explore(50, || {
            let world = World::new();
            let alive = stats().alive;
            let file = first_of(vec![world.mirror("a", 3), world.mirror("b", 1)], 60 * SECOND);
            assert_eq!(file, Ok(b"the file from b".to_vec()));
            let mirrors = || -> Vec<Mirror> {
                vec![world.mirror("a", 3), world.without("b", 1), world.mirror("c", 1)]
            };
            assert_eq!(all_or_none(mirrors(), 60 * SECOND), Err(Error::NotFound("b")));
            assert_eq!(all_or_none(mirrors(), SECOND / 2), Err(Error::TooLate));
            green::sleep(SECOND / 10);
            expect_none_left(&world);
            expect_goodbyes(&world);
            assert_eq!(stats().alive, alive, "tasks are left behind");
        });
    });
}

/// Runs a test on the virtual clock; as many tasks live after it as before.
#[track_caller]
fn within_a_world(test: impl FnOnce(&std::rc::Rc<World>) + 'static) {
    lesson(move || {
        let world = World::new();
        picture(world.log.clone());
        let alive = stats().alive;
        test(&world);
        let left = stats().alive - alive;
        assert!(left == 0, "{left} tasks are left behind");
    });
}

#[track_caller]
fn expect_none_left(world: &World) {
    let open = world.open.borrow();
    assert!(open.is_empty(), "mirror {} still reads, and its file is not wanted any more", open[0]);
}

#[track_caller]
fn expect_goodbyes(world: &World) {
    let rude = world.rude.borrow();
    assert!(
        rude.is_empty(),
        "the connection to mirror {} ended without a goodbye: it is to be said however the reading ends: well, with an \
         error, or cancelled",
        rude[0]
    );
}

#[track_caller]
fn expect_ms(world: &World, wanted: u128) {
    let ms = world.ms();
    assert!(ms == wanted, "it took {ms} ms of virtual time, and {wanted} suffice");
}
