// SPDX-License-Identifier: MIT

package kfd

// DefectInfo describes a defect.
type DefectInfo struct {
	Defect
	Name string
	// Word is the verdict that it leads to; ok for one that is harmless alone and
	// only shows in what is counted. Empty for one that cannot be switched on; then
	// Story says why.
	Word   string
	Source string // where it was posted, fixed or reported; "invented"
	Story  string // one line
	// Brings are the defects without which it shows nothing: they come along.
	Brings Defects
}

// DefectTable has every defect in the order of the constants: by name, numbers by
// value.
var DefectTable = [numDefects]DefectInfo{
	{D1, "D1", "stuck", "series v2",
		"the BO's invalid counter is never reset: every commit fails, the queues never run again", 0},
	{D2, "D2", "misuse", "series v2 to v4",
		"registering frees its fetches and keeps the pointers: the first eviction frees them again", 0},
	{D3, "D3", "stale", "series v2 to v4",
		"the page array is filled up to the first range that was not fetched again: later ranges get their old pages", 0},
	{D4, "D4", "stale", "series v3",
		"a range that was unmapped keeps its pages and counts as valid: the GPU reaches freed pages", 0},
	{D5, "D5", "stuck", "series v4",
		"a range that was unmapped fails every commit and is never fetched again: the queues never run again", 0},
	{D6, "D6", "stale", "series v2 and v4",
		"a range is marked valid outside of notifier_lock: an invalidation since its fetch is overwritten", 0},
	{D7, "D7", "leak", "series v2",
		"an error while registering leaves the notifiers inserted, with the BO freed", 0},
	{D8, "D8", "leak", "series v2 to v4",
		"an error while registering, or a free while evicted, leaks the fetches", 0},
	{D9, "D9", "misuse", "series v2 to v4",
		"the callback sleeps in a window that must not block: the OOM reaper waits for the GPU", 0},
	{D10, "D10", "misuse", "series v3",
		"a callback between the ranges returns without mmu_interval_set_seq; ranges are marked before the lock", 0},
	{D11, "D11", "misuse", "series v3 and v4",
		"free takes the tree of ranges apart while a callback may walk it", 0},
	{D12, "D12", "ok", "series v4",
		"a commit that an invalidation between the ranges beat is repeated without fetching: harmless alone, warns in the log", 0},
	{D13, "D13", "", "series v2 to v4",
		"the GPU address stands for the BO's CPU address: shows in CRIU dumps only, which are not modelled", 0},
	{D14, "D14", "differs", "series v2 to v4",
		"the sum of the sizes may overflow: ranges of 2^63 bytes pass the check, and fail later with another errno", 0},
	{D15, "D15", "stale", "Linux 6.1 to 6.12",
		"a range that was unmapped keeps its pages: the GPU reaches freed pages, and never sees later ones", 0},
	{D16, "D16", "", "series v3 and v4",
		"a kernel without the series ignores the flag and registers the range array: not a property of a design, not modelled", 0},
	{D17, "D17", "stuck", "Linux 6.1 to 6.12, series v2 to v4",
		"a range that became read-only fails every pass: the queues never run again", 0},
	{LastSeqOnly, "last-seq-only", "stale", "invented (asked for in the review of v3)",
		"a commit checks the seq of the last range that was fetched, and of no other", 1 << SeqAlone},
	{NoReadRetry, "no-read-retry", "stale", "Linux 6.1: FIXME in update_invalid_user_pages",
		"a commit does not look at any seq", 1 << SeqAlone},
	{SeqAfterFault, "seq-after-fault", "stale", "invented (the classic mistake with HMM)",
		"the seq is read after the pages: an invalidation since is not noticed", 1 << SeqAlone},
	{SeqAlone, "seq-alone", "ok", "invented",
		"a commit trusts the seqs and compares no counter: harmless alone, what comes on top of it is not", 0},
	{SeqPerPiece, "seq-per-piece", "stale", "CVE-2026-63879, c08972f55594, Linux 6.2 to 6.12.113",
		"the seq is read again for each 2 GiB of a fetch: a collision in an earlier piece is forgotten", 1 << SeqAlone},
	{SkipFlush, "skip-flush", "stale", "Linux before 6.12.114: Add TLB flush after MES queue eviction",
		"queues are stopped without a flush of the TLB", 0},
	{StaleSeq, "stale-seq", "ok", "342981fff328, Linux 6.12.114 to 6.12.116",
		"a fetch that collided is repeated with the same seq until 1 s has passed: correct, and a stall for each collision", 0},
}

// Info returns the description of a defect.
func (d Defect) Info() *DefectInfo { return &DefectTable[d] }

// String returns the name.
func (d Defect) String() string { return DefectTable[d].Name }
