// SPDX-License-Identifier: MIT

package model

import (
	"fmt"
	"strings"

	"github.com/kfdsim/kfdsim/model/gpu"
	"github.com/kfdsim/kfdsim/model/kfd"
	"github.com/kfdsim/kfdsim/sim"
)

// walk judges everything there is, dirty or not, and returns what is wrong. It
// changes nothing and may be called at any scheduling point.
func (c *checker) walk() []sim.Failure {
	c.walking, c.found = true, nil
	for _, st := range c.mms {
		if st != nil && !st.mm.Exited() {
			c.judgeNotifiers(st)
		}
	}
	for _, p := range c.drv.Processes() {
		c.walkProcess(p)
	}
	for _, d := range c.drv.GPUs {
		for _, vm := range d.VMs() {
			if vs := c.vmOf(vm); vm.Running() {
				c.judgeVM(vs, 0, gpu.ApertureHi)
			}
		}
	}
	if c.ioctls == 0 {
		c.judgeCharge(true)
	}
	found := c.found
	c.walking, c.found = false, nil
	return found
}

// walkProcess judges the counters, queues and BOs of a process, unless somebody is
// inside the lock that makes them agree.
func (c *checker) walkProcess(p *kfd.Process) {
	st := c.procOf(p)
	if p.Info == nil || dying(p) || p.Info.NotifierLocked() {
		return
	}
	c.checkProcess(st)
	for _, m := range p.Info.BOs() {
		c.walkMem(m)
	}
}

// walkMem judges the ranges of a BO that is on a list: one that is watched, and
// whose pages are right unless it waits for the worker.
func (c *checker) walkMem(m *kfd.Mem) {
	ms := c.memOf(m)
	if !ms.allocated {
		return
	}
	for k := range m.Ranges {
		r, rs := &m.Ranges[k], &ms.ranges[k]
		switch {
		case !c.pins && !ms.notifier(k).Inserted():
			c.fail("range-watched", "no notifier watches a registered range", c.rangeDetail(ms, k))
		case r.Invalid == 0 && r.HasPages() && rs.hit <= rs.fetch:
			c.judgeArray(ms, k)
		}
		if !m.P.Info.RestorePending() {
			c.judgeForgotten(ms, k)
		}
	}
}

// atRest judges everything at a moment when nothing moves, and ends the run with
// what is wrong first.
func (c *checker) atRest() {
	if c.drv == nil {
		return
	}
	c.check()
	c.failFirst(c.walk())
}

func (c *checker) failFirst(found []sim.Failure) {
	if len(found) > 0 {
		c.s.Fail(found[0])
	}
}

// endOfRun judges what is left.
//
// Preconditions: every process was killed, nothing moves any more, and the page
// cache was dropped.
func (c *checker) endOfRun() {
	if c.drv == nil {
		return
	}
	c.check()
	c.walking, c.found = true, nil
	c.leaks()
	found := c.found
	c.walking, c.found = false, nil
	c.failFirst(found)
}

// leaks looks for what outlives the processes, from what causes the rest to what
// is caused.
func (c *checker) leaks() {
	for _, m := range c.sys.MMs() {
		if ns := m.NotifierState(); ns.Inserted != 0 || ns.Deferred != 0 {
			c.fail("notifier-removed", "an interval notifier outlives its process",
				fmt.Sprintf("mm %s: %d inserted, %d deferred", m.Name, ns.Inserted, ns.Deferred))
		}
	}
	for _, p := range c.drv.Processes() {
		c.fail("process-gone", "a KFD process outlives its address space", "process "+p.MM.Name)
	}
	for _, d := range c.drv.GPUs {
		if d.Mapped() != 0 {
			c.fail("dma-unmapped", "pages stay mapped for DMA at the end", strings.Join(d.Leaks(), "; "))
		} else if l := d.Leaks(); len(l) > 0 {
			c.fail("process-gone", "a GPU address space or queue outlives its process", strings.Join(l, "; "))
		}
	}
	if n := c.drv.MemUsed(); n != 0 {
		c.fail("limit-sum", "the memory limit is not given back", fmt.Sprint(n)+" bytes stay charged")
	}
	for _, m := range c.sys.MMs() {
		c.fail("mm-freed", "an address space outlives its users", fmt.Sprintf("mm %s: mm_count %d, mm_users %d; %s",
			m.Name, m.Count(), m.Users(), strings.Join(m.Leaks(), "; ")))
	}
	if n := c.sys.Mem.Used(); n != 0 {
		c.fail("memory-freed", "pages outlive every address space", fmt.Sprint(n)+" frames are in use")
	}
	if n := c.sys.Mem.SwapUsed(); n != 0 {
		c.fail("memory-freed", "swap slots outlive every address space", fmt.Sprint(n)+" slots are in use")
	}
	if len(c.drv.Leaks()) > 0 && len(c.found) == 0 {
		c.fail("process-gone", "something of the driver is left at the end", strings.Join(c.drv.Leaks(), "; "))
	}
}
