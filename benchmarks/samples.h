/* Times to the answer, in microseconds: kept one by one, and what is said about all of them. */
#include <stddef.h>
#include <stdlib.h>

enum { MAX_SAMPLES = 1 << 20 };

struct samples { float taken[MAX_SAMPLES]; size_t count; };

/* What is too many is left out: no load is so fast that a round has more. */
static void add_sample(struct samples *samples, double microseconds)
{
    if (samples->count < MAX_SAMPLES)
        samples->taken[samples->count++] = microseconds;
}

static int by_size(const void *one, const void *other)
{
    float difference = *(const float *)one - *(const float *)other;
    return (difference > 0) - (difference < 0);
}

/* The time in which that percentage of the answers was there. It sorts them. */
static double percentile(struct samples *samples, int percentage)
{
    if (!samples->count)
        return 0;
    qsort(samples->taken, samples->count, sizeof *samples->taken, by_size);
    return samples->taken[samples->count * percentage / 100];
}

static inline double mean_of(const struct samples *samples)
{
    double sum = 0;
    for (size_t i = 0; i < samples->count; i++)
        sum += samples->taken[i];
    return samples->count ? sum / samples->count : 0;
}
