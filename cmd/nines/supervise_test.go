package main

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"nines/supervisor/notify"
)

// TestHandBack: values and descriptors by their names, in as many messages as
// they come; nothing is left open of a hand-back that failed.
func TestHandBack(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	fd := int(null.Fd())
	type message struct {
		text string
		fds  []int
	}
	for name, c := range map[string]struct {
		messages []message
		err      string
		values   int
		names    string
	}{
		"empty": {messages: []message{{"X_NINES_STORE=end", nil}}},
		"all": {messages: []message{
			{"FDSTORE=1\nFDNAME=listen:a/x\nFDNAME=listen:a/y", []int{fd, fd}}, {"FDSTORE=1\nFDNAME=listen:b/x", []int{fd}},
			{"X_NINES_VALUE=k v", nil}, {"X_NINES_VALUE=l w\nX_NINES_STORE=end", nil},
		}, values: 2, names: "listen:a/x listen:a/y listen:b/x"},
		"twice": {messages: []message{{"FDSTORE=1\nFDNAME=a\nFDNAME=a", []int{fd, fd}}, {"X_NINES_STORE=end", nil}}, names: "a"},
		"more":  {messages: []message{{"FDSTORE=1\nFDNAME=a", []int{fd, fd}}, {"X_NINES_STORE=end", nil}}, names: "a"},
		"fewer": {messages: []message{{"FDSTORE=1\nFDNAME=a\nFDNAME=b", []int{fd}}}, err: "there is no descriptor b with it"},
		"bad":   {messages: []message{{"FDSTORE=1\nFDNAME=a", []int{fd}}, {"garbage", []int{fd}}}, err: "cannot read the keeper's message"},
		"gone":  {messages: []message{{"FDSTORE=1\nFDNAME=a", []int{fd}}}, err: "cannot get the store back"},
	} {
		t.Run(name, func(t *testing.T) {
			a, b, err := notify.Pair()
			if err != nil {
				t.Fatal(err)
			}
			keeper, err := notify.NewConn(a)
			if err != nil {
				t.Fatal(err)
			}
			conn, err := notify.NewConn(b)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			for _, m := range c.messages {
				if err := keeper.Send([]byte(m.text), m.fds); err != nil {
					t.Fatal(err)
				}
			}
			if err := keeper.Close(); err != nil {
				t.Fatal(err)
			}
			before := openFDs(t)
			values, sockets, err := handBack(conn)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("%v, want %q", err, c.err)
				}
				if after := openFDs(t); after != before {
					t.Errorf("%d descriptors are open, %d were", after, before)
				}
				return
			}
			if err != nil || len(values) != c.values {
				t.Errorf("%v, %v", values, err)
			}
			if after := openFDs(t); after != before+len(sockets) {
				t.Errorf("%d descriptors are open, %d were", after, before)
			}
			if got := strings.Join(sortedKeys(sockets), " "); got != c.names {
				t.Errorf("names %q, want %q", got, c.names)
			}
			for _, fd := range sockets {
				notify.CloseAll([]int{fd})
			}
		})
	}
}

func sortedKeys(m map[string]int) []string { return slices.Sorted(maps.Keys(m)) }

func openFDs(t *testing.T) int {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}
