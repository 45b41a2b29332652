use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::*;

thread_local! {
    static FAILING_SYNCS: Cell<u32> = const { Cell::new(0) };
}

/// Makes fsync of this thread's segments fail as often as [`FAILING_SYNCS`] says.
pub(super) fn fail_here() -> io::Result<()> {
    let left = FAILING_SYNCS.get();
    FAILING_SYNCS.set(left.saturating_sub(1));
    if left > 0 { Err(io::Error::from_raw_os_error(nix::libc::EIO)) } else { Ok(()) }
}

fn options(dir: &Path) -> Options {
    Options { min_free: 0, ..Options::new(dir.join("spool")) }
}

/// A batch that does not compress: its size on the disk is its size.
fn batch(number: u64, size: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(number);
    let mut bytes: Vec<u8> = (0..size).map(|_| random.u8(..)).collect();
    let line = format!(r#"{{"sigtrail":"seal/v1","header":"v\nbatch {number}\n"}}"#);
    bytes.push(b'\n');
    bytes.extend_from_slice(line.as_bytes());
    bytes.push(b'\n');
    bytes
}

/// Appends where nothing has to go for it.
fn put(spool: &mut Spool, number: u64, size: usize) {
    assert_eq!(spool.append(number, &batch(number, size)).unwrap(), Appended::default());
}

/// Everything a reader sees: batches, and gaps as their range.
fn read(dir: &Path, after: Option<u64>) -> (Vec<u64>, Vec<(u64, u64)>) {
    let mut reader = Reader::open(&dir.join("spool"), after);
    let (mut batches, mut gaps) = (Vec::new(), Vec::new());
    loop {
        match reader.next().unwrap() {
            Next::Batch(found) => {
                let size = found.bytes.len() - batch(found.number, 0).len();
                assert_eq!(found.bytes, batch(found.number, size), "batch {} changed", found.number);
                batches.push(found.number);
            }
            Next::Gap { from, to } => gaps.push((from, to)),
            Next::Nothing => return (batches, gaps),
        }
    }
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    segment::list(&dir.join("spool")).unwrap().into_iter().map(|(_, path)| path).collect()
}

#[test]
fn what_was_appended_is_read_also_after_a_new_start() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let (mut spool, recovery) = Spool::open(options(dir.path())).unwrap();
    assert!(recovery.last.is_none());
    let mut live = spool.reader(None);
    assert_eq!(live.next().unwrap(), Next::Nothing);
    for number in 0..10 {
        put(&mut spool, number, 100);
        assert!(matches!(live.next().unwrap(), Next::Batch(found) if found.number == number));
        assert_eq!(live.next().unwrap(), Next::Nothing);
    }
    assert!(matches!(spool.append(9, b"x"), Err(SpoolError::Order { batch: 9, last: 9 })));
    drop(spool);
    let (mut spool, recovery) = Spool::open(options(dir.path())).unwrap();
    assert_eq!(recovery.last.unwrap().bytes, batch(9, 100));
    assert_eq!((recovery.cut, recovery.quarantined.len(), recovery.damaged.len()), (0, 0, 0));
    put(&mut spool, 10, 0);
    assert!(matches!(live.next().unwrap(), Next::Batch(found) if found.number == 10));
    assert_eq!(read(dir.path(), None), ((0..=10).collect(), vec![]));
    assert_eq!(read(dir.path(), Some(6)), ((7..=10).collect(), vec![]));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir.path().join("spool")), 0o700);
    assert!(segments(dir.path()).iter().all(|path| mode(path) == 0o600));
}

#[test]
fn a_tail_torn_at_any_byte_is_cut_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (mut spool, _) = Spool::open(options(dir.path())).unwrap();
    put(&mut spool, 0, 50);
    put(&mut spool, 1, 50);
    let whole = spool.used() - spool.ballast;
    put(&mut spool, 2, 50);
    drop(spool);
    let path = segments(dir.path()).remove(0);
    let bytes = fs::read(&path).unwrap();
    for end in whole as usize..bytes.len() {
        fs::write(&path, &bytes[..end]).unwrap();
        let (mut spool, recovery) = Spool::open(options(dir.path())).unwrap();
        assert_eq!(recovery.last.unwrap().number, 1, "cut at {end}");
        assert_eq!(recovery.cut, end as u64 - whole);
        for kept in recovery.quarantined {
            assert_eq!(fs::read(&kept).unwrap(), &bytes[whole as usize..end]);
        }
        put(&mut spool, 2, 60);
        assert_eq!(read(dir.path(), None), (vec![0, 1, 2], vec![]), "cut at {end}");
        for extra in &segments(dir.path())[1..] {
            fs::remove_file(extra).unwrap();
        }
    }
}

