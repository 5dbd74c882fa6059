// SPDX-License-Identifier: MIT

package sim

// lock is what a task may want before its next step. Under a preemptive chooser
// a task that wants a lock runs only when it can have it, so that the order of
// acquisitions is the chooser's and nobody queues.
type lock interface{ free(Kind) bool }

// lockPoint is a scheduling point before an acquisition.
func (t *Task) lockPoint(l lock, o *Object, k Kind) {
	if t.sim.attn != 0 {
		t.want, t.wantKind = l, k
		t.point(Access{o, 0, 1, k})
		t.want = nil
	}
}

// tryPoint is a scheduling point before an acquisition that may fail.
func (t *Task) tryPoint(o *Object) {
	if t.sim.attn != 0 {
		t.point(Access{o, 0, 1, KindTry})
	}
}

// Mutex is a sleeping lock with one owner.
//
// Kernel: struct mutex, include/linux/mutex.h.
type Mutex struct {
	obj   Object
	class *LockClass
	owner *Task
	wait  WaitQueue
}

// Init prepares the mutex.
func (m *Mutex) Init(s *Sim, class *LockClass) {
	m.obj.Init(s, class.name)
	m.class = class
	m.wait.Init(s, class.name)
}

// Lock acquires the mutex, sleeping while another task owns it.
func (m *Mutex) Lock(t *Task) {
	if t.atomic|t.nonBlock != 0 {
		t.MightSleep("mutex_lock(" + m.class.name + ")")
	}
	t.acquire(m.class, m, false)
	t.lockPoint(m, &m.obj, KindAcquire)
	for m.owner != nil {
		m.wait.Sleep(t)
	}
	m.owner = t
}

// free says whether a task that wants the mutex could have it now.
func (m *Mutex) free(Kind) bool { return m.owner == nil }

// TryLock acquires the mutex if nobody owns it.
func (m *Mutex) TryLock(t *Task) bool {
	t.tryPoint(&m.obj)
	if m.owner != nil {
		return false
	}
	t.held = append(t.held, heldLock{m.class, m})
	m.owner = t
	return true
}

// Unlock releases the mutex.
//
// Preconditions: t owns it.
func (m *Mutex) Unlock(t *Task) {
	if m.owner != t {
		t.lockMisuse("unlock of a mutex that is not held: ", m.class)
		return
	}
	t.release(m)
	t.touch(&m.obj, 0, 1, KindRelease)
	m.owner = nil
	m.wait.wakeOne(t)
}

// HeldBy says whether t owns the mutex.
func (m *Mutex) HeldBy(t *Task) bool { return m.owner == t }

// AssertHeld reports misuse when t does not own the mutex.
//
// Kernel: lockdep_assert_held, include/linux/lockdep.h.
func (m *Mutex) AssertHeld(t *Task) {
	if m.owner != t {
		t.lockMisuse("lock not held: ", m.class)
	}
}

// Locked says whether anybody owns the mutex.
func (m *Mutex) Locked() bool { return m.owner != nil }

// RWSem is a sleeping lock with many readers or one writer. Writers are not
// starved: a reader queues behind a waiting writer.
//
// Kernel: struct rw_semaphore, include/linux/rwsem.h.
type RWSem struct {
	obj     Object
	class   *LockClass
	writer  *Task
	readers int
	waiting int // writers that wait
	wait    WaitQueue
}

// Init prepares the semaphore.
func (m *RWSem) Init(s *Sim, class *LockClass) {
	m.obj.Init(s, class.name)
	m.class = class
	m.wait.Init(s, class.name)
}

// Lock acquires it for writing.
//
// Kernel: down_write.
func (m *RWSem) Lock(t *Task) { m.lock(t, m.class) }

// LockNested acquires it for writing under another lock of the same class.
//
// Kernel: down_write_nested.
func (m *RWSem) LockNested(t *Task, sub *LockClass) { m.lock(t, sub) }

func (m *RWSem) lock(t *Task, class *LockClass) {
	if t.atomic|t.nonBlock != 0 {
		t.MightSleep("down_write(" + class.name + ")")
	}
	t.acquire(class, m, false)
	t.lockPoint(m, &m.obj, KindAcquire)
	for m.writer != nil || m.readers > 0 {
		m.waiting++
		m.wait.Sleep(t)
		m.waiting--
	}
	m.writer = t
}

