package policy

import (
	"reflect"
	"testing"
)

func TestRevisionMemoryText(t *testing.T) {
	for want, w := range map[string]RevisionMemory{
		"1 1":          {Current: 1, Top: 1},
		"2 3 3:c:b 1:": {Current: 2, Top: 3, Known: []Revision{{Number: 3, Digest: "c", Verdict: Bad}, {Number: 1}}},
		"2 3 2:a:g asked=3 state=back from=3 last=1 until=7": {
			Current: 2, Top: 3, Asked: 3, State: "back", From: 3, Last: true, Until: 7,
			Known: []Revision{{Number: 2, Digest: "a", Verdict: Good}},
		},
		"1 2 1:a 2:b state=back from=2 snap=1:web-1 data=2 back=1 restoring=1:web-1:revision-2-1 restores=1 untried=2": {
			Current: 1, Top: 2, State: "back", From: 2, Known: []Revision{{Number: 1, Digest: "a", Snapshot: "web-1"}, {Number: 2, Digest: "b"}},
			DataOf: 2, DataBack: true, Restoring: 1, Restore: "web-1", Aside: "revision-2-1", Restores: 1, Untried: 2,
		},
	} {
		text := string(w.Append(nil))
		got, err := ParseRevisionMemory(text)
		if text != want || err != nil || !reflect.DeepEqual(got, w) {
			t.Errorf("%q: %q %+v %v", want, text, got, err)
		}
	}
	for _, bad := range []string{"", "1", "0 1", "2 1", "1 x", "1 1 1", "1 1 2:x", "1 1 0:x", "1 1 1:a 1:b", "-1 1", "1 1 1:a:x", "1 1 1:a:gb", "1 1 asked=2", "1 1 state=x", "1 1 1:a:g:b", "1 1 data=2", "1 1 restoring=2:x", "1 1 snap=x:y"} {
		if w, err := ParseRevisionMemory(bad); err == nil {
			t.Errorf("%q: %+v", bad, w)
		}
	}
}
