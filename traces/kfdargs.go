// SPDX-License-Identifier: MIT

package traces

// KFDArgs is the argument of a KFD ioctl. Which members a call has is Kernel: struct kfd_ioctl_…_args,
// include/uapi/linux/kfd_ioctl.h. A member that the trace leaves out is 0. Members named Out… are what stands behind
// the `=>`, as the kernel returned them; their Has… says whether the trace records them at all.
type KFDArgs struct {
	NR        uint8 // the number byte of the command
	Undecoded bool  // only a pointer was shown: nothing below is known

	VAAddr     uint64 // GPU virtual address
	Size       uint64 // ALLOC_MEMORY_OF_GPU: size; …_BATCH: total_size; SVM: size. Bytes
	MmapOffset uint64 // in: the user address of a userptr allocation
	Handle     uint64
	GPUID      uint32
	Flags      uint32
	DRMFD      uint32

	Ranges    []Range
	NumRanges uint32 // len(Ranges) unless the trace overrides it
	DeviceIDs []uint32
	NDevices  uint32 // len(DeviceIDs) unless the trace overrides it
	NSuccess  uint32

	QueueType       uint32
	QueueID         uint32
	QueuePercentage uint32
	QueuePriority   uint32
	RingBase        uint64
	RingSize        uint32
	WritePointer    uint64
	ReadPointer     uint64
	DoorbellOffset  uint64
	EOPBuffer       uint64
	EOPBufferSize   uint64
	CtxSave         uint64
	CtxSaveSize     uint32
	CtlStackSize    uint32
	SDMAEngineID    uint32

	StartAddr uint64    // SVM
	Op        uint32    // SVM: 0 set, 1 get
	Attrs     []SVMAttr // SVM
	NAttr     uint32    // len(Attrs) unless the trace overrides it

	XNACKEnabled int32 // SET_XNACK_MODE: negative asks

	EventPageOffset uint64
	EventTrigger    uint32
	EventType       uint32
	AutoReset       uint32
	NodeID          uint32
	EventID         uint32
	EventSlot       uint32
	NumEvents       uint32 // WAIT_EVENTS
	WaitForAll      uint32
	Timeout         uint32 // milliseconds
	WaitResult      uint32
	EventIDs        []uint32 // WAIT_EVENTS: the events' ids

	AnonFD     uint32 // SMI_EVENTS
	Available  uint64 // AVAILABLE_MEMORY
	Pointer    uint64 // GET_PROCESS_APERTURES_NEW: where the apertures go, as recorded
	NumOfNodes uint32 // GET_PROCESS_APERTURES_NEW
	Major      uint32 // GET_VERSION
	Minor      uint32

	HasNSuccess bool // n_success is written on the way in

	OutHandle, OutMmapOffset, OutDoorbellOffset, OutAvailable uint64
	OutNSuccess, OutQueueID, OutEventID, OutEventSlot         uint32
	OutEventTrigger, OutWaitResult, OutAnonFD                 uint32
	OutNumOfNodes, OutMajor, OutMinor                         uint32
	OutXNACKEnabled                                           int32
	HasOutHandle, HasOutMmapOffset, HasOutNSuccess            bool
	HasOutQueueID, HasOutDoorbellOffset, HasOutAvailable      bool
	HasOutEventID, HasOutEventSlot, HasOutEventTrigger        bool
	HasOutWaitResult, HasOutAnonFD, HasOutNumOfNodes          bool
	HasOutMajor, HasOutMinor, HasOutXNACKEnabled              bool

	hasNumRanges, hasNDevices, hasNAttr, hasNumEvents bool // the count is written, and overrides its array
}

// SVMAttr is Kernel: struct kfd_ioctl_svm_attribute, include/uapi/linux/kfd_ioctl.h.
type SVMAttr struct{ Type, Value uint32 }
