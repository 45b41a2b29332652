//! What an answer of a bucket means: the table of the HTTP sink, and what S3 says in its own words.

use std::time::SystemTime;

use super::{
    Outcome,
    connection::{Answer, Failure},
};
use crate::sink::http::answer::{self, Meaning};

/// What came of a request to make an object.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// The sink is done with these batches for now.
    Outcome(Outcome),
    /// There is an object of this name.
    Exists,
}

/// The table. S3 does not look into an object, so an answer is hardly ever a reason to give up a batch.
pub(super) fn meaning(failure: Failure, now: SystemTime) -> Said {
    let answer = match failure {
        Failure::Answer(answer) => answer,
        Failure::Way(why) => return Said::Outcome(Outcome::Retry { after: None, why }),
    };
    let code = element(&answer.text, "Code").unwrap_or_default();
    let text = said(&answer);
    let why = format!("HTTP {}: {text}", answer.status);
    Said::Outcome(match (answer.status, code) {
        (412, _) => return Said::Exists,
        // somebody else writes this name at this moment
        (409, _) => Outcome::Retry { after: None, why },
        (300..=399, _) => {
            let region = answer.headers.get("x-amz-bucket-region").and_then(|region| region.to_str().ok());
            let hint = region.map_or_else(String::new, |region| format!("; set `region` to {region}"));
            Outcome::Slow { why: format!("the bucket is elsewhere: {why}{hint}") }
        }
        (400, "EntityTooLarge") => Outcome::TooLarge { why },
        // the bytes did not arrive as they were sent
        (400, "RequestTimeout" | "IncompleteBody" | "BadDigest" | "XAmzContentSHA256Mismatch") => {
            Outcome::Retry { after: None, why }
        }
        // a credential that is no more, another region, a bucket that wants something else
        (400 | 415, _) => Outcome::Slow { why },
        (status, _) => match answer::meaning(status, &answer.headers, &text, &why, now) {
            Meaning::Outcome(outcome) => outcome,
            // S3 knows neither
            Meaning::OtherEncoding { .. } | Meaning::Accepted { .. } => Outcome::Slow { why },
        },
    })
}

/// The words of an error, in one line.
pub(super) fn said(answer: &Answer) -> String {
    let words = ["Code", "Message"].map(|name| element(&answer.text, name).unwrap_or_default());
    words.join(" ").trim().chars().take(200).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The text of the first element of that name.
fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    rest.split_once('<').map(|(text, _)| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(status: u16, code: &str) -> &'static str {
        let text = format!("<?xml version=\"1.0\"?>\n<Error><Code>{code}</Code><Message>no\n</Message></Error>");
        let answer = Answer { status, text, ..Answer::default() };
        match meaning(Failure::Answer(answer), SystemTime::UNIX_EPOCH) {
            Said::Exists => "exists",
            Said::Outcome(outcome) => outcome.word(),
        }
    }

    #[test]
    fn every_answer_has_its_meaning() {
        let table: &[(&str, &[(u16, &str)])] = &[
            ("exists", &[(412, "PreconditionFailed")]),
            ("retry", &[(409, "ConditionalRequestConflict"), (500, "InternalError"), (503, "SlowDown")]),
            ("retry", &[(429, ""), (400, "RequestTimeout"), (400, "BadDigest"), (400, "IncompleteBody")]),
            ("slow", &[(403, "AccessDenied"), (403, "SignatureDoesNotMatch"), (401, ""), (404, "NoSuchBucket")]),
            ("slow", &[(400, "ExpiredToken"), (400, "AuthorizationHeaderMalformed"), (301, "PermanentRedirect")]),
            ("slow", &[(405, ""), (415, "")]),
            ("too large", &[(413, ""), (400, "EntityTooLarge")]),
            ("refused", &[(410, ""), (422, "")]),
        ];
        for (expected, answers) in table {
            for (status, code) in *answers {
                assert_eq!(word(*status, code), *expected, "{status} {code}");
            }
        }
        let way = Failure::Way("Connection refused".to_owned());
        let retry = Outcome::Retry { after: None, why: "Connection refused".to_owned() };
        assert_eq!(meaning(way, SystemTime::UNIX_EPOCH), Said::Outcome(retry));
    }
}