#[test]
fn damage_in_the_middle_costs_one_batch_and_no_start() {
    let dir = tempfile::tempdir().unwrap();
    let (mut spool, _) = Spool::open(options(dir.path())).unwrap();
    for number in 0..3 {
        put(&mut spool, number, 40);
    }
    drop(spool);
    let path = segments(dir.path()).remove(0);
    let bytes = fs::read(&path).unwrap();
    let one = bytes.len() / 3;
    for at in one..2 * one {
        let mut bad = bytes.clone();
        bad[at] ^= 0x41;
        fs::write(&path, &bad).unwrap();
        let (_, recovery) = Spool::open(options(dir.path())).unwrap();
        assert_eq!(recovery.last.unwrap().number, 2, "byte {at}");
        assert_eq!(recovery.damaged, std::slice::from_ref(&path), "byte {at}");
        assert_eq!(read(dir.path(), None), (vec![0, 2], vec![(1, 1)]), "byte {at}");
    }
}

#[test]
fn a_repair_moves_what_is_damaged_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let (mut spool, _) = Spool::open(options(dir.path())).unwrap();
    let mut ends = vec![0];
    for number in 0..6 {
        put(&mut spool, number, 100);
        ends.push((spool.used() - spool.ballast) as usize);
    }
    drop(spool);
    let (path, options) = (segments(dir.path()).remove(0), options(dir.path()));
    let good = fs::read(&path).unwrap();
    assert_eq!(damage(&options.dir).unwrap(), []);

    // in the payload of 1 and the head of 2, and a torn end
    let mut bytes = good[..ends[6] - 1].to_vec();
    bytes[ends[2] - 1] ^= 1;
    bytes[ends[2]] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let found = damage(&options.dir).unwrap();
    let ranges: Vec<_> = found.iter().map(|one| one.bytes.start as usize..one.bytes.end as usize).collect();
    assert_eq!(ranges, [ends[1]..ends[3], ends[5]..bytes.len()]);
    let kept = repair(&options, &found).unwrap();
    let kept: Vec<_> = kept.iter().map(|path| fs::read(path).unwrap()).collect();
    assert_eq!(kept, [&bytes[ends[1]..ends[3]], &bytes[ends[5]..]]);
    let rest = [&good[..ends[1]], &good[ends[3]..ends[5]]].concat();
    assert_eq!(fs::read(&path).unwrap(), rest);
    assert_eq!((damage(&options.dir).unwrap(), read(dir.path(), None)), (vec![], (vec![0, 3, 4], vec![(1, 2)])));

    // nothing of it is whole
    fs::write(&path, &good[1..50]).unwrap();
    let kept = repair(&options, &damage(&options.dir).unwrap()).unwrap();
    assert_eq!(fs::read(&kept[0]).unwrap(), &good[1..50]);
    assert_eq!(segments(dir.path()), Vec::<PathBuf>::new());
}

#[test]
fn what_is_there_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let (mut spool, _) =
        Spool::open(Options { segment_bytes: 2000, max_bytes: 12_000, ..options(dir.path()) }).unwrap();
    let evicted = (0..12).flat_map(|number| spool.append(number, &batch(number, 1100)).unwrap().evicted).last();
    let at = spool.options.dir.clone();
    Cursor::new(&at, "http").unwrap().store(9).unwrap();
    fs::write(at.join("cursors/file"), "nonsense").unwrap();
    fs::write(at.join("quarantine/seg.tail"), "torn").unwrap();
    let contents = Contents::of(&at, ["later"].into_iter()).unwrap();
    let oldest = contents.segments[0].first;
    let ranges: Vec<_> = contents.segments.iter().map(|one| (one.first, one.last.unwrap())).collect();
    assert!(ranges.windows(2).all(|two| two[0].1 + 1 == two[1].0) && ranges.last().unwrap().1 == 11, "{ranges:?}");
    assert_eq!(evicted.map(|gone| gone.to + 1), Some(oldest));
    assert!(!contents.seals.is_empty(), "{contents:?}");
    let sinks: Vec<_> = contents.sinks.iter().map(|one| (&*one.name, one.delivered, one.behind)).collect();
    assert_eq!(sinks, [("file", None, 12 - oldest), ("http", Some(9), 2), ("later", None, 12 - oldest)]);
    assert_eq!((contents.quarantine.len(), contents.quarantine[0].bytes), (1, 4));
}

