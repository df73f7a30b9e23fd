# Boots the guest: KERNEL ROOT PLACE INIT PROGRAM ARGUMENTS, in mount and process namespaces of its own, which take
# every mount made here with them.
#
# The guest's root is the root file system with the kernel, its modules, and what it is to run laid over it. Nothing of
# that is written to. It gets device nodes of its own: nothing of this machine's /dev is within its reach.
set -eu
kernel=$1 root=$2 place=$3 init=$4 program=$5
shift 5
mount -t tmpfs -o mode=755 guest "$place"
mkdir "$place/over" "$place/root"
cp "$init" "$place/over/init"
chmod 755 "$place/over/init"
cp "$program" "$place/over/program"
printf '%s\n' "$*" > "$place/over/arguments"
mount -t overlay -o "ro,lowerdir=$place/over:$kernel:$root" overlay "$place/root"
dev=$place/root/dev
mount -t tmpfs -o mode=755 devices "$dev"
mknod -m 600 "$dev/console" c 5 1
mknod -m 666 "$dev/null" c 1 3
mknod -m 666 "$dev/zero" c 1 5
mknod -m 666 "$dev/random" c 1 8
mknod -m 666 "$dev/urandom" c 1 9
mkdir "$dev/net" "$dev/shm"
mknod -m 666 "$dev/net/tun" c 10 200
# The guest's memory is a file in here.
mount -t tmpfs memory "$dev/shm"
mount -t proc proc "$place/root/proc"
exec chroot "$place/root" /usr/bin/linux.uml mem=1024M root=/dev/root rootfstype=hostfs rootflags=/ ro init=/init \
    con0=fd:0,fd:1 con=null uml_dir=/dev/shm seccomp=on panic=-1 quiet < "$dev/null"
