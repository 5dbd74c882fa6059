// SPDX-License-Identifier: MIT

package traces

// LineKind says what a line of a trace is.
type LineKind uint8

const (
	LineBlank      LineKind = iota
	LineComment             // # Text
	LineDirective           // #: Key: Text
	LineCall                // Name(Args) = Result Trail, or Name(Args) without expectation
	LineUnfinished          // Name(Args Marker
	LineResumed             // <... Name resumed>Args) = Result Trail
	LineExited              // +++ exited with N +++
	LineKilled              // +++ killed by SIG +++
	LineSuperseded          // +++ superseded by execve in pid N +++
	LineSignal              // --- SIG {...} ---, --- stopped by SIG ---
	LineNote                // anything else that strace says: attached, detached, a stack frame, ...
)

// Prefix is the form in which a line names its task.
type Prefix uint8

const (
	PrefixNone    Prefix = iota
	PrefixNumber         // "12 "
	PrefixBracket        // "[pid 12] "
)

// Line is one line as syntax. Every slice in it points into the Reader's buffer.
type Line struct {
	Num    int // 1-based
	Kind   LineKind
	Prefix Prefix
	Closed bool // the closing parenthesis is on this line
	TID    int  // if Prefix is not PrefixNone
	Comm   []byte
	Time   []byte // in whatever form strace printed it
	Marks  []byte // what strace -i, -n and -r put between time and event

	Name   []byte
	Args   []Arg
	Marker []byte // "<unfinished ...>", "<detached ...>", "<pid changed to N ...>"
	Result []byte // nil: no expectation
	Trail  []byte // what follows the result: an fd's path, an explanation, the time that the call took

	Key  []byte // directive
	Text []byte // comment, directive, signal, +++ and note

	raw     []byte // the line without its end; every other slice shares its backing array
	argText []byte // everything between the parentheses
	tight   bool   // argText is spaced as AppendLine does it, as far as its commas and arrows go
}

// Arg is one argument of a call or one member of a struct: [Name=]Value[ => After].
type Arg struct {
	Name  []byte
	Value Value
	After Value // nil without "=>"
}

// Value is the text of a value as written. Its Kind is found from the text, and its parts by the methods that suit
// the kind; balanced text that has no kind is ValueOpaque.
type Value []byte

// offset returns where part begins in whole. Precondition: part is a two-index slice of whole's backing array.
func offset(whole, part []byte) int { return cap(whole) - cap(part) }

// Clone returns a copy of l that outlives the Reader's next line.
func (l *Line) Clone() *Line {
	c := *l
	c.raw, c.argText, c.tight = nil, nil, false
	for _, p := range []*[]byte{&c.Comm, &c.Time, &c.Marks, &c.Name, &c.Marker, &c.Result, &c.Trail, &c.Key, &c.Text} {
		*p = cloneBytes(*p)
	}
	c.Args = make([]Arg, len(l.Args))
	for i, a := range l.Args {
		c.Args[i] = Arg{cloneBytes(a.Name), cloneBytes(a.Value), cloneBytes(a.After)}
	}
	return &c
}

// cloneBytes keeps nil apart from empty: an absent part is not an empty one.
func cloneBytes(b []byte) []byte {
	if b == nil {
		return nil
	}
	return append([]byte{}, b...)
}
