//! That a tree is the beginning of a later one: RFC 6962 section 2.1.2 (the same as RFC 9162 section 2.1.4).

use super::{Hash, Range, node};

/// Makes the proof that a tree is the beginning of a later one, from the leaves between the two alone.
///
/// On the way up from the last perfect subtree of the old tree, what stands left is in its compact range, and what
/// stands right are subtrees over the new leaves, one after the other. So nothing before the old tree is read, and at
/// most 64 hashes and one range are held.
#[derive(Clone, Debug)]
pub struct Consistency {
    old: Range,
    size: u64,
    /// Where the subtree begins that is built now, and its leaves.
    begin: u64,
    open: Range,
    right: Vec<Hash>,
}

impl Consistency {
    /// A proof from `old` to a tree of `size` leaves; `None` if the old tree is empty (nothing is to be proved) or the
    /// larger one.
    pub fn new(old: Range, size: u64) -> Option<Self> {
        let begin = old.size();
        (0 < begin && begin <= size).then(|| Self { old, size, begin, open: Range::new(), right: Vec::new() })
    }

    /// The number of the leaf that [`Consistency::push`] takes next; `None` when there is none more.
    pub fn wants(&self) -> Option<u64> {
        let next = self.begin + self.open.size();
        (next < self.size).then_some(next)
    }

    /// Takes the hash of the next leaf.
    pub fn push(&mut self, leaf: Hash) {
        self.open.push(leaf);
        // a subtree is as wide as the place is aligned where it begins; the last one may end before
        let full = self.begin.saturating_add(1 << self.begin.trailing_zeros());
        let end = self.begin + self.open.size();
        if end == full || end == self.size {
            self.right.push(std::mem::take(&mut self.open).root());
            self.begin = end;
        }
    }

    /// The proof; `None` if there are leaves that were not pushed.
    pub fn finish(self) -> Option<Vec<Hash>> {
        if self.wants().is_some() {
            return None;
        }
        let mut path = Vec::new();
        if self.old.size() == self.size {
            return Some(path);
        }
        let (mut left, mut right) = (self.old.path().into_iter(), self.right.into_iter());
        let last = left.next()?;
        if !self.old.size().is_power_of_two() {
            path.push(last);
        }
        let up = self.old.size().trailing_zeros();
        let (mut at, mut end) = ((self.old.size() - 1) >> up, (self.size - 1) >> up);
        while end > 0 {
            if at % 2 == 1 {
                path.push(left.next()?);
            } else if at < end {
                path.push(right.next()?);
            }
            (at, end) = (at / 2, end / 2);
        }
        Some(path)
    }
}

