// SPDX-License-Identifier: MIT

package traces

import "math"

// kfdNames are the number bytes of KFD's ioctls by their names without AMDKFD_IOC_. 0x28 is the proposed batch ioctl;
// mainline has since given the number to another one, whose name is left out here so that it is never taken for it.
var kfdNames = map[string]uint8{
	"GET_VERSION": 0x01, "CREATE_QUEUE": 0x02, "DESTROY_QUEUE": 0x03, "SET_MEMORY_POLICY": 0x04,
	"GET_CLOCK_COUNTERS": 0x05, "GET_PROCESS_APERTURES": 0x06, "UPDATE_QUEUE": 0x07, "CREATE_EVENT": 0x08,
	"DESTROY_EVENT": 0x09, "SET_EVENT": 0x0a, "RESET_EVENT": 0x0b, "WAIT_EVENTS": 0x0c,
	"DBG_REGISTER_DEPRECATED": 0x0d, "DBG_UNREGISTER_DEPRECATED": 0x0e, "DBG_ADDRESS_WATCH_DEPRECATED": 0x0f,
	"DBG_WAVE_CONTROL_DEPRECATED": 0x10, "SET_SCRATCH_BACKING_VA": 0x11, "GET_TILE_CONFIG": 0x12,
	"SET_TRAP_HANDLER": 0x13, "GET_PROCESS_APERTURES_NEW": 0x14, "ACQUIRE_VM": 0x15, "ALLOC_MEMORY_OF_GPU": 0x16,
	"FREE_MEMORY_OF_GPU": 0x17, "MAP_MEMORY_TO_GPU": 0x18, "UNMAP_MEMORY_FROM_GPU": 0x19, "SET_CU_MASK": 0x1a,
	"GET_QUEUE_WAVE_STATE": 0x1b, "GET_DMABUF_INFO": 0x1c, "IMPORT_DMABUF": 0x1d, "ALLOC_QUEUE_GWS": 0x1e,
	"SMI_EVENTS": 0x1f, "SVM": 0x20, "SET_XNACK_MODE": 0x21, "CRIU_OP": 0x22, "AVAILABLE_MEMORY": 0x23,
	"EXPORT_DMABUF": 0x24, "RUNTIME_ENABLE": 0x25, "DBG_TRAP": 0x26, "CREATE_PROCESS": 0x27,
	"ALLOC_MEMORY_OF_GPU_BATCH": 0x28,
}

var (
	allocWords = table("allocation flag", map[string]uint64{
		"KFD_IOC_ALLOC_MEM_FLAGS_VRAM": 1 << 0, "KFD_IOC_ALLOC_MEM_FLAGS_GTT": 1 << 1,
		"KFD_IOC_ALLOC_MEM_FLAGS_USERPTR": 1 << 2, "KFD_IOC_ALLOC_MEM_FLAGS_DOORBELL": 1 << 3,
		"KFD_IOC_ALLOC_MEM_FLAGS_MMIO_REMAP": 1 << 4, "KFD_IOC_ALLOC_MEM_FLAGS_USERPTR_BATCH": 1 << 22,
		"KFD_IOC_ALLOC_MEM_FLAGS_CONTIGUOUS": 1 << 23, "KFD_IOC_ALLOC_MEM_FLAGS_EXT_COHERENT": 1 << 24,
		"KFD_IOC_ALLOC_MEM_FLAGS_UNCACHED": 1 << 25, "KFD_IOC_ALLOC_MEM_FLAGS_COHERENT": 1 << 26,
		"KFD_IOC_ALLOC_MEM_FLAGS_AQL_QUEUE_MEM": 1 << 27, "KFD_IOC_ALLOC_MEM_FLAGS_NO_SUBSTITUTE": 1 << 28,
		"KFD_IOC_ALLOC_MEM_FLAGS_PUBLIC": 1 << 29, "KFD_IOC_ALLOC_MEM_FLAGS_EXECUTABLE": 1 << 30,
		"KFD_IOC_ALLOC_MEM_FLAGS_WRITABLE": 1 << 31,
	})
	queueWords = table("queue type", map[string]uint64{
		"KFD_IOC_QUEUE_TYPE_COMPUTE": 0, "KFD_IOC_QUEUE_TYPE_SDMA": 1, "KFD_IOC_QUEUE_TYPE_COMPUTE_AQL": 2,
		"KFD_IOC_QUEUE_TYPE_SDMA_XGMI": 3, "KFD_IOC_QUEUE_TYPE_SDMA_BY_ENG_ID": 4,
	})
	eventWords = table("event type", map[string]uint64{
		"KFD_IOC_EVENT_SIGNAL": 0, "KFD_IOC_EVENT_NODECHANGE": 1, "KFD_IOC_EVENT_DEVICESTATECHANGE": 2,
		"KFD_IOC_EVENT_HW_EXCEPTION": 3, "KFD_IOC_EVENT_SYSTEM_EVENT": 4, "KFD_IOC_EVENT_DEBUG_EVENT": 5,
		"KFD_IOC_EVENT_PROFILE_EVENT": 6, "KFD_IOC_EVENT_QUEUE_EVENT": 7, "KFD_IOC_EVENT_MEMORY": 8,
	})
	waitResultWords = table("wait result", map[string]uint64{
		"KFD_IOC_WAIT_RESULT_COMPLETE": 0, "KFD_IOC_WAIT_RESULT_TIMEOUT": 1, "KFD_IOC_WAIT_RESULT_FAIL": 2,
	})
	svmOpWords   = table("SVM operation", map[string]uint64{"KFD_IOCTL_SVM_OP_SET_ATTR": 0, "KFD_IOCTL_SVM_OP_GET_ATTR": 1})
	svmAttrWords = table("SVM attribute", map[string]uint64{
		"KFD_IOCTL_SVM_ATTR_PREFERRED_LOC": 0, "KFD_IOCTL_SVM_ATTR_PREFETCH_LOC": 1, "KFD_IOCTL_SVM_ATTR_ACCESS": 2,
		"KFD_IOCTL_SVM_ATTR_ACCESS_IN_PLACE": 3, "KFD_IOCTL_SVM_ATTR_NO_ACCESS": 4, "KFD_IOCTL_SVM_ATTR_SET_FLAGS": 5,
		"KFD_IOCTL_SVM_ATTR_CLR_FLAGS": 6, "KFD_IOCTL_SVM_ATTR_GRANULARITY": 7,
	})
	svmValueWords = table("SVM value", map[string]uint64{
		"KFD_IOCTL_SVM_LOCATION_SYSMEM": 0, "KFD_IOCTL_SVM_LOCATION_UNDEFINED": math.MaxUint32,
		"KFD_IOCTL_SVM_FLAG_HOST_ACCESS": 0x01, "KFD_IOCTL_SVM_FLAG_COHERENT": 0x02,
		"KFD_IOCTL_SVM_FLAG_HIVE_LOCAL": 0x04, "KFD_IOCTL_SVM_FLAG_GPU_RO": 0x08, "KFD_IOCTL_SVM_FLAG_GPU_EXEC": 0x10,
		"KFD_IOCTL_SVM_FLAG_GPU_READ_MOSTLY": 0x20, "KFD_IOCTL_SVM_FLAG_GPU_ALWAYS_MAPPED": 0x40,
		"KFD_IOCTL_SVM_FLAG_EXT_COHERENT": 0x80,
	})
)