// RLock acquires it for reading.
//
// Kernel: down_read.
func (m *RWSem) RLock(t *Task) {
	if t.atomic|t.nonBlock != 0 {
		t.MightSleep("down_read(" + m.class.name + ")")
	}
	t.acquire(m.class, m, true)
	t.lockPoint(m, &m.obj, KindAcquireRead)
	for m.writer != nil || m.waiting > 0 {
		m.wait.Sleep(t)
		if m.writer == nil {
			break
		}
	}
	m.readers++
}

// free says whether a task that wants the semaphore could have it now.
func (m *RWSem) free(k Kind) bool { return m.writer == nil && (k == KindAcquireRead || m.readers == 0) }

// TryRLock acquires it for reading if no writer holds it.
//
// Kernel: down_read_trylock.
func (m *RWSem) TryRLock(t *Task) bool {
	t.tryPoint(&m.obj)
	if m.writer != nil || m.waiting > 0 {
		return false
	}
	t.held = append(t.held, heldLock{m.class, m})
	m.readers++
	return true
}

// Unlock releases a write hold.
//
// Kernel: up_write.
func (m *RWSem) Unlock(t *Task) {
	if m.writer != t {
		t.lockMisuse("up_write of a semaphore that is not held: ", m.class)
		return
	}
	t.release(m)
	t.touch(&m.obj, 0, 1, KindRelease)
	m.writer = nil
	m.wait.wakeLock()
}

// RUnlock releases a read hold.
//
// Kernel: up_read.
func (m *RWSem) RUnlock(t *Task) {
	if m.readers == 0 || !t.holds(m) {
		t.lockMisuse("up_read of a semaphore that is not held: ", m.class)
		return
	}
	t.release(m)
	t.touch(&m.obj, 0, 1, KindReleaseRead)
	m.readers--
	if m.readers == 0 {
		m.wait.wakeLock()
	}
}

// Downgrade turns a write hold into a read hold.
//
// Kernel: downgrade_write.
func (m *RWSem) Downgrade(t *Task) {
	if m.writer != t {
		t.lockMisuse("downgrade of a semaphore that is not held: ", m.class)
		return
	}
	t.Point()
	t.touch(&m.obj, 0, 1, KindRelease)
	m.writer = nil
	m.readers++
	m.wait.wakeLock()
}

// AssertHeld reports misuse when t holds it neither for reading nor writing.
func (m *RWSem) AssertHeld(t *Task) {
	if !t.holds(m) {
		t.lockMisuse("lock not held: ", m.class)
	}
}

// AssertHeldWrite reports misuse when t does not hold it for writing.
func (m *RWSem) AssertHeldWrite(t *Task) {
	if m.writer != t {
		t.lockMisuse("lock not held for writing: ", m.class)
	}
}

// Spinlock is a lock whose holder must not sleep.
//
// Kernel: spinlock_t, include/linux/spinlock.h.
type Spinlock struct {
	obj   Object
	class *LockClass
	owner *Task
	wait  WaitQueue
	quiet bool // held by LockFor
}

// Init prepares the spinlock.
func (m *Spinlock) Init(s *Sim, class *LockClass) {
	m.obj.Init(s, class.name)
	m.class = class
	m.wait.Init(s, class.name)
}

// Lock acquires the spinlock.
func (m *Spinlock) Lock(t *Task) {
	t.acquire(m.class, m, false)
	t.lockPoint(m, &m.obj, KindAcquire)
	for m.owner != nil {
		m.wait.spin(t)
	}
	m.owner = t
	t.atomic++
}

// LockFor is Lock for a section that has no scheduling point and does no more to
// what the lock guards than a: nobody ever finds the lock held, and others depend on a
// instead of on who had it last.
func (m *Spinlock) LockFor(t *Task, a Access) {
	t.acquire(m.class, m, false)
	if t.sim.attn != 0 {
		t.point(a)
	}
	for m.owner != nil {
		m.wait.spin(t)
	}
	m.owner = t
	m.quiet = true
	t.atomic++
}

// free says whether a task that wants the lock could have it now.
func (m *Spinlock) free(Kind) bool { return m.owner == nil }

// Unlock releases the spinlock.
func (m *Spinlock) Unlock(t *Task) {
	if m.owner != t {
		t.lockMisuse("unlock of a spinlock that is not held: ", m.class)
		return
	}
	t.release(m)
	if !m.quiet {
		t.touch(&m.obj, 0, 1, KindRelease)
	}
	m.quiet = false
	t.atomic--
	m.owner = nil
	m.wait.wakeOne(t)
}
