/*
 * MRMR: the protector: having one run, and one only.
 *
 * A protector holds an flock on <state dir>/protector.lock from before it opens
 * the catalogue until after it has closed it, and `protector` in the pool's page
 * is 1 while it will look into the queue again. When it finds nothing to do,
 *
 *     protector                          smbd
 *     the page says 0                    an event into the queue
 *     is there anything in the queue?    what does the page say?
 *     yes: the page says 1, go on        0: start one
 *     no: give the lock back
 *
 * so one of the two sees the other. One that is started then, and finds the lock
 * taken and the page at 0, waits for it; at 1, another one runs, which will see
 * what is in the queue, and it ends. That the page says 1 is believed for a
 * second, then the lock is asked: whoever was killed has left a 1.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <talloc.h>
#include <xxhash.h>

#include <mrmr/log.h>
#include <mrmr/shared.h>
#include <mrmr/thread_root.h>

#include "protector_private.h"

#define LOCK_NAME "protector.lock"
#define BELIEVE_NS INT64_C(1000000000)
#define HOLD_OFF_NS (5 * INT64_C(1000000000))
#define POLL_NS 5000000L
#define PATIENCE_TRIES 20 /* of POLL_NS: somebody may just be asking */

#ifndef MRMR_SBINDIR
#define MRMR_SBINDIR "/usr/local/sbin"
#endif

/* --- the turn ------------------------------------------------------------------ */

struct mrmr_protector_turn {
	struct mrmr_pool *pool;
	int lock_fd;
};

