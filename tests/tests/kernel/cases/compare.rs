//! What two witnesses tell of the same calls, and where they differ.

use std::path::{Component, Path, PathBuf};

/// A call, as a witness saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub call: String,
    pub ret: i64,
    /// What it was about; a witness need not know.
    pub objects: Vec<Object>,
}

/// What a call is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// A path from the root.
    Path(String),
    /// A path from somewhere.
    Part(String),
    /// Of a file.
    Inode(String),
    /// Of a socket, as the agent has it.
    Address(String),
}

impl Object {
    /// Whether the agent tells the same. A path that it has in full may end with what the witness has.
    fn is_in(&self, told: &[Object]) -> bool {
        told.iter().any(|it| match (self, it) {
            (Object::Part(part), Object::Path(path)) => Path::new(path).ends_with(part),
            // audit tells the file of a socket beside its address
            (Object::Path(path), Object::Address(address)) => address.trim_end() == path,
            _ => self == it,
        })
    }
}

/// The calls of each case: those between its mark and the next one, the marks left out.
pub fn by_case(calls: Vec<Seen>, marks: &[String]) -> Vec<Vec<Seen>> {
    let (mut cases, mut next) = (Vec::<Vec<Seen>>::new(), 0);
    for seen in calls {
        let is_next = |mark: &String| Object::Part(mark.clone()).is_in(&seen.objects);
        if seen.call == "open" && marks.get(next).is_some_and(is_next) {
            cases.push(Vec::new());
            next += 1;
        } else if let Some(case) = cases.last_mut() {
            case.push(seen);
        }
    }
    assert_eq!(next, marks.len(), "the mark {} is not there", marks[next.min(marks.len() - 1)]);
    cases
}

/// What is in one account and not in the other, and what is not the same in both. Empty when they agree.
pub fn differences(witness: &[Seen], agent: &[Seen]) -> Vec<String> {
    let mut differences = Vec::new();
    // the longest common sequence, so that one missing call is one difference
    let same = |a: &Seen, b: &Seen| a.call == b.call && a.ret == b.ret;
    let mut longest = vec![vec![0; agent.len() + 1]; witness.len() + 1];
    for (at, a) in witness.iter().enumerate().rev() {
        for (beside, b) in agent.iter().enumerate().rev() {
            let skip = longest[at + 1][beside].max(longest[at][beside + 1]);
            longest[at][beside] = if same(a, b) { longest[at + 1][beside + 1] + 1 } else { skip };
        }
    }
    let (mut at, mut beside) = (0, 0);
    while at < witness.len() || beside < agent.len() {
        match (witness.get(at), agent.get(beside)) {
            (Some(a), Some(b)) if same(a, b) => {
                let wrong: Vec<_> = a.objects.iter().filter(|it| !it.is_in(&b.objects)).collect();
                if !wrong.is_empty() {
                    differences.push(format!("{}: the witness tells {wrong:?}, the agent {:?}", a.call, b.objects));
                }
                (at, beside) = (at + 1, beside + 1);
            }
            (Some(a), b) if b.is_none() || longest[at + 1][beside] >= longest[at][beside + 1] => {
                differences.push(format!("the agent lacks {a:?}"));
                at += 1;
            }
            (_, b) => {
                differences.push(format!("the witness lacks {:?}", b.unwrap()));
                beside += 1;
            }
        }
    }
    differences
}

/// A name below a directory, folded by text.
pub fn folded(dir: &str, name: &str) -> String {
    let mut folded = PathBuf::from("/");
    for part in Path::new(dir).join(name).components() {
        match part {
            Component::ParentDir => drop(folded.pop()),
            Component::Normal(name) => folded.push(name),
            _ => {}
        }
    }
    folded.to_str().unwrap().to_owned()
}

#[test]
fn a_difference_is_found() {
    let seen =
        |call: &str, ret: i64, path: &str| Seen { call: call.into(), ret, objects: vec![Object::Path(path.into())] };
    let all = [seen("open", 3, "/a"), seen("unlink", -2, "/b"), seen("unlink", 0, "/b")];
    let count = |witness: &[Seen], agent: &[Seen]| differences(witness, agent).len();
    assert_eq!(count(&all, &all), 0);
    for at in 0..all.len() {
        let mut fewer = all.to_vec();
        fewer.remove(at);
        assert!(differences(&all, &fewer)[0].starts_with("the agent lacks"), "{at}");
        assert!(differences(&fewer, &all)[0].starts_with("the witness lacks"), "{at}");
        assert_eq!((count(&all, &fewer), count(&fewer, &all)), (1, 1));
        let mut twice = all.to_vec();
        twice.insert(at, all[at].clone());
        assert_eq!((count(&all, &twice), count(&twice, &all)), (1, 1), "{at} twice");
        let mut other = all.to_vec();
        other[at].ret = 7;
        assert_eq!(count(&all, &other), 2, "another result");
        other[at] = all[at].clone();
        other[at].objects = vec![Object::Path("/c".into())];
        assert!(differences(&all, &other)[0].contains("the witness tells"));
    }
    assert_eq!(count(&all, &[all[0].clone(), all[2].clone(), all[1].clone()]), 2, "another order");
    let part = |part: &str| [Seen { objects: vec![Object::Part(part.into())], ..seen("open", 3, "") }];
    let whole = [seen("open", 3, "/a/bc")];
    assert_eq!((count(&part("bc"), &whole), count(&part("c"), &whole)), (0, 1));
    let cases = by_case([&[seen("open", -2, "/x/case-0")], &all[..]].concat(), &["case-0".to_owned()]);
    assert_eq!(cases, [all.to_vec()]);
}
