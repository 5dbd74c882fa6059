// SPDX-License-Identifier: MIT

package traces

import (
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEveryCallHasItsOwnName(t *testing.T) {
	seen := map[string]bool{}
	for c := range NumCalls {
		require.NotEmpty(t, c.String())
		require.False(t, seen[c.String()], c)
		seen[c.String()] = true
	}
	require.Equal(t, "invalid", NumCalls.String())
	for name, s := range specs {
		require.True(t, s.call > CallNone && s.call < CallExited, name)
		require.True(t, s.decode != nil || s.min <= len(s.params), name)
	}
}

func TestEveryNumberedIoctlHasTheKernelsCommand(t *testing.T) {
	for command, name := range map[string]string{
		"0x80084B01": "GET_VERSION", "0xC0604B02": "CREATE_QUEUE", "0xC0084B03": "DESTROY_QUEUE", "0x40184B07": "UPDATE_QUEUE",
		"0xC0204B08": "CREATE_EVENT", "0xC0184B0C": "WAIT_EVENTS", "0xC0104B14": "GET_PROCESS_APERTURES_NEW",
		"0x40084B15": "ACQUIRE_VM", "0xC0284B16": "ALLOC_MEMORY_OF_GPU", "0x40084B17": "FREE_MEMORY_OF_GPU",
		"0xC0184B18": "MAP_MEMORY_TO_GPU", "0xC0184B19": "UNMAP_MEMORY_FROM_GPU", "0xC0204B1C": "GET_DMABUF_INFO",
		"0xC0084B1F": "SMI_EVENTS", "0xC0284B20": "SVM", "0xC0044B21": "SET_XNACK_MODE", "0xC0384B22": "CRIU_OP",
		"0xC0104B23": "AVAILABLE_MEMORY", "0xC0104B24": "EXPORT_DMABUF", "0xC0104B25": "RUNTIME_ENABLE",
		"0xC0204B26": "DBG_TRAP", "0x00004B27": "CREATE_PROCESS", "0xC0304B28": "ALLOC_MEMORY_OF_GPU_BATCH",
	} {
		byNumber, ok := kfdRequest(Value(command))
		require.True(t, ok, command)
		byName, ok := kfdRequest(Value("AMDKFD_IOC_" + name))
		require.True(t, ok, name)
		require.Equal(t, byName, byNumber, name)
	}
}

// TestEveryFieldOfAnIoctlIsKept writes each field alone, before and after, and looks for what it changed.
func TestEveryFieldOfAnIoctlIsKept(t *testing.T) {
	lists := map[string]string{
		"device_ids": "[7]", "device_ids_array_ptr": "[7]", "ranges": "[{start=7, size=7}]", "ranges_ptr": "[{start=7, size=7}]",
		"attrs": "[{type=7, value=7}]", "events": "[7]", "events_ptr": "[{event_id=7}]",
	}
	for nr, fields := range kfdFields {
		name := IoctlName(nr)
		for _, f := range fields {
			value := lists[f.name]
			if value == "" {
				value = "7"
			}
			k := kfd(t, "ioctl(3, "+name+", {"+f.name+"="+value+"}) = 0")
			require.False(t, k.Undecoded)
			require.NotEqual(t, &KFDArgs{NR: nr}, k, "%s.%s", name, f.name)

			both := kfd(t, "ioctl(3, "+name+", {"+f.name+"="+value+"} => {"+f.name+"="+value+"}) = 0")
			member := kfd(t, "ioctl(3, "+name+", {"+f.name+"="+value+" => "+value+"}) = 0")
			require.Equal(t, both, member, "%s.%s", name, f.name)
			v := reflect.ValueOf(both).Elem()
			for i := range v.NumField() {
				if has := v.Type().Field(i).Name; strings.HasPrefix(has, "HasOut") && v.Field(i).Bool() {
					out := v.FieldByName(strings.TrimPrefix(has, "Has"))
					require.EqualValues(t, 7, out.Interface(), "%s.%s", name, f.name)
				}
			}
		}
	}
}

func TestAnIoctlWithoutAStructHasNothingToDecode(t *testing.T) {
	require.False(t, kfd(t, "ioctl(3, AMDKFD_IOC_CREATE_PROCESS) = 0").Undecoded)
	require.False(t, kfd(t, "ioctl(3, _IOC(_IOC_NONE, 0x4b, 0x27, 0), 0) = 0").Undecoded)
	require.True(t, kfd(t, "ioctl(3, AMDKFD_IOC_SVM, 0x7ffe) = 0").Undecoded)
}

func TestEveryVerdictIsAccepted(t *testing.T) {
	for _, v := range Verdicts {
		tr := mustLoad(t, "#: result: batch="+v+"\n")
		require.Equal(t, []Expectation{{"batch", v}}, tr.Directives.Result)
	}
}
