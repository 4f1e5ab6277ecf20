/* What the loads that never sleep have in common: to look for replies until a moment, and not to wait for ever. After figures.h. */

/* The program's own: asks its sockets once, counts replies in `requests`. */
static void poll_once(void);

static void poll_until(double end)
{
    uint64_t last = requests;
    double changed = now();
    for (double time = changed; time < end; time = now()) {
        poll_once();
        if (requests != last) {
            last = requests;
            changed = time;
        } else if (time > changed + STUCK_SECONDS) {
            die("no reply for %d s", STUCK_SECONDS);
        }
    }
}