#[test]
fn files_that_are_no_segments_do_not_stop_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let (mut spool, _) = Spool::open(options(dir.path())).unwrap();
    put(&mut spool, 5, 10);
    drop(spool);
    let at = |name: &str| dir.path().join("spool").join(name);
    fs::write(at(&segment::name(6)), b"no record at all").unwrap();
    fs::write(at(&segment::name(7)), b"").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", at(&segment::name(8))).unwrap();
    fs::create_dir(at(&segment::name(9))).unwrap();
    let (mut spool, recovery) = Spool::open(options(dir.path())).unwrap();
    assert_eq!(recovery.last.unwrap().number, 5);
    assert_eq!(recovery.quarantined.len(), 3);
    put(&mut spool, 6, 10);
    assert_eq!(read(dir.path(), None), (vec![5, 6], vec![]));
    assert!(fs::read("/etc/passwd").unwrap().starts_with(b"root"));
}

#[test]
fn the_quota_drops_the_oldest_and_says_which() {
    let dir = tempfile::tempdir().unwrap();
    let small = Options { max_bytes: 400_000, ..options(dir.path()) };
    let (mut spool, _) = Spool::open(small.clone()).unwrap();
    let mut evicted = Vec::new();
    for number in 0..100 {
        evicted.extend(spool.append(number, &batch(number, 10_000)).unwrap().evicted);
        assert!(spool.used() <= 400_000);
    }
    let oldest = evicted.last().unwrap().to + 1;
    assert_eq!(evicted[0].from, 0);
    assert!(evicted.windows(2).all(|pair| pair[0].to + 1 == pair[1].from), "{evicted:?}");
    assert_eq!(read(dir.path(), Some(3)), ((oldest..100).collect(), vec![(4, oldest - 1)]));
    // What every sink has is no loss.
    spool.release(99).unwrap();
    assert_eq!(segments(dir.path()).len(), 1);
    let (mut stop, _) = Spool::open(Options { when_full: WhenFull::Stop, ..small }).unwrap();
    let refused = (100..200).find_map(|number| stop.append(number, &batch(number, 10_000)).err());
    assert!(matches!(refused, Some(SpoolError::Full { .. })));
    let had = read(dir.path(), None).0;
    assert!(had.windows(2).all(|pair| pair[0] + 1 == pair[1]) && had.len() > 20);
}

#[test]
fn the_last_batch_is_never_dropped_for_a_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let (mut spool, _) = Spool::open(options(dir.path())).unwrap();
    put(&mut spool, 0, 30_000);
    drop(spool);
    let (mut spool, _) = Spool::open(Options { max_bytes: 35_000, ..options(dir.path()) }).unwrap();
    assert!(matches!(spool.append(1, &batch(1, 10_000)), Err(SpoolError::Full { .. })));
    assert_eq!(read(dir.path(), None), (vec![0], vec![]));
}

#[test]
fn a_failed_fsync_moves_the_batch_to_a_new_segment() {
    for sync in [Sync::Seal, Sync::Interval(Duration::ZERO)] {
        let dir = tempfile::tempdir().unwrap();
        let (mut spool, _) = Spool::open(Options { sync, ..options(dir.path()) }).unwrap();
        let mut live = spool.reader(None);
        for number in 0..6u32 {
            FAILING_SYNCS.set(number % 2);
            put(&mut spool, u64::from(number), 30);
            assert!(matches!(live.next().unwrap(), Next::Batch(found) if found.number == u64::from(number)));
        }
        assert_eq!(segments(dir.path()).len(), 4, "a file is left behind after each failure");
        FAILING_SYNCS.set(2);
        assert!(matches!(spool.append(6, &batch(6, 30)), Err(SpoolError::Sync { .. })));
        assert_eq!(spool.last(), Some(5));
        put(&mut spool, 6, 30);
        assert!(matches!(live.next().unwrap(), Next::Batch(found) if found.number == 6));
        assert_eq!(read(dir.path(), None), ((0..=6).collect(), vec![]));
    }
}

