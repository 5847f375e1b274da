/* Runs one entry on memory from a file, and writes what the memory holds afterwards.
 *
 *     harness IN OUT [MODE]
 *
 * IN, all int64: threads; regions R; their sizes in bytes; relocations N; N times (region, offset, target region, target
 * offset), "the address of that place is kept here"; then the regions' bytes. Region 0 is the entry's call. OUT: per thread
 * the status and the result; then the regions' bytes.
 *
 * MODE is the value of the register FPCR that the entry is called with, and that it must leave.
 *
 * A region ends where a page begins that may not be touched, and begins after bytes that must stay as they are.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* As Numba calls: a status; the addresses of the result and of an exception; then the arguments. */
extern int32_t entry(void *result, void **exception, int64_t call, int64_t thread, int64_t threads) __asm__(ENTRY);

enum { PAGE = 65536 }; /* the largest that Linux uses on this architecture */

struct region {
    unsigned char *start, *data;
    int64_t size;
};

struct job {
    int64_t call, thread, threads, status, result;
};

static void fail(const char *what) {
    fprintf(stderr, "harness: %s\n", what);
    exit(3);
}

static int64_t number(FILE *file) {
    int64_t value;
    if (fread(&value, sizeof value, 1, file) != 1) fail("the input ends early");
    return value;
}

static void allocate(struct region *region) {
    size_t pages = (region->size / PAGE + 2) * PAGE;
    unsigned char *start = mmap(NULL, pages + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED || mprotect(start + pages, PAGE, PROT_NONE) != 0) fail("no memory");
    memset(start, 0xa5, pages);
    region->start = start;
    region->data = start + pages - region->size;
}

static uint64_t mode;

static void *run(void *argument) {
    struct job *job = argument;
    void *exception = NULL;
    uint64_t after;
    __asm__ volatile("msr fpcr, %0" : : "r"(mode));
    job->status = entry(&job->result, &exception, job->call, job->thread, job->threads);
    __asm__ volatile("mrs %0, fpcr" : "=r"(after));
    if (after != mode) fail("the floating-point mode is another now");
    return NULL;
}

int main(int argc, char **argv) {
    FILE *in = argc >= 3 ? fopen(argv[1], "rb") : NULL, *out = argc >= 3 ? fopen(argv[2], "wb") : NULL;
    if (!in || !out) fail("expected the files IN and OUT");
    if (argc > 3) mode = strtoull(argv[3], NULL, 0);
    int64_t threads = number(in), count = number(in);
    struct region *regions = calloc(count, sizeof *regions);
    for (int64_t i = 0; i < count; i++) regions[i].size = number(in);
    int64_t relocations = number(in);
    int64_t(*moves)[4] = calloc(relocations + 1, sizeof *moves);
    for (int64_t i = 0; i < relocations; i++)
        for (int j = 0; j < 4; j++) moves[i][j] = number(in);
    for (int64_t i = 0; i < count; i++) {
        allocate(&regions[i]);
        if (fread(regions[i].data, 1, regions[i].size, in) != (size_t)regions[i].size) fail("the input ends early");
    }
    for (int64_t i = 0; i < relocations; i++) {
        int64_t address = (int64_t)(regions[moves[i][2]].data + moves[i][3]);
        memcpy(regions[moves[i][0]].data + moves[i][1], &address, sizeof address);
    }

    struct job *jobs = calloc(threads, sizeof *jobs);
    pthread_t *team = calloc(threads, sizeof *team);
    for (int64_t i = 0; i < threads; i++) {
        jobs[i] = (struct job){(int64_t)regions[0].data, i, threads, -1, 0};
        if (pthread_create(&team[i], NULL, run, &jobs[i]) != 0) fail("no thread");
    }
    for (int64_t i = 0; i < threads; i++) {
        pthread_join(team[i], NULL);
        fwrite(&jobs[i].status, sizeof jobs[i].status, 1, out);
        fwrite(&jobs[i].result, sizeof jobs[i].result, 1, out);
    }
    for (int64_t i = 0; i < count; i++) {
        for (unsigned char *p = regions[i].start; p < regions[i].data; p++)
            if (*p != 0xa5) fail("bytes before a region were written");
        fwrite(regions[i].data, 1, regions[i].size, out);
    }
    if (fclose(out) != 0) fail("the output could not be written");
    return 0;
}
