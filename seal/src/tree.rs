//! Merkle trees of RFC 6962 section 2.1 (the same as RFC 9162 section 2.1.1), built from left to right.

use std::mem::ManuallyDrop;

use sha2::{Digest, Sha256};

mod consistency;

pub use consistency::{Consistency, is_consistent};

/// A SHA-256 hash: of a leaf, a node, or a text.
pub type Hash = [u8; 32];

/// SHA-256 of the bytes.
pub fn sha256(bytes: &[u8]) -> Hash {
    Sha256::digest(bytes).into()
}

/// The hash of a leaf: `SHA-256(0x00 || data)`.
pub fn leaf(data: &[u8]) -> Hash {
    hash([&[0], data])
}

/// The hash of an inner node: `SHA-256(0x01 || left || right)`.
pub fn node(left: &Hash, right: &Hash) -> Hash {
    // one part: this is done once per event
    let mut input = [1; 65];
    input[1..33].copy_from_slice(left);
    input[33..].copy_from_slice(right);
    hash([&input])
}

/// SHA-256 of the parts in turn.
fn hash<const PARTS: usize>(parts: [&[u8]; PARTS]) -> Hash {
    // a hasher that is dropped is wiped, for the sake of keys: no secret is here, and it is 2 % of sealing
    let mut hasher = ManuallyDrop::new(Sha256::new());
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize_reset().into()
}

/// The compact range of a tree: the roots of its perfect subtrees, widest (leftmost) first.
///
/// There is one subtree for each one-bit of the size, so at most 64 hashes stand for any tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Range {
    size: u64,
    hashes: Vec<Hash>,
}

impl Range {
    /// The empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// The range of a tree of `size` leaves; `None` if the number of hashes is not that of the one-bits of `size`.
    pub fn from_parts(size: u64, hashes: Vec<Hash>) -> Option<Self> {
        (hashes.len() == size.count_ones() as usize).then_some(Self { size, hashes })
    }

    /// The range of the leaves left of leaf `index`, from the inclusion path of that leaf as the last one of its tree.
    pub fn from_path(index: u64, path: &[Hash]) -> Option<Self> {
        Self::from_parts(index, path.iter().rev().copied().collect())
    }

    /// The number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The roots of the perfect subtrees, leftmost first.
    pub fn hashes(&self) -> &[Hash] {
        &self.hashes
    }

    /// Appends a leaf hash.
    pub fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.hashes.pop() {
                hash = node(&left, &hash);
            }
        }
        self.hashes.push(hash);
        self.size += 1;
    }

    /// The root of the tree; that of no leaves is SHA-256 of nothing.
    pub fn root(&self) -> Hash {
        let mut right_to_left = self.hashes.iter().rev();
        match right_to_left.next() {
            None => sha256(b""),
            Some(last) => right_to_left.fold(*last, |right, left| node(left, &right)),
        }
    }

    /// The inclusion path that the next leaf will have in the tree that ends with it, bottom up.
    pub fn path(&self) -> Vec<Hash> {
        self.hashes.iter().rev().copied().collect()
    }

    /// Whether a larger tree can be a continuation of this one, as far as the subtrees they have in common say.
    ///
    /// A `true` proves nothing when the trees have no subtree in common; a `false` proves a fork.
    pub fn may_continue_as(&self, later: &Self) -> bool {
        let mut covered = 0_u64;
        for (ours, theirs) in self.hashes.iter().zip(&later.hashes) {
            // a hash is left in both, so is a leaf: no logarithm of zero
            let width = |size: u64| 1_u64 << (size - covered).ilog2();
            if width(self.size) != width(later.size) {
                break;
            }
            if ours != theirs {
                return false;
            }
            covered += width(self.size);
        }
        true
    }
}

/// The inclusion path of a leaf among others, bottom up; `None` if there is no such leaf (RFC 6962 section 2.1.1).
pub fn path(leaves: &[Hash], index: usize) -> Option<Vec<Hash>> {
    if index >= leaves.len() {
        return None;
    }
    let (mut level, mut at, mut path) = (leaves.to_vec(), index, Vec::new());
    while level.len() > 1 {
        // the last one of an odd level has no sibling there and goes up as it is
        path.extend(level.get(at ^ 1));
        level =
            level.chunks(2).map(|pair| if let [left, right] = pair { node(left, right) } else { pair[0] }).collect();
        at /= 2;
    }
    Some(path)
}

