// SPDX-License-Identifier: MIT

package mm

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/sim"
)

const elsewhere = watchedPage + 0x1000

// victim makes an address space with 16 watched pages and 16 of each other kind,
// which somebody inside the kernel keeps alive.
func victim(t *sim.Task, sys *System) (*MM, *probe) {
	m := sys.NewMM("victim")
	p := populated(t, m, true)
	for k, flags := range []uint32{anonPrivate, anonPrivate | MapLocked, mapShared | MapAnonymous} {
		at := elsewhere + uint64(k)*0x1000
		okAddr(m.Mmap(t, at<<PageShift, 16<<PageShift, protRW, flags|fixed, nil, 0))
		ok(m.Store(t, at<<PageShift, 16<<PageShift, 1))
	}
	return m, p
}

func (m *MM) present(lo, n uint64) (pages uint64) {
	for i := lo; i < lo+n; i++ {
		if m.PTEAt(i).Present() {
			pages++
		}
	}
	return pages
}

// TestMreleaseOfAWatchedRangeWouldBlock: the row process_mrelease of the table
// that was measured on Linux 6.12. The VMA whose callback refuses keeps its
// pages, and nothing ends the window that began.
func TestMreleaseOfAWatchedRangeWouldBlock(t *testing.T) {
	m := newProbeMachine(Config{}, nil)
	m.run(t, func(task *sim.Task) {
		a, p := victim(task, m.sys)
		require.Equal(t, errno.EAGAIN, a.ProcessMrelease(task))
		require.Equal(t, "nonblock", p.takeEvents())
		require.True(t, p.valid)
		require.Zero(t, a.NotifierState().Active)
		require.Zero(t, a.NotifierState().Seq&1)
		require.Equal(t, uint64(18), a.present(watchedPage-1, 18))
		require.Zero(t, a.present(elsewhere, 16), "private memory")
		require.Zero(t, a.present(elsewhere+0x1000, 16), "locked memory is no exception")
		require.Equal(t, uint64(16), a.present(elsewhere+0x2000, 16), "shared memory belongs to others, too")
		IntervalNotifierRemove(task, &p.IntervalNotifier)
		ok(a.ProcessMrelease(task))
		require.Zero(t, a.present(watchedPage-1, 18))
		require.Equal(t, uint64(16), a.RSS())
	})
}

// TestNothingComesBackWhereTheReaperWas: zeroes there would look like data.
func TestNothingComesBackWhereTheReaperWas(t *testing.T) {
	m := newProbeMachine(Config{}, nil)
	m.run(t, func(task *sim.Task) {
		a, p := victim(task, m.sys)
		require.Equal(t, errno.EAGAIN, a.ProcessMrelease(task))
		require.Equal(t, errno.EFAULT, a.Store(task, elsewhere<<PageShift, 1, 1))
		_, err := a.Load(task, nil, elsewhere<<PageShift, 1)
		require.Equal(t, errno.EFAULT, err)
		_, _, err = p.fetch(task, HMMReqFault|HMMReqWrite)
		ok(err)
		q := register(task, a, elsewhere, elsewhere+16)
		_, _, err = q.fetch(task, HMMReqFault|HMMReqWrite)
		require.Equal(t, errno.EFAULT, err)
	})
}

// TestTheReaperTriesTenTimes: 100 ms apart, and then leaves the rest to the exit.
func TestTheReaperTriesTenTimes(t *testing.T) {
	for name, c := range map[string]struct {
		during func(t *sim.Task, m *MM) // before the reaper begins
		after  func(t *sim.Task, m *MM)
		events string
		waits  sim.Time
	}{
		"a callback that refuses": {events: strings.TrimSuffix(strings.Repeat("nonblock ", 10), " "), waits: 10},
		"mmap_lock taken for writing": {
			during: func(t *sim.Task, m *MM) { m.WriteLock(t) }, after: func(t *sim.Task, m *MM) { m.WriteUnlock(t) }, waits: 10},
		"nobody refuses": {
			during: func(t *sim.Task, m *MM) {
				m.Notifiers(0, EndOfSpace, func(n *IntervalNotifier) bool {
					IntervalNotifierRemove(t, n)
					return false
				})
			}},
	} {
		t.Run(name, func(t *testing.T) {
			m := newProbeMachine(Config{}, nil)
			m.run(t, func(task *sim.Task) {
				a, p := victim(task, m.sys)
				if c.during != nil {
					c.during(task, a)
				}
				began := m.s.Now()
				m.sys.OOMReap(task, a)
				require.Equal(t, c.waits*100*sim.Millisecond, m.s.Now()-began)
				require.True(t, a.OOMSkip())
				if c.events != "" {
					require.Equal(t, strings.Replace(c.events, strings.Repeat("nonblock ", 9)+"nonblock", "nonblockx10", 1), p.takeEvents())
				}
				if c.after != nil {
					c.after(task, a)
				}
				p.events = nil
				a.Put(task)
				if p.Inserted() {
					require.Equal(t, "RELEASE[0!,max) UNMAP[0!,max)", p.takeEvents())
				}
				require.Zero(t, m.sys.Mem.Used())
			})
		})
	}
}

// TestTheReaperLeavesAVictimTwoSeconds: what exits by itself is not reaped, what
// does not is, and who waited for memory goes on.
func TestTheReaperLeavesAVictimTwoSeconds(t *testing.T) {
	for name, exits := range map[string]bool{"a victim that exits": true, "a victim that is stuck": false} {
		t.Run(name, func(t *testing.T) {
			m := newProbeMachine(Config{RAM: 1024}, nil)
			m.run(t, func(task *sim.Task) {
				a := m.sys.NewMM("victim")
				okAddr(a.Mmap(task, elsewhere<<PageShift, 800<<PageShift, protRW, fixedAnon, nil, 0))
				ok(a.Store(task, elsewhere<<PageShift, 800<<PageShift, 1))
				p := populated(task, a, true)
				b := m.sys.NewMM("other")
				okAddr(b.Mmap(task, elsewhere<<PageShift, 900<<PageShift, protRW, fixedAnon, nil, 0))
				m.sys.OOMKill = func(t *sim.Task) *MM {
					if exits {
						m.s.Go("exit", func(t *sim.Task) { t.Sleep(sim.Second); a.Put(t) })
					}
					return a
				}
				ok(b.Store(task, elsewhere<<PageShift, 900<<PageShift, 2))
				require.Equal(t, uint64(900), b.RSS())
				require.Equal(t, uint64(1), m.sys.Counts.OOMKills)
				if exits {
					require.Equal(t, sim.Second, m.s.Now())
					require.Equal(t, "RELEASE[0!,max) UNMAP[0!,max)", p.takeEvents())
				} else {
					require.Equal(t, 2*sim.Second, m.s.Now())
					require.Equal(t, uint64(18), a.RSS())
				}
			})
		})
	}
}
