//! `sigtrail verify`: what `sigtrail-verify` does, and archives in buckets.

use std::{
    env,
    fmt::Display,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use bytes::{Buf as _, Bytes};
use http_body_util::BodyExt as _;
use object_store::client::HttpResponseBody;
use seal::cli::{Archive, Object, VerifyArgs};
use tokio::runtime::{Builder, Runtime};

use crate::sink::s3::{
    BucketConfig,
    archive::{self, ArchiveError, Found},
};

/// What to verify, and how to get at it.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    verify: VerifyArgs,
    #[command(flatten)]
    bucket: Bucket,
}

/// For `s3://BUCKET/PREFIX`: the oldest version of each object is read. Credentials are taken from `--credentials`, or
/// as AWS tools take them
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Archives, s3://BUCKET/PREFIX")]
struct Bucket {
    /// The server; else `AWS_ENDPOINT_URL_S3` or `AWS_ENDPOINT_URL`, else that of AWS in the region
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// The region; else `AWS_REGION` or `AWS_DEFAULT_REGION`, else us-east-1
    #[arg(long, value_name = "NAME")]
    region: Option<String>,
    /// The bucket is in the path of the url and not in its host, as most servers other than AWS want it
    #[arg(long)]
    path_style: bool,
    /// A file with credentials as AWS tools have it; else what the environment says
    #[arg(long, value_name = "FILE")]
    credentials: Option<PathBuf>,
    /// The section of that file; else `AWS_PROFILE`, else default
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// Certificates to trust, in PEM; else those of the system
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

/// Runs the verb.
pub fn run(args: &Args) -> ExitCode {
    let Some((bucket, prefix)) = args.verify.inputs.first().and_then(|input| in_bucket(input)) else {
        return seal::cli::verify(&args.verify);
    };
    if args.verify.inputs.len() > 1 {
        return wrong("a bucket is verified alone: give no other input");
    }
    let mut archive = match Reading::begin(&args.bucket.config(bucket), prefix) {
        Ok(archive) => archive,
        Err(error) => return wrong(error),
    };
    seal::cli::verify_archive(&args.verify, &mut archive)
}

fn wrong(why: impl Display) -> ExitCode {
    eprintln!("sigtrail verify: {why}");
    ExitCode::from(3)
}

/// Bucket and prefix of `s3://bucket/prefix`.
fn in_bucket(input: &Path) -> Option<(&str, &str)> {
    let rest = input.to_str()?.strip_prefix("s3://")?;
    Some(rest.split_once('/').unwrap_or((rest, "")))
}

impl Bucket {
    fn config(&self, bucket: &str) -> BucketConfig {
        let said = |given: &Option<String>, names: &[&str]| {
            let of_environment = || names.iter().find_map(|name| env::var(name).ok().filter(|value| !value.is_empty()));
            given.clone().or_else(of_environment)
        };
        let default = BucketConfig::default();
        BucketConfig {
            bucket: bucket.to_owned(),
            endpoint: said(&self.endpoint, &["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]),
            region: said(&self.region, &["AWS_REGION", "AWS_DEFAULT_REGION"]).unwrap_or(default.region),
            path_style: self.path_style,
            credentials_file: self.credentials.clone(),
            profile: said(&self.profile, &["AWS_PROFILE"]).unwrap_or(default.profile),
            ca_file: self.ca_file.clone(),
            timeout: default.timeout,
        }
    }
}

/// A bucket, for the verifier, which does not wait: each step is run to its end.
struct Reading {
    runtime: Arc<Runtime>,
    archive: archive::Archive,
}

impl Reading {
    fn begin(config: &BucketConfig, prefix: &str) -> Result<Self, ArchiveError> {
        let broken = |error: io::Error| ArchiveError::Answer { doing: "asked", why: error.to_string() };
        let runtime = Builder::new_current_thread().enable_all().build().map_err(broken)?;
        let archive = runtime.block_on(archive::Archive::open(config, prefix))?;
        Ok(Self { runtime: Arc::new(runtime), archive })
    }
}

impl Archive for Reading {
    fn next(&mut self) -> Option<Result<Object, String>> {
        let found = match self.runtime.block_on(self.archive.next()) {
            Ok(found) => found?,
            Err(error) => return Some(Err(error.to_string())),
        };
        let bytes = found.version.is_some().then(|| {
            let stream = self.runtime.block_on(self.archive.read(&found)).map_err(io::Error::other)?;
            let body = Body { runtime: self.runtime.clone(), stream, rest: Bytes::new() };
            Ok(Box::new(BufReader::with_capacity(64 << 10, body)) as Box<dyn BufRead + Send>)
        });
        Some(Ok(Object { remark: remark(&found), name: found.key, origin: found.origin, bytes }))
    }

    fn remark(&self) -> Option<String> {
        match self.archive.strange() {
            (0, _) | (_, None) => None,
            (1, Some(first)) => Some(format!("{first} is no part of a log and was not read")),
            (count, Some(first)) => {
                Some(format!("{first} and {} more are no part of a log and were not read", count - 1))
            }
        }
    }
}

/// What was done to an object after it was made.
fn remark(found: &Found) -> Option<String> {
    let mut parts = Vec::new();
    if found.version.is_none() {
        parts.push("is deleted, and none of its versions is left".to_owned());
    } else if found.deletions > 0 {
        parts.push("was marked as deleted".to_owned());
    }
    if found.newer > 0 {
        let versions = if found.newer == 1 { "version" } else { "versions" };
        parts.push(format!("was written over ({} newer {versions})", found.newer));
    }
    let read = if found.version.is_some() { ": its oldest version was read" } else { "" };
    (!parts.is_empty()).then(|| format!("{} {}{read}", found.key, parts.join(" and ")))
}

/// The bytes of an object as they come.
struct Body {
    runtime: Arc<Runtime>,
    stream: HttpResponseBody,
    rest: Bytes,
}

impl io::Read for Body {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.runtime.block_on(self.stream.frame()) {
                None => return Ok(0),
                Some(frame) => self.rest = frame.map_err(io::Error::other)?.into_data().unwrap_or_default(),
            }
        }
        let length = out.len().min(self.rest.len());
        self.rest.copy_to_slice(&mut out[..length]);
        Ok(length)
    }
}
