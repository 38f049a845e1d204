/*
 * The floor: what the kernel alone needs for one container.
 *
 *     floor ROOTFS CGROUP PROGRAM
 *
 * It creates the container of the default configuration (the one that `spec` writes on a machine with
 * cgroup v2) or, built with -DDOCKER, of the configuration recorded from Docker, runs PROGRAM in it, waits, and removes the cgroup: the work of `run`, with the same kernel
 * calls in the same number, but with every value known at compile time. It parses nothing, keeps no
 * state, checks little and reports errors poorly, and it does one step after the other. A runtime that
 * takes as long adds nothing of its own; one that overlaps steps on two CPUs can take less.
 *
 * ROOTFS has the directories proc, dev and sys; CGROUP is a path on cgroup2 that does not exist yet;
 * PROGRAM is a path in the container, and gets no arguments. The exit status is that of PROGRAM, 111 when
 * a call failed, 112 when PROGRAM did not start.
 *
 * As a runtime must, it reaches the root file system only by descriptors: openat2 in the root without
 * magic links, and the mount API of Linux 5.12. Directories are masked by one shared tmpfs.
 *
 * Docker's: no cgroup namespace, so a clone of the host's cgroups; a seccomp filter, two sysctls.
 *
 * Not done, though a runtime does it: a device program with rules (this one allows everything, which is
 * two instructions), and removing what a failure leaves.
 *
 * Build, statically, so that the dynamic loader is not measured (musl starts faster than glibc):
 *
 *     musl-gcc -O2 -static -idirafter /usr/include -idirafter /usr/include/$(uname -m)-linux-gnu floor.c
 *     cc -O2 -static floor.c
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/keyctl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

/* The old and the new mount headers cannot be included together in every libc. */
#define MOUNT_RECURSIVE 16384L
#define MOUNT_PRIVATE (1L << 18)
#define UNMOUNT_DETACH 2

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

/* A call that must succeed: its text, with the reason, is the error message. */
#define MUST(call)                                                                                         \
    ({                                                                                                     \
        long result_ = (long)(call);                                                                       \
        if (result_ < 0) {                                                                                 \
            perror(#call);                                                                                 \
            _exit(111);                                                                                    \
        }                                                                                                  \
        result_;                                                                                           \
    })

static const unsigned LOCKED = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NODEV;

#ifdef DOCKER
#define PROC_ATTRIBUTES LOCKED
#define HOST_NAME "ea2cd96ef049"
#define CAPABILITIES                                                                                       \
    (1u << CAP_CHOWN | 1u << CAP_DAC_OVERRIDE | 1u << CAP_FSETID | 1u << CAP_FOWNER | 1u << CAP_MKNOD |      \
     1u << CAP_NET_RAW | 1u << CAP_SETGID | 1u << CAP_SETUID | 1u << CAP_SETFCAP | 1u << CAP_SETPCAP |       \
     1u << CAP_NET_BIND_SERVICE | 1u << CAP_SYS_CHROOT | 1u << CAP_KILL | 1u << CAP_AUDIT_WRITE)
/* Made by the harness: the program of Docker's profile, of this project's compiler. */
static struct sock_filter filter[] = {
#include "filter.h"
};
#else
#define PROC_ATTRIBUTES 0
#define HOST_NAME "runc"
#define CAPABILITIES (1u << CAP_AUDIT_WRITE | 1u << CAP_KILL | 1u << CAP_NET_BIND_SERVICE)
#endif

/* The root of the container, before it is the root of the process. */
static int root;

/* A path of the container; negative when there is none. */
static int find(const char *path, int flags)
{
    struct open_how how = {
        .flags = O_PATH | O_CLOEXEC | flags,
        .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
    };
    return syscall(SYS_openat2, root, path, &how, sizeof how);
}

/*
 * A new file system, not attached; `source` is what mountinfo says. Options: pairs of a name and a value or
 * NULL, ended by a NULL name.
 */
static int new_mount(const char *type, const char *source, unsigned attributes, const char *const *options)
{
    int context = MUST(syscall(SYS_fsopen, type, FSOPEN_CLOEXEC));
    MUST(syscall(SYS_fsconfig, context, FSCONFIG_SET_STRING, "source", source, 0));
    for (; options && options[0]; options += 2) {
        int kind = options[1] ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG;
        MUST(syscall(SYS_fsconfig, context, kind, options[0], options[1], 0));
    }
    MUST(syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, 0, 0, 0));
    int mount = MUST(syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, attributes));
    MUST(close(context));
    return mount;
}

static void attach(int mount, int place)
{
    unsigned flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
    MUST(syscall(SYS_move_mount, mount, "", place, "", flags));
}

static void attach_at(int mount, const char *path)
{
    int place = MUST(find(path, 0));
    attach(mount, place);
    MUST(close(place));
    MUST(close(mount));
}

static int copy_of(int place, unsigned flags)
{
    return MUST(syscall(SYS_open_tree, place, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | flags));
}

