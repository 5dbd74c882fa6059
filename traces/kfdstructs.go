// SPDX-License-Identifier: MIT

package traces

// Members that several structs have.
var (
	gpuID   = in32("gpu_id", noWords, func(k *KFDArgs) *uint32 { return &k.GPUID })
	flagsIn = in32("flags", allocWords, func(k *KFDArgs) *uint32 { return &k.Flags })
	handle  = io64("handle", func(k *KFDArgs) *uint64 { return &k.Handle },
		func(k *KFDArgs) (*uint64, *bool) { return &k.OutHandle, &k.HasOutHandle })
	vaAddr  = in64("va_addr", func(k *KFDArgs) *uint64 { return &k.VAAddr })
	queueID = io32("queue_id", noWords, func(k *KFDArgs) *uint32 { return &k.QueueID },
		func(k *KFDArgs) (*uint32, *bool) { return &k.OutQueueID, &k.HasOutQueueID })
	eventID = io32("event_id", noWords, func(k *KFDArgs) *uint32 { return &k.EventID },
		func(k *KFDArgs) (*uint32, *bool) { return &k.OutEventID, &k.HasOutEventID })
	ringBase   = in64("ring_base_address", func(k *KFDArgs) *uint64 { return &k.RingBase })
	ringSize   = in32("ring_size", noWords, func(k *KFDArgs) *uint32 { return &k.RingSize })
	percentage = in32("queue_percentage", noWords, func(k *KFDArgs) *uint32 { return &k.QueuePercentage })
	priority   = in32("queue_priority", noWords, func(k *KFDArgs) *uint32 { return &k.QueuePriority })
	nSuccess   = kfdField{"n_success", func(d *decoder, _ *Op, k *KFDArgs, v Value, after bool) *fault {
		n, f := d.number32(v, noWords)
		if after {
			k.OutNSuccess, k.HasOutNSuccess = n, f == nil
		} else {
			k.NSuccess, k.HasNSuccess = n, f == nil
		}
		return f
	}}
	nDevices = count32("n_devices", func(k *KFDArgs) (*uint32, *bool) { return &k.NDevices, &k.hasNDevices })
)

