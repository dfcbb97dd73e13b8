/*
 * A load on SMB shares, for benchmarks: N client processes do the same things
 * at the same time, in phases, and the time of each phase is printed.
 *
 *   smbload [OPTION]... SHARE-URL...     (smb://host:port/share[/directory])
 *
 * The shares are worked on through libsmbclient, with one process and one
 * connection for each client and share, each client in a directory of its own
 * below "load", which is made in the beginning and removed in the end. All
 * clients begin a phase together; a phase lasts until the last of them is done.
 * So a rate is what the server did in all: operations of all clients / time of
 * the phase. With several shares to compare, every phase is done on one after
 * the other before the next phase begins (the big files in one go, so that no
 * two are there at once): what disturbs the machine for some seconds disturbs
 * all of them.
 *
 * Phases, in the order in which they are done:
 *   create   make a file, write --size bytes, close
 *   list     list the directories; --repeat times
 *   stat     the attributes of each file
 *   read     open, read all, close
 *   rename   to another name in the same directory
 *   unlink
 *   dir      list the directory that the URL names, which must be there
 *   write    one big file per client, sequentially, --block KiB at a time
 *   readbig  and read it
 *
 * Every phase checks what it got (number of entries, sizes, first and last
 * bytes): a fast wrong answer is an error. Output is one JSON object for each
 * share, in the order of the arguments; "cpu_us" is the processor time that all
 * processes with a name from --cpu took, per operation.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <libsmbclient.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct {
	const char *user;
	const char *password_file;
	const char *phases;
	const char *cpu;
	int clients;
	int files;
	int dirs;
	int size_bytes;
	int repeat;
	int big_mib;
	int block_kib;
	int entries;
} opt = {
	.phases = "create,list,stat,read,rename,unlink",
	.clients = 1,
	.files = 1000,
	.dirs = 1,
	.size_bytes = 10 * 1024,
	.repeat = 1,
	.big_mib = 256,
	.block_kib = 4096,
	.entries = -1,
};

static char password[256];
static const char *base; /* the URL */
static char home[1200];  /* this client's directory */
static int me;
static SMBCCTX *ctx;
static char *buffer;

static void fail(const char *what, const char *name)
{
	fprintf(stderr, "smbload: client %d: %s %s: %s\n", me, what, name,
		strerror(errno));
	exit(1);
}

static void fail_check(const char *what, const char *name)
{
	fprintf(stderr, "smbload: client %d: %s: %s\n", me, name, what);
	exit(1);
}

static void authenticate(SMBCCTX *c, const char *server, const char *share,
			 char *workgroup, int workgroup_len, char *user,
			 int user_len, char *pass, int pass_len)
{
	snprintf(user, user_len, "%s", opt.user);
	snprintf(pass, pass_len, "%s", password);
}

static void connect_share(void)
{
	ctx = smbc_new_context();
	if (ctx == NULL) {
		fail("new context", base);
	}
	smbc_setFunctionAuthDataWithContext(ctx, authenticate);
	smbc_setOptionNoAutoAnonymousLogin(ctx, true);
	smbc_setOptionOneSharePerServer(ctx, true);
	smbc_setTimeout(ctx, 120 * 1000);
	if (smbc_init_context(ctx) == NULL) {
		fail("init context", base);
	}
	smbc_set_context(ctx);
}

static char *file_name(int number, bool renamed)
{
	static char name[1400];

	snprintf(name, sizeof(name), "%s/d%03d/%s%06d.dat", home,
		 number % opt.dirs, renamed ? "renamed" : "file", number);
	return name;
}

static char *dir_name(int number)
{
	static char name[1400];

	snprintf(name, sizeof(name), "%s/d%03d", home, number);
	return name;
}

static void make_dir(const char *name)
{
	if (smbc_mkdir(name, 0755) != 0 && errno != EEXIST) {
		fail("mkdir", name);
	}
}

/* Is the word in a list like "a,b,c"? */
static bool is_in(const char *list, const char *word)
{
	size_t len = strlen(word);
	const char *p = list;

	while (len > 0 && (p = strstr(p, word)) != NULL) {
		bool begins = (p == list || p[-1] == ',');
		bool ends = (p[len] == '\0' || p[len] == ',');
		if (begins && ends) {
			return true;
		}
		p += len;
	}
	return false;
}

static bool wants(const char *phase)
{
	if (strcmp(phase, "rmbig") == 0) {
		phase = "write";
	}
	return is_in(opt.phases, phase);
}

