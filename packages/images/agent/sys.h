/*
 * The kernel, and nothing else: the agent has no C library. Every call gives what the kernel gives, -errno for an error.
 *
 * HOSTED builds the same agent on the C library of the machine that tests run on, where sanitizers can watch it.
 */

#pragma once

#include <asm/ioctls.h>
#include <asm/poll.h>
#include <asm/signal.h>
#include <asm/termios.h>
#include <asm/unistd.h>
#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/stat.h>
#include <linux/time_types.h>
#include <linux/wait.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int64_t s64;

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#ifdef HOSTED
extern long syscall(long number, ...);
extern int *__errno_location(void);
#define SYSCALL(...) ({ long result_ = syscall(__VA_ARGS__); result_ == -1 ? -(long)*__errno_location() : result_; })
#define sys6(n, a, b, c, d, e, f) SYSCALL(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
#else
static inline long sys_raw(long n, long a, long b, long c, long d, long e, long f) {
  register long a0 __asm__("a0") = a;
  register long a1 __asm__("a1") = b;
  register long a2 __asm__("a2") = c;
  register long a3 __asm__("a3") = d;
  register long a4 __asm__("a4") = e;
  register long a5 __asm__("a5") = f;
  register long a7 __asm__("a7") = n;
  __asm__ volatile("ecall" : "+r"(a0) : "r"(a1), "r"(a2), "r"(a3), "r"(a4), "r"(a5), "r"(a7) : "memory");
  return a0;
}
#define sys6(n, a, b, c, d, e, f) sys_raw(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
#endif

#define sys5(n, a, b, c, d, e) sys6(n, a, b, c, d, e, 0)
#define sys4(n, a, b, c, d) sys6(n, a, b, c, d, 0, 0)
#define sys3(n, a, b, c) sys6(n, a, b, c, 0, 0, 0)
#define sys2(n, a, b) sys6(n, a, b, 0, 0, 0, 0)
#define sys1(n, a) sys6(n, a, 0, 0, 0, 0, 0)
#define sys0(n) sys6(n, 0, 0, 0, 0, 0, 0)

/* Files. */
#define sys_read(fd, into, size) sys3(__NR_read, fd, into, size)
#define sys_write(fd, from, size) sys3(__NR_write, fd, from, size)
#define sys_pwrite(fd, from, size, at) sys4(__NR_pwrite64, fd, from, size, at)
#define sys_openat(folder, path, flags, mode) sys4(__NR_openat, folder, path, (flags) | O_CLOEXEC, mode)
#define sys_open(path, flags) sys_openat(AT_FDCWD, path, flags, 0)
#define sys_close(fd) sys1(__NR_close, fd)
#define sys_lseek(fd, at, whence) sys3(__NR_lseek, fd, at, whence)
#define sys_statx(folder, path, flags, mask, into) sys5(__NR_statx, folder, path, flags, mask, into)
#define sys_getdents(fd, into, size) sys3(__NR_getdents64, fd, into, size)
#define sys_ioctl(fd, request, argument) sys3(__NR_ioctl, fd, request, argument)
#define sys_ftruncate(fd, size) sys2(__NR_ftruncate, fd, size)
#define sys_fchmod(fd, mode) sys2(__NR_fchmod, fd, mode)
#define sys_fchownat(folder, path, uid, gid, flags) sys5(__NR_fchownat, folder, path, uid, gid, flags)
#define sys_utimensat(folder, path, times, flags) sys4(__NR_utimensat, folder, path, times, flags)
#define sys_mkdirat(folder, path, mode) sys3(__NR_mkdirat, folder, path, mode)
#define sys_mknodat(folder, path, mode, device) sys4(__NR_mknodat, folder, path, mode, device)
#define sys_symlinkat(target, folder, path) sys3(__NR_symlinkat, target, folder, path)
#define sys_readlinkat(folder, path, into, size) sys4(__NR_readlinkat, folder, path, into, size)
#define sys_linkat(from, path, to, name) sys5(__NR_linkat, from, path, to, name, 0)
#define sys_unlinkat(folder, path) sys3(__NR_unlinkat, folder, path, 0)
#define sys_renameat(from, old, to, new) sys5(__NR_renameat2, from, old, to, new, 0)
#define sys_pipe(ends, flags) sys2(__NR_pipe2, ends, (flags) | O_CLOEXEC)
#define sys_dup3(fd, as) sys3(__NR_dup3, fd, as, 0)
#define sys_fcntl(fd, command, argument) sys3(__NR_fcntl, fd, command, argument)
#define sys_chdir(path) sys1(__NR_chdir, path)
#define sys_umask(mask) sys1(__NR_umask, mask)

/* Processes. */
#define sys_fork() sys5(__NR_clone, SIGCHLD, 0, 0, 0, 0)
#define sys_exit(code) sys1(__NR_exit_group, code)
#define sys_execve(path, argv, env) sys3(__NR_execve, path, argv, env)
#define sys_wait4(pid, status, options) sys4(__NR_wait4, pid, status, options, 0)
#define sys_waitid(which, id, info, options) sys5(__NR_waitid, which, id, info, options, 0)
#define sys_kill(pid, signal) sys2(__NR_kill, pid, signal)
#define sys_getpid() sys0(__NR_getpid)
#define sys_socket(family, type) sys3(__NR_socket, family, (type) | O_CLOEXEC, 0)
#define sys_setsid() sys0(__NR_setsid)
#define sys_prctl(option, argument) sys5(__NR_prctl, option, argument, 0, 0, 0)

/* Waiting. */
#define sys_ppoll(fds, count, timeout) sys5(__NR_ppoll, fds, count, timeout, 0, 8)
#define sys_clock_gettime(clock, into) sys2(__NR_clock_gettime, clock, into)

/* Memory: pages of zeroes, or 0. Room for the most there can be costs nothing until it is used, and more than the guest has is no obstacle. */
static inline void *pages(size_t size) {
  long address = sys6(__NR_mmap, 0, size, 3 /* read, write */, 0x4022 /* private, anonymous, no reserve */, -1, 0);
  return address < 0 && address > -4096 ? 0 : (void *)address;
}
static inline void free_pages(void *address, size_t size) { sys2(__NR_munmap, address, size); }
