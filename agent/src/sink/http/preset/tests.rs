use proptest::prelude::*;
use reqwest::header::{HeaderMap, HeaderValue};
use serde_json::{Value, json};

use super::*;

const PRESETS: [Preset; 5] = [Preset::Elasticsearch, Preset::SplunkHec, Preset::Loki, Preset::Otlp, Preset::Clickhouse];

fn part(events: usize) -> Part {
    Part { pieces: Vec::new(), key: "abc:1.0-1.9".to_owned(), events: Some(events) }
}

fn answer(status: u16, body: &str) -> Answer {
    Answer { status, headers: HeaderMap::new(), body: body.as_bytes().to_vec(), whole: true }
}

fn word(preset: Preset, answer: &Answer) -> &'static str {
    (preset.shape().unwrap().meaning)(answer, &part(2)).word()
}

#[test]
fn every_answer_of_a_product_has_its_meaning() {
    let item = |status: u16| json!({"create": {"status": status}});
    let bulk = |items: &[u16]| json!({"errors": true, "items": items.iter().map(|it| item(*it)).collect::<Vec<_>>()});
    let bulk = |items: &[u16]| bulk(items).to_string();
    let table: &[(Preset, u16, &str, &str)] = &[
        (Preset::Elasticsearch, 200, r#"{"errors":false,"items":[]}"#, "delivered"),
        (Preset::Elasticsearch, 200, &bulk(&[201, 409]), "delivered"),
        (Preset::Elasticsearch, 200, &bulk(&[409]), "retry"), // one item is missing
        (Preset::Elasticsearch, 200, &bulk(&[429, 400]), "retry"),
        (Preset::Elasticsearch, 200, &bulk(&[503, 201]), "retry"),
        (Preset::Elasticsearch, 200, &bulk(&[403, 400]), "slow"),
        (Preset::Elasticsearch, 200, &bulk(&[400, 201]), "refused"),
        (Preset::Elasticsearch, 200, "<html>", "retry"),
        (Preset::Elasticsearch, 200, "", "retry"),
        (Preset::Elasticsearch, 401, "", "slow"),
        (Preset::Elasticsearch, 413, "", "too large"),
        (Preset::SplunkHec, 200, r#"{"text":"Success","code":0,"ackId":7}"#, "accepted"),
        (Preset::SplunkHec, 200, r#"{"text":"Success","code":0}"#, "accepted"),
        (Preset::SplunkHec, 200, "ok", "slow"),
        (Preset::SplunkHec, 400, r#"{"text":"Invalid data format","code":6}"#, "refused"),
        (Preset::SplunkHec, 400, r#"{"text":"Data channel is missing","code":10}"#, "slow"),
        (Preset::SplunkHec, 403, r#"{"text":"Invalid token","code":4}"#, "slow"),
        (Preset::SplunkHec, 503, r#"{"text":"Server is busy","code":9}"#, "retry"),
        (Preset::Loki, 204, "", "delivered"),
        (Preset::Loki, 200, "<html>", "slow"),
        (Preset::Loki, 400, "entry too far behind", "refused"),
        (Preset::Loki, 429, "", "retry"),
        (Preset::Otlp, 200, "", "delivered"),
        (Preset::Otlp, 200, "{}", "delivered"),
        (Preset::Otlp, 200, r#"{"partialSuccess":null}"#, "delivered"),
        (Preset::Otlp, 200, r#"{"partialSuccess":{"rejectedLogRecords":"0","errorMessage":"slow down"}}"#, "delivered"),
        (Preset::Otlp, 200, r#"{"partialSuccess":{"rejectedLogRecords":"3"}}"#, "rejected"),
        (Preset::Otlp, 200, r#"{"partialSuccess":{"rejectedLogRecords":3}}"#, "rejected"),
        (Preset::Otlp, 200, r#"{"partialSuccess":{"rejectedLogRecords":"many"}}"#, "rejected"),
        (Preset::Otlp, 200, "<html>", "slow"),
        (Preset::Otlp, 400, "", "rejected"),
        (Preset::Otlp, 500, "", "rejected"),
        (Preset::Otlp, 404, "", "slow"),
        (Preset::Otlp, 415, "", "encoding"),
        (Preset::Otlp, 429, "", "retry"),
        (Preset::Otlp, 502, "", "retry"),
        (Preset::Otlp, 503, "", "retry"),
        (Preset::Otlp, 504, "", "retry"),
        (Preset::Clickhouse, 200, "", "delivered"),
        (Preset::Clickhouse, 200, "Ok.\n", "slow"),
        (Preset::Clickhouse, 400, "Code: 27. DB::Exception: Cannot parse input", "refused"),
        (Preset::Clickhouse, 404, "Code: 60. DB::Exception: Unknown table", "slow"),
        (Preset::Clickhouse, 500, "Code: 241. DB::Exception: Memory limit", "retry"),
    ];
    for (preset, status, body, expected) in table {
        assert_eq!(word(*preset, &answer(*status, body)), *expected, "{preset:?} {status} {body}");
    }
    let mut late = answer(200, "");
    late.headers.insert("x-clickhouse-exception-code", HeaderValue::from_static("241"));
    assert_eq!(word(Preset::Clickhouse, &late), "retry");
    late.headers.insert("x-clickhouse-exception-code", HeaderValue::from_static("117"));
    assert_eq!(word(Preset::Clickhouse, &late), "slow");
    let half = Answer { whole: false, ..answer(200, r#"{"errors":false}"#) };
    assert_eq!(word(Preset::Elasticsearch, &half), "retry");
}

#[test]
fn addresses_have_the_usual_path_and_keep_another_one() {
    let table: &[(Preset, &str, &str)] = &[
        (Preset::Http, "https://a/", "https://a/"),
        (Preset::Elasticsearch, "https://a:9200", "https://a:9200/sigtrail/_bulk"),
        (Preset::Elasticsearch, "https://a/es/logs/_bulk", "https://a/es/logs/_bulk"),
        (Preset::SplunkHec, "https://a:8088/", "https://a:8088/services/collector/event"),
        (Preset::Loki, "https://a", "https://a/loki/api/v1/push"),
        (Preset::Otlp, "https://a", "https://a/v1/logs"),
        (Preset::Clickhouse, "https://a/?database=b", "https://a/?database=b"),
    ];
    for (preset, url, expected) in table {
        assert_eq!(preset.address(Url::parse(url).unwrap()).as_str(), *expected);
    }
    let acks: &[(&str, &str)] = &[
        ("https://a:8088/services/collector/event", "https://a:8088/services/collector/ack?channel=c"),
        ("https://a/splunk/services/collector?x=1", "https://a/splunk/services/collector/ack?channel=c"),
        ("https://a/hec/", "https://a/hec/ack?channel=c"),
    ];
    for (url, expected) in acks {
        assert_eq!(splunk::ack_address(&Url::parse(url).unwrap(), "c").as_str(), *expected);
    }
    let channel = splunk::channel("host/sigtrail", "hec");
    assert_eq!((channel.len(), &channel[14..15]), (36, "8"), "{channel}");
    assert!(matches!(&channel[19..20], "8" | "9" | "a" | "b"), "{channel}");
    assert_ne!(channel, splunk::channel("host/sigtrail", "hec2"));
}

#[test]
fn bodies_are_of_the_size_that_is_wanted_and_hold_each_event_once() {
    let lines = "{\"kind\":\"exec\",\"time\":\"2026-01-01T00:00:00.000000001Z\"}\n".repeat(40);
    let batch = |number| {
        let bytes = Bytes::from(format!("{lines}{{\"sigtrail\":\"seal/v1\",\"header\":\"\"}}\n"));
        Batch { number, bytes, frame: Bytes::new() }
    };
    for preset in PRESETS {
        let shape = preset.shape().unwrap();
        for most in [1, 2000, 10_000, 1 << 20] {
            let parts = parts(shape, "a/b", "abc", &[batch(1), batch(2)], View::Sigtrail, most).unwrap();
            let count: usize = parts.iter().map(|part| part.events.unwrap()).sum();
            assert_eq!(count, 80, "{preset:?}");
            for part in &parts {
                assert!(part.len() <= most || part.events == Some(1), "{preset:?} {most} {}", part.len());
                if matches!(preset, Preset::Loki | Preset::Otlp) {
                    serde_json::from_slice::<Value>(&part.pieces.concat()).unwrap();
                }
            }
            assert!(parts.first().unwrap().key.starts_with("abc:1.0-") && parts.last().unwrap().key.ends_with("-2.39"));
        }
        let empty = Batch { number: 3, bytes: batch(3).bytes.slice(lines.len()..), frame: Bytes::new() };
        assert_eq!(parts(shape, "a/b", "abc", &[empty], View::Sigtrail, 1000).unwrap(), []);
        let broken = Batch { number: 3, bytes: Bytes::from_static(b"no record\n"), frame: Bytes::new() };
        assert!(parts(shape, "a/b", "abc", &[broken], View::Sigtrail, 1000).is_err());
    }
}

/// Answers as products give them, to be broken.
const SEEDS: [&str; 6] = [
    r#"{"errors":true,"items":[{"create":{"status":429,"error":{"type":"es_rejected_execution_exception"}}},{"create":{"status":201}}]}"#,
    r#"{"text":"Success","code":0,"ackId":18446744073709551615}"#,
    r#"{"acks":{"1":true,"2":false}}"#,
    r#"{"partialSuccess":{"rejectedLogRecords":"9223372036854775807","errorMessage":"no"}}"#,
    "Code: 60. DB::Exception: Table default.x does not exist",
    "",
];

proptest! {
    /// Nothing that a receiver says breaks the agent, and nothing but a yes is a yes.
    #[test]
    fn no_answer_breaks_a_parser(
        at in 0..PRESETS.len(), seed in 0..SEEDS.len(), status in 100u16..1000, whole: bool,
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8), noise in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let mut body = SEEDS[seed].as_bytes().to_vec();
        for (place, byte) in edits {
            if !body.is_empty() {
                let place = place.index(body.len());
                body[place] = byte;
            }
        }
        body.extend(noise);
        let answer = Answer { status, headers: HeaderMap::new(), body, whole };
        let said = word(PRESETS[at], &answer);
        if matches!(said, "delivered" | "accepted") {
            prop_assert!((200..300).contains(&status) || status == 409, "{status} is {said}");
        }
        prop_assert!(answer.why().len() < 1024 && answer.head().len() <= 4 * 1024);
        let asked = splunk::indexed(&answer, 1);
        prop_assert!(asked != Ok(true) || status == 200);
    }
}
