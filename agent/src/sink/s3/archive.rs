//! Reads a bucket for the verifier: of each object its oldest version, in the order of the batches.
//!
//! In a bucket with a retention nobody can remove or change a version. What whoever may write can do is to put a newer
//! version or the mark of a deletion over it, and neither is looked at, only told.

use std::{collections::BTreeMap, time::Duration};

use http_body_util::BodyExt as _;
use object_store::{client::HttpResponseBody, path::Path};
use reqwest::Method;

use super::{
    BucketConfig, S3Error,
    answer::said,
    connection::{Connection, Failure},
    credentials::Credentials,
    name,
    versions::{self, Page, Version},
};

/// Longest page of names: there are at most 1,000 on it.
const PAGE_MAX: usize = 16 << 20;
/// Names that may wait for one whose batches come before them. Only a clock that went back over midnight makes them wait,
/// or batches that are not there.
const WAITING_MAX: usize = 65_536;
/// How often something is asked that had no answer, and the time between.
const TRIES: u32 = 4;
const PAUSE: Duration = Duration::from_secs(1);

/// Why a bucket cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// Its configuration.
    #[error(transparent)]
    Config(#[from] S3Error),
    /// It says no, or something that is no answer.
    #[error("the bucket cannot be {doing}: {why}")]
    Answer {
        /// What was asked.
        doing: &'static str,
        /// Why not.
        why: String,
    },
}

/// An object whose oldest version is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Its name.
    pub key: String,
    /// The log that it is of, by its name.
    pub origin: String,
    /// Its first and its last batch, by its name.
    pub batches: (u64, u64),
    /// The oldest version; `None` when there is only the mark of a deletion.
    pub version: Option<String>,
    /// Newer versions: somebody wrote over it.
    pub newer: u64,
    /// Marks of a deletion.
    pub deletions: u64,
}

/// A bucket that is read.
#[derive(Debug)]
pub struct Archive {
    connection: Connection,
    prefix: String,
    listing: Listing,
    order: Order,
    /// Objects that are none of ours, and the first of them.
    strange: (u64, Option<String>),
}

/// Where the list of versions is.
#[derive(Debug, Default)]
struct Listing {
    page: std::vec::IntoIter<Version>,
    /// Where the next page begins; `None`: at the beginning.
    next: Option<(String, String)>,
    last: bool,
    /// The name whose versions are gathered.
    open: Option<Found>,
}

/// Objects in the order of their batches.
#[derive(Debug, Default)]
struct Order {
    /// By their batches, and then by name.
    waiting: BTreeMap<((u64, u64), String), Found>,
    /// Of the next log.
    ahead: Option<Found>,
    ended: bool,
    origin: String,
    expected: u64,
}

impl Archive {
    /// A bucket, and below which prefix it is read.
    pub async fn open(bucket: &BucketConfig, prefix: &str) -> Result<Self, ArchiveError> {
        let credentials = Credentials::read(bucket.credentials_file.as_ref(), &bucket.profile).await?;
        let connection = Connection::open(bucket, credentials).await?;
        let prefix = prefix.trim_matches('/').to_owned();
        Ok(Self { connection, prefix, listing: Listing::default(), order: Order::default(), strange: (0, None) })
    }

    /// The next object: log by log, and in a log in the order of the batches.
    pub async fn next(&mut self) -> Result<Option<Found>, ArchiveError> {
        while self.order.wants() {
            let found = self.listed().await?;
            self.order.add(found);
        }
        Ok(self.order.take())
    }

    /// The bytes of its oldest version.
    pub async fn read(&self, found: &Found) -> Result<HttpResponseBody, ArchiveError> {
        let version = found.version.as_deref().unwrap_or("null");
        let query = [("versionId", version)];
        self.ask("read", &Path::parse(&found.key).unwrap_or_default(), &query).await
    }

    /// How many objects are none of ours, and the name of the first.
    pub fn strange(&self) -> (u64, Option<&str>) {
        (self.strange.0, self.strange.1.as_deref())
    }

    /// The next name of an object of ours.
    async fn listed(&mut self) -> Result<Option<Found>, ArchiveError> {
        loop {
            let Some(version) = self.listing.page.next() else {
                if self.listing.last {
                    return Ok(self.listing.open.take());
                }
                let page = self.page().await?;
                (self.listing.last, self.listing.next) = (page.next.is_none(), page.next);
                self.listing.page = page.versions.into_iter();
                continue;
            };
            if let Some(open) = self.listing.open.as_mut().filter(|open| open.key == version.key) {
                open.add(version);
                continue;
            }
            let ours = name::read(&self.prefix, &version.key).filter(|_| Path::parse(&version.key).is_ok());
            let done = if let Some(name) = ours {
                let mut found = Found { key: version.key.clone(), origin: name.origin, ..Found::default() };
                found.batches = name.batches;
                found.add(version);
                self.listing.open.replace(found)
            } else {
                self.strange.0 += 1;
                self.strange.1.get_or_insert(version.key);
                self.listing.open.take()
            };
            if done.is_some() {
                return Ok(done);
            }
        }
    }

