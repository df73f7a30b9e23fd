#!/bin/sh
# The first process of the guest: makes ready what is to run, runs it, and ends the guest.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/run TMPDIR=/run
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs run /run
$(cat /guest-mount) "$(cat /guest-results)"
modprobe --all esp4 esp6 ah4 ah6 xfrm_user af_key veth bridge tun
ip link set lo up
$(cat /guest-command)
echo "the guest's program ended with $?"
# Comes back when the console has said all.
stty sane
echo o > /proc/sysrq-trigger
sleep 60