static void set_attributes(int mount, unsigned attributes)
{
    struct mount_attr change = { .attr_set = attributes };
    MUST(syscall(SYS_mount_setattr, mount, "", AT_EMPTY_PATH, &change, sizeof change));
}

static void open_root(const char *path)
{
    MUST(syscall(SYS_mount, NULL, "/", NULL, MOUNT_RECURSIVE | MOUNT_PRIVATE, NULL));
    root = MUST(syscall(SYS_open_tree, AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE));
    int place = MUST(open(path, O_PATH | O_CLOEXEC));
    attach(root, place);
    MUST(close(place));
    MUST(fchdir(root));
}

static void make_devices(void)
{
    static const struct { const char *name; int major, minor; } devices[] = {
        { "null", 1, 3 }, { "zero", 1, 5 }, { "full", 1, 7 }, { "random", 1, 8 }, { "urandom", 1, 9 }, { "tty", 5, 0 },
    };
    static const char *const links[][2] = {
        { "/proc/self/fd", "fd" },         { "/proc/self/fd/0", "stdin" }, { "/proc/self/fd/1", "stdout" },
        { "/proc/self/fd/2", "stderr" },   { "pts/ptmx", "ptmx" },
    };
    static const char *const directories[] = { "pts", "shm", "mqueue" };
    static const char *const options[] = { "mode", "755", "size", "65536k", NULL };

    int dev = new_mount("tmpfs", "tmpfs", MOUNT_ATTR_NOSUID | MOUNT_ATTR_STRICTATIME, options);
    for (size_t i = 0; i < LENGTH(directories); i++)
        MUST(mkdirat(dev, directories[i], 0755));
    for (size_t i = 0; i < LENGTH(devices); i++)
        MUST(mknodat(dev, devices[i].name, S_IFCHR | 0666, makedev(devices[i].major, devices[i].minor)));
    for (size_t i = 0; i < LENGTH(links); i++)
        MUST(symlinkat(links[i][0], dev, links[i][1]));
    attach_at(dev, "dev");
}

static void make_mounts(void)
{
    static const char *const pts[] = { "newinstance", NULL, "ptmxmode", "0666", "mode", "0620", "gid", "5", NULL };
    static const char *const shm[] = { "mode", "1777", "size", "65536k", NULL };

    attach_at(new_mount("proc", "proc", PROC_ATTRIBUTES, NULL), "proc");
    make_devices();
    attach_at(new_mount("devpts", "devpts", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, pts), "dev/pts");
    attach_at(new_mount("tmpfs", "shm", LOCKED, shm), "dev/shm");
    attach_at(new_mount("mqueue", "mqueue", LOCKED, NULL), "dev/mqueue");
    attach_at(new_mount("sysfs", "sysfs", LOCKED | MOUNT_ATTR_RDONLY, NULL), "sys");
#ifdef DOCKER
    /* Without a cgroup namespace it is the host's. */
    unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE;
    int groups = MUST(syscall(SYS_open_tree, AT_FDCWD, "/sys/fs/cgroup", flags));
    set_attributes(groups, LOCKED | MOUNT_ATTR_RDONLY);
    attach_at(groups, "sys/fs/cgroup");
#else
    attach_at(new_mount("cgroup2", "cgroup", LOCKED | MOUNT_ATTR_RDONLY, NULL), "sys/fs/cgroup");
#endif
}

static void make_read_only(void)
{
    static const char *const paths[] = { "proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger" };

    for (size_t i = 0; i < LENGTH(paths); i++) {
        int place = find(paths[i], 0);
        if (place < 0)
            continue;
        int mount = copy_of(place, AT_RECURSIVE);
        set_attributes(mount, MOUNT_ATTR_RDONLY);
        attach(mount, place);
        MUST(close(mount));
        MUST(close(place));
    }
}

static void mask(void)
{
    static const char *const paths[] = {
        "proc/acpi",       "proc/asound",      "proc/kcore",       "proc/keys",    "proc/latency_stats",
        "proc/timer_list", "proc/timer_stats", "proc/sched_debug", "sys/firmware", "proc/scsi",
    };
    static const char *const options[] = { "nr_inodes", "2", "ro", NULL, NULL };

    int null = MUST(find("dev/null", O_NOFOLLOW));
    int empty = -1;
    for (size_t i = 0; i < LENGTH(paths); i++) {
        int place = find(paths[i], 0);
        if (place < 0)
            continue;
        struct stat status;
        MUST(fstat(place, &status));
        if (!S_ISDIR(status.st_mode)) {
            int mount = copy_of(null, 0);
            attach(mount, place);
            MUST(close(mount));
        } else if (empty < 0) {
            empty = new_mount("tmpfs", "tmpfs", MOUNT_ATTR_RDONLY, options);
            attach(empty, place);
        } else {
            int mount = copy_of(empty, 0);
            attach(mount, place);
            MUST(close(mount));
        }
        MUST(close(place));
    }
}

