//! The file sink: rotation, torn tails, what logrotate does.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use sigtrail::sealed::Batch;
use sigtrail::sink::{FileConfig, FileSink, Outcome};

use crate::{Host, batch, batches, files, text, unpack};

fn sealed(numbers: impl IntoIterator<Item = u64>) -> Vec<Batch> {
    numbers.into_iter().map(|number| Batch { number, bytes: batch(number).into(), frame: Bytes::new() }).collect()
}

async fn write(sink: &mut FileSink, numbers: impl IntoIterator<Item = u64>) -> Option<String> {
    match sink.send(&sealed(numbers)).await {
        Outcome::Delivered { note, .. } => note,
        other => panic!("{other:?}"),
    }
}

/// The files that a person sees.
fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| !name.starts_with('.'));
    names.sort_unstable();
    names
}

#[tokio::test]
async fn files_are_rotated_at_batches_and_compressed() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    let host = Host::new();
    let rotate_bytes = batch(0).len() as u64 * 3;
    let config = FileConfig { rotate_bytes, group: Some("adm".to_owned()), ..files(&host) };
    let mut sink = FileSink::new("file".to_owned(), config.clone());
    for number in 0..8 {
        write(&mut sink, [number]).await;
        sink.tidied().await.unwrap();
    }
    let dir = host.path("log");
    let rotated = [
        "audit-00000000000000000000-00000000000000000002.ndjson.zst",
        "audit-00000000000000000003-00000000000000000005.ndjson.zst",
    ];
    assert_eq!(names(&dir), [rotated[0], rotated[1], "audit.ndjson"]);
    let all: Vec<u8> = names(&dir).iter().flat_map(|name| unpack(&dir.join(name))).collect();
    assert_eq!(text(&all), text(&batches(0..8)));
    for name in names(&dir) {
        let about = fs::metadata(dir.join(&name)).unwrap();
        assert_eq!((about.permissions().mode() & 0o7777, about.gid()), (0o640, 4), "{name}");
    }
    assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o027, 0);
    // A limit removes the oldest, and files of others stay.
    fs::write(dir.join("notes.txt"), "mine").unwrap();
    let mut sink = FileSink::new("file".to_owned(), FileConfig { keep_files: Some(1), ..config });
    write(&mut sink, [8]).await;
    sink.tidied().await.unwrap();
    let kept = rotated[0].replace(".ndjson", ".seals");
    assert_eq!(names(&dir), [kept.as_str(), rotated[1], "audit.ndjson", "notes.txt"]);
    assert_eq!(text(&unpack(&dir.join(&kept))), text(&seals(0..3)));
    // What is kept is not written again, and a number that comes again gets a name of its own.
    let mut sink =
        FileSink::new("file".to_owned(), FileConfig { keep_files: Some(0), compress: false, ..files(&host) });
    write(&mut sink, [9]).await;
    sink.tidied().await.unwrap();
    let seconds = rotated[1].replace(".ndjson.zst", ".seals");
    assert_eq!(names(&dir), [kept.as_str(), &seconds, "audit.ndjson", "notes.txt"]);
    assert_eq!(text(&unpack(&dir.join(&seconds))), text(&seals(3..6)));
}

/// Sets a limit, of files of so many bytes.
type Limit = fn(&mut FileConfig, u64);

/// Three rotated files of which one limit takes the oldest, or two.
#[tokio::test]
async fn each_limit_takes_the_oldest_and_keeps_its_seals() {
    let days = |days: u64| Duration::from_hours(24 * days);
    let size = batches(0..2).len() as u64;
    let table: [(&str, usize, Limit); 6] = [
        ("no limit", 3, |_, _| {}),
        ("files", 2, |config, _| config.keep_files = Some(2)),
        ("bytes", 2, |config, size| config.keep_bytes = Some(size * 3 - 1)),
        ("age", 1, |config, _| config.keep_age = Some(Duration::from_hours(24 * 15))),
        ("age, and more files", 1, |config, _| {
            (config.keep_age, config.keep_files) = (Some(Duration::from_hours(24 * 15)), Some(2));
        }),
        ("free space that is not there", 0, |config, _| config.min_free = u64::MAX),
    ];
    for (name, left, limit) in table {
        let host = Host::new();
        let dir = host.path("log");
        fs::create_dir(&dir).unwrap();
        for (number, age) in [(0, 30), (2, 20), (4, 10)] {
            let path = dir.join(format!("audit-{number:020}-{:020}.ndjson", number + 1));
            fs::write(&path, batches(number..number + 2)).unwrap();
            let file = fs::File::options().write(true).open(path).unwrap();
            file.set_modified(SystemTime::now() - days(age)).unwrap();
        }
        // compressed first, and as old as before
        for compress in [false, true] {
            let mut config = FileConfig { compress, ..files(&host) };
            let mut sink = FileSink::new("file".to_owned(), config.clone());
            if !compress || name.starts_with("age") {
                limit(&mut config, size);
                sink = FileSink::new("file".to_owned(), config);
            }
            write(&mut sink, [if compress { 7 } else { 6 }]).await;
            sink.tidied().await.unwrap();
            let there = names(&dir);
            let count = |part: &str| there.iter().filter(|name| name.contains(part)).count();
            assert_eq!((count("audit-0") - count(".seals"), count(".seals")), (left, 3 - left), "{name}: {there:?}");
        }
        let kept: Vec<u8> = names(&dir)
            .iter()
            .filter(|name| name.contains(".seals"))
            .flat_map(|name| unpack(&dir.join(name)))
            .collect();
        assert_eq!(text(&kept), text(&seals(0..2 * (3 - left as u64))), "{name}");
    }
}

