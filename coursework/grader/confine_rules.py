"""Which system calls a worker may not make, by way of libseccomp (pyseccomp).

The filter is loaded by the worker itself (Landlock), or handed to bubblewrap as a
program. It is a list of what is refused; all else that a process may do to itself is
harmless within the limits.
"""

from __future__ import annotations

import errno
from typing import IO, Any

CLONE_THREAD = 0x00010000
REFUSED = """
    socket socketpair connect bind listen accept accept4 sendto sendmsg sendmmsg
    shmget shmat shmctl msgget msgsnd semget semop mq_open
    io_uring_setup io_uring_enter io_uring_register

    fork vfork ptrace process_vm_readv process_vm_writev kcmp kill tkill pidfd_open
    pidfd_getfd pidfd_send_signal rt_sigqueueinfo rt_tgsigqueueinfo
    setpgid setsid setpriority sched_setscheduler

    chroot pivot_root mount umount2 open_tree move_mount fsopen fsmount unshare setns
    setuid setgid setreuid setregid setresuid setresgid setgroups capset
    keyctl add_key request_key bpf perf_event_open userfaultfd
    init_module finit_module delete_module kexec_load kexec_file_load reboot swapon
    swapoff acct syslog settimeofday clock_settime adjtimex sethostname setdomainname
    quotactl open_by_handle_at name_to_handle_at fanotify_init inotify_init
    inotify_init1 mknod mknodat chmod fchmod fchmodat chown fchown lchown fchownat
    utimensat setxattr lsetxattr fsetxattr
"""  # the network and what reaches other processes; processes; rights and the machine
OUTSIDE = ["execve", "execveat", "setrlimit"]


def make_filter(in_namespace: bool) -> Any:
    """Build the filter.

    Parameters
    ----------
    in_namespace : bool
        bubblewrap loads the filter before it starts the worker, so that it cannot
        refuse to start a program or to set limits. A worker in its namespaces has no
        right to raise a limit, and no program to become.

    Returns
    -------
    filter : pyseccomp.SyscallFilter
        Everything is allowed but what is refused; new threads are allowed, new
        processes are not.

    Raises
    ------
    ImportError, RuntimeError
        pyseccomp or libseccomp is not there.
    """
    import pyseccomp  # noqa: PLC0415

    rules = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    refuse = pyseccomp.ERRNO(errno.EPERM)
    for name in REFUSED.split() + ([] if in_namespace else OUTSIDE):
        try:
            rules.add_rule(refuse, name)
        except OSError:  # a call that this processor or this libseccomp does not have
            continue
    no_thread = pyseccomp.Arg(0, pyseccomp.MASKED_EQ, CLONE_THREAD, 0)
    rules.add_rule(refuse, "clone", no_thread)
    # glibc falls back to clone, whose flags a filter can see.
    rules.add_rule(pyseccomp.ERRNO(errno.ENOSYS), "clone3")
    if not in_namespace:
        rules.add_rule(refuse, "prlimit64", pyseccomp.Arg(2, pyseccomp.NE, 0))
    return rules


def write_filter(file: IO[bytes]) -> None:
    """Write the filter as a program for the kernel, as bubblewrap takes it."""
    make_filter(in_namespace=True).export_bpf(file)
