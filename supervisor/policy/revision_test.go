package policy

import (
	"reflect"
	"testing"
)

func TestRevisionMemoryText(t *testing.T) {
	for want, w := range map[string]RevisionMemory{
		"1 1":        {Current: 1, Top: 1},
		"2 3 3:c 1:": {Current: 2, Top: 3, Prior: []Revision{{3, "c"}, {1, ""}}},
	} {
		text := string(w.Append(nil))
		got, err := ParseRevisionMemory(text)
		if text != want || err != nil || !reflect.DeepEqual(got, w) {
			t.Errorf("%q: %q %+v %v", want, text, got, err)
		}
	}
	for _, bad := range []string{"", "1", "0 1", "2 1", "1 x", "1 1 1", "1 1 2:x", "1 1 0:x", "1 1 1:a 1:b 1:c 1:d 1:e", "-1 1"} {
		if w, err := ParseRevisionMemory(bad); err == nil {
			t.Errorf("%q: %+v", bad, w)
		}
	}
}