/// The root that a leaf and its inclusion path make; `None` if the path has not the length that index and size want
/// (RFC 9162 section 2.1.3.2).
pub fn root_by(path: &[Hash], leaf: Hash, index: u64, size: u64) -> Option<Hash> {
    if index >= size {
        return None;
    }
    let (mut at, mut last, mut hash, mut siblings) = (index, size - 1, leaf, path.iter());
    while last > 0 {
        if at % 2 == 1 {
            hash = node(siblings.next()?, &hash);
        } else if at < last {
            hash = node(&hash, siblings.next()?);
        }
        at /= 2;
        last /= 2;
    }
    siblings.next().is_none().then_some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::hex;

    /// The leaves and roots of the reference implementation of RFC 6962 (certificate-transparency, merkle_tree_test).
    pub(super) const LEAVES: [&[u8]; 8] = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"\x40\x41\x42\x43",
        b"\x50\x51\x52\x53\x54\x55\x56\x57",
        b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
    ];
    const ROOTS: [&str; 9] = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    #[test]
    fn roots_are_those_of_rfc_6962() {
        let mut range = Range::new();
        assert_eq!(hex(&range.root()), ROOTS[0]);
        for (data, root) in LEAVES.iter().zip(&ROOTS[1..]) {
            range.push(leaf(data));
            assert_eq!(hex(&range.root()), *root, "{} leaves", range.size());
        }
    }

    /// RFC 6962 section 2.1 as it is written: split at the largest power of two below the size.
    pub(super) fn by_definition(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => sha256(b""),
            [one] => *one,
            _ => {
                let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
                node(&by_definition(left), &by_definition(right))
            }
        }
    }

    #[test]
    fn a_range_agrees_with_the_definition_and_its_path_folds_back() {
        let leaves: Vec<Hash> = (0_u32..300).map(|n| leaf(&n.to_le_bytes())).collect();
        let mut range = Range::new();
        for (n, one) in leaves.iter().enumerate() {
            let before = Range::from_path(n as u64, &range.path()).unwrap();
            assert_eq!(before, range);
            assert_eq!(before.root(), by_definition(&leaves[..n]));
            range.push(*one);
            assert!(before.may_continue_as(&range));
        }
        assert_eq!(range.root(), by_definition(&leaves));
        assert_eq!(Range::from_path(5, &[[0; 32]]), None);
    }

    #[test]
    fn every_leaf_has_one_path() {
        let leaves: Vec<Hash> = (0_u32..35).map(|n| leaf(&n.to_le_bytes())).collect();
        for size in 1..=leaves.len() {
            let root = by_definition(&leaves[..size]);
            for index in 0..size {
                let siblings = path(&leaves[..size], index).unwrap();
                let by = |path: &[Hash], at: usize| root_by(path, leaves[index], at as u64, size as u64);
                assert_eq!(by(&siblings, index), Some(root));
                assert!((0..size).filter(|at| *at != index).all(|at| by(&siblings, at) != Some(root)));
                assert_eq!(by(&[&siblings[..], &[root]].concat(), index), None);
                assert!(siblings.is_empty() || by(&siblings[1..], index).is_none());
            }
            assert_eq!(path(&leaves[..size], size), None);
        }
    }

    #[test]
    fn a_fork_shows_in_the_common_subtrees() {
        let grow = |salt: u8, to: u64| {
            let mut range = Range::new();
            (0..to).for_each(|n| range.push(leaf(&[if n == 1 { salt } else { 0 }, n as u8])));
            range
        };
        assert!(grow(0, 6).may_continue_as(&grow(0, 7)));
        assert!(!grow(0, 6).may_continue_as(&grow(1, 7)));
        assert!(grow(0, 6).may_continue_as(&grow(1, 8)), "nothing in common, nothing to say");
    }
}
