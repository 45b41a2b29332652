//! What an answer means: one table.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use reqwest::Response;
use reqwest::header::{HeaderMap, LOCATION, RETRY_AFTER};
use seal::{Receipt, add_checkpoint::checkpoint, note::Note};
use tokio::time::{Instant, timeout_at};

use super::{ANSWER_MAX, Outcome};

/// Characters of an answer that are kept beside a refused batch.
pub(super) const KEPT: usize = 1024;
/// Longest wait a receiver can ask for.
const WAIT_MAX: Duration = Duration::from_hours(1);

/// Longest wait for the words of an answer whose status says all. They are also read when it is a yes, because only an
/// answer that was read leaves the connection open for the next request.
pub(super) const BODY_WAIT: Duration = Duration::from_secs(2);
/// The same where the words matter; the time for the whole request ends before.
pub(super) const WORDS_WAIT: Duration = Duration::from_mins(10);

/// What an answer means.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::sink) enum Meaning {
    /// The sink is done with these batches for now.
    Outcome(Outcome),
    /// 415: try another encoding.
    OtherEncoding {
        /// The answer, for the case that there is none left.
        answer: String,
    },
    /// Taken, and not yet durable.
    Accepted {
        /// The number to ask for, if the receiver gives one.
        ack: Option<u64>,
    },
}

/// An answer, as far as it was read.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    /// Whether this is all of the body.
    pub(super) whole: bool,
}

/// Reads at most `most` bytes of an answer, for at most so long.
pub(super) async fn read(mut response: Response, most: usize, wait: Duration) -> Answer {
    let (mut body, mut whole) = (Vec::new(), false);
    // A body that is broken or slow does not change the status, which has come.
    let deadline = Instant::now() + wait;
    while !whole
        && body.len() <= most
        && let Ok(Ok(more)) = timeout_at(deadline, response.chunk()).await
    {
        match more {
            Some(more) => body.extend_from_slice(&more),
            None => whole = true,
        }
    }
    whole &= body.len() <= most;
    body.truncate(most);
    Answer { status: response.status().as_u16(), headers: response.headers().clone(), body, whole }
}

impl Answer {
    /// What the table says.
    pub(super) fn meaning(&self, key: &str) -> Meaning {
        meaning(self.status, &self.headers, &self.text(), key, SystemTime::now())
    }

    /// The same for sealed batches of the log `origin`: a receiver may have signed for them.
    pub(super) fn of_sealed(&self, key: &str, origin: &str) -> Meaning {
        let mut meaning = self.meaning(key);
        if let Meaning::Outcome(Outcome::Delivered { receipt, .. }) = &mut meaning {
            *receipt = receipt_in(&self.text(), origin);
        }
        meaning
    }

    /// Status and words in a line.
    pub(super) fn why(&self) -> String {
        why(self.status, self.text().trim())
    }

    /// The beginning of the words, to be kept.
    pub(super) fn head(&self) -> String {
        self.text().trim().chars().take(KEPT).collect()
    }

    /// When it wants to be asked again.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        retry_after(&self.headers, SystemTime::now())
    }

    fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.body[..self.body.len().min(ANSWER_MAX)])
    }
}

/// A status and what was said with it, in a line.
pub(super) fn why(status: u16, words: &str) -> String {
    if words.is_empty() { format!("HTTP {status}") } else { format!("HTTP {status}: {}", one_line(words)) }
}

/// The cosignature in the answer of a receiver that is a witness: a checkpoint of this log with a line by it.
fn receipt_in(answer: &str, origin: &str) -> Option<Receipt> {
    let note = Note::parse(answer).ok()?;
    let size = checkpoint(&note.text).filter(|head| head.origin == origin)?.size;
    // what is not of the form of a receipt has no place in a header
    note.signatures.iter().find_map(|line| Receipt::parse(&format!("{size} {line}")))
}

