package sim

import "testing"

// FuzzSim lets bytes choose what happens, from the specification's seed to each
// act, and the simulator judge it.
func FuzzSim(f *testing.F) {
	f.Add([]byte{1})
	f.Add([]byte{2, 0, 0, 9, 1, 1, 40, 2, 0, 90, 0, 1})
	f.Add([]byte{0, 7, 3, 1, 250, 130, 3, 5, 60, 7, 2, 200, 8, 0, 10, 9, 9, 9})
	f.Fuzz(func(t *testing.T, data []byte) {
		s := FromBytes(data)
		if res := Run(s, Options{}); res.Failure != nil {
			t.Fatal(Report(s, 500, 60))
		}
	})
}
