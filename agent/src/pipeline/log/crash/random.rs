//! Random work, random faults, power cuts at random moments, also while the log recovers from one.

use std::env;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;

use super::*;
use crate::disk::simulated::Fault;

/// How many cases; otherwise 20,000, or a million with `cargo xtask test --long`.
const CASES: &str = "SIGTRAIL_CRASH_CASES";
/// The one case to run.
const SEED: &str = "SIGTRAIL_CRASH_SEED";
/// Most steps of a case.
const LENGTH: usize = 14;

#[test]
fn what_was_promised_survives_random_crashes() {
    run(told(CASES).unwrap_or(20_000));
}

#[test]
#[ignore = "an hour"]
fn what_was_promised_survives_a_million_random_crashes() {
    run(told(CASES).unwrap_or(1_000_000));
}

fn told(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|text| text.parse().unwrap())
}

/// Runs so many cases on all CPUs. Of one that fails the least number of steps is looked for that does.
fn run(cases: u64) {
    let (begin, cases) = told(SEED).map_or_else(|| (fastrand::u64(..), cases), |seed| (seed, 1));
    let (next, failed) = (AtomicU64::new(0), AtomicU64::new(u64::MAX));
    let work = || {
        let mut sum = Counts::default();
        loop {
            let number = next.fetch_add(1, Relaxed);
            if number >= cases || failed.load(Relaxed) != u64::MAX {
                return sum;
            }
            match catch_unwind(|| case(begin.wrapping_add(number), LENGTH)) {
                Ok(counts) => sum = sum.plus(counts),
                Err(_) => {
                    failed.fetch_min(number, Relaxed);
                }
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let sum = thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).fold(Counts::default(), Counts::plus)
    });
    let failed = failed.into_inner();
    if failed < cases {
        let seed = begin.wrapping_add(failed);
        let least = (0..=LENGTH).find(|length| catch_unwind(|| case(seed, *length)).is_err());
        panic!("case {failed}: {least:?} steps of seed {seed} are enough; run it with {SEED}={seed}");
    }
    eprintln!("{cases} cases from seed {begin}: {sum:?}");
    if cases > 1000 {
        let Counts { batches, starts, cuts, adopted, errors, evicted, refused, gaps } = sum;
        assert!(batches > 3 * cases && starts > 2 * cases && cuts > cases, "too little was done: {sum:?}");
        assert!(adopted.min(errors).min(evicted).min(refused).min(gaps) > 0, "something was never done: {sum:?}");
    }
}

/// One case: `length` steps, then a power cut, and to the end.
fn case(seed: u64, length: usize) -> Counts {
    let random = &mut fastrand::Rng::with_seed(seed);
    let options =
        options(random.choice([1, 3000, 1 << 20]).unwrap(), random.choice([8_000, 16_000, 40_000, 1 << 20]).unwrap());
    let mut world = match random.u8(..16) {
        0 => {
            let mut world = World::new(Disk::empty(), Model::default(), options);
            world.disk.cut_at(random.u64(1..40));
            while survive(|| world.enrol()).is_none() {
                world.power_cut(random);
            }
            world
        }
        1..4 => {
            let mut options = saving(options);
            options.spool.max_bytes = NEARLY_FULL;
            World::copied(&SAVING, options)
        }
        _ => World::enrolled(options),
    };
    if world.log.is_none() {
        world.start();
    }
    let length = length.min(random.usize(2..=LENGTH));
    for _ in 0..length {
        if survive(|| world.step(random)).is_none() {
            if random.u8(..4) == 0 {
                // only killed there: what is not durable yet is still there
                world.disk.heal();
            } else {
                world.power_cut(random);
            }
            world.start_again(random);
        }
    }
    if survive(|| world.log = None).is_some() {
        world.power_cut(random);
    }
    world.finish(random);
    world.model.counts
}

impl World {
    fn step(&mut self, random: &mut fastrand::Rng) {
        let steps = self.disk.steps();
        match random.u8(..24) {
            0..9 => {
                let most = random.choice([10, 300, 3000]).unwrap();
                let text = random.usize(..most);
                self.batch(text, random);
            }
            9..14 => {
                let (at, most) = (random.usize(..2), random.usize(1..4));
                self.deliver(at, most);
                if random.bool() {
                    self.release();
                }
            }
            14 => self.turn(),
            15 => {
                // killed: what is not durable yet is still there
                self.log = None;
                self.start_again(random);
            }
            16..21 => self.disk.cut_at(steps + random.u64(1..16)),
            _ => {
                let fault = random.choice([Fault::Io, Fault::Io, Fault::Full, Fault::Short]).unwrap();
                let from = steps + random.u64(1..10);
                self.disk.fail(fault, from, from + random.choice([0, 0, 1, 8]).unwrap());
            }
        }
    }

    /// Starts, perhaps over power cuts on the way.
    fn start_again(&mut self, random: &mut fastrand::Rng) {
        if random.u8(..3) == 0 {
            self.disk.cut_at(self.disk.steps() + random.u64(1..8));
        }
        while survive(|| self.start()).is_none() {
            self.power_cut(random);
        }
    }

    fn power_cut(&mut self, random: &mut fastrand::Rng) {
        self.log = None;
        self.model.counts.cuts += 1;
        let way = random.u8(..4);
        self.disk.power_cut(|_, _| match (way, random.u8(..3)) {
            (0, _) | (2.., 0) => Fate::Lost,
            (1, _) | (2.., 1) => Fate::Kept,
            (2.., _) => Fate::Torn(random.u64(..)),
        });
    }
}

impl Counts {
    fn plus(self, other: Self) -> Self {
        Self {
            batches: self.batches + other.batches,
            starts: self.starts + other.starts,
            cuts: self.cuts + other.cuts,
            adopted: self.adopted + other.adopted,
            errors: self.errors + other.errors,
            evicted: self.evicted + other.evicted,
            refused: self.refused + other.refused,
            gaps: self.gaps + other.gaps,
        }
    }
}
