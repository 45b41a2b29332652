//! Short stories in which the power is cut, or the disk fails, at every single operation.

use super::*;
use crate::disk::simulated::Fault;

/// A story: what is there before, and what happens then.
struct Story {
    name: &'static str,
    before: fn() -> World,
    act: fn(&mut World, &mut fastrand::Rng),
}

const STORIES: [Story; 4] = [
    Story { name: "enrol", before: nothing, act: |world, _| world.enrol() },
    Story { name: "seal, begin a segment, acknowledge, delete", before: || some_batches(1, 1 << 20), act: go_round },
    Story { name: "seal into a segment with others", before: || some_batches(1 << 20, 1 << 20), act: go_round },
    Story { name: "turn the host key", before: || some_batches(3000, 1 << 20), act: turn },
];

fn nothing() -> World {
    World::new(Disk::empty(), Model::default(), options(3000, 1 << 20))
}

fn some_batches(segment_bytes: u64, max_bytes: u64) -> World {
    let mut world = World::enrolled(options(segment_bytes, max_bytes));
    let random = &mut fastrand::Rng::with_seed(1);
    world.start();
    for _ in 0..3 {
        world.batch(100, random);
    }
    world.log = None;
    world
}

fn go_round(world: &mut World, random: &mut fastrand::Rng) {
    world.start();
    world.batch(700, random);
    for at in 0..2 {
        world.deliver(at, 3);
    }
    world.release();
    world.batch(100, random);
}

fn turn(world: &mut World, random: &mut fastrand::Rng) {
    world.start();
    world.turn();
    world.batch(10, random);
    world.batch(10, random);
}

/// Runs a story on a copy of its disk, changed by `change` just before; whether it came to its end.
fn told(story: &Story, before: &World, change: impl FnOnce(&Disk)) -> (World, bool) {
    let mut world = World::new(before.disk.copy(), before.model.clone(), before.options.clone());
    change(&world.disk);
    let ended = survive(|| (story.act)(&mut world, &mut fastrand::Rng::with_seed(2))).is_some();
    (world, ended)
}

/// All that can become of so many pending changes, if they are three or fewer: otherwise all in which three at most are lost,
/// or three at most are kept.
fn fates(pending: usize) -> Vec<Vec<Fate>> {
    let each = [Fate::Lost, Fate::Kept, Fate::Torn(0), Fate::Torn(0x5555_5555_5555_5555)];
    if pending <= 3 {
        let grow = |all: Vec<Vec<Fate>>, _| {
            all.iter().flat_map(|begun| each.map(|fate| [&begun[..], &[fate]].concat())).collect()
        };
        return (0..pending).fold(vec![Vec::new()], grow);
    }
    let mut all = Vec::new();
    for (most, few) in [(Fate::Kept, Fate::Lost), (Fate::Lost, Fate::Kept)] {
        for chosen in 0..pending * pending * pending {
            let three = [chosen % pending, chosen / pending % pending, chosen / pending / pending];
            if three.is_sorted() {
                all.push((0..pending).map(|at| if three.contains(&at) { few } else { most }).collect());
            }
        }
        all.push(vec![most; pending]);
    }
    all
}

#[test]
fn a_power_cut_at_any_operation_loses_nothing_that_was_promised() {
    let (mut points, mut states, mut most) = (0, 0, 0);
    for story in &STORIES {
        let before = (story.before)();
        let begin = before.disk.steps();
        let (whole, ended) = told(story, &before, |_| ());
        assert!(ended, "{}", story.name);
        for step in begin + 1..=whole.disk.steps() {
            let (cut, ended) = told(story, &before, |disk| disk.cut_at(step));
            assert!(!ended, "{}: step {step}", story.name);
            let pending = cut.disk.pending();
            for fates in fates(pending) {
                let mut world = World::new(cut.disk.copy(), cut.model.clone(), cut.options.clone());
                world.disk.power_cut(|at, _| fates[at]);
                let place = || format!("{}: {} ({}), {fates:?}", story.name, cut.disk.last_step(), step - begin);
                let end = catch_unwind(AssertUnwindSafe(|| {
                    if world.model.announced.is_empty() {
                        world.enrol();
                    }
                    world.finish(&mut fastrand::Rng::with_seed(3));
                }));
                assert!(end.is_ok(), "{}", place());
                states += 1;
            }
            points += 1;
            most = most.max(pending);
        }
    }
    eprintln!("{points} points, {states} states of the disk, at most {most} changes pending");
    assert!(points > 100 && states > 500, "{points} points, {states} states");
}

#[test]
fn a_fault_of_any_operation_is_survived_and_acknowledges_nothing_falsely() {
    let (mut points, mut errors) = (0, 0);
    for story in &STORIES {
        let before = (story.before)();
        let begin = before.disk.steps();
        let whole = told(story, &before, |_| ()).0;
        for step in begin + 1..=whole.disk.steps() {
            for fault in [Fault::Io, Fault::Full, Fault::Short] {
                for last in [step, step + 1, step + 7] {
                    let place = format!("{}: step {}, {fault:?} for {}", story.name, step - begin, last - step + 1);
                    let end = catch_unwind(AssertUnwindSafe(|| {
                        let (mut world, ended) = told(story, &before, |disk| disk.fail(fault, step, last));
                        assert!(ended);
                        world.log = None;
                        world.disk.power_cut(|_, _| Fate::Lost);
                        world.finish(&mut fastrand::Rng::with_seed(3));
                        world.model.counts.errors
                    }));
                    errors += end.unwrap_or_else(|_| panic!("{place}"));
                    points += 1;
                }
            }
        }
    }
    eprintln!("{points} faults, {errors} errors reported");
    assert!(points > 900 && errors > 300, "{points} faults, {errors} errors");
}