static void make_dirs(void)
{
	char name[1200];
	int i;

	snprintf(name, sizeof(name), "%s/load", base);
	make_dir(name);
	make_dir(home);
	for (i = 0; i < opt.dirs; i++) {
		make_dir(dir_name(i));
	}
}

static void remove_dirs(void)
{
	char name[1200];
	int i;

	for (i = 0; i < opt.dirs; i++) {
		if (smbc_rmdir(dir_name(i)) != 0) {
			fail("rmdir", dir_name(i));
		}
	}
	if (smbc_rmdir(home) != 0) {
		fail("rmdir", home);
	}
	/* the last client to come here removes it */
	snprintf(name, sizeof(name), "%s/load", base);
	smbc_rmdir(name);
}

/* --- the phases: each returns the number of operations -------------------- */

/* Every file begins and ends with its number. */
static void stamp(int number, char *data, size_t len)
{
	memcpy(data, &number, sizeof(number));
	memcpy(data + len - sizeof(number), &number, sizeof(number));
}

static bool stamped(int number, const char *data, size_t len)
{
	return memcmp(data, &number, sizeof(number)) == 0 &&
	       memcmp(data + len - sizeof(number), &number, sizeof(number)) ==
		       0;
}

static double do_create(void)
{
	int i;

	for (i = 0; i < opt.files; i++) {
		const char *name = file_name(i, false);
		int fd = smbc_open(name, O_CREAT | O_EXCL | O_WRONLY, 0644);
		if (fd < 0) {
			fail("create", name);
		}
		stamp(i, buffer, opt.size_bytes);
		if (smbc_write(fd, buffer, opt.size_bytes) != opt.size_bytes) {
			fail("write", name);
		}
		if (smbc_close(fd) != 0) {
			fail("close", name);
		}
	}
	return opt.files;
}

static int list_one(const char *name)
{
	const struct libsmb_file_info *info = NULL;
	int seen = 0;
	int dh = smbc_opendir(name);

	if (dh < 0) {
		fail("opendir", name);
	}
	while ((info = smbc_readdirplus(dh)) != NULL) {
		if (info->name[0] != '.') {
			seen++;
		}
	}
	smbc_closedir(dh);
	return seen;
}

static double do_list(void)
{
	double total = 0;
	int round, i;

	for (round = 0; round < opt.repeat; round++) {
		int seen = 0;
		for (i = 0; i < opt.dirs; i++) {
			seen += list_one(dir_name(i));
		}
		if (seen != opt.files) {
			fail_check("wrong number of entries", home);
		}
		total += seen;
	}
	return total;
}

static double do_stat(void)
{
	int i;

	for (i = 0; i < opt.files; i++) {
		const char *name = file_name(i, false);
		struct stat st;
		if (smbc_stat(name, &st) != 0) {
			fail("stat", name);
		}
		if (st.st_size != opt.size_bytes) {
			fail_check("wrong size", name);
		}
	}
	return opt.files;
}

static double do_read(void)
{
	int i;

	for (i = 0; i < opt.files; i++) {
		const char *name = file_name(i, false);
		int fd = smbc_open(name, O_RDONLY, 0);
		if (fd < 0) {
			fail("open", name);
		}
		if (smbc_read(fd, buffer, opt.size_bytes) != opt.size_bytes) {
			fail("read", name);
		}
		if (!stamped(i, buffer, opt.size_bytes)) {
			fail_check("wrong bytes", name);
		}
		smbc_close(fd);
	}
	return opt.files;
}

static double do_rename(void)
{
	char old_name[1400];
	int i;

	for (i = 0; i < opt.files; i++) {
		snprintf(old_name, sizeof(old_name), "%s", file_name(i, false));
		if (smbc_rename(old_name, file_name(i, true)) != 0) {
			fail("rename", old_name);
		}
	}
	return opt.files;
}

static double do_unlink(void)
{
	bool renamed = wants("rename");
	int i;

	for (i = 0; i < opt.files; i++) {
		const char *name = file_name(i, renamed);
		if (smbc_unlink(name) != 0) {
			fail("unlink", name);
		}
	}
	return opt.files;
}

