/*
 * The floor of exec: what the kernel alone needs for one more process in a container.
 *
 *     floor-exec PID CGROUP PROGRAM
 *
 * It runs PROGRAM, without arguments, in the container of the default configuration whose init is PID and
 * whose cgroup is the directory CGROUP, and waits: in all of the container's namespaces, its cgroup, a session
 * of its own, a session keyring of that name, with the limits, capabilities and no_new_privs of the
 * configuration. Every value is known at compile time, and nothing is looked up. The exit status is that of
 * PROGRAM, 111 when a call failed, 112 when PROGRAM did not start.
 *
 * Built as floor.c is.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

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

static void drop_privileges(void)
{
    static const uint32_t kept = 1u << CAP_AUDIT_WRITE | 1u << CAP_KILL | 1u << CAP_NET_BIND_SERVICE;
    struct rlimit files = { 1024, 1024 };
    struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
    struct __user_cap_data_struct sets[2] = { { kept, kept, 0 }, { 0, 0, 0 } };

    MUST(setrlimit(RLIMIT_NOFILE, &files));
    /* An older kernel has fewer capabilities, and refuses the numbers that it does not have. */
    for (int capability = 0; capability <= CAP_LAST_CAP; capability++)
        if (capability > 31 || !(kept & 1u << capability))
            prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
    MUST(syscall(SYS_capset, &header, sets));
    MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
}

static void child(int init, char *program)
{
    MUST(setns(init, CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP));
    MUST(setsid());
    MUST(syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, "_ses.floor", 0, 0, 0));
    MUST(chdir("/"));
    umask(022);
    drop_privileges();
    char *arguments[] = { program, NULL };
    char *environment[] = { "PATH=/bin", "TERM=xterm", NULL };
    execve(program, arguments, environment);
    perror("execve");
    _exit(112);
}

int main(int count, char **arguments)
{
    if (count != 4) {
        fprintf(stderr, "usage: floor-exec PID CGROUP PROGRAM\n");
        return 111;
    }
    char *group = arguments[2], *program = arguments[3];
    int init = MUST(syscall(SYS_pidfd_open, atoi(arguments[1]), 0));
    int cgroup = MUST(open(group, O_DIRECTORY | O_CLOEXEC));

    /* For the children of this process; it stays where it is. */
    MUST(setns(init, CLONE_NEWPID));
    struct clone_args how = { .flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = cgroup };
    long pid = MUST(syscall(SYS_clone3, &how, sizeof how));
    if (pid == 0)
        child(init, program);
    int status;
    MUST(waitpid(pid, &status, 0));
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}
