/* Compiles a seccomp profile with libseccomp, many times, and says how long one took.
 *
 * Usage: libseccomp OPTIMIZE RUNS OUTPUT < profile. The profile has a line for each step:
 *
 *     default ACTION
 *     arch TOKEN
 *     rule ACTION NAME [INDEX OPERATOR FIRST SECOND]...
 *
 * Prints the median in nanoseconds and writes the program to OUTPUT. Declares what it calls: a machine with
 * libseccomp often has no header of it. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct comparison {
	unsigned int argument;
	int operator;
	uint64_t first, second;
};

extern void *seccomp_init(uint32_t action);
extern void seccomp_release(void *context);
extern int seccomp_arch_add(void *context, uint32_t token);
extern int seccomp_attr_set(void *context, int attribute, uint32_t value);
extern int seccomp_syscall_resolve_name(const char *name);
extern int seccomp_rule_add_array(void *context, uint32_t action, int syscall, unsigned int count,
				  const struct comparison *comparisons);
extern int seccomp_export_bpf(void *context, int fd);

enum { CTL_OPTIMIZE = 8, MOST = 2048 };

struct rule {
	uint32_t action;
	char name[64];
	unsigned int count;
	struct comparison comparisons[6];
};

static uint32_t default_action, tokens[16];
static int token_count, rule_count;
static struct rule rules[MOST];

static void fail(const char *what)
{
	fprintf(stderr, "error: %s\n", what);
	exit(1);
}

static void read_rule(char *rest)
{
	struct rule *rule = &rules[rule_count++];
	int used;

	if (rule_count == MOST)
		fail("too many rules");
	if (sscanf(rest, "%u %63s%n", &rule->action, rule->name, &used) != 2)
		fail("bad rule");
	for (rest += used; rule->count < 6; rest += used) {
		struct comparison *c = &rule->comparisons[rule->count];
		unsigned long long first, second;

		if (sscanf(rest, "%u %d %llu %llu%n", &c->argument, &c->operator, &first, &second, &used) != 4)
			return;
		c->first = first;
		c->second = second;
		rule->count++;
	}
}

static void read_profile(void)
{
	static char line[1024];

	while (fgets(line, sizeof(line), stdin)) {
		if (!strncmp(line, "default ", 8))
			default_action = strtoul(line + 8, NULL, 10);
		else if (!strncmp(line, "arch ", 5) && token_count < 16)
			tokens[token_count++] = strtoul(line + 5, NULL, 10);
		else if (!strncmp(line, "rule ", 5))
			read_rule(line + 5);
		else
			fail("bad line");
	}
}

/* From names to a program, as runc and crun do it. */
static double compile(uint32_t optimize, int fd)
{
	struct timespec start, end;
	void *context;

	clock_gettime(CLOCK_MONOTONIC, &start);
	context = seccomp_init(default_action);
	if (!context)
		fail("seccomp_init");
	for (int i = 0; i < token_count; i++)
		seccomp_arch_add(context, tokens[i]); /* the native one is there */
	if (optimize != 1 && seccomp_attr_set(context, CTL_OPTIMIZE, optimize))
		fail("seccomp_attr_set");
	for (int i = 0; i < rule_count; i++) {
		int number = seccomp_syscall_resolve_name(rules[i].name);

		if (number == -1)
			continue;
		if (seccomp_rule_add_array(context, rules[i].action, number, rules[i].count,
					   rules[i].comparisons))
			fail(rules[i].name);
	}
	if (seccomp_export_bpf(context, fd))
		fail("seccomp_export_bpf");
	clock_gettime(CLOCK_MONOTONIC, &end);
	seccomp_release(context);
	return (end.tv_sec - start.tv_sec) * 1e9 + (end.tv_nsec - start.tv_nsec);
}

static int order(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	if (argc != 4)
		fail("usage: libseccomp OPTIMIZE RUNS OUTPUT");
	uint32_t optimize = strtoul(argv[1], NULL, 10);
	int runs = atoi(argv[2]);
	double *times = calloc(runs, sizeof(*times));

	if (!times || runs < 1)
		fail("no runs");
	read_profile();
	for (int i = 0; i < runs; i++) {
		int fd = open(argv[3], O_WRONLY | O_CREAT | O_TRUNC, 0600);

		if (fd < 0)
			fail(argv[3]);
		times[i] = compile(optimize, fd);
		/* The last one stays open: the program ends. */
		if (i + 1 < runs)
			fclose(fdopen(fd, "w"));
	}
	qsort(times, runs, sizeof(*times), order);
	printf("%.0f\n", times[runs / 2]);
	return 0;
}