/// The table. What is not a matter of these very bytes is never a reason to drop them.
pub(in crate::sink) fn meaning(status: u16, headers: &HeaderMap, answer: &str, key: &str, now: SystemTime) -> Meaning {
    let answer = answer.trim().to_owned();
    let why = why(status, &answer);
    Meaning::Outcome(match status {
        200..=299 => Outcome::Delivered { note: None, receipt: None },
        300..=399 => {
            let to = headers.get(LOCATION).and_then(|to| to.to_str().ok()).unwrap_or("nowhere");
            Outcome::Slow { why: format!("HTTP {status}: redirects are not followed; set `url` to {}", one_line(to)) }
        }
        408 | 425 | 429 | 500..=599 => Outcome::Retry { after: retry_after(headers, now), why },
        401 | 403 | 404 | 405 | 407 | 421 => Outcome::Slow { why },
        413 => Outcome::TooLarge { why },
        415 => return Meaning::OtherEncoding { answer },
        409 if answer.contains(key) => {
            Outcome::Delivered { note: Some("the receiver had these batches already".to_owned()), receipt: None }
        }
        400 if is_about_tls(&answer) => Outcome::Slow { why },
        _ => Outcome::Refused { status, answer },
    })
}

/// Whether a 400 is about the connection, not the bytes: nginx answers so for its own 495, 496 and 497 (a client
/// certificate that is wrong or missing, plain HTTP to a TLS port).
fn is_about_tls(answer: &str) -> bool {
    ["SSL certificate", "plain HTTP request was sent to HTTPS port"].iter().any(|words| answer.contains(words))
}

/// `Retry-After` in seconds or as a date (RFC 9110, 10.2.3), at most an hour; what is neither is not there.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        Duration::from_secs(text.parse().unwrap_or(u64::MAX))
    } else {
        httpdate::parse_http_date(text).ok()?.duration_since(now).ok()?
    };
    Some(wait.min(WAIT_MAX))
}

/// The start of a stranger's text, safe for a log line.
fn one_line(text: &str) -> String {
    text.chars().take(200).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
impl Meaning {
    /// What it is called in the tables of tests.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::OtherEncoding { .. } => "encoding",
            Self::Accepted { .. } => "accepted",
            Self::Outcome(outcome) => outcome.word(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(status: u16, answer: &str) -> &'static str {
        meaning(status, &HeaderMap::new(), answer, "abc:1-2", SystemTime::UNIX_EPOCH).word()
    }

    #[test]
    fn every_status_has_its_meaning() {
        let table: &[(&[u16], &str)] = &[
            (&[200, 201, 202, 204, 206, 299], "delivered"),
            (&[300, 301, 302, 304, 307, 308], "slow"),
            (&[408, 425, 429, 500, 501, 502, 503, 504, 507, 511, 520, 529], "retry"),
            (&[401, 403, 404, 405, 407, 421], "slow"),
            (&[413], "too large"),
            (&[415], "encoding"),
            (&[400, 402, 406, 409, 410, 411, 418, 422, 431, 499, 600], "refused"),
        ];
        for (codes, expected) in table {
            for code in *codes {
                assert_eq!(word(*code, "no"), *expected, "{code}");
            }
        }
        assert_eq!(word(400, "<h1>400 No required SSL certificate was sent</h1>"), "slow");
        assert_eq!(word(409, "have abc:1-2 already"), "delivered");
    }

    #[test]
    fn a_receipt_is_of_this_log_and_of_the_right_form() {
        let witness = seal::cosign::Witness::new("w.example", &[1; 32]).unwrap();
        let text = seal::proof::Checkpoint { origin: "a".to_owned(), size: 7, root: [2; 32] }.text();
        let note = Note { signatures: vec![witness.cosign(&text, 9)], text: text.clone() }.to_string();
        let receipt = receipt_in(&note, "a").unwrap();
        assert_eq!((receipt.size, receipt.time()), (7, 9));
        assert!(witness.key().verify(&text, &receipt.cosignature).is_some());
        for (answer, origin) in [(note.as_str(), "b"), ("ok\n", "a"), (&text, "a"), (&note[..note.len() - 1], "a")] {
            assert_eq!(receipt_in(answer, origin), None, "{answer}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777); // Sun, 06 Nov 1994 08:49:37 GMT
        let table: &[(&str, Option<u64>)] = &[
            ("120", Some(120)),
            ("0", Some(0)),
            ("86400", Some(3600)),
            ("99999999999999999999999", Some(3600)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            ("Sun, 06 Nov 1994 08:48:37 GMT", None),
            ("soon", None),
            ("-1", None),
            ("", None),
        ];
        for (text, expected) in table {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            assert_eq!(retry_after(&headers, now), expected.map(Duration::from_secs), "{text:?}");
        }
    }
}
