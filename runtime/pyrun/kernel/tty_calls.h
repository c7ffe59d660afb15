/* Part of kernel.c: terminals, ioctl_tty(2) and termios(3). */

long k_pty_unlock(int master)
{
    int locked = 0;
    return result(ioctl(master, TIOCSPTLCK, &locked));
}

long k_pty_peer(int master) { return result(ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC)); }
long k_set_controlling_terminal(int fd) { return result(ioctl(fd, TIOCSCTTY, 0)); }

long k_set_window_size(int fd, unsigned short rows, unsigned short columns)
{
    struct winsize size = {.ws_row = rows, .ws_col = columns};
    return result(ioctl(fd, TIOCSWINSZ, &size));
}

long k_copy_window_size(int from_fd, int to_fd)
{
    struct winsize size;
    long r = result(ioctl(from_fd, TIOCGWINSZ, &size));
    return r < 0 ? r : result(ioctl(to_fd, TIOCSWINSZ, &size));
}

long k_terminal_plain(int fd)
{
    struct termios mode;
    long r = result(tcgetattr(fd, &mode));
    if (r < 0)
        return r;
    mode.c_oflag &= ~(tcflag_t)ONLCR;
    return result(tcsetattr(fd, TCSANOW, &mode));
}

/* `saved` has room for a struct termios (64 bytes are plenty on Linux: 60). */
long k_terminal_raw(int fd, char *saved)
{
    struct termios mode;
    long r = result(tcgetattr(fd, &mode));
    if (r < 0)
        return r;
    memcpy(saved, &mode, sizeof mode);
    cfmakeraw(&mode);
    return result(tcsetattr(fd, TCSANOW, &mode));
}

long k_terminal_restore(int fd, const char *saved)
{
    struct termios mode;
    memcpy(&mode, saved, sizeof mode);
    return result(tcsetattr(fd, TCSANOW, &mode));
}
