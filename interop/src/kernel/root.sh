# What all guests begin with: KERNEL LIBRARIES PLACE TARGET RESULTS PROGRAM ARGUMENTS, in mount and process namespaces of
# their own, which take every mount made here with them. What boots the guest follows.
#
# The guest's own root is this machine's, so that it has the same programs, with the directory TARGET even if that is
# mounted elsewhere, and the kernel's modules. Nothing of that is written to, but for the directory RESULTS.
set -eu
kernel=$1 libraries=$2 place=$3 target=$4 results=$5
shift 5
mount -t tmpfs -o mode=755 guest "$place"
mkdir -p "$place/guest/usr/lib/modules" "$place/root"
cp "${0%/*}/init" "$place/guest/guest-init"
chmod 755 "$place/guest/guest-init"
printf '%s\n' "$results" > "$place/guest/guest-results"
printf '%s\n' "$*" > "$place/guest/guest-command"
root=$place/root

# Mounts the guest's root on a directory that is there.
lay() {
    mount -t overlay -o "ro,lowerdir=$place/guest:/" overlay "$1"
    mount --bind "$kernel/usr/lib/modules" "$1/usr/lib/modules"
    mount --bind "$target" "$1$target"
}