/// The seal lines of the batches.
fn seals(numbers: std::ops::Range<u64>) -> Vec<u8> {
    numbers.flat_map(|number| sigtrail::sealed::seal_line(&batch(number)).to_vec()).collect()
}

/// Debian's age is the second opinion; the other way round is `tests/auditor/kept.md`.
#[tokio::test]
async fn rotated_files_are_encrypted_and_their_seals_stay() {
    let host = Host::new();
    let identity = host.path("identity");
    let age = |args: &[&str], path: &Path| {
        let done = Command::new(args[0]).args(&args[1..]).arg(path).output().expect("age is installed");
        assert!(done.status.success(), "{done:?}");
        done.stdout
    };
    age(&["age-keygen", "-o"], &identity);
    let recipient = String::from_utf8(age(&["age-keygen", "-y"], &identity)).unwrap().trim().to_owned();
    for (compress, end) in [(true, ".zst"), (false, "")] {
        let dir = host.path(if compress { "packed" } else { "plain" });
        let rotate_bytes = batch(0).len() as u64 * 3;
        let recipients = vec![recipient.clone()];
        let config = FileConfig { dir: dir.clone(), rotate_bytes, compress, recipients, ..FileConfig::default() };
        let mut sink = FileSink::new("file".to_owned(), config.clone());
        for number in 0..4 {
            assert!(matches!(sink.send(&framed([number])).await, Outcome::Delivered { .. }));
            sink.tidied().await.unwrap();
        }
        let name = format!("audit-{:020}-{:020}", 0, 2);
        let (events, kept) = (format!("{name}.ndjson{end}.age"), format!("{name}.seals{end}"));
        assert_eq!(names(&dir), [events.as_str(), &kept, "audit.ndjson"]);
        assert_eq!(text(&unpack(&dir.join(&kept))), text(&seals(0..3)));
        let plain = age(&["age", "-d", "-i", identity.to_str().unwrap()], &dir.join(&events));
        fs::write(host.path("decrypted"), plain).unwrap();
        assert_eq!(text(&unpack(&host.path("decrypted"))), text(&batches(0..3)));
        for name in names(&dir) {
            let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(dir.join(&name)).unwrap().permissions());
            assert_eq!(mode & 0o7777, 0o640, "{name}");
        }
        // what was left by a crash between the copy and the removal of the original is done again
        fs::write(dir.join(format!("{name}.ndjson")), batches(0..3)).unwrap();
        let mut sink = FileSink::new("file".to_owned(), FileConfig { keep_files: Some(0), ..config });
        write(&mut sink, [4]).await;
        sink.tidied().await.unwrap();
        assert_eq!(names(&dir), [kept.as_str(), "audit.ndjson"]);
    }
    let mut sink =
        FileSink::new("file".to_owned(), FileConfig { recipients: vec!["age1nobody".into()], ..files(&host) });
    fs::create_dir(host.path("log")).unwrap();
    fs::write(host.path("log").join("audit-a-b.ndjson"), batches(0..1)).unwrap();
    write(&mut sink, [1]).await;
    sink.tidied().await.unwrap();
    assert!(!names(&host.path("log")).iter().any(|name| name.contains(".age")), "nobody can read that");
}

/// Batches as the spool hands them over.
fn framed(numbers: impl IntoIterator<Item = u64>) -> Vec<Batch> {
    let frame = |batch: &Batch| zstd::bulk::compress(&batch.bytes, 1).unwrap();
    sealed(numbers).into_iter().map(|batch| Batch { frame: frame(&batch).into(), ..batch }).collect()
}

