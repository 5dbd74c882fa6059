// SPDX-License-Identifier: MIT

package traces

import (
	"io"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestValuesAreOfTheKindTheyLookLike(t *testing.T) {
	for text, want := range map[string]ValueKind{
		"4096": ValueNumber, "-1": ValueNumber, "0x7ffe5424b200 /* 35 vars */": ValueNumber, "0666": ValueNumber, "16K": ValueNumber,
		"O_RDWR|O_CLOEXEC": ValueFlags, "MAP_HUGETLB|21<<MAP_HUGE_SHIFT": ValueFlags, "TCGETS": ValueFlags,
		"NULL": ValueNull, `"abc"`: ValueString, `"abc"...`: ValueString,
		"{a=1, b={c=2}}": ValueStruct, "{}": ValueStruct, "{0x11*4096, 0x0*8K}": ValueBytes, "[1, 2]": ValueList, "[]": ValueList,
		"{a=1} /* x */": ValueStruct, "[1] /* x */ /* y */": ValueList, "\"/* x\"": ValueString, "3</a> /* x */": ValueFD,
		"3</dev/kfd>": ValueFD, "AT_FDCWD</tmp>": ValueFD,
		"~[RTMIN RT_1]": ValueOpaque, "makedev(0x1, 0x3)": ValueOpaque, "TCGETS or X": ValueOpaque, "": ValueOpaque,
		"<... resuming interrupted read ...>": ValueOpaque,
	} {
		require.Equal(t, want, Value(text).Kind(), "%s", text)
	}
}

func TestNumbersAreReadInEveryBase(t *testing.T) {
	for text, want := range map[string]uint64{
		"0": 0, "10": 10, "0x10": 16, "010": 8, "-1": math.MaxUint64, "-0x1": math.MaxUint64, "16K": 16384, "0x1M": 1 << 20, "2G": 2 << 30, "1T": 1 << 40,
		"18446744073709551615": math.MaxUint64, "0xffffffffffffffff": math.MaxUint64, "01777777777777777777777": math.MaxUint64,
		"-9223372036854775808": 1 << 63,
	} {
		v, n := parseNumber([]byte(text))
		require.Equal(t, len(text), n, text)
		require.Equal(t, want, v, text)
	}
	for _, text := range []string{"", "-", "0x", "x", "18446744073709551616", "0x10000000000000000", "02000000000000000000000", "08", "99999999999999999999",
		"18014398509481984K", "17179869184G", "-9223372036854775809"} {
		_, n := parseNumber([]byte(text))
		require.Zero(t, n, text)
	}
}

func TestStringsLoseTheirEscapes(t *testing.T) {
	text, cut, ok := Value(`"a\"\\\n\t\x41\101\0z"...`).Str()
	require.True(t, ok && cut)
	require.Equal(t, "a\"\\\n\tAA\x00z", string(text))
	_, _, ok = Value("abc").Str()
	require.False(t, ok)
}

func TestMembersOfStructsAndListsAreFound(t *testing.T) {
	members, ok := Value("{a=1 => 2, b=[{c=3}, 4], d=\"}\", ...}").Members(nil)
	require.True(t, ok)
	require.Equal(t, []Arg{
		{Name: []byte("a"), Value: Value("1"), After: Value("2")}, {Name: []byte("b"), Value: Value("[{c=3}, 4]")},
		{Name: []byte("d"), Value: Value(`"}"`)}, {Value: Value("...")},
	}, members)
	_, ok = Value("{a=1").Members(nil)
	require.False(t, ok)
}

func TestALineShowsItsParts(t *testing.T) {
	r := NewReader("t", strings.NewReader("[pid  12<a b>] 12:00:00.5 [0000001] openat(AT_FDCWD</tmp>, \"x\", O_RDONLY) = 3</tmp/x> <0.1>\n"))
	l, err := r.Next()
	require.NoError(t, err)
	l = l.Clone()
	require.Equal(t, LineCall, l.Kind)
	require.Equal(t, 12, l.TID)
	require.Equal(t, []string{"a b", "12:00:00.5", "[0000001]", "openat", "3", "</tmp/x> <0.1>"},
		[]string{string(l.Comm), string(l.Time), string(l.Marks), string(l.Name), string(l.Result), string(l.Trail)})
	require.Len(t, l.Args, 3)
	number, path := l.Args[0].Value.FD()
	require.Equal(t, []string{"AT_FDCWD", "/tmp"}, []string{string(number), string(path)})
	_, err = r.Next()
	require.Equal(t, io.EOF, err)

	l.Args = append(l.Args, Arg{Value: Value("0666")})
	l.TID, l.Comm, l.Time, l.Marks, l.Result = 7, nil, nil, nil, nil
	require.Equal(t, `[pid 7] openat(AT_FDCWD</tmp>, "x", O_RDONLY, 0666)`, string(AppendLine(nil, l)), "a changed clone prints its changes")
}

func TestALineThatWasCutByAMessageIsOneLine(t *testing.T) {
	got := printed(t, []byte("clone(flags=SIGCHLDstrace: Process 8 attached\n, child_tidptr=0x7f00) = 8\n"))
	require.Equal(t, "strace: Process 8 attached\nclone(flags=SIGCHLD, child_tidptr=0x7f00) = 8\n", string(got))
}

func TestCanonicalFormSqueezesBlanksOutsideOfStrings(t *testing.T) {
	for text, want := range map[string]string{
		"3396  1.5   brk(NULL)          = 0x1":                     "3396 1.5 brk(NULL) = 0x1",
		"[pid   12] x( {a=1,  b=\"c  d\"} ,2 )=3":                  "[pid 12] x({a=1, b=\"c  d\"}, 2) = 3",
		"1 <... read resumed> \"x\", 4) = 4":                       "1 <... read resumed>\"x\", 4) = 4",
		"1 x(3</a  b>,  /* \"c  */  \"d  e\") =  4</f  g>  (h  i)": "1 x(3</a  b>, /* \"c  */ \"d  e\") = 4</f  g> (h i)",
		"#:ram:64M":      "#: ram: 64M",
		"#  a  comment ": "#  a  comment",
	} {
		require.Equal(t, want+"\n", string(printed(t, []byte(text+"\n"))))
	}
}