/// Whether the proof shows that a tree begins with all leaves of an older one (RFC 9162 section 2.1.4.2).
///
/// Every tree begins with that of no leaves; the proof of it is empty.
pub fn is_consistent(old: u64, old_root: Hash, size: u64, root: Hash, proof: &[Hash]) -> bool {
    if old == 0 || old >= size {
        return proof.is_empty() && (old == 0 || (old, old_root) == (size, root));
    }
    let up = (old - 1).trailing_ones();
    let (mut at, mut end) = ((old - 1) >> up, (size - 1) >> up);
    let mut siblings = proof.iter();
    // the last perfect subtree of the old tree is that tree itself when its size is a power of two
    let Some(first) = (if at == 0 { Some(&old_root) } else { siblings.next() }) else { return false };
    let (mut as_old, mut as_new) = (*first, *first);
    while end > 0 {
        if at % 2 == 1 {
            let Some(left) = siblings.next() else { return false };
            as_old = node(left, &as_old);
            as_new = node(left, &as_new);
        } else if at < end {
            let Some(right) = siblings.next() else { return false };
            as_new = node(&as_new, right);
        }
        (at, end) = (at / 2, end / 2);
    }
    siblings.next().is_none() && as_old == old_root && as_new == root
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::{LEAVES, by_definition};
    use super::super::{leaf, path as inclusion, root_by};
    use super::*;
    use crate::text::{hex, unhex};

    /// RFC 6962 section 2.1.2 as it is written: `SUBPROOF(m, D[n], b)`.
    fn subproof(old: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
        if old == leaves.len() {
            return if whole { Vec::new() } else { vec![by_definition(leaves)] };
        }
        let split = leaves.len().next_power_of_two() / 2;
        let (left, right) = leaves.split_at(split);
        let (mut proof, other) = if old <= split {
            (subproof(old, left, whole), by_definition(right))
        } else {
            (subproof(old - split, right, false), by_definition(left))
        };
        proof.push(other);
        proof
    }

    fn prove(leaves: &[Hash], old: usize) -> Vec<Hash> {
        let mut before = Range::new();
        leaves[..old].iter().for_each(|leaf| before.push(*leaf));
        let mut proof = Consistency::new(before, leaves.len() as u64).unwrap();
        for (number, leaf) in leaves.iter().enumerate().skip(old) {
            assert_eq!(proof.wants(), Some(number as u64));
            assert_eq!(proof.clone().finish(), None);
            proof.push(*leaf);
        }
        proof.finish().unwrap()
    }

    fn passes(proof: &[Hash], old: (u64, Hash), new: (u64, Hash)) -> bool {
        is_consistent(old.0, old.1, new.0, new.1, proof)
    }

    fn leaves(count: usize) -> Vec<Hash> {
        (0..count).map(|number| leaf(&number.to_le_bytes())).collect()
    }

    fn root(leaves: &[Hash]) -> (u64, Hash) {
        (leaves.len() as u64, by_definition(leaves))
    }

    /// The proofs of the reference implementation of RFC 6962 (certificate-transparency, merkle_tree_test).
    #[test]
    fn proofs_are_those_of_the_reference() {
        let all: Vec<Hash> = LEAVES.iter().map(|data| leaf(data)).collect();
        for (old, new, proof) in [
            (1, 1, &[][..]),
            (
                1,
                8,
                &[
                    "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                    "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
                ],
            ),
            (
                6,
                8,
                &[
                    "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
                    "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
                ],
            ),
            (
                2,
                5,
                &[
                    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                    "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                ],
            ),
        ] {
            let made = prove(&all[..new], old);
            assert_eq!(made.iter().map(|hash| hex(hash)).collect::<Vec<_>>(), proof, "{old} to {new}");
            let path: Vec<Hash> = proof.iter().map(|text| unhex(text).unwrap()).collect();
            assert!(passes(&path, root(&all[..old]), root(&all[..new])));
        }
    }

    #[test]
    fn every_proof_is_that_of_the_definition_and_no_other_passes() {
        let all = leaves(40);
        for new in 1..=all.len() {
            for old in 1..=new {
                let (before, after) = (root(&all[..old]), root(&all[..new]));
                let proof = prove(&all[..new], old);
                assert_eq!(proof, subproof(old, &all[..new], true), "{old} to {new}");
                assert!(passes(&proof, before, after), "{old} to {new}");
                for at in 0..proof.len() {
                    let mut other = proof.clone();
                    other[at][7] ^= 1;
                    assert!(!passes(&other, before, after), "{old} to {new}: hash {at}");
                }
                assert!(!passes(&[&proof[..], &[leaf(b"")]].concat(), before, after), "{old} to {new}");
                assert!(proof.is_empty() || !passes(&proof[..proof.len() - 1], before, after));
                assert!(!passes(&proof, before, (after.0, leaf(b""))));
                assert!(!passes(&proof, (before.0, leaf(b"")), after));
            }
        }
        assert!(passes(&[], (0, Range::new().root()), root(&all)));
        assert!(!passes(&[leaf(b"")], (0, Range::new().root()), root(&all)));
        assert!(!passes(&[], root(&all), root(&all[..39])));
        assert!(Consistency::new(Range::new(), 3).is_none());
    }

    proptest! {
        /// What was rewritten before the old head has no proof: neither the honest one, nor the one of the forger.
        #[test]
        fn a_fork_has_no_proof(new in 2_usize..400, cut: prop::sample::Index, change: prop::sample::Index) {
            let all = leaves(new);
            let old = 1 + cut.index(new - 1);
            let mut forged = all.clone();
            forged[change.index(old)] = leaf(b"forged");
            let (before, after) = (root(&all[..old]), root(&forged));
            prop_assert!(passes(&prove(&all, old), before, root(&all)));
            prop_assert!(!passes(&prove(&all, old), before, after));
            prop_assert!(!passes(&prove(&forged, old), before, after));
        }

        /// A leaf that the old head has is in the new one too: both proofs speak of the same tree.
        #[test]
        fn inclusion_and_consistency_agree(new in 1_usize..300, cut: prop::sample::Index, at: prop::sample::Index) {
            let all = leaves(new);
            let old = 1 + cut.index(new);
            let at = at.index(old);
            let found = root_by(&inclusion(&all[..old], at).unwrap(), all[at], at as u64, old as u64).unwrap();
            prop_assert!(passes(&prove(&all, old), (old as u64, found), root(&all)));
        }
    }
}
