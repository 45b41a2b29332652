//! What these tests found, each as a short story of its own; and an outage of three days.

use std::collections::BTreeSet;

use super::*;
use crate::disk::simulated::Fault;

fn world(segment_bytes: u64, max_bytes: u64, batches: usize) -> (World, fastrand::Rng) {
    let mut random = fastrand::Rng::with_seed(1);
    let mut world = World::enrolled(options(segment_bytes, max_bytes));
    world.start();
    for _ in 0..batches {
        world.batch(100, &mut random);
    }
    (world, random)
}

impl World {
    fn lose_power(&mut self, fate: impl FnMut(usize, bool) -> Fate) {
        self.log = None;
        self.disk.power_cut(fate);
    }
}

/// Removed names were not made durable: of two segments the older one could come back alone.
#[test]
fn deleted_segments_do_not_come_back_with_a_hole() {
    for odd in [0, 1] {
        let (mut world, mut random) = world(1, 1 << 20, 6);
        (0..2).for_each(|at| world.deliver(at, usize::MAX));
        world.release();
        world.lose_power(|at, _| if at % 2 == odd { Fate::Lost } else { Fate::Kept });
        world.finish(&mut random);
    }
}

/// Nobody made the name of the spool itself durable: an enrolled log could begin with a state and no batch.
#[test]
fn a_new_spool_outlives_a_power_cut() {
    let mut world = World::new(Disk::empty(), Model::default(), options(1 << 20, 1 << 20));
    world.enrol();
    world.lose_power(|_, _| Fate::Lost);
    assert!(world.disk.files(&format!("{ROOT}/state/spool")).iter().any(|(name, _)| name.contains("/seg-")));
    world.finish(&mut fastrand::Rng::with_seed(1));
}

/// What was dropped from a full spool was only in memory until the next header: a power cut made a loss that nobody told.
#[test]
fn what_was_dropped_is_told_after_a_power_cut_too() {
    let (mut world, mut random) = world(1, 8_000, 0);
    while world.log.as_ref().unwrap().gaps.is_empty() {
        world.batch(1000, &mut random);
    }
    let before = world.log.as_ref().unwrap().gaps.clone();
    world.lose_power(|_, _| Fate::Lost);
    world.start();
    assert_eq!(world.log.as_ref().unwrap().gaps, before);
    world.batch(10, &mut random);
    assert!(world.model.told.contains(&(before[0].from, before[0].to)), "{:?}", world.model.told);
    world.finish(&mut random);
}

/// A process was killed between the write and the fsync of a batch. The next one took it for durable.
#[test]
fn a_batch_without_its_fsync_is_made_durable_before_the_chain_goes_on() {
    let (mut world, mut random) = world(1 << 20, 1 << 20, 2);
    world.disk.cut_at(world.disk.steps() + 2);
    assert!(survive(|| world.batch(100, &mut random)).is_none());
    assert_eq!(world.disk.last_step(), "fsync");
    // killed, and the power stays on
    world.disk.heal();
    let before = world.model.counts.adopted;
    world.start();
    assert_eq!(world.model.counts.adopted, before + 1);
    world.lose_power(|_, _| Fate::Lost);
    world.finish(&mut random);
}

/// A process was killed while it wrote the state of the chain. The next one read it from memory, and overwrote the other
/// slot, the only one that was durable.
#[test]
fn a_state_that_is_only_in_memory_is_made_durable_before_the_other_slot_is_used() {
    for killed in 1..5 {
        for cut in 1..8 {
            let (mut world, mut random) = world(1 << 20, 1 << 20, 2);
            world.disk.cut_at(world.disk.steps() + killed);
            assert!(survive(|| world.batch(100, &mut random)).is_none());
            world.disk.heal();
            world.start();
            world.disk.cut_at(world.disk.steps() + cut);
            survive(|| world.batch(100, &mut random));
            world.lose_power(|_, is_write| if is_write { Fate::Torn(0b0101_0101) } else { Fate::Lost });
            world.finish(&mut random);
        }
    }
}

/// A process was killed before the new name of a cursor was durable. The next one removed segments by it, and after a power
/// cut the old cursor was there, and the log told of batches that a sink did not get, which it had.
#[test]
fn a_cursor_is_durable_before_segments_are_removed_by_it() {
    let (mut world, mut random) = world(1, 1 << 20, 6);
    world.deliver(0, usize::MAX);
    world.deliver(1, 2);
    // create, write, fsync, rename, fsync of the directory: without the last
    world.disk.cut_at(world.disk.steps() + 5);
    assert!(survive(|| world.deliver(1, usize::MAX)).is_none());
    assert_eq!(world.disk.last_step(), "fsync of a directory");
    world.disk.heal();
    world.start();
    world.release();
    world.lose_power(|at, _| if at == 0 { Fate::Lost } else { Fate::Kept });
    world.finish(&mut random);
    assert_eq!(world.model.counts.gaps, 0);
}

