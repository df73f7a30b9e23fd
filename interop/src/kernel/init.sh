#!/bin/sh
# The first and only process of the guest: makes ready what the tests want, runs them, and ends the guest.
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs run /run
mount -t tmpfs tmp /tmp
modprobe --all esp4 esp6 ah4 ah6 xfrm_user veth
ip link set lo up
/program $(cat /arguments)
echo "the guest's program ended with $?"
echo o > /proc/sysrq-trigger
sleep 60
