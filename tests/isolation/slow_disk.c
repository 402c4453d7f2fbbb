/* Syncing a file takes as long as the file SLOW_DISK is there; beside it, .waits tells that somebody waits. */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static void wait_for_the_disk(void)
{
    const char *slow = getenv("SLOW_DISK");
    char waits[4096];

    if (slow == NULL || access(slow, F_OK) != 0)
        return;
    snprintf(waits, sizeof waits, "%s.waits", slow);
    close(open(waits, O_WRONLY | O_CREAT, 0600));
    while (access(slow, F_OK) == 0)
        usleep(1000);
}

int fsync(int file)
{
    wait_for_the_disk();
    return syscall(SYS_fsync, file);
}

int fdatasync(int file)
{
    wait_for_the_disk();
    return syscall(SYS_fdatasync, file);
}