// kfdFields are the members of the structs whose contents are part of the language, by number byte.
// Kernel: struct kfd_ioctl_…_args, include/uapi/linux/kfd_ioctl.h.
var kfdFields = map[uint8][]kfdField{
	0x01: {
		io32("major_version", noWords, func(k *KFDArgs) *uint32 { return &k.Major },
			func(k *KFDArgs) (*uint32, *bool) { return &k.OutMajor, &k.HasOutMajor }),
		io32("minor_version", noWords, func(k *KFDArgs) *uint32 { return &k.Minor },
			func(k *KFDArgs) (*uint32, *bool) { return &k.OutMinor, &k.HasOutMinor }),
	},
	0x02: {
		ringBase,
		in64("write_pointer_address", func(k *KFDArgs) *uint64 { return &k.WritePointer }),
		in64("read_pointer_address", func(k *KFDArgs) *uint64 { return &k.ReadPointer }),
		io64("doorbell_offset", func(k *KFDArgs) *uint64 { return &k.DoorbellOffset },
			func(k *KFDArgs) (*uint64, *bool) { return &k.OutDoorbellOffset, &k.HasOutDoorbellOffset }),
		ringSize, gpuID,
		in32("queue_type", queueWords, func(k *KFDArgs) *uint32 { return &k.QueueType }),
		percentage, priority, queueID,
		in64("eop_buffer_address", func(k *KFDArgs) *uint64 { return &k.EOPBuffer }),
		in64("eop_buffer_size", func(k *KFDArgs) *uint64 { return &k.EOPBufferSize }),
		in64("ctx_save_restore_address", func(k *KFDArgs) *uint64 { return &k.CtxSave }),
		in32("ctx_save_restore_size", noWords, func(k *KFDArgs) *uint32 { return &k.CtxSaveSize }),
		in32("ctl_stack_size", noWords, func(k *KFDArgs) *uint32 { return &k.CtlStackSize }),
		in32("sdma_engine_id", noWords, func(k *KFDArgs) *uint32 { return &k.SDMAEngineID }),
	},
	0x03: {queueID},
	0x07: {ringBase, queueID, ringSize, percentage, priority},
	0x08: {
		in64("event_page_offset", func(k *KFDArgs) *uint64 { return &k.EventPageOffset }),
		io32("event_trigger_data", noWords, func(k *KFDArgs) *uint32 { return &k.EventTrigger },
			func(k *KFDArgs) (*uint32, *bool) { return &k.OutEventTrigger, &k.HasOutEventTrigger }),
		in32("event_type", eventWords, func(k *KFDArgs) *uint32 { return &k.EventType }),
		in32("auto_reset", noWords, func(k *KFDArgs) *uint32 { return &k.AutoReset }),
		in32("node_id", noWords, func(k *KFDArgs) *uint32 { return &k.NodeID }),
		eventID,
		io32("event_slot_index", noWords, func(k *KFDArgs) *uint32 { return &k.EventSlot },
			func(k *KFDArgs) (*uint32, *bool) { return &k.OutEventSlot, &k.HasOutEventSlot }),
	},
	0x09: {eventID},
	0x0a: {eventID},
	0x0b: {eventID},
	0x0c: {
		eventList("events"), eventList("events_ptr"),
		count32("num_events", func(k *KFDArgs) (*uint32, *bool) { return &k.NumEvents, &k.hasNumEvents }),
		in32("wait_for_all", noWords, func(k *KFDArgs) *uint32 { return &k.WaitForAll }),
		in32("timeout", noWords, func(k *KFDArgs) *uint32 { return &k.Timeout }),
		io32("wait_result", waitResultWords, func(k *KFDArgs) *uint32 { return &k.WaitResult },
			func(k *KFDArgs) (*uint32, *bool) { return &k.OutWaitResult, &k.HasOutWaitResult }),
	},
	0x14: {
		in64("kfd_process_device_apertures_ptr", func(k *KFDArgs) *uint64 { return &k.Pointer }),
		io32("num_of_nodes", noWords, func(k *KFDArgs) *uint32 { return &k.NumOfNodes },
			func(k *KFDArgs) (*uint32, *bool) { return &k.OutNumOfNodes, &k.HasOutNumOfNodes }),
	},
	0x15: {descriptor32("drm_fd", func(k *KFDArgs) *uint32 { return &k.DRMFD }, nil), gpuID},
	0x16: {
		vaAddr, in64("size", func(k *KFDArgs) *uint64 { return &k.Size }), handle,
		io64("mmap_offset", func(k *KFDArgs) *uint64 { return &k.MmapOffset },
			func(k *KFDArgs) (*uint64, *bool) { return &k.OutMmapOffset, &k.HasOutMmapOffset }),
		gpuID, flagsIn,
	},
	0x17: {handle},
	0x18: {handle, deviceIDs("device_ids"), deviceIDs("device_ids_array_ptr"), nDevices, nSuccess},
	0x19: {handle, deviceIDs("device_ids"), deviceIDs("device_ids_array_ptr"), nDevices, nSuccess},
	0x1f: {
		in32("gpuid", noWords, func(k *KFDArgs) *uint32 { return &k.GPUID }),
		descriptor32("anon_fd", func(k *KFDArgs) *uint32 { return &k.AnonFD },
			func(k *KFDArgs) (*uint32, *bool) { return &k.OutAnonFD, &k.HasOutAnonFD }),
	},
	0x20: {
		in64("start_addr", func(k *KFDArgs) *uint64 { return &k.StartAddr }),
		in64("size", func(k *KFDArgs) *uint64 { return &k.Size }),
		in32("op", svmOpWords, func(k *KFDArgs) *uint32 { return &k.Op }),
		count32("nattr", func(k *KFDArgs) (*uint32, *bool) { return &k.NAttr, &k.hasNAttr }),
		attrList("attrs"),
	},
	0x21: {
		{"xnack_enabled", func(d *decoder, _ *Op, k *KFDArgs, v Value, after bool) *fault {
			n, f := d.number32(v, noWords)
			if after {
				k.OutXNACKEnabled, k.HasOutXNACKEnabled = int32(n), f == nil
			} else {
				k.XNACKEnabled = int32(n)
			}
			return f
		}},
	},
	0x23: {
		io64("available", func(k *KFDArgs) *uint64 { return &k.Available },
			func(k *KFDArgs) (*uint64, *bool) { return &k.OutAvailable, &k.HasOutAvailable }),
		gpuID,
	},
	0x27: {},
	0x28: {
		vaAddr, in64("total_size", func(k *KFDArgs) *uint64 { return &k.Size }), handle,
		rangeList("ranges"), rangeList("ranges_ptr"),
		count32("num_ranges", func(k *KFDArgs) (*uint32, *bool) { return &k.NumRanges, &k.hasNumRanges }),
		gpuID, flagsIn,
	},
}
