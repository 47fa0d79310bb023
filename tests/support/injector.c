/* Copyright (c) 2026, the hpc.apptainer contributors
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Preloaded into a process, it counts the calls of the C library that concern files below a directory, and lets one of them go wrong.
 * tests/support/injector.py compiles it and says what these variables of the environment, which may change at any time, are:
 *
 *   INJECT_BELOW  the real path of the directory; without it nothing is counted
 *   INJECT_LOG    a file for one line a call, "number class name path"; with "!" in front for one that goes wrong
 *   INJECT_AT     the number of the call that goes wrong, from 1
 *   INJECT_FAULT  "before", "after", "inside": the process is killed then ("inside": half of what is to be written is written)
 *                 "short": half of it is written, which is no error; "pause": the call waits until INJECT_WAIT is removed, which it makes;
 *                 else the number of the error that the call returns, without doing anything (close: after it)
 *   INJECT_ALSO   classes of which all later calls return that error, too
 *   INJECT_WAIT   see "pause"
 *   INJECT_HOME   the home of this account, whatever the user database says
 *
 * Classes: c creates, w writes, m changes names or attributes, s flushes, l locks, q asks, d lists a directory, z closes.
 *
 * All arguments are handed on as they are, whatever their types. That needs an ABI that passes them in registers, also after "...", as those of
 * x86-64, aarch64, ppc64le and riscv64 on Linux do. (So the functions here have names of their own for the compiler: others are declared.)
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <linux/fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SIZE 8192
#define NO (-1)

typedef long (*function)(long, long, long, long, long, long);

static long counted;
static int failing;

/* Where a call's paths are: the number of the argument that is a directory's descriptor, and of the one that is a path; NO if there is none. */
struct place { int fd, path; };

static void find(char *found, struct place place, const long *arguments)
{
    const char *path = place.path == NO ? "" : (const char *)arguments[place.path];
    char link[64] = "/proc/self/cwd";
    int fd = place.fd == NO ? AT_FDCWD : (int)arguments[place.fd];
    found[0] = 0;
    if (path == NULL)
        path = "";  /* futimens(3) and others are the same call with a descriptor only */
    if (path[0] != '/') {
        if (fd != AT_FDCWD)
            snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        long size = syscall(SYS_readlinkat, AT_FDCWD, link, found, SIZE - 1);
        found[size < 0 ? 0 : size] = 0;
    }
    size_t begin = strlen(found);
    snprintf(found + begin, SIZE - begin, "%s%s", begin && path[0] ? "/" : "", path);
}

static int is_below(const char *path, const char *directory)
{
    size_t size = strlen(directory);
    return strncmp(path, directory, size) == 0 && (path[size] == '/' || path[size] == 0);
}

static void log_call(const char *mark, long number, char class, const char *name, const char *path)
{
    const char *file = getenv("INJECT_LOG");
    char line[SIZE + 64];
    if (file == NULL)
        return;
    int size = snprintf(line, sizeof line, "%s%ld %c %s %s\n", mark, number, class, name, path);
    long fd = syscall(SYS_openat, AT_FDCWD, file, O_WRONLY | O_CREAT | O_APPEND, 0666);
    syscall(SYS_write, fd, line, (long)size);
    syscall(SYS_close, fd);
}

static void die(void) { syscall(SYS_kill, syscall(SYS_getpid), SIGKILL); }

static void wait_for_others(void)
{
    const char *file = getenv("INJECT_WAIT");
    struct timespec moment = {0, 200000};
    if (file == NULL)
        return;
    syscall(SYS_close, syscall(SYS_openat, AT_FDCWD, file, O_WRONLY | O_CREAT, 0666));
    while (syscall(SYS_faccessat, AT_FDCWD, file, 0) == 0)
        nanosleep(&moment, NULL);
}

/* fsync is counted, but not done: what is lost when the power fails cannot be seen here, and it takes most of the time. */
static long call(function real, char class, const long *a) { return class == 's' ? 0 : real(a[0], a[1], a[2], a[3], a[4], a[5]); }

static long fail(function real, char class, const long *arguments, int number)
{
    if (class == 'z')
        call(real, class, arguments);
    errno = number;
    return class == 'd' ? 0 : -1;
}

static long around(const char *name, function real, char class, struct place first, struct place second, const long *arguments)
{
    char path[SIZE], other[SIZE] = "";
    const char *directory = getenv("INJECT_BELOW"), *at = getenv("INJECT_AT"), *fault = getenv("INJECT_FAULT"), *also = getenv("INJECT_ALSO");
    if (directory == NULL || class == 0)
        return call(real, class, arguments);
    int saved = errno;
    find(path, first, arguments);
    if (second.fd != NO || second.path != NO)
        find(other, second, arguments);
    errno = saved;
    if (!is_below(path, directory) && !is_below(other, directory))
        return call(real, class, arguments);
    long number = __atomic_add_fetch(&counted, 1, __ATOMIC_SEQ_CST);
    int now = at != NULL && fault != NULL && number == atol(at), still = failing && also != NULL && strchr(also, class) != NULL;
    log_call(now || still ? "!" : "", number, class, name, is_below(other, directory) ? other : path);
    errno = saved;
    if (still)
        return fail(real, class, arguments, failing);
    if (!now)
        return call(real, class, arguments);
    if (strcmp(fault, "before") == 0)
        die();
    if (strcmp(fault, "pause") == 0)
        wait_for_others();
    if (strcmp(fault, "inside") == 0 || strcmp(fault, "short") == 0) {
        long half[6];
        memcpy(half, arguments, sizeof half);
        if (class == 'w')
            half[2] = (arguments[2] + 1) / 2;
        long written = call(real, class, half);
        if (strcmp(fault, "inside") == 0)
            die();
        return written;
    }
    if (fault[0] >= '0' && fault[0] <= '9') {
        failing = atoi(fault);
        return fail(real, class, arguments, failing);
    }
    long result = call(real, class, arguments);
    if (strcmp(fault, "after") == 0)
        die();
    return result;
}

