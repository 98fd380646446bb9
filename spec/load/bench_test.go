package load

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// thousand is a specification of n services as people write them.
func thousand(n int) string {
	var b strings.Builder
	b.WriteString("locals {\n  root = \"/opt/app\"\n  level = \"info\"\n}\n")
	for i := range n {
		fmt.Fprintf(&b, `
service "s%d" {
  command   = ["${local.root}/bin/server", "--port", port.http, "--name", instance.id, "--level", local.level]
  instances = 2
  user      = "root"
  directory = "${local.root}/data"
  env = {
    LOG_LEVEL = local.level
    INDEX     = instance.index
    NAME      = "${service.name}-${instance.index}"
  }
  restart {
    delay     = "200ms"
    max_delay = "20s"
  }
  stop {
    signal  = "SIGINT"
    timeout = "20s"
  }
  port "http" {
  }
  check "alive" {
    http {
      url = "http://127.0.0.1:${port.http}/healthz"
    }
  }
  log {
    max_size = "1MiB"
  }
`, i)
		if i > 0 {
			fmt.Fprintf(&b, "  needs = [\"s%d\"]\n", i-1)
		}
		b.WriteString("}\n")
	}
	return b.String()
}

// small is a specification of n services that say little.
func small(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `service "svc%d" {
  command = ["/bin/sleep", "1000", "%d"]
  restart {
    delay  = "0s"
    jitter = 0
  }
  crash_loop {
    failures = 10000
  }
}
`, i, i)
	}
	return b.String()
}

func BenchmarkLoad1000(b *testing.B) { benchmarkLoad(b, small(1000)) }

func BenchmarkLoad1000Rich(b *testing.B) { benchmarkLoad(b, thousand(1000)) }

func benchmarkLoad(b *testing.B, text string) {
	file := filepath.Join(b.TempDir(), "x.hcl")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if s, diags := Load([]string{file}, testOptions()); s == nil {
			b.Fatal(firstError(diags))
		}
	}
}

func BenchmarkStrings(b *testing.B) {
	c, err := Compile(`["/opt/app/bin/server", "--port", port.http, "--name", instance.id, "--level", "info"]`)
	if err != nil {
		b.Fatal(err)
	}
	s := testScope()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Strings(s); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMap(b *testing.B) {
	c, err := Compile(`{ INDEX = instance.index, LOG_LEVEL = "info", NAME = "web-${instance.index}" }`)
	if err != nil {
		b.Fatal(err)
	}
	s := testScope()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Map(s); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLiteral(b *testing.B) {
	c, err := Compile(`["/opt/app/bin/server", "--level", "info"]`)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Strings(nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCompileLiteral(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Compile(`["/opt/app/bin/server", "--level", "info"]`); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkTemplate(b *testing.B) {
	c, err := Compile(`"http://127.0.0.1:${port.http}/x?i=${instance.index}&h=${env.HOME}"`)
	if err != nil {
		b.Fatal(err)
	}
	s := testScope()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.String(s); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Compile(`["/opt/app/bin/server", "--port", port.http, "--name", instance.id, "--level", "info"]`); err != nil {
			b.Fatal(err)
		}
	}
}
