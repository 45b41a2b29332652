//! A real NATS server with JetStream, which is killed, full, or lacks the stream; read back with the library of its makers.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use async_nats::jetstream::{self, Context, stream};
use async_nats::{ConnectOptions, HeaderMap};
use base64ct::{Base64UrlUnpadded, Encoding as _};
use nkeys::KeyPair;
use seal::{BatchKind, GapReason};
use serde_json::{Value, json};
use sigtrail::deliver::quarantine_of;
use sigtrail::sink::{NatsConfig, NatsSink, Sink};
use sigtrail::spool::Appended;
use tests::nats::Nats;
use tests::nginx::ca;

use crate::{Host, ORIGIN, batch, batches, text};

#[path = "../../../seal/tests/common/mod.rs"]
mod common;

const STREAM: &str = "AUDIT";

fn sink(server: &Nats, change: impl FnOnce(&mut NatsConfig)) -> Sink {
    let mut config = NatsConfig {
        url: format!("nats://{}", server.address()),
        stream: STREAM.to_owned(),
        timeout: Duration::from_secs(10),
        ..NatsConfig::default()
    };
    change(&mut config);
    Sink::Nats(Box::new(NatsSink::new("nats".to_owned(), config, ORIGIN).unwrap()))
}

/// The server as its operator talks to it.
async fn operator(server: &Nats, options: ConnectOptions) -> Context {
    jetstream::new(options.connect(server.address()).await.unwrap())
}

fn all_of(name: &str) -> stream::Config {
    stream::Config { name: name.to_owned(), subjects: vec!["sigtrail.>".to_owned()], ..Default::default() }
}

/// All messages of the stream, in its order.
async fn read(context: &Context) -> Vec<(HeaderMap, Vec<u8>)> {
    let mut stream = context.get_stream(STREAM).await.unwrap();
    let state = stream.info().await.unwrap().state.clone();
    let mut messages = Vec::new();
    for number in state.first_sequence..=state.last_sequence {
        let message = stream.get_raw_message(number).await.unwrap();
        messages.push((message.headers, message.payload.to_vec()));
    }
    assert_eq!(messages.len() as u64, state.messages);
    messages
}

/// The sealed lines in the stream, one message after the other.
async fn lines(context: &Context) -> String {
    let packed: Vec<u8> = read(context).await.into_iter().flat_map(|(_, payload)| payload).collect();
    text(&zstd::decode_all(&packed[..]).unwrap())
}

