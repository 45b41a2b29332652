//! Whose bucket it is to say who we are: a file as AWS tools have it, or the environment.

use std::{env, fmt, path::PathBuf};

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};

use super::S3Error;

/// Largest file with credentials.
const FILE_MAX: u64 = 1 << 20;

/// The variables that AWS tools know, as far as they say who we are: a key, a web identity, a container.
const VARIABLES: &[&str] = &[
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_ENDPOINT_URL_STS",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
];

/// What is known of who we are.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Credentials {
    /// From a file.
    Key {
        /// Its public part.
        id: String,
        secret: String,
        token: Option<String>,
    },
    /// As the environment says; without a word there, as the instance metadata of the cloud say.
    Environment,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key { id, .. } => write!(f, "Key {id}"),
            Self::Environment => f.write_str("Environment"),
        }
    }
}

impl Credentials {
    /// Reads them as they are now: from `file`; else, unless the environment has a key, from the file that it names.
    pub(super) async fn read(file: Option<&PathBuf>, profile: &str) -> Result<Self, S3Error> {
        let named = || env::var_os("AWS_SHARED_CREDENTIALS_FILE").filter(|_| env::var_os(VARIABLES[0]).is_none());
        let Some(path) = file.cloned().or_else(|| named().map(PathBuf::from)) else {
            return Ok(Self::Environment);
        };
        let wrong = |why| S3Error::File { path: path.clone(), why };
        let about = tokio::fs::metadata(&path).await.map_err(|error| wrong(error.to_string()))?;
        if about.len() > FILE_MAX {
            return Err(wrong("it is larger than any file with credentials".to_owned()));
        }
        let text = tokio::fs::read_to_string(&path).await.map_err(|error| wrong(error.to_string()))?;
        parse(&text, profile).ok_or_else(|| {
            wrong(format!("no `aws_access_key_id = …` and `aws_secret_access_key = …` below `[{profile}]`"))
        })
    }

    /// Tells the store.
    pub(super) fn give(&self, mut builder: AmazonS3Builder) -> AmazonS3Builder {
        match self {
            Self::Key { id, secret, token } => {
                builder = builder.with_access_key_id(id).with_secret_access_key(secret);
                token.iter().fold(builder, AmazonS3Builder::with_token)
            }
            Self::Environment => {
                for name in VARIABLES {
                    let key = name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>();
                    if let (Ok(key), Ok(value)) = (key, env::var(name)) {
                        builder = builder.with_config(key, value);
                    }
                }
                builder
            }
        }
    }
}

/// The section `[profile]` of a shared credentials file.
fn parse(text: &str, profile: &str) -> Option<Credentials> {
    let (mut inside, mut id, mut secret, mut token) = (false, None, None, None);
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            inside = name.trim() == profile;
            continue;
        }
        let Some((key, value)) = line.split_once('=').filter(|_| inside && !line.starts_with(['#', ';'])) else {
            continue;
        };
        // each goes into a header field
        let value = value.trim();
        let place = match key.trim() {
            "aws_access_key_id" => &mut id,
            "aws_secret_access_key" => &mut secret,
            "aws_session_token" => &mut token,
            _ => continue,
        };
        *place = Some(value.to_owned()).filter(|text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic()));
    }
    Some(Credentials::Key { id: id?, secret: secret?, token })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_as_aws_tools_do() {
        let check = |text: &str, profile: &str, expected: Option<(&str, &str, Option<&str>)>| {
            let expected = expected.map(|(id, secret, token)| Credentials::Key {
                id: id.to_owned(),
                secret: secret.to_owned(),
                token: token.map(str::to_owned),
            });
            assert_eq!(parse(text, profile), expected, "{text}");
        };
        let text = "# keys\n[default]\naws_access_key_id = A\naws_secret_access_key=s+/=\nregion = x\n\n[ other ]\n\
                    aws_access_key_id=B\naws_secret_access_key=t\naws_session_token = u==\n";
        check(text, "default", Some(("A", "s+/=", None)));
        check(text, "other", Some(("B", "t", Some("u=="))));
        check(text, "third", None);
        check("aws_access_key_id=A\naws_secret_access_key=s\n", "default", None);
        check("[default]\naws_access_key_id=A\n#aws_secret_access_key=s\n", "default", None);
        check("[default]\naws_access_key_id=A\naws_secret_access_key=s s\n", "default", None);
    }

    #[test]
    fn a_secret_is_not_shown() {
        let shown = format!("{:?}", parse("[p]\naws_access_key_id=A\naws_secret_access_key=hidden\n", "p"));
        assert!(shown.contains('A') && !shown.contains("hidden"), "{shown}");
    }

    #[test]
    fn the_store_knows_each_variable() {
        for name in VARIABLES {
            assert!(name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>().is_ok(), "{name}");
        }
    }
}
