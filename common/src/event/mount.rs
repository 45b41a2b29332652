use super::record;
use crate::{names::{FsconfigCommand, MountAttributes, MountFlags}, wire::{Path, Text}};

record! {
    /// A file system was mounted or a mount changed, or a step towards it was done (mount(2); fsopen(2), fsconfig(2),
    /// fsmount(2), fspick(2), open_tree(2), open_tree_attr(2), move_mount(2), mount_setattr(2)).
    "mount" => Mount {
        /// Where it is mounted, or the tree that is picked, cloned or changed; of fsconfig(2) the file that a parameter
        /// names. Null when the step has no place.
        path: Path,
        /// What is mounted: a device, a directory, or any name. Of a mount that the call made or moved, as the kernel
        /// keeps it.
        source: Text,
        /// The file system, as `ext4`; as the kernel keeps it, but for mount(2).
        fstype: Text,
        /// Options of the file system (mount(2)).
        options: Text,
        /// Name of the parameter (fsconfig(2)).
        key: Text,
        /// Its value, when it is a text (fsconfig(2)).
        value: Text,
        /// What is done (fsconfig(2)).
        command: FsconfigCommand,
        /// Flags of mount(2); the propagation that mount_setattr(2) asks for.
        flags: MountFlags,
        /// Attributes that are set (fsmount(2), mount_setattr(2), open_tree_attr(2)).
        attributes: MountAttributes,
        /// Attributes that are cleared (mount_setattr(2), open_tree_attr(2)).
        cleared: MountAttributes,
    }
}