static int open_lock(struct mrmr_pool *pool)
{
	return openat(pool->state_fd, LOCK_NAME,
		      O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
}

static int lock(int fd, int how)
{
	int ret;

	do {
		ret = flock(fd, how);
	} while (ret == -1 && errno == EINTR);
	return ret;
}

static void pause_a_moment(void)
{
	const struct timespec moment = {.tv_nsec = POLL_NS};

	nanosleep(&moment, NULL);
}

static int leave(struct mrmr_protector_turn *turn)
{
	atomic_store(&turn->pool->shared->protector, 0);
	close(turn->lock_fd);
	return 0;
}

/* 0 with the lock; -1 EALREADY if another one runs. */
static int take_turn(struct mrmr_pool *pool, int fd, bool wait)
{
	unsigned int running = 0;

	if (wait) {
		_Atomic uint32_t *wants = &pool->shared->protect.wants_turn;
		uint32_t self = (uint32_t)getpid();
		int ret;

		atomic_store(wants, self);
		ret = lock(fd, LOCK_EX);
		atomic_compare_exchange_strong(wants, &self, 0);
		return ret;
	}
	while (lock(fd, LOCK_EX | LOCK_NB) == -1) {
		if (errno != EWOULDBLOCK) {
			return -1;
		}
		running = atomic_load(&pool->shared->protector) != 0
				  ? running + 1
				  : 0;
		if (running == PATIENCE_TRIES) {
			errno = EALREADY;
			return -1;
		}
		pause_a_moment();
	}
	return 0;
}

struct mrmr_protector_turn *mrmr_protector_enter(void *mem_ctx,
						 struct mrmr_pool *pool,
						 bool wait,
						 struct mrmr_error *err)
{
	struct mrmr_protector_turn *turn =
		talloc_zero(mem_ctx, struct mrmr_protector_turn);
	int error;

	if (turn == NULL) {
		protector_no_memory(err);
		return NULL;
	}
	turn->pool = pool;
	turn->lock_fd = open_lock(pool);
	if (turn->lock_fd == -1 || take_turn(pool, turn->lock_fd, wait) == -1) {
		error = errno;
		if (turn->lock_fd != -1) {
			close(turn->lock_fd);
		}
		talloc_free(turn);
		/* whoever wanted one has it */
		atomic_store(&pool->shared->protect.started_ns, 0);
		mrmr_error_set(err, error, "%s/" LOCK_NAME ": %s",
			       pool->config->state_dir, strerror(error));
		return NULL;
	}
	atomic_store(&pool->shared->protector, 1);
	atomic_store(&pool->shared->protect.started_ns, 0);
	/* what comes from now on is for the next one, too */
	atomic_store(&pool->shared->has_work, 0);
	talloc_set_destructor(turn, leave);
	return turn;
}

bool mrmr_protector_has_work(const struct mrmr_pool *pool)
{
	return atomic_load(&pool->shared->has_work) != 0;
}

bool mrmr_protector_is_at_work(const struct mrmr_pool *pool)
{
	return atomic_load(&pool->shared->protector) != 0 ||
	       atomic_load(&pool->shared->protect.started_ns) != 0;
}

/* One that was killed while it waited does not count. */
static bool is_alive(uint32_t pid)
{
	return pid != 0 && pid != (uint32_t)getpid() &&
	       (kill((pid_t)pid, 0) == 0 || errno == EPERM);
}

bool protector_is_wanted(struct mrmr_pool *pool, bool *turn)
{
	struct mrmr_shared_protector *page = &pool->shared->protect;

	*turn = is_alive(atomic_load(&page->wants_turn));
	return *turn || is_alive(atomic_load(&page->wants_lock));
}

/* Does somebody hold the lock? */
static bool is_running(struct mrmr_pool *pool)
{
	struct mrmr_thread_root root;
	bool running = false;
	int fd;

	if (mrmr_thread_root_enter(&root) == -1) {
		return false;
	}
	fd = open_lock(pool);
	mrmr_thread_root_leave(&root);
	if (fd != -1) {
		running = lock(fd, LOCK_SH | LOCK_NB) == -1 &&
			  errno == EWOULDBLOCK;
		close(fd);
	}
	return running;
}

/* --- starting one ----------------------------------------------------------------- */

static void close_all_from(unsigned int first)
{
#ifdef SYS_close_range
	if (syscall(SYS_close_range, first, ~0u, 0) == 0) {
		return;
	}
#endif
	for (; first < 65536; first++) {
		close((int)first);
	}
}

static void become_root_for_good(void)
{
	/* bare system calls: there is one thread here, and no lock of the C
	   library may be taken after fork() */
	syscall(SYS_setresuid, (uid_t)-1, 0, (uid_t)-1);
	syscall(SYS_setresgid, 0, 0, 0);
	syscall(SYS_setgroups, 0, NULL);
	syscall(SYS_setresuid, 0, 0, 0);
}

static void reset_signals(void)
{
	const struct sigaction by_default = {.sa_handler = SIG_DFL};
	sigset_t none;
	int i;

	for (i = 1; i < NSIG; i++) {
		sigaction(i, &by_default, NULL);
	}
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* In the grandchild. Does not return; only what is safe after fork(). */
static void become(char *const argv[], int tell_fd)
{
	int null_fd;
	int error;

	become_root_for_good();
	reset_signals();
	setsid();
	umask(077);
	if (chdir("/") == -1) {
		_exit(1);
	}
	/* out of the way of what comes to 0, 1 and 2 */
	tell_fd = fcntl(tell_fd, F_DUPFD_CLOEXEC, 10);
	null_fd = open("/dev/null", O_RDWR);
	if (tell_fd == -1 || null_fd == -1 || dup2(null_fd, 0) == -1 ||
	    dup2(null_fd, 1) == -1 || dup2(null_fd, 2) == -1 ||
	    dup2(tell_fd, 3) == -1) {
		_exit(1);
	}
	fcntl(3, F_SETFD, FD_CLOEXEC);
	close_all_from(4);
	execv(argv[0], argv);
	error = errno;
	if (write(3, &error, sizeof(error)) != sizeof(error)) {
		_exit(2);
	}
	_exit(1);
}

/* 0, or an errno value: why it could not be executed. */
static int spawn(char *const argv[])
{
	int error = 0;
	int fds[2];
	ssize_t got;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) == -1) {
		return errno;
	}
	pid = fork();
	if (pid == 0) {
		pid = fork();
		if (pid == 0) {
			become(argv, fds[1]);
		}
		_exit(pid == -1);
	}
	close(fds[1]);
	if (pid == -1) {
		error = errno;
		close(fds[0]);
		return error;
	}
	while (waitpid(pid, NULL, 0) == -1 && errno == EINTR) {
	}
	do {
		got = read(fds[0], &error, sizeof(error));
	} while (got == -1 && errno == EINTR);
	close(fds[0]);
	return got == sizeof(error) ? error : 0;
}

static void start(struct mrmr_pool *pool,
		  const struct mrmr_protector_command *command)
{
	char settle[32];
	char *argv[] = {
		(char *)(command->path != NULL ? command->path
					       : MRMR_SBINDIR "/mrmr-admin"),
		(char *)"-c",
		pool->config->path,
		(char *)"sync",
		(char *)"--background",
		command->settle_seconds > 0 ? settle : NULL,
		NULL,
	};
	int error;

	snprintf(settle, sizeof(settle), "--settle=%u",
		 command->settle_seconds);
	error = spawn(argv);

	if (error != 0) {
		mrmr_log(MRMR_LOG_ERROR,
			 "%s cannot be started, so that new and changed files "
			 "are not protected: %s",
			 argv[0], strerror(error));
	}
}

