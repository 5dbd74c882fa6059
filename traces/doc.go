// SPDX-License-Identifier: MIT

// Package traces is the trace language: what strace prints, plus decoded KFD arguments and a few dotted pseudo-calls.
//
// It has two layers. A Line is syntax: Reader streams lines in constant memory, AppendLine prints them again, and
// nothing in a line needs to mean anything. An Op is meaning: Parse checks a whole trace and decodes every call that
// the model, the VM and the GPU execute; Check does the same and keeps nothing.
//
//	bytes ──Open──▶ Reader ──▶ Line ──decode──▶ Op ──▶ Trace (Parse) or nothing (Check)
//	                             └────▶ AppendLine ──▶ bytes
//
// A call that means nothing to memory is checked for syntax, skipped whole and counted by its name. In a call that
// is replayed, an unknown flag, field or word is an error that says file, line and column.
//
// It is not an interpreter: pids, file descriptors, handles and queue ids are labels here, and what they stand for is
// decided by whoever replays. It never names a design, except in the directives that state what each should answer.
//
// # Stability
//
// The language is a contract: a trace that Parse accepts is accepted by every later version, and means the same. Parse,
// Check, Reader, Line, AppendLine and Directives keep their signatures until version 1.0; structs may get more fields. The
// text of an error may change, its form file:line:col: what: why does not.
package traces
