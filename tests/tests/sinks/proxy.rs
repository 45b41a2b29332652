//! Names, passwords, and a real proxy (tinyproxy).

use std::fs;

use tests::{nginx, tinyproxy::Tinyproxy};

use crate::{Host, batches, received, text};

#[tokio::test]
async fn a_name_and_a_password_can_be_replaced_while_it_runs() {
    let mut host = Host::new();
    let nginx = host.nginx(&nginx::Options { basic: Some("log:open sesame".to_owned()), ..nginx::Options::default() });
    let pair = host.path("pair");
    fs::write(&pair, "log:wrong sesame\n").unwrap();
    let sink = Host::http(&nginx, |config| config.basic_file = Some(pair.clone()));
    assert!(!format!("{sink:?}").contains("sesame"));
    host.append(0..5);
    let running = host.deliver(sink);
    let report = running.trouble("401").await;
    assert!(report.needs_operator && !format!("{report:?}").contains("sesame"), "{report:?}");
    fs::write(&pair, "no colon").unwrap();
    running.trouble("`name:password`").await;
    fs::write(&pair, "log:open sesame\n").unwrap();
    running.delivered(4).await;
    assert_eq!(text(&received(&nginx)), text(&batches(0..5)));
}

#[tokio::test]
async fn through_a_proxy_that_wants_a_password() {
    for plain in [false, true] {
        through_a_proxy(plain).await;
    }
}

async fn through_a_proxy(plain: bool) {
    let mut host = Host::new();
    let nginx = host.nginx(&nginx::Options {
        tls: if plain { nginx::Tls::No } else { nginx::Tls::Modern },
        ..nginx::Options::default()
    });
    let proxy = Tinyproxy::start(&host.path(""), "agent", "open-sesame").unwrap();
    let pair = host.path("pair");
    let sink = |with_password: bool| {
        Host::http(&nginx, |config| {
            config.proxy = Some(proxy.url());
            config.proxy_basic_file = with_password.then(|| pair.clone());
        })
    };
    host.append(0..5);
    let words = if plain { "HTTP 407" } else { "proxy authorization required" };
    let without = host.deliver(sink(false));
    assert!(without.trouble(words).await.needs_operator);
    without.task.abort();
    fs::write(&pair, "agent:closed-sesame").unwrap();
    let running = host.deliver(sink(true));
    let report = running.trouble(if plain { "HTTP 401" } else { "unsuccessful" }).await;
    assert!(received(&nginx).is_empty() && !format!("{report:?}").contains("sesame"), "{report:?}");
    fs::write(&pair, "agent:open-sesame").unwrap();
    running.delivered(4).await;
    assert_eq!(text(&received(&nginx)), text(&batches(0..5)));
    let way = if plain { "POST http://127.0.0.1:" } else { "CONNECT 127.0.0.1:" };
    assert!(proxy.log().contains(&format!("{way}{}", nginx.port())), "{}", proxy.log());
    // a proxy that is gone is trouble that passes
    drop(proxy);
    host.append(5..6);
    assert!(!running.trouble("Connect").await.needs_operator);
}
