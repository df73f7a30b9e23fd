# The kernel, as a process, runs in the root file system LIBRARIES, which has the C library it wants. The guest gets device
# nodes of its own: nothing of this machine's /dev is within its reach.
mkdir -p "$place/host/guest" "$place/host/results"
echo "mount -t hostfs -o /results results" > "$place/guest/guest-mount"
mount -t overlay -o "ro,lowerdir=$place/host:$kernel:$libraries" overlay "$root"
lay "$root/guest"
mount --bind "$results" "$root/results"
for dev in "$root/dev" "$root/guest/dev"; do
    mount -t tmpfs -o mode=755 devices "$dev"
    mknod -m 666 "$dev/null" c 1 3
    mknod -m 666 "$dev/zero" c 1 5
    mknod -m 666 "$dev/random" c 1 8
    mknod -m 666 "$dev/urandom" c 1 9
    mkdir "$dev/net" "$dev/shm"
    mknod -m 666 "$dev/net/tun" c 10 200
done
mknod -m 600 "$root/guest/dev/console" c 5 1
# The guest's memory is a file in here.
mount -t tmpfs memory "$root/dev/shm"
mount -t proc proc "$root/proc"
exec chroot "$root" /usr/bin/linux.uml mem=2048M root=/dev/root rootfstype=hostfs rootflags=/guest ro init=/guest-init \
    con0=fd:0,fd:1 con=null uml_dir=/dev/shm seccomp=on panic=-1 quiet < "$root/dev/null"
