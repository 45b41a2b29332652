//! The policy as its users meet it.

use sigtrail::policy::Policy;

#[test]
fn the_built_in_policy_parses() {
    let policy = Policy::load(&[]).unwrap_or_else(|error| panic!("{error}"));
    for share in policy.explain() {
        println!("{share}");
    }
}
