#!/bin/busybox sh
# The first process of a guest in qemu: has the kernel's drivers for what it is lent, and goes there.
busybox=/bin/busybox
$busybox mount -t devtmpfs devices /dev
while read -r module; do
    $busybox insmod "/modules/$module"
done < /modules/order
$busybox mount -t 9p -o trans=virtio,version=9p2000.L,ro,cache=loose,msize=262144 root /root
$busybox mount -o move /dev /root/dev
exec $busybox switch_root /root /guest-init