void mrmr_protector_start(struct mrmr_pool *pool,
			  const struct mrmr_protector_command *command)
{
	static struct {
		uint64_t serial; /* of the pool */
		int64_t ns;
	} believed;
	struct mrmr_shared *shared = pool->shared;
	int64_t now_ns = mrmr_now_ns();
	int64_t started_ns;
	int saved_errno = errno;

	if (pool->queue == NULL) {
		return;
	}
	if (atomic_load(&shared->protector) != 0) {
		if (believed.serial == pool->serial &&
		    now_ns - believed.ns < BELIEVE_NS) {
			return;
		}
		if (is_running(pool)) {
			believed.serial = pool->serial;
			believed.ns = now_ns;
			errno = saved_errno;
			return;
		}
	}
	started_ns = atomic_load(&shared->protect.started_ns);
	if ((started_ns == 0 || now_ns - started_ns >= HOLD_OFF_NS) &&
	    atomic_compare_exchange_strong(&shared->protect.started_ns,
					   &started_ns, now_ns)) {
		start(pool, command);
	}
	errno = saved_errno;
}

/* --- waiting for one ------------------------------------------------------------------ */

/*
 * Who waits for a file that he has closed leaves word in the page: a hash of the
 * file, and how often the queue had been taken. The protector takes that away when
 * all of the file is protected, and it has taken the queue once more before it read
 * the file: so it knew of the close. Who finds his place taken, or whose file cannot
 * be protected now, waits until a pass has ended that began later, and found nothing
 * to do.
 */
static _Atomic uint64_t *find_wait(struct mrmr_pool *pool,
				   const struct mrmr_uuid *member,
				   uint64_t inode, uint32_t *file)
{
	uint64_t hash = XXH3_64bits_withSeed(member->byte, 16, inode);

	*file = (uint32_t)(hash >> 32) | 1; /* with it, no word is 0 */
	return &pool->shared->protect.waits[hash % MRMR_SHARED_WAITS];
}

void protector_settle(struct mrmr_pool *pool, const struct mrmr_uuid *member,
		      uint64_t inode)
{
	uint32_t takes = atomic_load(&pool->shared->protect.takes);
	uint32_t file;
	_Atomic uint64_t *wait = find_wait(pool, member, inode, &file);
	uint64_t word = atomic_load(wait);

	if (word >> 32 == file && (int32_t)(takes - (uint32_t)word) > 0) {
		atomic_compare_exchange_strong(wait, &word, 0);
	}
}

int mrmr_protector_wait(struct mrmr_pool *pool,
			const struct mrmr_protector_command *command,
			const struct mrmr_uuid *member, uint64_t inode,
			int64_t timeout_ns)
{
	struct mrmr_shared_protector *shared = &pool->shared->protect;
	int64_t end_ns = mrmr_now_ns() + timeout_ns;
	int64_t started_ns = 0;
	_Atomic uint64_t *wait = NULL;
	uint64_t nobody = 0;
	uint64_t begun;
	uint64_t word;
	uint32_t file;
	bool has_place;
	int ret = 0;

	if (pool->queue == NULL) {
		return 0;
	}
	atomic_store(&shared->hurry_until_ns, mrmr_now_ns() + BELIEVE_NS);
	begun = atomic_load(&shared->passes_begun);
	wait = find_wait(pool, member, inode, &file);
	word = (uint64_t)file << 32 | atomic_load(&shared->takes);
	has_place = atomic_compare_exchange_strong(wait, &nobody, word);
	for (;;) {
		int64_t now_ns = mrmr_now_ns();

		if (has_place && atomic_load(wait) != word) {
			return 0;
		}
		if (atomic_load(&shared->passes_ended) > begun) {
			break;
		}
		if (now_ns >= end_ns) {
			errno = ETIMEDOUT;
			ret = -1;
			break;
		}
		if (now_ns - started_ns >= BELIEVE_NS / 10) {
			atomic_store(&shared->hurry_until_ns,
				     now_ns + BELIEVE_NS);
			mrmr_protector_start(pool, command);
			started_ns = now_ns;
		}
		pause_a_moment();
	}
	if (has_place) {
		atomic_compare_exchange_strong(wait, &word, 0);
	}
	return ret;
}
