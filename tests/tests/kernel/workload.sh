#!/bin/sh
# Acts on files, programs and the network, with and without success, in the directory of the first argument. Calls that
# name a file without a directory get an absolute path, so that strace tells all of it.
cd "$1" || exit 1
echo one >one
echo two >>one
cat one none /etc/hostname >/dev/null 2>&1
cp one copy
ln one hard
ln one hard 2>/dev/null
ln -s one soft
cat soft >/dev/null
mv copy moved
mv none gone 2>/dev/null
mkdir -p deep/er
mv moved deep/er/moved
chmod 640 one
chmod 640 none 2>/dev/null
chown 0:0 one
truncate -s 100 one
touch deep/touched
rm -r deep
rm none 2>/dev/null
rmdir "$1/none" 2>/dev/null
/no/such/program 2>/dev/null
"$1/one" 2>/dev/null
(exit 3)
sh -c 'kill -KILL $$' 2>/dev/null
perl -MSocket -MFcntl -e '
    my $dir = shift;
    open(F, ">", "$dir/perl"); truncate(F, 10); chmod(0600, *F); chown(0, 0, *F); close(F);
    link("$dir/perl", "$dir/linked"); rename("$dir/linked", "$dir/renamed"); symlink("to/where", "$dir/sym");
    chmod(0644, "$dir/perl", "$dir/none"); chown(0, 0, "$dir/perl"); truncate("$dir/perl", 3); truncate("$dir/none", 3);
    sysopen(G, "$dir/perl", O_RDWR | O_CREAT | O_EXCL); unlink("$dir/renamed", "$dir/sym", "$dir/none");
    mkdir("$dir/empty"); rmdir("$dir/empty"); rmdir("$dir/empty");
    socket(L, PF_INET, SOCK_STREAM, 0); bind(L, pack_sockaddr_in(0, INADDR_LOOPBACK)); listen(L, 5);
    my $name = getsockname(L);
    socket(C, PF_INET, SOCK_STREAM, 0); connect(C, $name); accept(A, L); bind(C, $name);
    socket(R, PF_INET, SOCK_STREAM, 0); connect(R, pack_sockaddr_in(1, INADDR_LOOPBACK));
    socket(U, PF_INET, SOCK_DGRAM, 0); send(U, "x", 0, $name); connect(U, $name);
    socket(V, PF_INET6, SOCK_DGRAM, 0); send(V, "x", 0, pack_sockaddr_in6(9, inet_pton(AF_INET6, "::1")));
    socket(S, PF_UNIX, SOCK_STREAM, 0); connect(S, pack_sockaddr_un("$dir/none")); bind(S, pack_sockaddr_un("$dir/sock")); listen(S, 1);
    socket(T, PF_UNIX, SOCK_STREAM, 0); connect(T, pack_sockaddr_un("$dir/sock")); accept(B, S);
    if (my $pid = fork()) { waitpid($pid, 0) } else { exec("/usr/bin/true", "a b", "") }
    exec("$dir/none", 1);
' "$1" 2>/dev/null
exit 0
