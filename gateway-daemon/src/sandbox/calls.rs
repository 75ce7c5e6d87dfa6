//! Seccomp: which system calls there are for a role. One that is not listed does not exist, as in an older kernel,
//! so that libraries fall back on what they did before it; one that nothing here has any use for ends the process.
//!
//! The lists are what the tests with real traffic were seen to call, and what the same libraries call on other
//! kernels and with other versions.

use std::path::Path;

use nix::libc::{self, c_long};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter,
};

use super::{SandboxError, failed};

/// What a role does besides files, memory, threads and sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Calls {
    /// Loads programs, and reads and writes maps.
    bpf: bool,
    /// Mounts file systems.
    mounts: bool,
    /// Starts the process of a userspace link device, which gives up rights in turn.
    starts: bool,
}

impl Calls {
    pub(super) const GATEWAY: Self = Self { bpf: true, mounts: false, starts: true };
    pub(super) const CONTROLLER: Self = Self { bpf: false, mounts: false, starts: false };
    pub(super) const MOUNTER: Self = Self { bpf: false, mounts: true, starts: false };
    pub(super) const LINK_DEVICE: Self = Self { bpf: false, mounts: false, starts: false };
}

/// Leaves these calls; whether the kernel can.
pub(super) fn restrict(calls: Calls) -> Result<bool, SandboxError> {
    if !Path::new("/proc/sys/kernel/seccomp/actions_avail").exists() {
        return Ok(false);
    }
    for program in programs(calls).map_err(failed("compile the filter of system calls"))? {
        apply_filter(&program).map_err(failed("restrict system calls"))?;
    }
    Ok(true)
}

/// The strictest answer of all filters counts.
fn programs(calls: Calls) -> Result<Vec<BpfProgram>, seccompiler::Error> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let missing = SeccompAction::Errno(libc::ENOSYS.cast_unsigned());
    let forbidden = forbidden(calls).map(|call| (call, Vec::new()));
    let forbidden = SeccompFilter::new(
        forbidden.collect(),
        SeccompAction::Allow,
        SeccompAction::KillProcess,
        arch,
    )?;
    // Its flags lie in memory, where no filter sees them; without it there is clone, whose flags one does.
    let unseen = SeccompFilter::new(
        [(libc::SYS_clone3, Vec::new())].into(),
        SeccompAction::Allow,
        missing.clone(),
        arch,
    )?;
    let mut allowed: Vec<(c_long, Vec<SeccompRule>)> =
        ANY.iter().chain(OF_OLD).map(|call| (*call, Vec::new())).collect();
    allowed.push((libc::SYS_socket, sockets()?));
    allowed.push((libc::SYS_clone, vec![SeccompRule::new(vec![without_namespaces()?])?]));
    if calls.bpf {
        let command = |command: &u64| SeccompRule::new(vec![equal(0, *command)?]);
        let commands: Result<_, _> = BPF_COMMANDS.iter().map(command).collect();
        allowed.push((libc::SYS_bpf, commands?));
    }
    if calls.mounts {
        // Without flags: nothing that is mounted elsewhere.
        allowed.push((libc::SYS_mount, vec![SeccompRule::new(vec![equal(3, 0)?])?]));
    }
    if calls.starts {
        allowed.extend(STARTING.iter().map(|call| (*call, Vec::new())));
    }
    let allowed =
        SeccompFilter::new(allowed.into_iter().collect(), missing, SeccompAction::Allow, arch)?;
    let compiled = [forbidden, unseen, allowed].into_iter().map(BpfProgram::try_from);
    Ok(compiled.collect::<Result<_, _>>()?)
}

fn equal(argument: u8, value: u64) -> Result<SeccompCondition, seccompiler::BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)
}

/// IP, Unix sockets, and netlink to routing and to families of their own, of which WireGuard's is one.
fn sockets() -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    let family = |family: i32| equal(0, u64::from(family.cast_unsigned()));
    let mut rules = Vec::new();
    for plain in [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6] {
        rules.push(SeccompRule::new(vec![family(plain)?])?);
    }
    for protocol in [libc::NETLINK_ROUTE, libc::NETLINK_GENERIC] {
        let protocol = equal(2, u64::from(protocol.cast_unsigned()))?;
        rules.push(SeccompRule::new(vec![family(libc::AF_NETLINK)?, protocol])?);
    }
    Ok(rules)
}

/// A thread or a process, in the namespaces of its maker.
fn without_namespaces() -> Result<SeccompCondition, seccompiler::BackendError> {
    let namespaces = libc::CLONE_NEWNS
        | libc::CLONE_NEWCGROUP
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUSER
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET;
    let mask = SeccompCmpOp::MaskedEq(u64::from(namespaces.cast_unsigned()));
    SeccompCondition::new(0, SeccompCmpArgLen::Qword, mask, 0)
}

/// Maps, programs, links, pins and types (include/uapi/linux/bpf.h, enum bpf_cmd): 0 to 11, 13, 15, 16, 18, 19,
/// 21 to 31, 34 and 35. Not maps of others by their number, tracepoints, statistics, iterators and tokens.
const BPF_COMMANDS: [u64; 30] = [
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 16, 18, 19, 21, 22, 23, 24, 25, 26, 27, 28, 29,
    30, 31, 34, 35,
];

/// What starting a program takes besides.
const STARTING: &[c_long] =
    &[libc::SYS_execve, libc::SYS_setsid, libc::SYS_capset, libc::SYS_seccomp];

fn forbidden(calls: Calls) -> impl Iterator<Item = c_long> {
    let starting: &[c_long] = if calls.starts { &[] } else { &[libc::SYS_execve] };
    let bpf: &[c_long] = if calls.bpf { &[] } else { &[libc::SYS_bpf] };
    FORBIDDEN.iter().chain(starting).chain(bpf).copied()
}

