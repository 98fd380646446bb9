package proc

import (
	"io"
	"os"
	"testing"
)

// TestStdin: a command reads what it is given; one that is given nothing reads
// the end of /dev/null.
func TestStdin(t *testing.T) {
	for _, given := range []string{"", "an event\n"} {
		out, toOut, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		c := command("exit", "0")
		c.Argv = []string{"/bin/cat"}
		c.Stdout = int(toOut.Fd())
		var in, toIn *os.File
		if given != "" {
			if in, toIn, err = os.Pipe(); err != nil {
				t.Fatal(err)
			}
			c.Stdin = int(in.Fd())
		}
		pid, exit := launch(t, spawner(t), c)
		toOut.Close()
		if in != nil {
			in.Close()
			if _, err := io.WriteString(toIn, given); err != nil {
				t.Fatal(err)
			}
			toIn.Close()
		}
		got, err := io.ReadAll(out)
		if err != nil || string(got) != given {
			t.Errorf("%d read %q, %v, want %q", pid, got, err, given)
		}
		if st := wait(t, exit); st.Code != 0 {
			t.Errorf("%+v", st)
		}
	}
}
