//! The same work on many things, on several threads, with the results in the order of the things.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;

/// How many results may wait for one that takes longer.
const AHEAD: usize = 1024;

/// As many threads as this machine has cores for us.
pub(super) fn cores() -> NonZero<usize> {
    thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN)
}

/// Does `work` on each item with so many threads, and gives the results to `take` in the order of the items. The first
/// error of `take` ends it.
pub(super) fn in_order<T: Sync, R: Send, E>(
    items: &[T],
    jobs: NonZero<usize>,
    work: impl Fn(&T) -> R + Sync,
    mut take: impl FnMut(R) -> Result<(), E>,
) -> Result<(), E> {
    let work = &work;
    thread::scope(|scope| {
        let (give, given) = mpsc::channel::<usize>();
        let (tell, told) = mpsc::channel();
        let given = Arc::new(Mutex::new(given));
        for _ in 0..jobs.get().min(items.len()) {
            let (given, tell) = (given.clone(), tell.clone());
            scope.spawn(move || {
                loop {
                    let next = given.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Some((at, item)) = next.ok().and_then(|at| Some((at, items.get(at)?))) else { return };
                    let done = panic::catch_unwind(AssertUnwindSafe(|| work(item)));
                    if tell.send((at, done)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(tell);
        let mut next = 0..items.len();
        for at in next.by_ref().take(AHEAD) {
            give.send(at).unwrap_or_else(|_| nobody());
        }
        let mut early = BTreeMap::new();
        for at in 0..items.len() {
            let done = loop {
                if let Some(done) = early.remove(&at) {
                    break done;
                }
                let (other, done) = told.recv().unwrap_or_else(|_| nobody());
                early.insert(other, done);
            };
            if let Some(more) = next.next() {
                give.send(more).unwrap_or_else(|_| nobody());
            }
            take(done.unwrap_or_else(|panicked| panic::resume_unwind(panicked)))?;
        }
        Ok(())
    })
}

/// A bug: results of a part must never look like those of all.
fn nobody<T>() -> T {
    panic!("no thread is left to do the work")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(items: usize, jobs: usize, most: usize) -> (Vec<usize>, Result<(), usize>) {
        let items: Vec<usize> = (0..items).collect();
        let mut taken = Vec::new();
        let ended = in_order(
            &items,
            NonZero::new(jobs).unwrap(),
            |item| {
                // the first of each pair is done after the second
                (0..if item % 2 == 0 { 20_000 } else { 0 }).for_each(|n| {
                    std::hint::black_box(n);
                });
                *item
            },
            |item| {
                taken.push(item);
                if taken.len() == most { Err(item) } else { Ok(()) }
            },
        );
        (taken, ended)
    }

    #[test]
    fn results_come_in_the_order_of_the_items() {
        for (items, jobs) in [(0, 1), (1, 4), (7, 1), (100, 3), (AHEAD * 2 + 5, 2)] {
            assert_eq!(run(items, jobs, usize::MAX), ((0..items).collect(), Ok(())), "{items} items, {jobs} jobs");
        }
    }

    #[test]
    fn an_error_ends_it() {
        assert_eq!(run(AHEAD * 2, 3, 10), ((0..10).collect(), Err(9)));
    }

    #[test]
    #[should_panic(expected = "the third")]
    fn a_panic_of_the_work_is_one_of_the_caller() {
        let work = |item: &u8| assert!(*item != 3, "the third");
        in_order(&[1, 2, 3, 4], NonZero::new(2).unwrap(), work, |()| Ok::<_, ()>(())).unwrap();
    }
}