static void enter_root(void)
{
    MUST(syscall(SYS_pivot_root, ".", "."));
    MUST(syscall(SYS_umount2, ".", UNMOUNT_DETACH));
    MUST(chdir("/"));
#ifndef DOCKER
    set_attributes(root, MOUNT_ATTR_RDONLY);
#endif
}

static void bring_loopback_up(void)
{
    struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP };
    int socket_ = MUST(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    MUST(ioctl(socket_, SIOCSIFFLAGS, &request));
    MUST(close(socket_));
}

static void drop_privileges(void)
{
    static const uint32_t kept = CAPABILITIES;
    struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
    struct __user_cap_data_struct sets[2] = { { kept, kept, 0 }, { 0, 0, 0 } };

#ifdef DOCKER
    gid_t groups[] = { 0 };
    MUST(syscall(SYS_setgroups, 1, groups));
#else
    struct rlimit files = { 1024, 1024 };
    MUST(setrlimit(RLIMIT_NOFILE, &files));
#endif
    /* An older kernel has fewer capabilities, and refuses the numbers that it does not have. */
    for (int capability = 0; capability <= CAP_LAST_CAP; capability++)
        if (capability > 31 || !(kept & 1u << capability))
            prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
#ifdef DOCKER
    /* Before the capability that this takes is gone. */
    struct sock_fprog program = { LENGTH(filter), filter };
    umask(022);
    MUST(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program));
    MUST(syscall(SYS_capset, &header, sets));
#else
    MUST(syscall(SYS_capset, &header, sets));
    MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
#endif
}

#ifdef DOCKER
/* The host's procfs: that of the container has a read-only sys. What is below net is always the caller's. */
static int proc;

static void write_file(const char *path, const char *text)
{
    int file = MUST(openat(proc, path, O_WRONLY | O_CLOEXEC));
    MUST(write(file, text, strlen(text)));
    MUST(close(file));
}
#endif

static void child(const char *rootfs, char *program)
{
    MUST(setsid());
#ifdef DOCKER
    proc = MUST(open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC));
    write_file("self/oom_score_adj", "0");
#else
    /* After clone3: only now is the cgroup of the process its own, and the root of the namespace. */
    MUST(syscall(SYS_unshare, CLONE_NEWCGROUP));
#endif
    MUST(syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, "_ses.floor", 0, 0, 0));
    umask(0);
    open_root(rootfs);
    make_mounts();
    make_read_only();
    mask();
    enter_root();
    bring_loopback_up();
    MUST(sethostname(HOST_NAME, strlen(HOST_NAME)));
#ifdef DOCKER
    write_file("sys/net/ipv4/ip_unprivileged_port_start", "0");
    write_file("sys/net/ipv4/ping_group_range", "0 2147483647");
#endif
    umask(022);
    drop_privileges();
    char *arguments[] = { program, NULL };
    char *environment[] = { "PATH=/bin", "TERM=xterm", NULL };
    execve(program, arguments, environment);
    perror("execve");
    _exit(112);
}

/* r0 = 1; exit: every device is allowed. */
static void allow_devices(int cgroup)
{
    struct bpf_insn program[] = {
        { .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 1 },
        { .code = BPF_JMP | BPF_EXIT },
    };
    union bpf_attr load, attach;
    memset(&load, 0, sizeof load);
    load.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
    load.insn_cnt = LENGTH(program);
    load.insns = (uint64_t)(uintptr_t)program;
    load.license = (uint64_t)(uintptr_t) "GPL";
    memset(&attach, 0, sizeof attach);
    attach.attach_bpf_fd = MUST(syscall(SYS_bpf, BPF_PROG_LOAD, &load, sizeof load));
    attach.target_fd = cgroup;
    attach.attach_type = BPF_CGROUP_DEVICE;
    attach.attach_flags = BPF_F_ALLOW_MULTI;
    MUST(syscall(SYS_bpf, BPF_PROG_ATTACH, &attach, sizeof attach));
    MUST(close(attach.attach_bpf_fd));
}

int main(int count, char **arguments)
{
    if (count != 4) {
        fprintf(stderr, "usage: floor ROOTFS CGROUP PROGRAM\n");
        return 111;
    }
    char *rootfs = arguments[1], *group = arguments[2], *program = arguments[3];

    MUST(mkdir(group, 0755));
    int cgroup = MUST(open(group, O_DIRECTORY | O_CLOEXEC));
    allow_devices(cgroup);
    struct clone_args how = {
        .flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_INTO_CGROUP,
        .exit_signal = SIGCHLD,
        .cgroup = cgroup,
    };
    long pid = MUST(syscall(SYS_clone3, &how, sizeof how));
    if (pid == 0)
        child(rootfs, program);
    int status;
    MUST(waitpid(pid, &status, 0));
    MUST(rmdir(group));
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}