#[tokio::test]
async fn what_the_spool_compressed_is_not_compressed_again() {
    let host = Host::new();
    let (dir, rotate_bytes) = (host.path("log"), batch(0).len() as u64 * 3);
    let config = FileConfig { rotate_bytes, ..files(&host) };
    let mut sink = FileSink::new("file".to_owned(), config.clone());
    let name = |first: u64, last: u64| format!("audit-{first:020}-{last:020}.ndjson.zst");
    // the rotated file is compressed at once, and its frames are those of the spool
    for part in [0..2, 2..3, 3..4] {
        assert!(matches!(sink.send(&framed(part)).await, Outcome::Delivered { .. }));
        // else what the start found to do may see the file between two names, and compress it, too
        sink.tidied().await.unwrap();
    }
    assert_eq!(names(&dir), [name(0, 2), "audit.ndjson".to_owned()]);
    let frames: Vec<u8> = framed(0..3).iter().flat_map(|batch| batch.frame.to_vec()).collect();
    assert_eq!(fs::read(dir.join(name(0, 2))).unwrap(), frames);
    // a batch without a frame, or a new start: the rotated file is compressed in the background
    let mut sink = FileSink::new("file".to_owned(), config.clone());
    assert!(matches!(sink.send(&framed(4..6)).await, Outcome::Delivered { .. }));
    sink.tidied().await.unwrap();
    assert!(matches!(sink.send(&framed(6..7)).await, Outcome::Delivered { .. }));
    sink.tidied().await.unwrap();
    assert_eq!(names(&dir), [name(0, 2), name(3, 5), "audit.ndjson".to_owned()]);
    write(&mut sink, [7]).await;
    assert!(matches!(sink.send(&framed(8..9)).await, Outcome::Delivered { .. }));
    assert!(matches!(sink.send(&framed(9..10)).await, Outcome::Delivered { .. }));
    sink.tidied().await.unwrap();
    assert_eq!(names(&dir), [name(0, 2), name(3, 5), name(6, 8), "audit.ndjson".to_owned()]);
    let all: Vec<u8> = names(&dir).iter().flat_map(|name| unpack(&dir.join(name))).collect();
    assert_eq!(text(&all), text(&batches(0..10)));
    // a damaged twin does not take the place of the file
    assert!(matches!(sink.send(&framed(10..12)).await, Outcome::Delivered { .. }));
    fs::write(dir.join(".audit.ndjson.zst.tmp"), b"damage").unwrap();
    assert!(matches!(sink.send(&framed(12..13)).await, Outcome::Delivered { .. }));
    sink.tidied().await.unwrap();
    let all: Vec<u8> = names(&dir).iter().flat_map(|name| unpack(&dir.join(name))).collect();
    assert_eq!(text(&all), text(&batches(0..13)));
}

#[tokio::test]
async fn a_tail_torn_at_any_byte_is_written_again_and_nothing_twice() {
    let host = Host::new();
    let path = host.path("log").join("audit.ndjson");
    fs::create_dir(host.path("log")).unwrap();
    let (whole, torn) = (batches(0..2), batch(2));
    for end in 0..=torn.len() {
        fs::write(&path, [&whole, &torn[..end]].concat()).unwrap();
        let mut sink = FileSink::new("file".to_owned(), files(&host));
        // The cursor was moved to 0 before the crash: 1 and 2 come again.
        let note = write(&mut sink, 1..2).await;
        let left = if end == torn.len() { 3 } else { 2 };
        assert_eq!(text(&fs::read(&path).unwrap()), text(&batches(0..left)), "torn at {end}");
        assert_eq!(write(&mut sink, left..4).await, None);
        assert_eq!(text(&fs::read(&path).unwrap()), text(&batches(0..4)), "torn at {end}");
        assert_eq!(note.is_some(), end > 0 && end < torn.len(), "torn at {end}: {note:?}");
    }
}

#[tokio::test]
async fn logrotate_may_rename_and_is_seen_to_cut() {
    let host = Host::new();
    let (path, moved) = (host.path("log").join("audit.ndjson"), host.path("log").join("audit.1"));
    let mut sink = FileSink::new("file".to_owned(), files(&host));
    assert_eq!(write(&mut sink, 0..3).await, None);
    fs::rename(&path, &moved).unwrap();
    fs::write(&path, "").unwrap(); // logrotate `create`
    assert_eq!(write(&mut sink, 3..5).await, None);
    fs::remove_file(&path).unwrap();
    assert_eq!(write(&mut sink, 5..6).await, None);
    sink.reopen();
    assert_eq!(write(&mut sink, 6..8).await, None);
    assert_eq!(text(&fs::read(&moved).unwrap()), text(&batches(0..3)));
    assert_eq!(text(&fs::read(&path).unwrap()), text(&batches(5..8)));
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(0).unwrap(); // `copytruncate`
    let note = write(&mut sink, 8..9).await.unwrap();
    assert!(note.contains("copytruncate"), "{note}");
    assert_eq!(text(&fs::read(&path).unwrap()), text(&batches(8..9)));
    // A link in the place of the file is not followed.
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(&moved, &path).unwrap();
    assert!(matches!(sink.send(&sealed(9..10)).await, Outcome::Retry { .. }));
    assert_eq!(text(&fs::read(&moved).unwrap()), text(&batches(0..3)));
}
