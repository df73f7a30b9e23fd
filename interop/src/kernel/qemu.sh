# The kernel's first root is an archive, from which it comes to the guest's, that it is lent by 9p. LIBRARIES are not wanted.
# The guest has a console and two directories, and nothing else of this machine: no network, and no disk.
: "$libraries"
echo "mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144 results" > "$place/guest/guest-mount"
lay "$root"
# qemu reaches files by /proc/self.
mount -t proc proc /proc
# What runs beside it has its time measured; this has not.
exec nice -n 19 qemu-system-x86_64 -machine q35 -accel tcg,thread=multi -cpu max -smp 2 -m 2048 -nodefaults -no-user-config \
    -display none -serial stdio -no-reboot -kernel "$kernel/vmlinuz" -initrd "$kernel/initrd" \
    -append "console=ttyS0 quiet panic=-1 mitigations=off cryptomgr.notests=1" \
    -fsdev "local,id=root,path=$root,security_model=none,readonly=on,multidevs=remap" \
    -device virtio-9p-pci,fsdev=root,mount_tag=root \
    -fsdev "local,id=results,path=$results,security_model=none,multidevs=remap" \
    -device virtio-9p-pci,fsdev=results,mount_tag=results < /dev/null