static double do_write(void)
{
	size_t block_bytes = (size_t)opt.block_kib * 1024;
	int blocks = opt.big_mib * 1024 / opt.block_kib;
	char name[1400];
	int fd, i;

	snprintf(name, sizeof(name), "%s/big.dat", home);
	fd = smbc_open(name, O_CREAT | O_EXCL | O_WRONLY, 0644);
	if (fd < 0) {
		fail("create", name);
	}
	for (i = 0; i < blocks; i++) {
		stamp(i, buffer, block_bytes);
		if (smbc_write(fd, buffer, block_bytes) !=
		    (ssize_t)block_bytes) {
			fail("write", name);
		}
	}
	if (smbc_close(fd) != 0) {
		fail("close", name);
	}
	return opt.big_mib;
}

static double do_readbig(void)
{
	size_t block_bytes = (size_t)opt.block_kib * 1024;
	int blocks = opt.big_mib * 1024 / opt.block_kib;
	char name[1400];
	int fd, i;

	snprintf(name, sizeof(name), "%s/big.dat", home);
	fd = smbc_open(name, O_RDONLY, 0);
	if (fd < 0) {
		fail("open", name);
	}
	for (i = 0; i < blocks; i++) {
		size_t got = 0;
		while (got < block_bytes) {
			ssize_t n =
				smbc_read(fd, buffer + got, block_bytes - got);
			if (n <= 0) {
				fail("read", name);
			}
			got += n;
		}
		if (!stamped(i, buffer, block_bytes)) {
			fail_check("wrong bytes", name);
		}
	}
	smbc_close(fd);
	return opt.big_mib;
}

/* The memory of one share's big files is what the next one gets. */
static double do_rmbig(void)
{
	char name[1400];

	snprintf(name, sizeof(name), "%s/big.dat", home);
	if (smbc_unlink(name) != 0) {
		fail("unlink", name);
	}
	return 1;
}

static double do_dir(void)
{
	double total = 0;
	int i;

	for (i = 0; i < opt.repeat; i++) {
		int seen = list_one(base);
		if (opt.entries >= 0 && seen != opt.entries) {
			fail_check("wrong number of entries", base);
		}
		total += seen;
	}
	return total;
}

static const struct phase {
	const char *name;
	double (*run)(void);
} phases[] = {
	{"create", do_create},
	{"list", do_list},
	{"stat", do_stat},
	{"read", do_read},
	{"rename", do_rename},
	{"unlink", do_unlink},
	{"dir", do_dir},
	/* from here on, all of them for one share, then for the next */
	{"write", do_write},
	{"readbig", do_readbig},
	{"rmbig", do_rmbig}, /* comes with write */
};
#define NUM_PHASES (sizeof(phases) / sizeof(phases[0]))
#define FIRST_BIG 7

/* --- clients and their conductor ------------------------------------------ */

/*
 * The conductor writes one byte to every client to begin a phase, and each
 * answers with the number of its operations.
 */
struct client {
	pid_t pid;
	int go;
	int done;
};

struct share {
	const char *url;
	struct client *clients;
	struct result {
		double count;
		double seconds;
		double cpu_seconds;
	} results[NUM_PHASES];
};

static void be_client(int go, int done)
{
	size_t i, size = (size_t)opt.block_kib * 1024;
	bool needs_dirs = !wants("dir");
	char byte;
	double count = 0;

	if (size < (size_t)opt.size_bytes) {
		size = opt.size_bytes;
	}
	buffer = malloc(size);
	if (buffer == NULL) {
		fail("malloc", "buffer");
	}
	for (i = 0; i < size; i++) {
		buffer[i] = (char)(i * 2654435761u >> 13);
	}
	snprintf(home, sizeof(home), "%s/load/client%d", base, me);
	connect_share();
	if (needs_dirs) {
		make_dirs();
	} else {
		/* so that the session is there before time runs */
		struct stat st;
		if (smbc_stat(base, &st) != 0) {
			fail("stat", base);
		}
	}
	if (write(done, &count, sizeof(count)) != sizeof(count)) {
		exit(1);
	}
	for (i = 0; i < NUM_PHASES; i++) {
		if (!wants(phases[i].name)) {
			continue;
		}
		if (read(go, &byte, 1) != 1) {
			exit(1);
		}
		count = phases[i].run();
		if (write(done, &count, sizeof(count)) != sizeof(count)) {
			exit(1);
		}
	}
	/* all must be done before any of the directories goes */
	if (read(go, &byte, 1) != 1) {
		exit(1);
	}
	if (needs_dirs) {
		remove_dirs();
	}
	smbc_free_context(ctx, 1);
	exit(0);
}

