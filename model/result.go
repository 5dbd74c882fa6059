// SPDX-License-Identifier: MIT

package model

import (
	"github.com/kfdsim/kfdsim/model/phys"
	"github.com/kfdsim/kfdsim/sim"
	"github.com/kfdsim/kfdsim/traces"
)

// Result is what one run says.
type Result struct {
	Trace  string `json:"trace"`
	Hash   string `json:"hash"`
	Design string `json:"design"`
	// Seed is nil in recorded order.
	Seed *uint64 `json:"seed,omitempty"`
	// Order says more of the interleaving: "schedule" where one was followed, "pct N".
	Order string `json:"order,omitempty"`

	// Verdict is one word of design.md; Want is what the trace says it must be,
	// empty when it does not say.
	Verdict string `json:"verdict"`
	Want    string `json:"want,omitempty"`
	// Compared says whether recorded results and Want were judged: not where several
	// tasks ran in another order than the recorded one.
	Compared bool `json:"expectations_compared"`
	// Reason says why a verdict is not ok, in one line.
	Reason  string       `json:"reason,omitempty"`
	Failure *sim.Failure `json:"-"`
	Differs []Difference `json:"differs,omitempty"`

	Fingerprint string   `json:"fingerprint"`
	Events      uint64   `json:"events"`
	VirtualNS   int64    `json:"virtual_ns"`
	Counts      Counts   `json:"counts"`
	Report      Report   `json:"report"`
	Reads       []Read   `json:"reads,omitempty"`
	SMI         []string `json:"smi,omitempty"`
	Dumps       []string `json:"dumps,omitempty"`
	// Marks are the race windows that were entered, by name.
	Marks []string `json:"windows,omitempty"`
	// Schedule is the interleaving, if Options.Record asked for it.
	Schedule *sim.Schedule `json:"-"`
	// impatient says that the interleaving was given up after too many steps without a
	// line, and the rest ran in recorded order.
	impatient bool
	sim       *sim.Sim // that ran, for its lock orders
	marks     sim.Marks
	tail      []sim.Event
}

// OK says whether the run came out as it must: ok, or as the trace says.
func (r *Result) OK() bool {
	if r.Want != "" {
		return r.Verdict == r.Want
	}
	return r.Verdict == "ok"
}

// Unsupported says whether the run could not be made.
func (r *Result) Unsupported() bool { return r.Verdict == "unsupported" && r.Want != "unsupported" }

// Tail returns the last events before the end, oldest first.
func (r *Result) Tail() []sim.Event { return r.tail }

// Difference is a result that the trace records otherwise.
type Difference struct {
	Line int    `json:"line"`
	Call string `json:"call"`
	Got  string `json:"got"`
	Want string `json:"want"`
}

// Read is what one read saw.
type Read struct {
	Line  int            `json:"line"`
	GPU   uint32         `json:"gpu,omitempty"` // 0: by the CPU
	Addr  uint64         `json:"addr"`          // GPU or CPU address, bytes
	Errno string         `json:"errno,omitempty"`
	Bytes []phys.ByteRun `json:"bytes,omitempty"`
}

// Counts are what happened, summed over the machine.
type Counts struct {
	Lines         uint64 `json:"lines"`          // of the trace that were performed
	Ioctls        uint64 `json:"ioctls"`         // KFD calls
	Retries       uint64 `json:"retries"`        // of them, repeats after EAGAIN
	BOs           uint64 `json:"bos"`            // user memory BOs
	Notifiers     uint64 `json:"notifiers"`      // interval notifiers inserted
	Windows       uint64 `json:"windows"`        // notifier windows on watched address spaces
	Invalidations uint64 `json:"invalidations"`  // callbacks delivered
	Evictions     uint64 `json:"evictions"`      // times that queues were stopped for user memory
	RestorePasses uint64 `json:"restore_passes"` // runs of the restore worker
	Restores      uint64 `json:"restores"`       // of them, those that let the queues run
	Collisions    uint64 `json:"collisions"`     // fetches or commits that an invalidation beat
	Fetches       uint64 `json:"fetches"`        // ranges fetched
	Warnings      uint64 `json:"warnings"`       // of the driver in the kernel's log
	PagesFaulted  uint64 `json:"pages_faulted"`
	PagesFetched  uint64 `json:"pages_fetched"` // returned by hmm_range_fault
	COWBreaks     uint64 `json:"cow_breaks"`
	PagesSwapOut  uint64 `json:"pages_swapped_out"`
	PagesSwapIn   uint64 `json:"pages_swapped_in"`
	PagesMigrated uint64 `json:"pages_migrated"` // to other frames
	PagesMerged   uint64 `json:"pages_merged"`   // by KSM
	PTEsWritten   uint64 `json:"ptes_written"`
	PTEsCleared   uint64 `json:"ptes_cleared"`
	Fragments     uint64 `json:"fragments"`
	TLBFlushes    uint64 `json:"tlb_flushes"`
	DMAMapped     uint64 `json:"dma_mapped"`
	BytesRead     uint64 `json:"gpu_bytes_read"`
	BytesWritten  uint64 `json:"gpu_bytes_written"`
	VMFaults      uint64 `json:"vm_faults"`
	OOMKills      uint64 `json:"oom_kills"`
	HugeFaults    uint64 `json:"huge_faults"`
	HugeSplits    uint64 `json:"huge_splits"`
	HugeCollapses uint64 `json:"huge_collapses"`
}

// Report lists what the run did not take from the trace as it stands.
type Report struct {
	Ambient       uint64             `json:"ambient_mappings"`
	AmbientPages  uint64             `json:"ambient_pages"`
	MadeRoom      uint64             `json:"implied_unmaps"` // recorded addresses that something unseen had freed
	TakenOver     uint64             `json:"failures_taken"` // recorded failures that were not performed
	Processes     int                `json:"processes"`
	Threads       int                `json:"threads"`
	Skipped       []traces.NameCount `json:"skipped,omitempty"`
	Undecoded     int                `json:"undecoded,omitempty"`
	Unimplemented []traces.NameCount `json:"not_modelled,omitempty"` // accepted as recorded, without effect
}
