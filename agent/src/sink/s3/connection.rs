//! A bucket, and the way there: signed requests of `object_store` over the client of the HTTP sink.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use object_store::{
    ClientOptions, ObjectStore as _, PutMode, PutOptions, PutPayload, PutResult, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder, Checksum},
    client::{
        HttpClient, HttpConnector, HttpError, HttpRequest, HttpRequestBody, HttpResponse, HttpResponseBody, HttpService,
    },
    path::Path,
    signer::{SignedUrlOptions, Signer as _},
};
use reqwest::{
    Method, Url,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use tokio::time::{Instant, timeout_at};

use super::{BucketConfig, S3Error, credentials::Credentials};
use crate::sink::http::{self, HttpConfig};

/// How much of an answer that is no yes is read.
const ANSWER_MAX: usize = 4096;
/// Longest wait for it: its status is there.
const ANSWER_WAIT: Duration = Duration::from_secs(2);
/// How long a signature is good: some skew of the clocks, and the way.
const SIGNED_FOR: Duration = Duration::from_mins(15);

/// An answer that is no yes.
#[derive(Clone, Debug, Default)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
}

/// The last answer on a connection, if it was no yes. `object_store` makes one error of many of them.
type Heard = Arc<Mutex<Option<Answer>>>;

/// A bucket, ready to be asked.
#[derive(Debug)]
pub(super) struct Connection {
    store: AmazonS3,
    client: HttpClient,
    heard: Heard,
    /// As whom.
    pub(super) credentials: Credentials,
}

impl Connection {
    /// Reads the certificates to trust; connects at the first request.
    pub(super) async fn open(config: &BucketConfig, credentials: Credentials) -> Result<Self, S3Error> {
        let url = bucket_url(config)?;
        let way = HttpConfig {
            url: url.to_string(),
            ca_file: config.ca_file.clone(),
            timeout: config.timeout,
            ..HttpConfig::default()
        };
        let client = http::client::current(&mut None, &way).await?;
        let heard = Heard::default();
        let wire = Wire { client, heard: heard.clone() };
        let builder = AmazonS3Builder::new()
            .with_bucket_name(&config.bucket)
            .with_region(&config.region)
            // the whole url of the bucket, however it is written
            .with_virtual_hosted_style_request(true)
            .with_endpoint(url.as_str().trim_end_matches('/'))
            .with_allow_http(true)
            .with_checksum_algorithm(Checksum::SHA256)
            // when to try again is decided in `deliver`
            .with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() })
            .with_http_connector(wire.clone());
        let store = credentials.give(builder).build().map_err(|error| S3Error::Store(error.to_string()))?;
        Ok(Self { store, client: HttpClient::new(wire), heard, credentials })
    }

    /// Makes an object, unless there is one of that name.
    pub(super) async fn put(&self, name: &Path, payload: PutPayload) -> Result<PutResult, Failure> {
        let only_new = PutOptions::from(PutMode::Create);
        let put = self.store.put_opts(name, payload, only_new).await;
        put.map_err(|error| self.failure(&error))
    }

    /// Asks something else, with a signed url. The answer is a yes.
    pub(super) async fn ask(
        &self,
        method: Method,
        name: &Path,
        query: &[(&str, &str)],
        header: Option<(HeaderName, HeaderValue)>,
    ) -> Result<HttpResponse, Failure> {
        let mut extra = SignedUrlOptions::new().with_query(query.iter().copied());
        if let Some((name, value)) = &header {
            extra = extra.with_signed_header(name.clone(), value.clone());
        }
        let url = self.store.signed_url_opts(method.clone(), name, SIGNED_FOR, &extra).await;
        let url = url.map_err(|error| self.failure(&error))?;
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        *request.method_mut() = method;
        *request.uri_mut() = url.as_str().parse().map_err(|_| Failure::Way("the url cannot be sent".to_owned()))?;
        request.headers_mut().extend(header);
        let response = self.client.execute(request).await.map_err(|error| Failure::Way(explain(&error)))?;
        match self.heard() {
            None => Ok(response),
            Some(answer) => Err(Failure::Answer(answer)),
        }
    }

    fn failure(&self, error: &object_store::Error) -> Failure {
        self.heard().map_or_else(|| Failure::Way(explain(error)), Failure::Answer)
    }

    fn heard(&self) -> Option<Answer> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Why there is no yes.