/// The next host key was used before its name was durable, if who made it was killed before, or told of an error: a power
/// cut lost the only key with which the log goes on.
#[test]
fn the_next_host_key_is_durable_before_it_signs() {
    for step in 1..8 {
        let (mut world, mut random) = world(1 << 20, 1 << 20, 1);
        let from = world.disk.steps() + step;
        world.disk.fail(Fault::Io, from, from);
        world.turn();
        world.disk.heal();
        world.batch(10, &mut random);
        world.lose_power(|_, _| Fate::Lost);
        world.finish(&mut random);
    }
}

/// A segment whose fsync failed, and that could then not be removed, was put into quarantine with a batch in it whose
/// number was signed again after a crash.
#[test]
fn a_failed_segment_does_not_keep_a_second_signature() {
    for batches in 0..16 {
        for cut in 6..14 {
            let (mut world, mut random) = world(1, 1 << 20, batches);
            let steps = world.disk.steps();
            world.disk.fail(Fault::Io, steps + 4, steps + 5);
            world.disk.cut_at(steps + cut);
            if survive(|| world.batch(100, &mut random)).is_none() {
                world.lose_power(|_, _| Fate::Lost);
            }
            world.finish(&mut random);
        }
    }
}

/// No sink is there for 72 hours, with a batch each five minutes, a full spool and a power cut each twelve hours. What is
/// kept is the quota, what went is the oldest, each batch of it is told, and its seal is there.
#[test]
fn an_outage_of_three_days_costs_the_oldest_and_tells_each() {
    const FIVE_MINUTES: u64 = 300_000_000_000;
    let quota = 12 << 20;
    let (mut world, mut random) = world(512 << 10, quota, 9);
    (0..2).for_each(|at| world.deliver(at, usize::MAX));
    world.release();
    for number in 0..72 * 12 {
        world.model.clock += FIVE_MINUTES;
        world.batch(40_000, &mut random);
        world.release();
        assert!(world.log.as_ref().unwrap().spool.used() <= quota);
        if number % 144 == 143 {
            world.lose_power(|_, _| if random.bool() { Fate::Lost } else { Fate::Kept });
            world.start();
        }
    }
    let used = world.log.as_ref().unwrap().spool.used();
    assert!(used > quota - (1 << 20), "{used} bytes are kept");
    world.finish(&mut random);

    let Model { announced, told, sinks, .. } = &world.model;
    let last = *announced.keys().next_back().unwrap();
    let gone: BTreeSet<u64> = told.iter().flat_map(|(from, to)| *from..=*to).collect();
    let oldest_kept = gone.last().unwrap() + 1;
    assert_eq!(gone, (10..oldest_kept).collect(), "the oldest that no sink has, each of them");
    for sink in sinks {
        let had: Vec<u64> = sink.got.keys().copied().collect();
        assert_eq!(had, (0..10).chain(oldest_kept..=last).collect::<Vec<_>>());
    }
    let mut sealed = BTreeSet::new();
    for (_, frame) in
        world.disk.files(&format!("{ROOT}/state/spool")).iter().filter(|(name, _)| name.ends_with(".seals.zst"))
    {
        let lines = zstd::decode_all(&**frame).unwrap();
        let numbers = lines.split(|byte| *byte == b'\n').filter_map(|line| SealedBatch::parse(line).ok());
        sealed.extend(numbers.map(|seal| seal.header.batch));
    }
    assert!(gone.is_subset(&sealed), "a seal is missing");
    eprintln!("{} batches, {} dropped, {used} of {quota} bytes kept before", last + 1, gone.len());
    assert!(gone.len() > 100 && oldest_kept < last - 100, "{gone:?}");
}

/// The same three days with `drop_newest`: what was there when the spool was full is there at the end, no batch is missing,
/// and each says how many events it lacks. Then there is room again.
#[test]
fn an_outage_of_three_days_costs_the_newest_and_counts_each() {
    let quota = 12 << 20;
    let mut random = fastrand::Rng::with_seed(1);
    let mut world = World::enrolled(saving(options(512 << 10, quota)));
    world.start();
    for number in 0..72 * 12 {
        world.model.clock += 300_000_000_000;
        world.batch(40_000, &mut random);
        assert!(world.log.as_ref().unwrap().spool.used() <= quota);
        if number % 144 == 143 {
            world.lose_power(|_, _| if random.bool() { Fate::Lost } else { Fate::Kept });
            world.start();
        }
    }
    let Counts { batches, refused, .. } = world.model.counts;
    assert!(refused > 300 && batches - refused > 300, "{refused} of {batches} were refused");
    let before = world.model.refused.range(..300).map(|(_, lost)| lost).sum::<u64>();
    assert_eq!(before, 0, "refused while there was room");
    world.finish(&mut random);
    for sink in &world.model.sinks {
        assert!(sink.got.keys().copied().eq(0..world.model.counts.batches), "a sink lacks a batch");
    }
    world.batch(40_000, &mut random);
    assert_eq!(world.model.counts.refused, refused + 1, "there is room, and `finish` began without");
    eprintln!("{batches} batches, {refused} events refused");
}
