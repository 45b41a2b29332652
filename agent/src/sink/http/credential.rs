//! Credentials, from files that are read when they are needed: they can be replaced at any time.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use base64ct::{Base64, Encoding as _};
use reqwest::header::HeaderValue;
use tokio::task::spawn_blocking;

use super::{HttpConfig, HttpError};

/// Largest token, and most of a name with its password.
const MOST: usize = 8192;

/// The `Authorization` of the next request.
pub(super) async fn authorization(config: &HttpConfig) -> Result<Option<HeaderValue>, HttpError> {
    let (token, pair, scheme) = (config.token_file.clone(), config.basic_file.clone(), config.preset.scheme());
    let read = move || match (token, pair) {
        (Some(path), _) => bearer(scheme, &path).map(Some),
        (None, Some(path)) => basic(&path).map(Some),
        (None, None) => Ok(None),
    };
    spawn_blocking(read).await.map_err(|error| HttpError::Client(error.to_string()))?
}

/// A bearer token (RFC 6750), by the scheme that the receiver calls it.
fn bearer(scheme: &str, path: &Path) -> Result<HeaderValue, HttpError> {
    let token = line(path)?;
    if !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(wrong(path, &format!("a token is 1 to {MOST} visible ASCII characters")));
    }
    secret(path, &format!("{scheme} {token}"))
}

/// A name and a password (RFC 7617), as `name:password`.
pub(super) fn basic(path: &Path) -> Result<HeaderValue, HttpError> {
    let pair = line(path)?;
    if !pair.contains(':') || pair.chars().any(char::is_control) {
        return Err(wrong(path, &"a name and a password are one line, `name:password`"));
    }
    secret(path, &format!("Basic {}", Base64::encode_string(pair.as_bytes())))
}

/// The one line of a file.
fn line(path: &Path) -> Result<String, HttpError> {
    let mut text = String::new();
    let file = File::open(path).map_err(|error| wrong(path, &error))?;
    file.take(MOST as u64 + 2).read_to_string(&mut text).map_err(|error| wrong(path, &error))?;
    text.truncate(text.trim_end().len());
    match text.len() {
        0 => Err(wrong(path, &"it is empty")),
        1..=MOST => Ok(text),
        _ => Err(wrong(path, &format!("it has more than {MOST} bytes"))),
    }
}

fn secret(path: &Path, text: &str) -> Result<HeaderValue, HttpError> {
    let mut value = HeaderValue::from_str(text).map_err(|error| wrong(path, &error))?;
    value.set_sensitive(true);
    Ok(value)
}

fn wrong(path: &Path, why: &dyn std::fmt::Display) -> HttpError {
    HttpError::File { path: PathBuf::from(path), why: why.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_one_line_and_is_never_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("credential");
        let long = "x".repeat(MOST + 1);
        let table: &[(&str, Option<&str>, Option<&str>)] = &[
            ("abc\n", Some("Bearer abc"), None),
            // RFC 7617, 2 and 2.1
            ("Aladdin:open sesame\n", None, Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")),
            ("test:123£", None, Some("Basic dGVzdDoxMjPCow==")),
            ("a:b:c", Some("Bearer a:b:c"), Some("Basic YTpiOmM=")),
            ("", None, None),
            ("\n", None, None),
            ("a:b\nc", None, None),
            (&long, None, None),
        ];
        for (text, token, pair) in table {
            std::fs::write(&path, text).unwrap();
            for (read, expected) in [(bearer("Bearer", &path), token), (basic(&path), pair)] {
                assert_eq!(read.as_ref().ok().map(|value| value.to_str().unwrap()), *expected, "{text:?}");
                assert!(text.trim().is_empty() || !format!("{read:?}").contains(text.trim()), "{read:?}");
            }
        }
    }
}
