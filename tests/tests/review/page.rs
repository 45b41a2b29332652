//! The page of `report --html`, in Chromium.

use std::{fs, io::Read as _, path::Path, process::Command};

use tests::host::{run, sigtrail};

const SCRIPT: &str = "<script>document.title='owned'</script><img src=x onerror=alert(1)>";

#[test]
fn a_browser_draws_the_page() {
    let dir = tempfile::tempdir().unwrap();
    let lines = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("review/web-1.lines")).unwrap();
    // a file whose name would be markup
    let hostile = lines.replace("upload/stolen", &format!("upload/{SCRIPT}"));
    assert!(hostile.len() > lines.len());
    let (log, page) = (dir.path().join("log.ndjson"), dir.path().join("page.html"));
    fs::write(&log, hostile).unwrap();
    let ran = run(Command::new(sigtrail()).args(["report", "--html"]).args([&page, &log]));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let html = fs::read_to_string(&page).unwrap();
    assert!(html.len() < 1 << 20 && !html.contains("<script") && !html.contains("<img"), "{} bytes", html.len());

    // the DOM is what the browser has made of it, after scripts would have run
    let dom = chromium(dir.path(), &["--dump-dom"], &page);
    assert!(dom.contains("<h1>") && !dom.contains("<title>owned") && !dom.contains("<img"), "{dom}");
    for text in ["Processes: who started whom", "secret.env", "root-by-setuid", "&lt;script&gt;document.title", "alice"]
    {
        assert!(dom.contains(text), "{text}: {dom}");
    }

    let picture = dir.path().join("page.png");
    chromium(dir.path(), &["--window-size=1200,1600", &format!("--screenshot={}", picture.display())], &page);
    let png = fs::read(&picture).unwrap();
    assert_eq!(size(&png), (1200, 1600));
    let drawn = drawn(&png);
    assert!(drawn > 0.01, "the picture is blank: {drawn}");
    let blank = dir.path().join("blank.html");
    fs::write(&blank, "<!DOCTYPE html><title>blank</title>").unwrap();
    chromium(dir.path(), &["--window-size=1200,1600", &format!("--screenshot={}", picture.display())], &blank);
    let nothing = self::drawn(&fs::read(&picture).unwrap());
    assert!(nothing < 0.001, "so a blank one is seen: {nothing}");

    let paper = dir.path().join("page.pdf");
    chromium(dir.path(), &["--no-pdf-header-footer", &format!("--print-to-pdf={}", paper.display())], &page);
    let pdf = fs::read(&paper).unwrap();
    assert!(pdf.starts_with(b"%PDF-") && pdf.len() > 20_000, "{} bytes", pdf.len());
}

/// Chromium's standard output. It has no network, and its profile is in the directory.
fn chromium(dir: &Path, options: &[&str], page: &Path) -> String {
    let mut command = Command::new("chromium");
    command.args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]);
    command.args(["--proxy-server=127.0.0.1:9", "--no-first-run", "--disable-background-networking"]);
    command.arg(format!("--user-data-dir={}", dir.join("profile").display())).env("HOME", dir);
    let ran = run(command.args(options).arg(format!("file://{}", page.display())));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    ran.out
}

/// Width and height in the head of a PNG.
fn size(png: &[u8]) -> (u32, u32) {
    assert!(png.starts_with(b"\x89PNG\r\n\x1a\n"));
    let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
    (number(16), number(20))
}

/// Which part of the bytes of a PNG differs from what is beside or above it: of one colour, hardly any.
fn drawn(png: &[u8]) -> f64 {
    let (mut data, mut at) = (Vec::new(), 8);
    while at + 8 <= png.len() {
        let length = u32::from_be_bytes(png[at..at + 4].try_into().unwrap()) as usize;
        if &png[at + 4..at + 8] == b"IDAT" {
            data.extend_from_slice(&png[at + 8..at + 8 + length]);
        }
        at += length + 12;
    }
    let mut rows = Vec::new();
    flate2::read::ZlibDecoder::new(&data[..]).read_to_end(&mut rows).unwrap();
    // the rows are told as differences, so a change is a byte that is not 0; the first row is told as it is
    let changes = rows.iter().skip(rows.len() / 1600).filter(|byte| **byte != 0).count();
    changes as f64 / rows.len() as f64
}
