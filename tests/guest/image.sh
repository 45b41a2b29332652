#!/bin/sh
# What `cargo xtask vm systemd` boots, from a Debian that mmdebstrap has put into an archive.
#
#   image.sh ROOT.TAR OUT    makes OUT/root.img (ext4), OUT/vmlinuz and OUT/initrd.gz
#
# It runs as root, or as what `mmdebstrap --unshare-helper` makes of somebody else.
set -eu
out=$2
work=$(mktemp -d --tmpdir="$out")
trap 'rm -rf "$work"' EXIT
root=$work/root
mkdir "$root"
tar -C "$root" -xf "$1"
release=$(ls "$root/lib/modules")
modules=$root/lib/modules/$release/kernel

# ---- the kernel, and an initramfs that has what it needs to find its disk ----
cp "$root/boot/vmlinuz-$release" "$out/vmlinuz"
initrd=$work/initrd
mkdir -p "$initrd/bin" "$initrd/dev" "$initrd/proc" "$initrd/root"
cp "$(command -v busybox)" "$initrd/bin/busybox"
order="virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk crc16 crc32c_generic mbcache jbd2 ext4"
for name in $order; do
    find "$modules" -name "$name.ko" -exec cp {} "$initrd" \;
done
cat >"$initrd/init" <<END
#!/bin/busybox sh
export PATH=/bin
for name in $order; do
    busybox insmod /\$name.ko
done
busybox mount -t devtmpfs dev /dev
busybox mount -t ext4 /dev/vda /root || busybox poweroff -f
busybox mount --move /dev /root/dev
exec busybox switch_root /root /sbin/init
END
chmod 755 "$initrd/init"
(cd "$initrd" && find . | cpio --create --format=newc --owner=0:0 --quiet | gzip -1) >"$out/initrd.gz"

# ---- the system: quiet, small, with the steps as a service ----
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service \
    fstrim.timer getty@.service serial-getty@.service nginx.service systemd-pstore.service systemd-timesyncd.service; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
for name in gpu media net infiniband scsi isdn staging hwmon iio usb; do
    rm -rf "$modules/drivers/$name"
done
rm -rf "$modules/sound" "$root/boot" "$root/usr/share/locale"
chroot "$root" /sbin/depmod "$release"
echo guest >"$root/etc/hostname"
echo "127.0.0.1 localhost guest" >"$root/etc/hosts"
echo "/dev/vda / ext4 defaults 0 1" >"$root/etc/fstab"
mkdir -p "$root/host"
cat >"$root/etc/systemd/system/steps.service" <<END
[Unit]
Description=Steps of the test
After=multi-user.target
SuccessAction=poweroff-force
FailureAction=poweroff-force

[Service]
Type=oneshot
ExecStartPre=/bin/mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144 host /host
ExecStart=/bin/bash /host/steps.sh
StandardOutput=tty
StandardError=inherit
TTYPath=/dev/ttyS0
END
mkdir -p "$root/etc/systemd/system/graphical.target.wants"
ln -s ../steps.service "$root/etc/systemd/system/graphical.target.wants/steps.service"
rm -f "$out/root.img"
mke2fs -q -t ext4 -d "$root" "$out/root.img" 1200M