#[derive(Debug)]
pub(super) enum Failure {
    /// The bucket says so.
    Answer(Answer),
    /// There is no answer.
    Way(String),
}

/// Checks a configuration, and makes the url of the bucket of it.
pub(super) fn bucket_url(config: &BucketConfig) -> Result<Url, S3Error> {
    let bucket = &config.bucket;
    let is_in_bucket_name = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.');
    if !(3..=63).contains(&bucket.len()) || !bucket.bytes().all(is_in_bucket_name) {
        return Err(S3Error::Bucket(bucket.clone()));
    }
    if config.region.is_empty() || !config.region.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Err(S3Error::Region(config.region.clone()));
    }
    let aws = || format!("https://s3.{}.amazonaws.com", config.region);
    let endpoint = config.endpoint.clone().unwrap_or_else(aws);
    let mut url = Url::parse(&endpoint).map_err(|_| S3Error::Endpoint)?;
    let is_safe = url.scheme() == "https" || url.scheme() == "http" && http::client::is_loopback(&url);
    let is_bare = url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.path() == "/";
    let Some(host) = url.host_str().filter(|_| is_safe && is_bare).map(str::to_owned) else {
        return Err(S3Error::Endpoint);
    };
    if config.path_style {
        url.set_path(bucket);
    } else {
        url.set_host(Some(&format!("{bucket}.{host}"))).map_err(|_| S3Error::Endpoint)?;
    }
    Ok(url)
}

/// What went wrong, in one line and with its causes.
fn explain(error: &(dyn std::error::Error + 'static)) -> String {
    let last = std::iter::successors(Some(error), |error| error.source()).last();
    // the last cause is what the system said; what is around it repeats it, with urls
    last.map_or_else(String::new, |cause| cause.to_string().lines().next().unwrap_or_default().to_owned())
}

/// The client of the HTTP sink under `object_store`: keeps of an answer that is no yes what `object_store` forgets, and
/// reads no more of it than anybody needs.
#[derive(Clone, Debug)]
struct Wire {
    client: reqwest::Client,
    heard: Heard,
}

impl HttpConnector for Wire {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for Wire {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let heard = |answer| *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = answer;
        heard(None);
        let response = HttpService::call(&self.client, request).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let (parts, mut body) = response.into_parts();
        let mut text = Vec::new();
        let deadline = Instant::now() + ANSWER_WAIT;
        while text.len() < ANSWER_MAX
            && let Ok(Some(Ok(frame))) = timeout_at(deadline, body.frame()).await
        {
            text.extend_from_slice(frame.data_ref().unwrap_or(&Bytes::new()));
        }
        text.truncate(ANSWER_MAX);
        let text = String::from_utf8_lossy(&text).into_owned();
        heard(Some(Answer { status: parts.status.as_u16(), headers: parts.headers.clone(), text: text.clone() }));
        Ok(HttpResponse::from_parts(parts, HttpResponseBody::from(text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_of_a_bucket() {
        let check = |endpoint: Option<&str>, path_style: bool, expected: Option<&str>| {
            let endpoint = endpoint.map(str::to_owned);
            let (bucket, region) = ("audit-1".to_owned(), "eu-west-1".to_owned());
            let config = BucketConfig { bucket, endpoint, region, path_style, ..BucketConfig::default() };
            let url = bucket_url(&config).ok().map(|url| url.to_string());
            assert_eq!(url.as_deref(), expected, "{config:?}");
        };
        check(None, false, Some("https://audit-1.s3.eu-west-1.amazonaws.com/"));
        check(None, true, Some("https://s3.eu-west-1.amazonaws.com/audit-1"));
        check(Some("https://s3.example:9000"), true, Some("https://s3.example:9000/audit-1"));
        check(Some("https://s3.example"), false, Some("https://audit-1.s3.example/"));
        check(Some("http://127.0.0.1:8333/"), true, Some("http://127.0.0.1:8333/audit-1"));
        // in the clear, with a password, below a path, no address at all
        for wrong in ["http://s3.example", "https://a:b@s3.example", "https://s3.example/x", "s3.example", "ftp://s3"] {
            check(Some(wrong), true, None);
        }
    }
}
