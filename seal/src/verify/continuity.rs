//! What must go on from one header to the next, and what must add up within one.

use std::collections::BTreeMap;

use super::What;
use crate::header::{BatchKind, Facts, Header};

/// What of a header does not follow from the header before it. `cpus` has the last event number of each CPU.
pub(super) fn check(before: &Header, header: &Header, cpus: &BTreeMap<u32, u64>) -> Vec<What> {
    let mut found = Vec::new();
    let (was, is) = (&before.facts, &header.facts);
    if before.first.checked_add(before.events) != Some(header.first) {
        found.push(What::Follows("first"));
    }
    let started = matches!(is.kind, BatchKind::Start | BatchKind::Recovered);
    if was.boot != is.boot {
        if !started {
            found.push(What::Follows("boot"));
        }
    } else if is.mono.0 < was.mono.0 || is.mono.1 < was.mono.1 {
        found.push(What::Follows("mono"));
    }
    if was.kind == BatchKind::Stop && !started {
        found.push(What::Follows("kind"));
    }
    for cpu in &is.cpus {
        let Some(last) = cpus.get(&cpu.id).filter(|_| go_on(was, is)) else { continue };
        // before headers named the load, a crash could leave the numbers going on or not
        let anew = is.load.is_none() && is.kind == BatchKind::Recovered && cpu.first == 0;
        if !anew && last.checked_add(1) != Some(cpu.first) {
            found.push(What::Cpu { cpu: cpu.id, after: *last, first: cpu.first });
        }
    }
    found
}

/// Whether the numbers of the CPUs go on, and do not begin anew with programs that were loaded in between.
pub(super) fn go_on(was: &Facts, is: &Facts) -> bool {
    let same = match (was.load, is.load) {
        (None, None) => is.kind != BatchKind::Start,
        (was, is) => was == is,
    };
    was.boot == is.boot && same
}

/// What does not add up within a header.
pub(super) fn arithmetic(facts: &Facts) -> Vec<What> {
    let mut found = Vec::new();
    if facts.mono.0 > facts.mono.1 {
        found.push(What::Follows("mono"));
    }
    let mut by_hook = 0_u128;
    for account in &facts.accounts {
        let sum = |parts: &[u64]| parts.iter().map(|part| u128::from(*part)).sum::<u128>();
        by_hook += u128::from(account.lost);
        if u128::from(account.seen) != sum(&[account.kfilter, account.lost, account.recv])
            || u128::from(account.recv) != sum(&[account.ufilter, account.emit, account.merge])
            || account.trunc > account.emit
        {
            found.push(What::Account(account.hook.clone()));
        }
    }
    let by_cpu: u128 = facts.cpus.iter().map(|cpu| u128::from(cpu.lost)).sum();
    if u128::from(facts.lost) < by_hook.max(by_cpu) {
        found.push(What::Lost { total: facts.lost });
    }
    for cpu in &facts.cpus {
        // the numbers first..=last count the lost ones too
        if cpu.lost > 0 && cpu.lost - 1 > cpu.last - cpu.first {
            found.push(What::CpuLost(cpu.id));
        }
    }
    found
}
