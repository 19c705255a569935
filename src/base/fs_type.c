#include "base/fs_type.h"

#include "base/fs.h"

#include <stddef.h>

/* clang-format off */
static const struct fs_type types[] = {
    { 0xef53,     "ext2/ext3/ext4", FS_DISK, true },
    { 0x58465342, "xfs",            FS_DISK, true },
    { 0x9123683e, "btrfs",          FS_DISK, false },
    { 0x2fc12fc1, "zfs",            FS_DISK, false },
    { 0xf2f52010, "f2fs",           FS_DISK, false },
    { 0x01021994, "tmpfs",          FS_MEMORY, true },
    { 0x858458f6, "ramfs",          FS_MEMORY, false },
    { 0x794c7630, "overlayfs",      FS_LAYERED, false },
    { 0x6969,     "nfs",            FS_REFUSED, false },
    { 0x517b,     "smbfs",          FS_REFUSED, false },
    { 0xfe534d42, "smb3",           FS_REFUSED, false },
    { 0xff534d42, "cifs",           FS_REFUSED, false },
    { 0x65735546, "fuse",           FS_REFUSED, false },
    { 0x01021997, "9p",             FS_REFUSED, false },
    { 0x00c36400, "ceph",           FS_REFUSED, false },
    { 0x5346414f, "afs",            FS_REFUSED, false },
    { 0x73757245, "coda",           FS_REFUSED, false },
    { 0x564c,     "ncpfs",          FS_REFUSED, false },
    { 0x786f4256, "vboxsf",         FS_REFUSED, false },
};
/* clang-format on */
static const struct fs_type unknown = { 0, "unknown", FS_UNKNOWN, false };

const struct fs_type *fs_type_by_magic(unsigned long magic)
{
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (types[i].magic == magic)
            return &types[i];
    return &unknown;
}

const struct fs_type *fs_type_of(int fd)
{
    unsigned long magic;

    return fs_magic(fd, &magic) != 0 ? NULL : fs_type_by_magic(magic);
}

bool fs_type_keeps_syncfs(const struct fs_type *t)
{
    return t->trust == FS_DISK || t->trust == FS_MEMORY;
}

bool fs_type_keeps_unnamed(const struct fs_type *t)
{
    return t->unnamed;
}
