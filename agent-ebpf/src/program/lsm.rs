//! Security hooks: they are asked with the objects that the kernel resolved, before a call changes a name or attribute.
//! They allow everything and take a note for the end of the call.

use aya_ebpf::{macros::lsm, programs::LsmContext};
use common::{
    Kind,
    wire::{Device, Inode, UNSET},
};

use crate::{
    kernel::{Base, Fast, Memory, load},
    notes::{self, Note, Notes},
    path::Place,
};

/// Declares both families of a security hook.
macro_rules! asked {
    ($hook:literal: $fast:ident, $base:ident, $body:ident) => {
        #[lsm(hook = $hook)]
        #[doc = concat!("Typed loads, see [`", stringify!($body), "`].")]
        pub fn $fast(ctx: LsmContext) -> i32 {
            $body::<Fast>(&ctx);
            0
        }
        #[lsm(hook = $hook)]
        #[doc = concat!("Helper calls, see [`", stringify!($body), "`].")]
        pub fn $base(ctx: LsmContext) -> i32 {
            $body::<Base<Notes>>(&ctx);
            0
        }
    };
}

/// The object of a call.
#[inline(always)]
fn set_object<M: Memory>(note: &mut Note, place: Place) {
    let inode = place.inode::<M>();
    note.body.inode = Inode::default();
    note.body.dev = Device(UNSET);
    if inode != 0 {
        note.body.inode = Inode::from(load!(M, u64, inode, inode.ino));
        note.body.dev = Device(load!(M, u32, load!(M, usize, inode, inode.sb), sb.dev));
    }
    note.body.path = notes::resolve::<M>(note, place);
}

/// `(const struct path *dir, struct dentry *dentry, …)`
#[inline(always)]
fn entry<M: Memory>(ctx: &LsmContext, kinds: [Kind; 2]) {
    let (dir, entry): (usize, usize) = (ctx.arg(0), ctx.arg(1));
    notes::take::<M>(kinds, |note| set_object::<M>(note, Place::in_dir::<M>(dir, entry)));
}

/// `(const struct path *path, …)`
#[inline(always)]
fn object<M: Memory>(ctx: &LsmContext, kind: Kind) {
    let path: usize = ctx.arg(0);
    notes::take::<M>([kind; 2], |note| set_object::<M>(note, Place::of_path::<M>(path)));
}

#[inline(always)]
fn unlink<M: Memory>(ctx: &LsmContext) {
    entry::<M>(ctx, [Kind::Unlink; 2]);
}
asked!("path_unlink": lsm_unlink_fast, lsm_unlink_base, unlink);

/// `unlinkat` removes directories too.
#[inline(always)]
fn rmdir<M: Memory>(ctx: &LsmContext) {
    entry::<M>(ctx, [Kind::Rmdir, Kind::Unlink]);
}
asked!("path_rmdir": lsm_rmdir_fast, lsm_rmdir_base, rmdir);

#[inline(always)]
fn symlink<M: Memory>(ctx: &LsmContext) {
    entry::<M>(ctx, [Kind::Symlink; 2]);
}
asked!("path_symlink": lsm_symlink_fast, lsm_symlink_base, symlink);

#[inline(always)]
fn chmod<M: Memory>(ctx: &LsmContext) {
    object::<M>(ctx, Kind::Chmod);
}
asked!("path_chmod": lsm_chmod_fast, lsm_chmod_base, chmod);

#[inline(always)]
fn chown<M: Memory>(ctx: &LsmContext) {
    object::<M>(ctx, Kind::Chown);
}
asked!("path_chown": lsm_chown_fast, lsm_chown_base, chown);

#[inline(always)]
fn truncate<M: Memory>(ctx: &LsmContext) {
    object::<M>(ctx, Kind::Truncate);
}
asked!("path_truncate": lsm_truncate_fast, lsm_truncate_base, truncate);

/// `(struct dentry *old_dentry, const struct path *new_dir, struct dentry *new_dentry)`: both lie in one mount.
#[inline(always)]
fn link<M: Memory>(ctx: &LsmContext) {
    let (old, dir, new): (usize, usize, usize) = (ctx.arg(0), ctx.arg(1), ctx.arg(2));
    notes::take::<M>([Kind::Link; 2], |note| {
        set_object::<M>(note, Place::in_dir::<M>(dir, old));
        note.body.target = notes::resolve::<M>(note, Place::in_dir::<M>(dir, new));
    });
}
asked!("path_link": lsm_link_fast, lsm_link_base, link);

/// `(const struct path *old_dir, struct dentry *old_dentry, const struct path *new_dir, struct dentry *new_dentry, …)`
#[inline(always)]
fn rename<M: Memory>(ctx: &LsmContext) {
    let (from, old): (usize, usize) = (ctx.arg(0), ctx.arg(1));
    let (to, new): (usize, usize) = (ctx.arg(2), ctx.arg(3));
    notes::take::<M>([Kind::Rename; 2], |note| {
        set_object::<M>(note, Place::in_dir::<M>(from, old));
        note.body.target = notes::resolve::<M>(note, Place::in_dir::<M>(to, new));
    });
}
asked!("path_rename": lsm_rename_fast, lsm_rename_base, rename);

/// `(struct linux_binprm *bprm)`: the program that an exec would start, if nothing refuses it from here on; asked once,
/// for a script before its interpreter.
#[inline(always)]
fn check<M: Memory>(ctx: &LsmContext) {
    let bprm: usize = ctx.arg(0);
    let file = load!(M, usize, bprm, bprm.file);
    notes::take::<M>([Kind::Exec; 2], |note| set_object::<M>(note, Place::of_file::<M>(file)));
}
asked!("bprm_creds_for_exec": lsm_exec_fast, lsm_exec_base, check);
