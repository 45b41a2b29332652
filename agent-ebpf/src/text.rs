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

/// Where a text is.
#[derive(Clone, Copy)]
pub enum Words {
    /// Nowhere.
    None,
    /// In the caller's memory.
    User(u64),
    /// In the kernel's memory.
    Kernel(usize),
}

/// A text of at most `ROOM` bytes, the NUL counted. One that fills them is marked as cut.
#[inline(always)]
pub fn of<const ROOM: i32, R: Record>(draft: &mut CallDraft<R>, words: Words) -> Text {
    const { assert!(ROOM <= TEXT as i32) };
    let none = Text { marks: mark::ABSENT, ..Text::default() };
    let start = clamp::<{ 3 * TEXT as i32 }>(kernel_read(&draft.used));
    // SAFETY: a text is at most as long as the room behind the last one.
    let to = unsafe { (&raw mut draft.tail).cast::<u8>().add(start as usize) };
    // SAFETY: the same.
    let (len, marks) = unsafe {
        match words {
            Words::None | Words::User(0) | Words::Kernel(0) => return none,
            Words::User(at) => (copy_user_str(to, ROOM as u32, at), mark::USER),
            Words::Kernel(at) => (copy_str(to, ROOM as u32, at), 0),
        }
    };
    if len <= 0 {
        return draft.text(start, 0, marks | mark::ABSENT | mark::TRUNCATED);
    }
    let cut = if len == i64::from(ROOM) { mark::TRUNCATED } else { 0 };
    // without the NUL
    draft.text(start, clamp::<ROOM>(len as u64 - 1), marks | cut)
}
