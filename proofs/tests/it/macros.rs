//! `futures::select!`, which the crate's own tests do without: its macros take long to build.

use std::pin::pin;

use futures::FutureExt;
use wouldblock::green;
use wouldblock::time::sleeping;

use crate::util::*;

#[test]
fn select_macro_takes_turns_between_two_sources() {
    let results = virtually(|| {
        in_each_era(|| async {
            let (tx, rx) = async_channel::unbounded();
            let producer = green::spawn(move || {
                for n in 0..3 {
                    green::sleep(10 * MS);
                    tx.try_send(n).unwrap();
                }
            });
            let mut end = pin!(sleeping(25 * MS).fuse());
            let mut got = Vec::new();
            loop {
                let mut receive = pin!(rx.recv().fuse());
                futures::select! {
                    item = receive => got.push(item.unwrap()),
                    () = end => break,
                }
            }
            drop(producer);
            got
        })
    });
    assert_eq!(results, [[0, 1]; 3].map(Vec::from));
}