/// What no version of any role has a use for, and whoever has taken over a process has.
const FORBIDDEN: &[c_long] = &[
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_chroot,
    libc::SYS_delete_module,
    libc::SYS_execveat,
    libc::SYS_finit_module,
    libc::SYS_init_module,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_move_mount,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pivot_root,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_setns,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
];

const ANY: &[c_long] = &[
    // Files.
    libc::SYS_chdir,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_copy_file_range,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_fadvise64,
    libc::SYS_fallocate,
    libc::SYS_fchdir,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_fcntl,
    libc::SYS_fdatasync,
    libc::SYS_flock,
    libc::SYS_fstat,
    libc::SYS_fstatfs,
    libc::SYS_fsync,
    libc::SYS_ftruncate,
    libc::SYS_getcwd,
    libc::SYS_getdents64,
    libc::SYS_ioctl,
    libc::SYS_linkat,
    libc::SYS_lseek,
    libc::SYS_mkdirat,
    libc::SYS_newfstatat,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_preadv2,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_pwritev2,
    libc::SYS_read,
    libc::SYS_readlinkat,
    libc::SYS_readv,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_sendfile,
    libc::SYS_splice,
    libc::SYS_statfs,
    libc::SYS_statx,
    libc::SYS_symlinkat,
    libc::SYS_sync_file_range,
    libc::SYS_truncate,
    libc::SYS_umask,
    libc::SYS_unlinkat,
    libc::SYS_utimensat,
    libc::SYS_write,
    libc::SYS_writev,
    // Waiting.
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_gettimeofday,
    libc::SYS_nanosleep,
    libc::SYS_pipe2,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_restart_syscall,
    libc::SYS_signalfd4,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_gettime,
    libc::SYS_timerfd_settime,
    // Memory.
    libc::SYS_brk,
    libc::SYS_madvise,
    libc::SYS_mincore,
    libc::SYS_mlock,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_msync,
    libc::SYS_munlock,
    libc::SYS_munmap,
    // Threads, signals, and what a process knows of itself.
    libc::SYS_capget,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_futex_waitv,
    libc::SYS_get_robust_list,
    libc::SYS_getcpu,
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getgroups,
    libc::SYS_getpgid,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getpriority,
    libc::SYS_getrandom,
    libc::SYS_getresgid,
    libc::SYS_getresuid,
    libc::SYS_getrlimit,
    libc::SYS_getrusage,
    libc::SYS_getsid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_kill,
    libc::SYS_landlock_add_rule,
    libc::SYS_landlock_create_ruleset,
    libc::SYS_landlock_restrict_self,
    libc::SYS_membarrier,
    libc::SYS_prctl,
    libc::SYS_prlimit64,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigpending,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigsuspend,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_getparam,
    libc::SYS_sched_getscheduler,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_sigaltstack,
    libc::SYS_sysinfo,
    libc::SYS_tgkill,
    libc::SYS_times,
    libc::SYS_tkill,
    libc::SYS_uname,
    libc::SYS_wait4,
    libc::SYS_waitid,
    // Sockets; which families there are is told apart.
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_bind,
    libc::SYS_connect,
    libc::SYS_getpeername,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_listen,
    libc::SYS_recvfrom,
    libc::SYS_recvmmsg,
    libc::SYS_recvmsg,
    libc::SYS_sendmmsg,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
    libc::SYS_socketpair,
];

/// Calls that only older architectures have, each with a younger one above.
#[cfg(target_arch = "x86_64")]
const OF_OLD: &[c_long] = &[
    libc::SYS_access,
    libc::SYS_arch_prctl,
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_creat,
    libc::SYS_dup2,
    libc::SYS_epoll_create,
    libc::SYS_epoll_wait,
    libc::SYS_eventfd,
    libc::SYS_fork,
    libc::SYS_getdents,
    libc::SYS_getpgrp,
    libc::SYS_lchown,
    libc::SYS_link,
    libc::SYS_lstat,
    libc::SYS_mkdir,
    libc::SYS_open,
    libc::SYS_pipe,
    libc::SYS_poll,
    libc::SYS_readlink,
    libc::SYS_rename,
    libc::SYS_rmdir,
    libc::SYS_select,
    libc::SYS_stat,
    libc::SYS_symlink,
    libc::SYS_time,
    libc::SYS_unlink,
    libc::SYS_vfork,
];
#[cfg(not(target_arch = "x86_64"))]
const OF_OLD: &[c_long] = &[];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const ROLES: [Calls; 4] =
        [Calls::GATEWAY, Calls::CONTROLLER, Calls::LINK_DEVICE, Calls::MOUNTER];

    #[test]
    fn every_role_has_filters_that_compile() {
        for role in ROLES {
            let programs = programs(role).unwrap();
            assert_eq!(programs.len(), 3);
            // The kernel takes 4096 instructions (BPF_MAXINSNS).
            assert!(programs.iter().all(|program| program.len() < 4096));
        }
    }

    #[test]
    fn no_call_is_both_there_and_forbidden() {
        for role in ROLES {
            let mut there: BTreeSet<c_long> = ANY.iter().chain(OF_OLD).copied().collect();
            assert_eq!(there.len(), ANY.len() + OF_OLD.len(), "a call is listed twice");
            if role.starts {
                there.extend(STARTING);
            }
            if role.bpf {
                there.insert(libc::SYS_bpf);
            }
            assert!(forbidden(role).all(|call| !there.contains(&call)), "{role:?}");
        }
    }
}