    async fn page(&self) -> Result<Page, ArchiveError> {
        let below = if self.prefix.is_empty() { "v1/".to_owned() } else { format!("{}/v1/", self.prefix) };
        let mut query = vec![("encoding-type", "url"), ("prefix", &*below), ("versions", "")];
        if let Some((key, version)) = &self.listing.next {
            query.push(("key-marker", key));
            if !version.is_empty() {
                query.push(("version-id-marker", version));
            }
        }
        let mut body = self.ask("listed", &Path::default(), &query).await?;
        let broken = |why: &str| ArchiveError::Answer { doing: "listed", why: why.to_owned() };
        let mut text = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| broken(&error.to_string()))?;
            text.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
            if text.len() > PAGE_MAX {
                return Err(broken("its list is longer than any"));
            }
        }
        let page = std::str::from_utf8(&text).ok().and_then(versions::parse);
        page.ok_or_else(|| broken("its answer is no list of versions"))
    }

    /// Asks until there is an answer.
    async fn ask(
        &self,
        doing: &'static str,
        name: &Path,
        query: &[(&str, &str)],
    ) -> Result<HttpResponseBody, ArchiveError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let why = match self.connection.ask(Method::GET, name, query, None).await {
                Ok(response) => return Ok(response.into_body()),
                Err(Failure::Answer(answer)) => {
                    let why = format!("HTTP {}: {}", answer.status, said(&answer));
                    if answer.status < 500 && answer.status != 429 {
                        return Err(ArchiveError::Answer { doing, why });
                    }
                    why
                }
                Err(Failure::Way(why)) => why,
            };
            if tries == TRIES {
                return Err(ArchiveError::Answer { doing, why });
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

impl Found {
    /// A version is older than those before it.
    fn add(&mut self, version: Version) {
        if version.deleted {
            self.deletions += 1;
        } else {
            self.newer += u64::from(self.version.is_some());
            self.version = Some(version.id);
        }
    }
}

impl Order {
    /// Whether another one may come before those that wait.
    fn wants(&self) -> bool {
        let is_next = |batches: &(u64, u64)| batches.0 <= self.expected;
        let next = self.waiting.keys().next().is_some_and(|(batches, _)| is_next(batches));
        !self.ended && self.ahead.is_none() && !next && self.waiting.len() < WAITING_MAX
    }

    fn add(&mut self, found: Option<Found>) {
        match found {
            None => self.ended = true,
            Some(found) if self.waiting.is_empty() && found.origin != self.origin => self.begin(found),
            Some(found) if found.origin != self.origin => self.ahead = Some(found),
            Some(found) => self.wait(found),
        }
    }

    fn take(&mut self) -> Option<Found> {
        if self.waiting.is_empty()
            && let Some(found) = self.ahead.take()
        {
            self.begin(found);
        }
        let (_, found) = self.waiting.pop_first()?;
        self.expected = self.expected.max(found.batches.1.saturating_add(1));
        Some(found)
    }

    /// Another log.
    fn begin(&mut self, found: Found) {
        (self.origin, self.expected) = (found.origin.clone(), 0);
        self.wait(found);
    }

    fn wait(&mut self, found: Found) {
        self.waiting.insert((found.batches, found.key.clone()), found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives the names of the batches in the order they come out, and how many were asked for before the first.
    fn order(listed: &[(&str, u64, u64)]) -> (Vec<String>, usize) {
        let mut order = Order::default();
        let mut listed = listed.iter().map(|(origin, first, last)| {
            let key = format!("{origin}{first}-{last}");
            Found { key, origin: (*origin).to_owned(), batches: (*first, *last), ..Found::default() }
        });
        let (mut out, mut asked, mut before) = (Vec::new(), 0, 0);
        loop {
            while order.wants() {
                order.add(listed.next());
                asked += 1;
            }
            let Some(found) = order.take() else { return (out, before) };
            if out.is_empty() {
                before = asked;
            }
            out.push(found.key);
        }
    }

    #[test]
    fn objects_come_in_the_order_of_their_batches() {
        let check = |listed: &[(&str, u64, u64)], expected: &[&str], before| {
            assert_eq!(order(listed), (expected.iter().map(|key| (*key).to_owned()).collect(), before));
        };
        check(&[], &[], 0);
        check(&[("a", 0, 4), ("a", 5, 5), ("a", 6, 9)], &["a0-4", "a5-5", "a6-9"], 1);
        // the clock went back over midnight
        check(&[("a", 3, 3), ("a", 0, 2), ("a", 4, 4)], &["a0-2", "a3-3", "a4-4"], 2);
        // sent again in other company
        check(&[("a", 0, 0), ("a", 0, 4), ("a", 5, 5)], &["a0-0", "a0-4", "a5-5"], 1);
        // what is missing is waited for to the end of its log
        check(&[("a", 7, 7), ("a", 8, 8), ("b", 0, 0)], &["a7-7", "a8-8", "b0-0"], 3);
    }

    #[test]
    fn the_oldest_version_counts() {
        let mut found = Found::default();
        for (id, deleted) in [("9", true), ("8", false), ("7", true), ("6", false)] {
            found.add(Version { key: String::new(), id: id.to_owned(), deleted });
        }
        assert_eq!((found.version.as_deref(), found.newer, found.deletions), (Some("6"), 1, 2));
    }
}
