//! To look at a log: what a person reads of the golden records and of a real run, the page in a real browser, `top` in a
//! terminal. What each verb prints of a recorded break-in is in docs/review.md, which `auditor` runs.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod page;
mod run;
mod words;
