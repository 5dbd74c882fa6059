// SPDX-License-Identifier: MIT

package model

import (
	"fmt"

	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/model/kfd"
	"github.com/kfdsim/kfdsim/model/mm"
)

// apiState is what a failed ioctl must leave as it was.
type apiState struct {
	handles   int
	bos       int
	notifiers int
	mmCount   int
}

// Allocated judges the layout of a new BO.
func (c *checker) Allocated(m *kfd.Mem) {
	ms := c.memOf(m)
	ms.allocated = true
	c.charged += m.Size << mm.PageShift
	at := uint64(0)
	for k := range m.Ranges {
		r := &m.Ranges[k]
		if r.Prefix != at || r.End <= r.Start {
			c.fail("layout", "the ranges of a BO do not follow each other", c.rangeDetail(ms, k))
			return
		}
		at += r.Len()
	}
	if at != m.Size {
		c.fail("layout", "the ranges of a BO do not add up to its size", c.boDetail(ms, nil))
		return
	}
	c.judgeCharge(false)
}

// Freed judges what is left of a BO that is gone, or could not be made.
func (c *checker) Freed(m *kfd.Mem) {
	ms := c.memOf(m)
	if ms.wideFlags&rangeInserted != 0 {
		c.fail("notifier-removed", "an interval notifier outlives its BO", notifierDetail(ms.wide))
	}
	for k := range m.Ranges {
		r, rs := &m.Ranges[k], &ms.ranges[k]
		switch {
		case rs.flags&rangeInserted != 0:
			c.fail("notifier-removed", "an interval notifier outlives its BO", c.rangeDetail(ms, k))
		case r.HMM != nil, rs.hmm != nil && !rs.hmm.Freed():
			c.fail("fetch-freed", "a fetch outlives its BO", c.rangeDetail(ms, k))
		case r.HasPages():
			c.fail("dma-unmapped", "pages of a BO stay mapped for DMA", c.rangeDetail(ms, k))
		default:
			continue
		}
		break
	}
	if ms.allocated {
		c.charged -= m.Size << mm.PageShift
	}
	c.forget(ms)
	c.judgeCharge(false)
}

// Gone judges what is left of a process that was torn down.
func (c *checker) Gone(p *kfd.Process) {
	st := c.procOf(p)
	switch {
	case st.live != 0:
		c.fail("notifier-removed", "an interval notifier outlives its process", fmt.Sprintf("process %s: %d of them", p.MM.Name, st.live))
	case st.bos != 0:
		c.fail("process-gone", "a BO outlives its process", fmt.Sprintf("process %s: %d of them", p.MM.Name, st.bos))
	case p.Info != nil && p.Info.RestorePending():
		c.fail("process-gone", "a restore is pending for a process that is gone", "process "+p.MM.Name)
	}
}

// judgeCharge compares the memory limit with the BOs that live. A call that makes
// a BO charges it before the BO lives; exact says that there is none.
func (c *checker) judgeCharge(exact bool) {
	used := c.drv.MemUsed()
	if used < c.charged || exact && used != c.charged {
		c.fail("limit-sum", "the memory charged is not the sum of the BOs", fmt.Sprintf("%d bytes charged, BOs have %d", used, c.charged))
	}
}

// beforeIoctl notes what an ioctl finds. p is nil for a file that is no KFD
// process.
func (c *checker) beforeIoctl(p *kfd.Process) {
	if c.drv == nil || p == nil {
		return
	}
	c.ioctls++
	st := c.procOf(p)
	st.calls++
	st.alone = st.calls == 1
	if st.alone {
		st.before = apiStateOf(st)
	}
}

// afterIoctl judges what an ioctl has left: everything as it was if it failed.
// Where other calls of the process were under way in between, that cannot be
// told.
func (c *checker) afterIoctl(p *kfd.Process, err errno.Errno) {
	if c.drv == nil || p == nil {
		return
	}
	c.ioctls--
	st := c.procOf(p)
	st.calls--
	if c.ioctls == 0 {
		c.judgeCharge(true)
	}
	if err == 0 || !st.alone || dying(p) {
		return
	}
	was, is := st.before, apiStateOf(st)
	what := ""
	switch {
	case is.handles != was.handles:
		what = "a handle"
	case is.notifiers != was.notifiers:
		what = "an interval notifier"
	case is.bos != was.bos:
		what = "a BO"
	case is.mmCount != was.mmCount:
		what = "a reference on the address space"
	default:
		return
	}
	c.fail("error-no-change", "an ioctl that failed leaves a change behind: "+what,
		fmt.Sprintf("process %s, %v: before %+v, after %+v", p.MM.Name, err, was, is))
}

func apiStateOf(st *mmState) apiState {
	return apiState{handles: st.proc.Handles(), bos: st.bos, notifiers: st.live, mmCount: st.mm.Count()}
}
