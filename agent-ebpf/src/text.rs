//! Texts that are no paths.

use common::{
    Record,
    wire::{Text, mark},
};

use crate::{
    draft::{CallDraft, TEXT, kernel_read},
    kernel::{clamp, copy_str, copy_user_str},
};

/// Bytes of a name that the kernel keeps short (`XATTR_NAME_MAX` is 255), with room to see that one is longer.
pub const NAME: i32 = 258;

/// Where a text is. All of it is always set: an enum leaves parts open, and the verifier refuses a copy of these.
#[derive(Clone, Copy)]
pub struct Words {
    at: u64,
    is_kernel: bool,
}

impl Words {
    /// Nowhere.
    pub const NONE: Words = Words { at: 0, is_kernel: false };

    /// In the caller's memory.
    #[inline(always)]
    pub const fn user(at: u64) -> Words {
        Words { at, is_kernel: false }
    }

    /// In the kernel's memory.
    #[inline(always)]
    pub const fn kernel(at: usize) -> Words {
        Words { at: at as u64, is_kernel: true }
    }
}

/// A text of at most `ROOM` bytes, the NUL counted. One that fills them is marked as cut.
#[inline(always)]
pub fn of<const ROOM: i32, R: Record>(draft: &mut CallDraft<R>, words: Words) -> Text {
    const { assert!(ROOM <= TEXT as i32) };
    let none = Text { marks: mark::ABSENT, ..Text::default() };
    let start = clamp::<{ 3 * TEXT as i32 }>(kernel_read(&draft.used));
    // SAFETY: a text is at most as long as the room behind the last one.
    let to = unsafe { (&raw mut draft.tail).cast::<u8>().add(start as usize) };
    if words.at == 0 {
        return none;
    }
    // SAFETY: the same.
    let (len, marks) = unsafe {
        if words.is_kernel {
            (copy_str(to, ROOM as u32, words.at as usize), 0)
        } else {
            (copy_user_str(to, ROOM as u32, words.at), mark::USER)
        }
    };
    if len <= 0 {
        return draft.text(start, 0, marks | mark::ABSENT | mark::TRUNCATED);
    }
    let cut = if len == i64::from(ROOM) { mark::TRUNCATED } else { 0 };
    // without the NUL
    draft.text(start, clamp::<ROOM>(len as u64 - 1), marks | cut)
}
