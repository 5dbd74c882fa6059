// SPDX-License-Identifier: MIT

package traces

import (
	"bytes"
	"math"
	"slices"
	"strings"
)

// kfdType is the type byte of KFD's ioctls. Kernel: AMDKFD_IOCTL_BASE, include/uapi/linux/kfd_ioctl.h.
const kfdType = 'K'

// NRUnknown is KFDArgs.NR of a KFD ioctl whose name this package does not know.
const NRUnknown = 0xff

// decodeIoctl decodes KFD's ioctls; all others mean nothing. An ioctl is KFD's by its request, unless strace shows (-y)
// that the descriptor is another file's. A descriptor that shows nothing is left to the replay, which knows what it is.
func decodeIoctl(d *decoder, o *Op, args []Arg) *fault {
	if len(args) < 2 {
		return errSkip
	}
	nr, ok := kfdRequest(args[1].Value)
	if _, path := args[0].Value.FD(); !ok || path != nil && string(unescape(path)) != "/dev/kfd" {
		return errSkip
	}
	if len(args) > 3 {
		return &fault{d.at(args[3].Value), "ioctl takes 3 arguments", "the third is a struct"}
	}
	p := fd(0)
	if f := d.descriptor(o, &p, args[0].Value); f != nil {
		return f
	}
	o.A[1] = uint64(nr)
	k := &KFDArgs{NR: nr}
	d.extra(o).KFD = k
	k.Undecoded = nr != kfdNames["CREATE_PROCESS"] // the only one without a struct
	if len(args) < 3 {
		return nil
	}
	a := &args[2]
	if a.Value[0] != '{' {
		var f *fault
		o.A[2], f = d.number(a.Value, noWords)
		return f
	}
	fields := kfdFields[nr]
	if fields == nil {
		return &fault{d.at(a.Value), "arguments of " + clip(args[1].Value),
			"this ioctl is kept, but its struct is not part of the language"}
	}
	k.Undecoded = false
	if f := d.kfdStruct(o, k, fields, a.Value, false); f != nil || a.After == nil {
		return k.imply(f)
	}
	if a.After[0] != '{' {
		return &fault{d.at(a.After), "not a struct", "what the ioctl returned is written => {NAME=VALUE}"}
	}
	return k.imply(d.kfdStruct(o, k, fields, a.After, true))
}

// kfdRequest finds the number byte of a KFD ioctl in any form that strace gives to a request.
func kfdRequest(v Value) (nr uint8, ok bool) {
	text := v.withoutComment()
	for name := range strings.FieldsSeq(string(text)) { // strace joins what it cannot tell apart by "or"
		if short, is := strings.CutPrefix(name, "AMDKFD_IOC_"); is {
			if nr, known := kfdNames[short]; known {
				return nr, true
			}
			return NRUnknown, true
		}
	}
	if inner, is := bytes.CutPrefix(text, []byte("_IOC(")); is {
		parts := bytes.Split(bytes.TrimSuffix(inner, []byte(")")), []byte(","))
		if len(parts) != 4 {
			return 0, false
		}
		kind, n := parseNumber(trimBlanks(parts[1]))
		number, m := parseNumber(trimBlanks(parts[2]))
		return uint8(number), n > 0 && m > 0 && kind == kfdType && number < math.MaxUint8
	}
	n, m := parseNumber(text)
	if m == 0 || m != len(text) || n>>32 != 0 || uint8(n>>8) != kfdType {
		return 0, false
	}
	// Without direction and size the type is the console's, which has K too, from 0x2f on.
	return uint8(n), n>>16 != 0 || uint8(n) < 0x2f
}

// kfdStruct decodes one struct; after says that it is the one behind "=>".
func (d *decoder) kfdStruct(o *Op, k *KFDArgs, fields []kfdField, v Value, after bool) *fault {
	return d.members(o, v, func(a *Arg) *fault {
		if string(a.Name) == "pad" {
			return nil
		}
		i := slices.IndexFunc(fields, func(f kfdField) bool { return f.name == string(a.Name) })
		if i < 0 {
			at := d.at(a.Value)
			if a.Name != nil {
				at = d.at(a.Name)
			}
			return &fault{at, "unknown field " + clip(a.Name), IoctlName(k.NR) + " has " + fieldNames(fields)}
		}
		if f := fields[i].decode(d, o, k, a.Value, after); f != nil {
			return f
		}
		if a.After != nil {
			return fields[i].decode(d, o, k, a.After, true)
		}
		return nil
	})
}

// imply fills in the counts that the arrays imply.
func (k *KFDArgs) imply(f *fault) *fault {
	if !k.hasNumRanges {
		k.NumRanges = uint32(len(k.Ranges))
	}
	if !k.hasNDevices {
		k.NDevices = uint32(len(k.DeviceIDs))
	}
	if !k.hasNAttr {
		k.NAttr = uint32(len(k.Attrs))
	}
	if !k.hasNumEvents {
		k.NumEvents = uint32(len(k.EventIDs))
	}
	return f
}

func fieldNames(fields []kfdField) string {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.name
	}
	return strings.Join(names, ", ")
}

// IoctlName returns the name of a KFD ioctl by its number.
func IoctlName(nr uint8) string {
	for name, n := range kfdNames {
		if n == nr {
			return "AMDKFD_IOC_" + name
		}
	}
	return "the ioctl"
}

func (d *decoder) uint32s(o *Op, v Value) (out []uint32, f *fault) {
	f = d.each(o, v, func(a *Arg) *fault {
		n, f := d.number32(a.Value, noWords)
		out = append(out, n)
		return f
	})
	return out, f
}

// number32 evaluates a number that a field of 32 bits must hold; it may be negative.
func (d *decoder) number32(v Value, w *words) (uint32, *fault) {
	n, f := d.number(v, w)
	if f == nil && n > math.MaxUint32 && int64(n) < math.MinInt32 || int64(n) > math.MaxUint32 {
		f = &fault{d.at(v), clip(v) + " is too large", "the field has 32 bits"}
	}
	return uint32(n), f
}

// attrs decodes the attributes of SVM.
func (d *decoder) attrs(o *Op, v Value) (out []SVMAttr, f *fault) {
	f = d.each(o, v, func(a *Arg) *fault {
		var attr SVMAttr
		f := d.members(o, a.Value, func(m *Arg) (f *fault) {
			switch string(m.Name) {
			case "type":
				attr.Type, f = d.number32(m.Value, svmAttrWords)
			case "value":
				attr.Value, f = d.number32(m.Value, svmValueWords)
			default:
				return &fault{d.at(m.Value), "unknown field " + clip(m.Name), "an attribute has type, value"}
			}
			return f
		})
		out = append(out, attr)
		return f
	})
	return out, f
}

// eventIDs decodes the events of WAIT_EVENTS: their ids, or structs that hold them.
func (d *decoder) eventIDs(o *Op, v Value) (out []uint32, f *fault) {
	f = d.each(o, v, func(a *Arg) (f *fault) {
		var id uint32
		if a.Value[0] == '{' {
			f = d.members(o, a.Value, func(m *Arg) (f *fault) {
				if string(m.Name) != "event_id" {
					return &fault{d.at(m.Value), "unknown field " + clip(m.Name),
						"of an event only event_id is part of the language"}
				}
				id, f = d.number32(m.Value, noWords)
				return f
			})
		} else {
			id, f = d.number32(a.Value, noWords)
		}
		out = append(out, id)
		return f
	})
	return out, f
}
