# A copy of this host in which nothing lasts: all that is written goes to memory. $1: folder of the packages; $2: a script,
# which is run as root of the copy, in a folder with the packages. No systemd runs there, as in an image that is being built.
set -eu
base=$(mktemp -d)
mount -t tmpfs none "$base"
mkdir "$base/upper" "$base/work" "$base/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$base/upper,workdir=$base/work" "$base/root"
mount -t proc proc "$base/root/proc"
mount --rbind /dev "$base/root/dev"
mount --rbind /sys "$base/root/sys"
mount -t tmpfs none "$base/root/run"
mkdir "$base/root/scene"
cp -r "$1"/*.deb "$1"/*.rpm "$1"/*.tar.gz "$1/SHA256SUMS" "$base/root/scene"
env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
    chroot "$base/root" /bin/sh -eu -c "cd /scene; $2"
