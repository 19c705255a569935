#!/bin/sh
# boot_root.sh BASE DIR COMMAND... - run COMMAND as PID 1 of a system of its own:
# the root BASE below a layer that is gone with it, in namespaces, with loopback
# alone for a network.  DIR is an empty directory.  Prints "ready" when all but
# COMMAND is there, and ends it when standard input ends.  Needs root.
set -eu
base=$1
dir=$2
self=$0

# In a mount namespace: keeps the layer and the control group, and removes them.
outside() {
    mount -t tmpfs none "$dir"
    mkdir "$dir/upper" "$dir/work" "$dir/root" "$dir/cgroup"
    mount -t overlay none "$dir/root" \
        -o "lowerdir=$base,upperdir=$dir/upper,workdir=$dir/work"
    group=
    if mount -t cgroup2 none "$dir/cgroup" 2> /dev/null; then
        group=$dir/cgroup/boot-root-$$
        mkdir "$group"
    fi
    BOOT_STEP=first BOOT_GROUP=$group \
        unshare -mnpiu --fork --kill-child "$self" "$@" &
    while read -r _; do :; done
    kill -9 $! 2> /dev/null || true
    wait
    [ -z "$group" ] || remove_group
}

# Processes leave the group a moment after they were killed with their PID 1.
remove_group() {
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        find "$group" -depth -type d -exec rmdir {} \; 2> /dev/null || true
        [ -d "$group" ] || return 0
        sleep 0.1
    done
}

# PID 1: the group is the root of the namespace that is made next.
first() {
    [ -z "$BOOT_GROUP" ] || echo 0 > "$BOOT_GROUP/cgroup.procs"
    BOOT_STEP=inside exec unshare -C "$self" "$@"
}

# In all namespaces: mounts what container engines mount.
inside() {
    shift 2
    ip link set lo up
    cd "$dir/root"
    mount -t proc -o nosuid,nodev,noexec none proc
    mount --bind proc/sys proc/sys
    mount -o remount,bind,ro proc/sys
    mount -t sysfs -o ro,nosuid,nodev,noexec none sys
    [ -z "$BOOT_GROUP" ] || mount -t cgroup2 none sys/fs/cgroup
    mount -t tmpfs -o mode=755 none dev
    mkdir dev/pts dev/shm
    mount -t devpts -o newinstance,ptmxmode=666 none dev/pts
    mount -t tmpfs none dev/shm
    for name in null zero full random urandom tty; do
        : > dev/$name
        mount --bind /dev/$name dev/$name
    done
    ln -s pts/ptmx dev/ptmx
    ln -s /proc/self/fd dev/fd
    ln -s fd/0 dev/stdin
    ln -s fd/1 dev/stdout
    ln -s fd/2 dev/stderr
    unset BOOT_STEP BOOT_GROUP
    pivot_root . mnt
    umount -l mnt
    echo ready
    exec "$@" < /dev/null > /dev/null 2>&1
}

case ${BOOT_STEP-} in
first | inside | outside) "$BOOT_STEP" "$@" ;;
*) BOOT_STEP=outside exec unshare -m "$self" "$@" ;;
esac
