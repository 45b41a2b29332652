//! A hook that cannot be attached: the agent goes on, and says so in its log, its status and its records.

use std::process::{Command, Stdio};

use tests::host::{Host, sigtrail};

#[test]
fn without_the_right_to_load_programs_every_hook_is_degraded() {
    let host = Host::new("");
    // CAP_BPF alone makes maps, but loads no tracing program (see capabilities(7))
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set=-perfmon,-sys_admin", "--inh-caps=-perfmon,-sys_admin"]).arg(sigtrail());
    command.arg("run").arg("--config").arg(host.path("sigtrail.yaml")).stdin(Stdio::null());
    let agent = host.start_as(command);
    let status = host.status();
    let hooks = status["hooks"].as_array().unwrap();
    assert!(!hooks.is_empty());
    for hook in hooks {
        assert!(hook["degraded"].as_str().is_some_and(|why| why.contains("CAP_PERFMON")), "{hook}");
    }
    let (code, said) = agent.stop();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("a hook is degraded"), "{said}");
    let batches = host.batches();
    let told = batches.iter().flat_map(|batch| batch.of_kind("agent.degraded"));
    // the cause is told once, and then each hook
    let (cause, told): (Vec<_>, Vec<_>) = told.partition(|record| record["program"] == "capabilities");
    assert!(cause.len() == 1 && cause[0]["why"].as_str().unwrap().starts_with("CAP_PERFMON is missing"), "{cause:?}");
    assert_eq!(told.len(), hooks.len(), "{told:?}");
    assert!(told.iter().any(|record| record["program"] == "open" && record["kinds"][0] == "open"), "{told:?}");
    host.verified();
}
