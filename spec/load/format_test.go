package load

import (
	"os"
	"testing"
)

func TestFormat(t *testing.T) {
	const messy = `# about
service   "web" {
command=["/bin/web","-x"]   # why
    instances   = 2
  restart {
delay="1s"
    }
}
`
	const want = `# about
service "web" {
  command   = ["/bin/web", "-x"] # why
  instances = 2
  restart {
    delay = "1s"
  }
}
`
	got, diags := Format(File{"web.hcl", messy})
	if got != want || len(diags) > 0 {
		t.Errorf("%v\n%s", diags, got)
	}
	if again, _ := Format(File{"web.hcl", got}); again != got {
		t.Errorf("formatted twice:\n%s", again)
	}
	for _, bad := range []string{"service {", "a = \"", "\xff", "a = 1\x00"} {
		if got, diags := Format(File{"bad.hcl", bad}); got != "" || !diags.HasErrors() || diags[0].File != "bad.hcl" {
			t.Errorf("%q: %q %v", bad, got, diags)
		}
	}
	full, err := os.ReadFile("testdata/full.hcl")
	if err != nil {
		t.Fatal(err)
	}
	once, diags := Format(File{"full.hcl", string(full)})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	before, _ := LoadFiles([]File{{"full.hcl", string(full)}}, Options{Environ: []string{}})
	after, _ := LoadFiles([]File{{"full.hcl", once}}, Options{Environ: []string{}})
	if before == nil || after == nil || len(before.Services) != len(after.Services) {
		t.Errorf("formatting changed what it means")
	}
}

func TestReadAndLoadFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(dir+"/"+name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("b.hcl", `service "b" { command = ["b"] }`)
	write("a.hcl", `service "a" { command = ["a"] }`)
	write(".hidden.hcl", `nonsense`)
	files, diags := Read([]string{dir})
	if diags.HasErrors() || len(files) != 2 || files[0].Name != dir+"/a.hcl" {
		t.Fatalf("%v %v", files, diags)
	}
	s, diags := LoadFiles(files, Options{})
	if diags.HasErrors() || len(s.Services) != 2 || s.Services[1].Name != "b" {
		t.Errorf("%v %v", s, diags)
	}
	if _, diags := Read([]string{dir + "/none"}); !diags.HasErrors() {
		t.Errorf("what is not there was read")
	}
	if _, diags := LoadFiles(nil, Options{}); !diags.HasErrors() {
		t.Errorf("nothing was loaded")
	}
	if _, diags := LoadFiles(append(files, files[0]), Options{}); !diags.HasErrors() {
		t.Errorf("a file given twice")
	}
	big := File{"big.hcl", string(make([]byte, maxFile+1))}
	if _, diags := LoadFiles([]File{big}, Options{}); !diags.HasErrors() {
		t.Errorf("a huge file was loaded")
	}
}
