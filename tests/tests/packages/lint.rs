//! What lintian, rpmlint and mandoc say, and that all formats have the same in them.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use tests::host::run;

use crate::{all, packages};

#[test]
fn lintian_finds_nothing() {
    let ran = run(Command::new("lintian").args(["--fail-on", "error,warning", "--allow-root"]).args(all(".deb")));
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), ""), "{}", ran.err);
}

#[test]
fn rpmlint_finds_nothing() {
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("packaging/rpm/rpmlint.toml");
    let ran = run(Command::new("rpmlint").arg("--config").arg(rules).args(all(".rpm")));
    assert!(ran.code == Some(0) && ran.out.contains(" 0 errors, 0 warnings"), "{}{}", ran.out, ran.err);
}

#[test]
fn man_pages_are_clean() {
    let pages = tempfile::tempdir().unwrap();
    for deb in all(".deb") {
        assert_eq!(run(Command::new("dpkg-deb").arg("-x").arg(&deb).arg(pages.path())).code, Some(0));
    }
    let mut found = 0;
    for section in ["man1", "man8"] {
        for page in fs::read_dir(pages.path().join("usr/share/man").join(section)).unwrap() {
            let page = page.unwrap().path();
            let ran = run(Command::new("mandoc").args(["-T", "lint", "-W", "warning"]).arg(&page));
            // clap_mangen breaks the line around an empty one before a list of values; it looks as it should
            let mut said = ran.out.lines().filter(|line| !line.contains("skipping paragraph macro: br "));
            assert_eq!(said.next(), None, "{}", ran.err);
            found += 1;
        }
    }
    // sigtrail and each of its verbs, the verifier, the receiver
    assert!(found > 20, "only {found} man pages");
}

/// The files of a listing, without those that one format has and the other not.
fn files(listing: &str) -> BTreeSet<String> {
    let own = ["/usr/share/licenses/", "/usr/share/lintian/", "/usr/share/zsh/", "/copyright", "/changelog.Debian.gz"];
    let paths = listing.lines().filter(|path| !path.ends_with('/')).map(|path| path.trim_start_matches('.').to_owned());
    paths.filter(|path| !own.iter().any(|own| path.contains(own))).collect()
}

#[test]
fn all_formats_have_the_same_files() {
    for name in ["sigtrail", "sigtrail-receive"] {
        let [deb, rpm, tar] = [("_0.", ".deb"), ("-0.", ".rpm"), ("-0.", ".tar.gz")].map(|(version, ending)| {
            let start = if ending == ".tar.gz" { "sigtrail" } else { name };
            let mut found = all(ending);
            found.retain(|path| path.file_name().unwrap().to_string_lossy().starts_with(&format!("{start}{version}")));
            found.pop().unwrap()
        });
        let deb = run(Command::new("sh").args(["-c", "dpkg-deb --fsys-tarfile \"$0\" | tar --list"]).arg(deb)).out;
        let rpm = run(Command::new("rpm").args(["-qpl", "--nosignature"]).arg(rpm)).out;
        let tar = run(Command::new("tar").args(["--list", "--file"]).arg(tar)).out;
        let below = format!("/{name}/");
        let tar: String = tar
            .lines()
            .filter_map(|path| path.split_once('/'))
            .filter_map(|(_, path)| Some(format!("/{}\n", format!("/{path}").strip_prefix(&below)?)))
            .collect();
        let deb = files(&deb);
        assert!(deb.contains(&format!("/usr/bin/{name}")), "{deb:?}");
        assert_eq!(deb, files(&rpm), "rpm");
        assert_eq!(deb, files(&tar), "tar");
    }
}

#[test]
fn check_sums_are_right() {
    let ran = run(Command::new("sha256sum").args(["--check", "--strict", "SHA256SUMS"]).current_dir(packages()));
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    let sums = fs::read_to_string(packages().join("SHA256SUMS")).unwrap();
    assert_eq!(sums.lines().count(), 5, "{sums}");
}