#[test]
fn what_was_not_yet_synced_is_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let sync = Sync::Interval(Duration::from_hours(1));
    let (mut spool, _) = Spool::open(Options { sync, ..options(dir.path()) }).unwrap();
    for number in 0..4 {
        put(&mut spool, number, 30);
    }
    // A reader that has the file open goes over to the one that is written in its place.
    let mut live = spool.reader(Some(2));
    assert!(matches!(live.next().unwrap(), Next::Batch(found) if found.number == 3));
    FAILING_SYNCS.set(2);
    assert!(matches!(spool.sync(), Err(SpoolError::Sync { .. })));
    assert_eq!(read(dir.path(), None), (vec![], vec![]));
    put(&mut spool, 4, 30);
    spool.sync().unwrap();
    assert!(matches!(live.next().unwrap(), Next::Batch(found) if found.number == 4));
    assert_eq!(read(dir.path(), None), ((0..=4).collect(), vec![]));
}

#[test]
fn what_is_no_file_does_not_stop_the_eviction() {
    let dir = tempfile::tempdir().unwrap();
    let (mut spool, _) = Spool::open(options(dir.path())).unwrap();
    put(&mut spool, 5, 100);
    drop(spool);
    fs::create_dir(dir.path().join("spool").join(segment::name(1))).unwrap();
    let (mut spool, _) = Spool::open(Options { max_bytes: 60_000, ..options(dir.path()) }).unwrap();
    let evicted: Vec<Evicted> =
        (6..20).flat_map(|number| spool.append(number, &batch(number, 6000)).unwrap().evicted).collect();
    assert_eq!(evicted[0].from, 1);
    assert!(evicted.last().unwrap().to > 6);
}

#[derive(Clone, Debug)]
enum Op {
    Append(usize),
    Reopen,
    Release(u64),
    FailSync(u32),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (0..4000usize).prop_map(Op::Append),
        1 => Just(Op::Reopen),
        1 => (0..60u64).prop_map(Op::Release),
        1 => (1..3u32).prop_map(Op::FailSync),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// The model: what was acknowledged and neither evicted nor released is read, in order; all the rest is a gap.
    #[test]
    fn the_spool_keeps_what_it_promised(ops in prop::collection::vec(op(), 1..80)) {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { max_bytes: 40_000, ..options(dir.path()) };
        let (mut spool, _) = Spool::open(options.clone()).unwrap();
        let mut model: BTreeMap<u64, bool> = BTreeMap::new(); // batch -> may be gone
        let mut number = 0;
        FAILING_SYNCS.set(0);
        for op in ops {
            match op {
                Op::Append(size) => match spool.append(number, &batch(number, size)) {
                    Ok(done) => {
                        for range in done.evicted {
                            model.range_mut(range.from..=range.to).for_each(|(_, gone)| *gone = true);
                        }
                        model.insert(number, false);
                        number += 1;
                    }
                    Err(error) => {
                        prop_assert!(matches!(error, SpoolError::Sync { .. }), "{error}");
                        // Dropped already; the next append that succeeds says so.
                        for range in spool.untold.waiting() {
                            model.range_mut(range.from..=range.to).for_each(|(_, gone)| *gone = true);
                        }
                    }
                },
                Op::Reopen => {
                    drop(spool);
                    let (again, recovery) = Spool::open(options.clone()).unwrap();
                    prop_assert_eq!(recovery.last.map(|batch| batch.number), model.keys().next_back().copied());
                    prop_assert_eq!(recovery.cut, 0);
                    spool = again;
                }
                Op::Release(past) => {
                    spool.release(past).unwrap();
                    model.range_mut(..=past).for_each(|(_, gone)| *gone = true);
                }
                Op::FailSync(times) => FAILING_SYNCS.set(times),
            }
            let (have, gaps) = read(dir.path(), None);
            let must = model.iter().filter(|(_, gone)| !**gone).map(|(number, _)| *number);
            prop_assert!(must.clone().all(|number| have.contains(&number)), "{have:?} {model:?}");
            prop_assert!(have.iter().all(|number| model.contains_key(number)));
            prop_assert!(gaps.is_empty());
            prop_assert!(spool.used() <= options.max_bytes);
        }
    }
}