static struct client start_client(int number)
{
	struct client client;
	int go[2], done[2];

	if (pipe(go) != 0 || pipe(done) != 0) {
		fail("pipe", "");
	}
	client.pid = fork();
	if (client.pid < 0) {
		fail("fork", "");
	}
	if (client.pid == 0) {
		me = number;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(go[1]);
		close(done[0]);
		be_client(go[0], done[1]);
	}
	close(go[0]);
	close(done[1]);
	client.go = go[1];
	client.done = done[0];
	return client;
}

static double wait_for_all(struct client *clients)
{
	double total = 0;
	int i;

	for (i = 0; i < opt.clients; i++) {
		double count = 0;
		if (read(clients[i].done, &count, sizeof(count)) !=
		    sizeof(count)) {
			fprintf(stderr, "smbload: a client ended early\n");
			exit(1);
		}
		total += count;
	}
	return total;
}

static void go_all(struct client *clients)
{
	int i;

	for (i = 0; i < opt.clients; i++) {
		if (write(clients[i].go, "", 1) != 1) {
			fail("start of a phase", "");
		}
	}
}

/* The name of a process up to a blank, ':', '-' or '[' ("smbd: client"). */
static void process_name(const char *pid, char *name, size_t size)
{
	char path[300];
	FILE *in = NULL;

	name[0] = '\0';
	snprintf(path, sizeof(path), "/proc/%s/comm", pid);
	in = fopen(path, "r");
	if (in != NULL) {
		if (fgets(name, size, in) == NULL) {
			name[0] = '\0';
		}
		fclose(in);
	}
	name[strcspn(name, " :-[\n")] = '\0';
}

/* Seconds of processor time that the server took until now. */
static double server_time(void)
{
	struct dirent *entry = NULL;
	double total = 0;
	DIR *proc = NULL;

	if (opt.cpu == NULL) {
		return 0;
	}
	proc = opendir("/proc");
	if (proc == NULL) {
		fail("opendir", "/proc");
	}
	while ((entry = readdir(proc)) != NULL) {
		char name[64];
		clockid_t clock;
		struct timespec ts;
		if (!isdigit((unsigned char)entry->d_name[0])) {
			continue;
		}
		process_name(entry->d_name, name, sizeof(name));
		/* all its threads, also those that have ended */
		if (is_in(opt.cpu, name) &&
		    clock_getcpuclockid(atoi(entry->d_name), &clock) == 0 &&
		    clock_gettime(clock, &ts) == 0) {
			total += ts.tv_sec + ts.tv_nsec / 1e9;
		}
	}
	closedir(proc);
	return total;
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static void read_password(void)
{
	FILE *in = fopen(opt.password_file, "r");

	if (in == NULL || fgets(password, sizeof(password), in) == NULL) {
		fail("read the password from", opt.password_file);
	}
	password[strcspn(password, "\n")] = '\0';
	fclose(in);
}

static void usage(void)
{
	fprintf(stderr,
		"usage: smbload [OPTION]... smb://host:port/share[/dir]...\n"
		"  --user NAME           of the share\n"
		"  --password-file FILE  its first line\n"
		"  --phases LIST         create,list,stat,read,rename,unlink\n"
		"  --clients N           processes [1]\n"
		"  --files N             files per client [1000]\n"
		"  --dirs N              directories per client [1]\n"
		"  --size N              bytes per file, at least 8 [10240]\n"
		"  --repeat N            listings [1]\n"
		"  --big N               MiB of the big file [256]\n"
		"  --block N             KiB at a time, of the big file "
		"[4096]\n"
		"  --entries N           that the phase dir must find\n"
		"  --cpu LIST            names of server processes, whose "
		"time\n"
		"                        is counted\n");
	exit(64);
}

static void read_options(int argc, char **argv)
{
	static const struct option names[] = {
		{"user", required_argument, NULL, 'u'},
		{"password-file", required_argument, NULL, 'p'},
		{"phases", required_argument, NULL, 'f'},
		{"clients", required_argument, NULL, 'c'},
		{"files", required_argument, NULL, 'n'},
		{"dirs", required_argument, NULL, 'd'},
		{"size", required_argument, NULL, 's'},
		{"repeat", required_argument, NULL, 'r'},
		{"big", required_argument, NULL, 'b'},
		{"block", required_argument, NULL, 'k'},
		{"entries", required_argument, NULL, 'e'},
		{"cpu", required_argument, NULL, 'C'},
		{NULL, 0, NULL, 0},
	};
	int c;

	while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
		switch (c) {
		case 'u':
			opt.user = optarg;
			break;
		case 'p':
			opt.password_file = optarg;
			break;
		case 'f':
			opt.phases = optarg;
			break;
		case 'c':
			opt.clients = atoi(optarg);
			break;
		case 'n':
			opt.files = atoi(optarg);
			break;
		case 'd':
			opt.dirs = atoi(optarg);
			break;
		case 's':
			opt.size_bytes = atoi(optarg);
			break;
		case 'r':
			opt.repeat = atoi(optarg);
			break;
		case 'b':
			opt.big_mib = atoi(optarg);
			break;
		case 'k':
			opt.block_kib = atoi(optarg);
			break;
		case 'e':
			opt.entries = atoi(optarg);
			break;
		case 'C':
			opt.cpu = optarg;
			break;
		default:
			usage();
		}
	}
	if (optind >= argc || opt.user == NULL || opt.password_file == NULL ||
	    opt.clients < 1 || opt.files < 0 || opt.dirs < 1 ||
	    opt.size_bytes < 8 || opt.block_kib < 1) {
		usage();
	}
}