// kfdField is a member of an ioctl's struct.
type kfdField struct {
	name   string
	decode func(d *decoder, o *Op, k *KFDArgs, v Value, after bool) *fault
}

// in64 is a member of 64 bits that the kernel only reads. What a trace shows of it behind "=>" is only checked.
func in64(name string, at func(*KFDArgs) *uint64) kfdField {
	return io64(name, at, nil)
}

// io64 is a member of 64 bits that the kernel also writes; out is where that goes.
func io64(name string, at func(*KFDArgs) *uint64, out func(*KFDArgs) (*uint64, *bool)) kfdField {
	return kfdField{name, func(d *decoder, _ *Op, k *KFDArgs, v Value, after bool) *fault {
		n, f := d.number(v, noWords)
		switch {
		case f != nil:
			return f
		case !after:
			*at(k) = n
		case out != nil:
			p, has := out(k)
			*p, *has = n, true
		}
		return nil
	}}
}

func in32(name string, w *words, at func(*KFDArgs) *uint32) kfdField {
	return io32(name, w, at, nil)
}

func io32(name string, w *words, at func(*KFDArgs) *uint32, out func(*KFDArgs) (*uint32, *bool)) kfdField {
	return kfdField{name, func(d *decoder, _ *Op, k *KFDArgs, v Value, after bool) *fault {
		n, f := d.number32(v, w)
		switch {
		case f != nil:
			return f
		case !after:
			*at(k) = n
		case out != nil:
			p, has := out(k)
			*p, *has = n, true
		}
		return nil
	}}
}

// count32 is a count that an array implies; written on the way in, it overrides.
func count32(name string, at func(*KFDArgs) (*uint32, *bool)) kfdField {
	return kfdField{name, func(d *decoder, _ *Op, k *KFDArgs, v Value, after bool) *fault {
		n, f := d.number32(v, noWords)
		if f == nil && !after {
			p, has := at(k)
			*p, *has = n, true
		}
		return f
	}}
}

// descriptor32 is a file descriptor with or without its path.
func descriptor32(name string, at func(*KFDArgs) *uint32, out func(*KFDArgs) (*uint32, *bool)) kfdField {
	plain := io32(name, noWords, at, out)
	return kfdField{name, func(d *decoder, o *Op, k *KFDArgs, v Value, after bool) *fault {
		number, _ := v.FD()
		return plain.decode(d, o, k, number, after)
	}}
}

// deviceIDs, ranges, attrList and eventList are the arrays that a pointer member stands for.
func deviceIDs(name string) kfdField {
	return kfdField{name, func(d *decoder, o *Op, k *KFDArgs, v Value, after bool) *fault {
		ids, f := d.uint32s(o, v)
		if !after {
			k.DeviceIDs = ids
		}
		return f
	}}
}

func rangeList(name string) kfdField {
	return kfdField{name, func(d *decoder, o *Op, k *KFDArgs, v Value, after bool) *fault {
		rs, f := d.ranges(o, v, "start", "size")
		if !after {
			k.Ranges = rs
		}
		return f
	}}
}

func attrList(name string) kfdField {
	return kfdField{name, func(d *decoder, o *Op, k *KFDArgs, v Value, after bool) *fault {
		attrs, f := d.attrs(o, v)
		if !after {
			k.Attrs = attrs
		}
		return f
	}}
}

func eventList(name string) kfdField {
	return kfdField{name, func(d *decoder, o *Op, k *KFDArgs, v Value, after bool) *fault {
		ids, f := d.eventIDs(o, v)
		if !after {
			k.EventIDs = ids
		}
		return f
	}}
}