static function real(const char *name) { return (function)dlsym(RTLD_NEXT, name); }

#define DEFINE(name, class, fd1, path1, fd2, path2)                                                                     \
    long my_##name(long a, long b, long c, long d, long e, long f) __asm__(#name);                                      \
    long my_##name(long a, long b, long c, long d, long e, long f)                                                      \
    {                                                                                                                   \
        static function found;                                                                                          \
        const long arguments[6] = {a, b, c, d, e, f};                                                                   \
        if (found == NULL && (found = real(#name)) == NULL) {                                                           \
            errno = ENOSYS;                                                                                             \
            return -1;                                                                                                  \
        }                                                                                                               \
        return around(#name, found, class, (struct place){fd1, path1}, (struct place){fd2, path2}, arguments);          \
    }
#define AT_PATH(name, class) DEFINE(name, class, NO, 0, NO, NO)
#define AT_FD_AND_PATH(name, class) DEFINE(name, class, 0, 1, NO, NO)
#define AT_FD(name, class) DEFINE(name, class, 0, NO, NO, NO)

#define OPENS(flags) (((flags) & (O_CREAT | O_TRUNC)) ? 'c' : 'q')
#define IS_LOCK(command) ((command) == F_SETLK || (command) == F_SETLKW || (command) == F_OFD_SETLK || (command) == F_OFD_SETLKW)

AT_PATH(open, OPENS(b)) AT_PATH(open64, OPENS(b)) AT_FD_AND_PATH(openat, OPENS(c)) AT_FD_AND_PATH(openat64, OPENS(c))
AT_PATH(mkdir, 'c') AT_FD_AND_PATH(mkdirat, 'c')
DEFINE(symlink, 'c', NO, 1, NO, NO) DEFINE(symlinkat, 'c', 1, 2, NO, NO)
DEFINE(link, 'c', NO, 0, NO, 1) DEFINE(linkat, 'c', 0, 1, 2, 3)

AT_FD(write, 'w') AT_FD(pwrite, 'w') AT_FD(pwrite64, 'w') AT_FD(sendfile, 'w') AT_FD(sendfile64, 'w') AT_FD(copy_file_range, 'w')

DEFINE(rename, 'm', NO, 0, NO, 1) DEFINE(renameat, 'm', 0, 1, 2, 3) DEFINE(renameat2, 'm', 0, 1, 2, 3)
AT_PATH(unlink, 'm') AT_PATH(rmdir, 'm') AT_PATH(remove, 'm') AT_FD_AND_PATH(unlinkat, 'm')
AT_PATH(chmod, 'm') AT_FD(fchmod, 'm') AT_FD_AND_PATH(fchmodat, 'm')
AT_PATH(chown, 'm') AT_PATH(lchown, 'm') AT_FD(fchown, 'm') AT_FD_AND_PATH(fchownat, 'm')
AT_FD(ftruncate, 'm') AT_FD(ftruncate64, 'm') AT_PATH(truncate, 'm') AT_PATH(truncate64, 'm') AT_FD(futimens, 'm') AT_FD_AND_PATH(utimensat, 'm')

AT_FD(fsync, 's') AT_FD(fdatasync, 's')
AT_FD(flock, 'l') AT_FD(fcntl, IS_LOCK(b) ? 'l' : 0) AT_FD(fcntl64, IS_LOCK(b) ? 'l' : 0)
AT_FD(close, 'z')

AT_PATH(stat, 'q') AT_PATH(stat64, 'q') AT_PATH(lstat, 'q') AT_PATH(lstat64, 'q') AT_FD(fstat, 'q') AT_FD(fstat64, 'q')
AT_FD_AND_PATH(fstatat, 'q') AT_FD_AND_PATH(fstatat64, 'q') AT_PATH(statvfs, 'q') AT_PATH(statvfs64, 'q') AT_FD(fstatvfs64, 'q')
DEFINE(__xstat64, 'q', NO, 1, NO, NO) DEFINE(__lxstat64, 'q', NO, 1, NO, NO) DEFINE(__fxstat64, 'q', 1, NO, NO, NO)
DEFINE(__fxstatat64, 'q', 1, 2, NO, NO)
AT_PATH(access, 'q') AT_FD_AND_PATH(faccessat, 'q') AT_PATH(readlink, 'q') AT_FD_AND_PATH(readlinkat, 'q') AT_FD(read, 'q') AT_FD(ioctl, 'q')
AT_PATH(opendir, 'd') AT_FD(fdopendir, 'd')

int getpwuid_r(uid_t uid, struct passwd *found, char *buffer, size_t size, struct passwd **result)
{
    int (*original)(uid_t, struct passwd *, char *, size_t, struct passwd **) =
        (int (*)(uid_t, struct passwd *, char *, size_t, struct passwd **))dlsym(RTLD_NEXT, "getpwuid_r");
    int number = original(uid, found, buffer, size, result);
    if (number == 0 && *result != NULL && uid == geteuid() && getenv("INJECT_HOME") != NULL)
        (*result)->pw_dir = getenv("INJECT_HOME");
    return number;
}