static void start_share(struct share *share, const char *url)
{
	int i;

	base = url;
	share->url = url;
	share->clients = calloc(opt.clients, sizeof(*share->clients));
	if (share->clients == NULL) {
		fail("calloc", url);
	}
	for (i = 0; i < opt.clients; i++) {
		share->clients[i] = start_client(i);
	}
	wait_for_all(share->clients);
}

/*
 * On a virtual machine, the first use of a page of memory is slow. Have as much
 * as the big files will need used just before.
 */
static void warm_memory(void)
{
	size_t size = ((size_t)opt.big_mib << 20) * opt.clients;
	char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (memory != MAP_FAILED) {
		munmap(memory, size);
	}
}

static void run_phase(struct share *share, size_t phase)
{
	struct result *result = &share->results[phase];
	double cpu_begin, begin;

	if (!wants(phases[phase].name)) {
		return;
	}
	if (phases[phase].run == do_write) {
		warm_memory();
	}
	cpu_begin = server_time();
	begin = now();
	go_all(share->clients);
	result->count = wait_for_all(share->clients);
	result->seconds = now() - begin;
	result->cpu_seconds = server_time() - cpu_begin;
}

/* The clients remove what they made. */
static int end_share(struct share *share)
{
	int i, status, failed = 0;

	go_all(share->clients);
	for (i = 0; i < opt.clients; i++) {
		pid_t pid = waitpid(share->clients[i].pid, &status, 0);
		if (pid < 0 || status != 0) {
			failed = 1;
		}
	}
	free(share->clients);
	return failed;
}

static void print_share(const struct share *share)
{
	const char *separator = "";
	size_t p;

	printf("{");
	for (p = 0; p < NUM_PHASES; p++) {
		const struct result *r = &share->results[p];
		if (!is_in(opt.phases, phases[p].name)) {
			continue;
		}
		printf("%s\"%s\": {\"count\": %.0f, \"seconds\": %.6f, "
		       "\"rate\": %.2f, \"cpu_us\": %.2f}",
		       separator, phases[p].name, r->count, r->seconds,
		       r->count / r->seconds, r->cpu_seconds * 1e6 / r->count);
		separator = ", ";
	}
	printf("}\n");
}

int main(int argc, char **argv)
{
	struct share *shares = NULL;
	int num_shares, i, failed = 0;
	size_t p;

	read_options(argc, argv);
	read_password();
	num_shares = argc - optind;
	shares = calloc(num_shares, sizeof(*shares));
	if (shares == NULL) {
		fail("calloc", "");
	}
	for (i = 0; i < num_shares; i++) {
		start_share(&shares[i], argv[optind + i]);
	}
	for (p = 0; p < FIRST_BIG; p++) {
		for (i = 0; i < num_shares; i++) {
			run_phase(&shares[i], p);
		}
	}
	for (i = 0; i < num_shares; i++) {
		for (p = FIRST_BIG; p < NUM_PHASES; p++) {
			run_phase(&shares[i], p);
		}
	}
	for (i = 0; i < num_shares; i++) {
		failed |= end_share(&shares[i]);
		print_share(&shares[i]);
	}
	free(shares);
	return failed;
}
