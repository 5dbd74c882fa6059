// SPDX-License-Identifier: MIT

package traces

// The clone flags that fork and vfork stand for. Kernel: fork, vfork, kernel/fork.c.
const (
	cloneVM    = 0x100
	cloneVfork = 0x4000
	sigchld    = 17
)

func decodeFork(d *decoder, o *Op, args []Arg) *fault {
	return d.noArgs(o, args, sigchld)
}

func decodeVfork(d *decoder, o *Op, args []Arg) *fault {
	return d.noArgs(o, args, cloneVM|cloneVfork|sigchld)
}

func (d *decoder) noArgs(o *Op, args []Arg, flags uint64) *fault {
	if len(args) > 0 {
		return &fault{d.at(args[0].Value), "fork takes no arguments", "flags are clone's"}
	}
	o.A[0] = flags
	return nil
}

// decodeClone decodes clone(child_stack=..., flags=..., ...), and clone(flags[, stack]) as written by hand.
func decodeClone(d *decoder, o *Op, args []Arg) (f *fault) {
	for i := range args {
		a := &args[i]
		switch string(a.Name) {
		case "flags":
			o.A[0], f = d.number(a.Value, cloneWords)
		case "child_stack", "stack":
			o.A[1], f = d.number(a.Value, noWords)
		case "":
			if i > 1 {
				break
			}
			o.A[i], f = d.number(a.Value, cloneWords)
		case "parent_tid", "parent_tidptr", "child_tidptr", "child_tid", "tls", "pidfd", "stack_size", "exit_signal":
		default:
			f = &fault{d.at(a.Name), "unknown field " + clip(a.Name),
				"clone has child_stack, flags, parent_tid, tls, child_tidptr"}
		}
		if f != nil {
			return f
		}
	}
	return nil
}

func decodeClone3(d *decoder, o *Op, args []Arg) *fault {
	if len(args) == 0 {
		return nil
	}
	v := args[0].Value
	if v[0] != '{' {
		return &fault{d.at(v), "clone3 without its struct", "what the child shares is in its flags"}
	}
	return d.members(o, v, func(a *Arg) (f *fault) {
		var n uint64
		switch string(a.Name) {
		case "flags":
			n, f = d.number(a.Value, cloneWords)
			o.A[0] |= n
		case "exit_signal":
			n, f = d.number(a.Value, signalWords)
			o.A[0] |= n & 0xff
		case "stack":
			o.A[1], f = d.number(a.Value, noWords)
		case "pidfd", "child_tid", "parent_tid", "stack_size", "tls", "set_tid", "set_tid_size", "cgroup":
		default:
			if len(a.Name) > 0 || a.Value[0] != '/' && a.Value[0] != '"' {
				return &fault{d.at(a.Value), "unknown field " + clip(a.Name), "clone3 takes Linux's struct clone_args"}
			}
		}
		return f
	})
}

// openSpec and creatSpec are open and creat with their arguments at openat's positions.
var (
	openSpec  = spec{name: "open", params: []param{as(formPath), flag(2, openWords), flag(3, modeWords)}}
	creatSpec = spec{name: "creat", params: []param{as(formPath), flag(3, modeWords)}}
)

func decodeOpen(d *decoder, o *Op, args []Arg) *fault {
	o.A[0] = atWords.names["AT_FDCWD"]
	return d.params(o, &openSpec, args)
}

func decodeCreat(d *decoder, o *Op, args []Arg) *fault {
	o.A[0] = atWords.names["AT_FDCWD"]
	o.A[2] = openWords.names["O_CREAT"] | openWords.names["O_WRONLY"] | openWords.names["O_TRUNC"]
	return d.params(o, &creatSpec, args)
}

// decodeOpenat2 decodes openat2(dirfd, path, {flags=..., mode=..., resolve=...}, size) into openat's order.
func decodeOpenat2(d *decoder, o *Op, args []Arg) *fault {
	head := spec{name: "openat2", params: []param{fd(0), as(formPath)}}
	if f := d.params(o, &head, args[:min(2, len(args))]); f != nil || len(args) < 3 {
		return f
	}
	v := args[2].Value
	if v[0] != '{' {
		_, f := d.number(v, noWords)
		return f
	}
	return d.members(o, v, func(a *Arg) (f *fault) {
		switch string(a.Name) {
		case "flags":
			o.A[2], f = d.number(a.Value, openWords)
		case "mode":
			o.A[3], f = d.number(a.Value, modeWords)
		case "resolve":
		default:
			return &fault{d.at(a.Value), "unknown field " + clip(a.Name), "openat2 takes Linux's struct open_how"}
		}
		return f
	})
}

// decodeFcntl decodes the commands that duplicate a descriptor; the others mean nothing.
func decodeFcntl(d *decoder, o *Op, args []Arg) *fault {
	if len(args) < 2 {
		return errSkip
	}
	command, f := d.number(args[1].Value, dupWords)
	if f != nil || command != dupWords.names["F_DUPFD"] && command != dupWords.names["F_DUPFD_CLOEXEC"] {
		return errSkip
	}
	if command == dupWords.names["F_DUPFD_CLOEXEC"] {
		o.A[2] = openWords.names["O_CLOEXEC"]
	}
	p := fd(0)
	if f := d.descriptor(o, &p, args[0].Value); f != nil || len(args) < 3 {
		return f
	}
	o.A[1], f = d.number(args[2].Value, noWords)
	return f
}