#[tokio::test]
async fn a_log_arrives_in_order_and_verifies_when_it_is_read_back() {
    let mut host = Host::new();
    let dir = host.path("nats");
    fs::create_dir(&dir).unwrap();
    ca::write(&dir).unwrap();
    let file = |name: &str| dir.join(name);
    let quoted = |name: &str| format!("{:?}", file(name));
    let tls = format!(
        "tls {{ cert_file: {}, key_file: {}, ca_file: {}, verify: true }}",
        quoted("server.pem"),
        quoted("server.key"),
        quoted("ca.pem")
    );
    let server = Nats::start(&dir, &tls);
    let options = ConnectOptions::new().add_root_certificates(file("ca.pem"));
    let context = operator(&server, options.add_client_certificate(file("client.pem"), file("client.key"))).await;
    context.create_stream(all_of(STREAM)).await.unwrap();

    let mut maker = common::Maker::new(ORIGIN, 1);
    for number in 1..40 {
        let mut facts = common::facts(if number == 1 { BatchKind::Start } else { BatchKind::Events }, number);
        facts.clock.step_ns = 0;
        maker.add(&[format!(r#"{{"path":"/etc/shadow","seq":"{number}"}}"#).as_bytes()], &facts);
    }
    let log = maker.finish();
    let mut append = |numbers: std::ops::Range<usize>| {
        for number in numbers {
            assert_eq!(host.spool.append(number as u64, &log.batches[number]).unwrap(), Appended::default());
            host.head.send_replace(Some(number as u64));
        }
    };
    append(0..30);
    append(30..40);

    // without our certificate there is no connection
    let with_ca = |config: &mut NatsConfig| {
        config.url = config.url.replace("nats://", "tls://").replace("127.0.0.1", "localhost");
        config.ca_file = Some(file("ca.pem"));
    };
    let without = host.deliver(sink(&server, with_ca));
    without.until("refused", |report| report.retries > 0).await;
    without.task.abort();
    let running = host.deliver(sink(&server, |config| {
        with_ca(config);
        config.client_cert_file = Some(file("client.pem"));
        config.client_key_file = Some(file("client.key"));
    }));
    running.delivered(39).await;

    let messages = read(&context).await;
    assert_eq!(messages.len(), 40);
    let header = |number: usize, name: &str| messages[number].0.get(name).unwrap().to_string();
    assert!(header(7, "Nats-Msg-Id").ends_with(":7"));
    assert_eq!((header(7, "Content-Encoding"), header(7, "Sigtrail-Origin")), ("zstd".into(), ORIGIN.into()));
    // the payloads one after the other are a file that the verifier reads
    let packed: Vec<u8> = messages.iter().flat_map(|(_, payload)| payload.clone()).collect();
    fs::write(host.path("log.zst"), &packed).unwrap();
    let verified = verify(&host.path("log.zst"), &log.key.to_string());
    assert!(verified.contains("batches        40\n") && verified.contains("VERIFIED"), "{verified}");
}

fn verify(file: &Path, key: &str) -> String {
    let done = Command::new(tests::host::verifier()).args(["--key", key]).arg(file).output().unwrap();
    text(&done.stdout)
}

#[tokio::test]
async fn a_server_that_is_killed_has_each_batch_once() {
    let mut host = Host::new();
    let mut server = Nats::start(&host.path("nats"), "");
    operator(&server, ConnectOptions::new()).await.create_stream(all_of(STREAM)).await.unwrap();
    host.append(0..300);
    let running = host.deliver(sink(&server, |_| {}));
    running.until("under way", |report| report.cursor.is_some_and(|batch| batch >= 40)).await;
    server.kill();
    let report = running.until("failing", |report| report.retries >= 3).await;
    assert!(report.cursor < Some(299), "it was killed after all was there: {report:?}");
    server.start_again();
    running.delivered(299).await;
    let context = operator(&server, ConnectOptions::new()).await;
    assert_eq!(read(&context).await.len(), 300);
    assert_eq!(lines(&context).await, text(&batches(0..300)));

    // who has lost his cursor sends all of it again, and the server knows each
    running.task.abort();
    fs::remove_dir_all(host.path("spool").join("cursors")).unwrap();
    let running = host.deliver(sink(&server, |_| {}));
    running.until("sent again", |report| report.batches == 300).await;
    assert_eq!(lines(&context).await, text(&batches(0..300)));
}

#[tokio::test]
async fn a_stream_that_is_not_there_is_waited_for() {
    let mut host = Host::new();
    let server = Nats::start(&host.path("nats"), "");
    let context = operator(&server, ConnectOptions::new()).await;
    host.append(0..3);
    let running = host.deliver(sink(&server, |_| {}));
    let report = running.trouble("no stream takes subject sigtrail.").await;
    assert!(report.needs_operator && report.trouble.unwrap().contains("make stream AUDIT"));
    // another one takes the subject
    context.create_stream(all_of("OTHER")).await.unwrap();
    let report = running.trouble("does not belong to stream AUDIT").await;
    assert!(report.needs_operator);
    let mut other = context.get_stream("OTHER").await.unwrap();
    assert_eq!(other.info().await.unwrap().state.messages, 0);
    context.delete_stream("OTHER").await.unwrap();
    context.create_stream(all_of(STREAM)).await.unwrap();
    running.delivered(2).await;
    assert_eq!(lines(&context).await, text(&batches(0..3)));
    assert!(host.gaps.take().is_empty());
}

#[tokio::test]
async fn what_the_server_does_not_allow_is_for_an_operator() {
    let mut host = Host::new();
    let server = Nats::start(&host.path("nats"), "authorization { token: \"right-1\" }");
    let context = operator(&server, ConnectOptions::with_token("right-1".to_owned())).await;
    context.create_stream(all_of(STREAM)).await.unwrap();
    host.append(0..3);
    let token = host.path("token");
    fs::write(&token, "wrong-1\n").unwrap();
    let sink_with_token = sink(&server, |config| config.token_file = Some(token.clone()));
    let running = host.deliver(sink_with_token);
    let report = running.trouble("refuses our credentials").await;
    assert!(report.needs_operator && !format!("{report:?}").contains("wrong-1"), "{report:?}");
    fs::remove_file(&token).unwrap();
    assert!(running.trouble("token").await.needs_operator);
    fs::write(&token, "right-1\n").unwrap();
    running.delivered(2).await;
    assert_eq!(lines(&context).await, text(&batches(0..3)));

    let users = "authorization { users = [ { user: a, password: b, permissions: { publish: \"other.>\" } } ] }";
    let server = Nats::start(&host.path("strict"), &format!("{users}\nno_auth_user: a"));
    fs::remove_dir_all(host.path("spool").join("cursors")).unwrap();
    let running = host.deliver(sink(&server, |_| {}));
    let report = running.trouble("Permissions Violation").await;
    assert!(report.needs_operator, "{report:?}");
}

#[tokio::test]
async fn a_stream_that_is_full_is_tried_again() {
    let mut host = Host::new();
    let server = Nats::start(&host.path("nats"), "");
    let context = operator(&server, ConnectOptions::new()).await;
    let full = stream::Config { max_messages: 4, discard: stream::DiscardPolicy::New, ..all_of(STREAM) };
    context.create_stream(full.clone()).await.unwrap();
    host.append(0..10);
    let running = host.deliver(sink(&server, |_| {}));
    let report = running.trouble("maximum messages exceeded").await;
    assert_eq!((report.cursor, report.needs_operator), (Some(3), false));
    context.update_stream(stream::Config { max_messages: -1, ..full }).await.unwrap();
    running.delivered(9).await;
    assert_eq!(lines(&context).await, text(&batches(0..10)));
    assert!(host.gaps.take().is_empty());
}

#[tokio::test]
async fn a_batch_larger_than_the_server_takes_is_put_aside() {
    let mut host = Host::new();
    let server = Nats::start(&host.path("nats"), "max_payload: 4096");
    let context = operator(&server, ConnectOptions::new()).await;
    context.create_stream(all_of(STREAM)).await.unwrap();
    host.append(0..2);
    // 4 KiB that zstd cannot make smaller, and 16 KiB that it can
    let noise: String = (0..200_u64).map(|at| seal::text::hex(&seal::tree::sha256(&at.to_le_bytes()))).collect();
    let line = |text: &str| format!("{{\"noise\":\"{text}\"}}\n").into_bytes();
    let large = [line(&noise), batch(2)].concat();
    let packs_well = [line(&"a".repeat(16 << 10)), batch(3)].concat();
    for (number, bytes) in [(2, &large), (3, &packs_well)] {
        assert_eq!(host.spool.append(number, bytes).unwrap(), Appended::default());
    }
    host.append(4..6);
    let running = host.deliver(sink(&server, |_| {}));
    let report = running.delivered(5).await;
    assert_eq!(report.missed, 1);
    let gaps = host.gaps.take();
    assert_eq!((gaps.len(), gaps[0].from, gaps[0].to, gaps[0].reason), (1, 2, 2, GapReason::Quarantine));
    let kept = quarantine_of(&host.path("spool"), "nats");
    assert_eq!(fs::read(kept.join("2.ndjson")).unwrap(), large);
    let expected = [batches(0..2), packs_well, batches(4..6)].concat();
    assert_eq!(lines(&context).await, text(&expected));
}

/// A server whose users show credentials: its configuration, and the credentials of a user of its account.
fn with_operator() -> (String, String) {
    let key = |made: KeyPair| (made.public_key(), made);
    let ((operator, by_operator), (account, by_account)) = (key(KeyPair::new_operator()), key(KeyPair::new_account()));
    let ((system, _), (user, by_user)) = (key(KeyPair::new_account()), key(KeyPair::new_user()));
    let jwt = |issuer: &KeyPair, subject: &str, claims: Value| {
        let body = json!({
            "jti": subject, "iat": 1_780_000_000, "iss": issuer.public_key(), "name": "test", "sub": subject, "nats": claims,
        });
        let part = |value: &Value| Base64UrlUnpadded::encode_string(value.to_string().as_bytes());
        let signed = format!("{}.{}", part(&json!({ "typ": "JWT", "alg": "ed25519-nkey" })), part(&body));
        let signature = Base64UrlUnpadded::encode_string(&issuer.sign(signed.as_bytes()).unwrap());
        format!("{signed}.{signature}")
    };
    let limits = json!({
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1,
        "mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1,
    });
    let audit = jwt(&by_operator, &account, json!({ "limits": limits, "type": "account", "version": 2 }));
    let mut limits_of_system = limits;
    limits_of_system["mem_storage"] = 0.into();
    limits_of_system["disk_storage"] = 0.into();
    let of_system = jwt(&by_operator, &system, json!({ "limits": limits_of_system, "type": "account", "version": 2 }));
    let of_operator = jwt(&by_operator, &operator, json!({ "type": "operator", "version": 2 }));
    let rights = json!({
        "pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1, "type": "user", "version": 2,
    });
    let of_user = jwt(&by_account, &user, rights);
    let seed = by_user.seed().unwrap();
    let credentials = format!(
        "-----BEGIN NATS USER JWT-----\n{of_user}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    );
    let configuration = format!(
        "operator: {of_operator}\nsystem_account: {system}\nresolver: MEMORY\n\
         resolver_preload: {{ {account}: {audit}, {system}: {of_system} }}\n"
    );
    (configuration, credentials)
}

#[tokio::test]
async fn credentials_of_a_user_are_shown_and_can_be_replaced() {
    let mut host = Host::new();
    let ((configuration, right), (_, wrong)) = (with_operator(), with_operator());
    let server = Nats::start(&host.path("nats"), &configuration);
    let context = operator(&server, ConnectOptions::with_credentials(&right).unwrap()).await;
    context.create_stream(all_of(STREAM)).await.unwrap();
    host.append(0..3);
    let file = host.path("user.creds");
    fs::write(&file, &wrong).unwrap();
    let running = host.deliver(sink(&server, |config| config.creds_file = Some(file.clone())));
    let report = running.trouble("refuses our credentials").await;
    assert!(report.needs_operator, "{report:?}");
    fs::write(&file, "SUAIO3FHUX5PNV2LQIIP7TZ3N4L7TX3W53MQGEIVYFIGA635OZCKEYHFLM").unwrap();
    let report = running.trouble("no credentials").await;
    assert!(!format!("{report:?}").contains("SUAIO3"), "{report:?}");
    fs::write(&file, &right).unwrap();
    running.delivered(2).await;
    assert_eq!(lines(&context).await, text(&batches(0..3)));
}
