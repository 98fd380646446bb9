package probe

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/proto"
)

// grpcServer is grpc-go's; with its health service, if there is one.
func grpcServer(t *testing.T, h healthpb.HealthServer) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer()
	if h != nil {
		healthpb.RegisterHealthServer(srv, h)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		srv.Serve(ln)
	}()
	t.Cleanup(func() { srv.Stop(); <-done })
	return ln.Addr().String()
}

func TestGRPC(t *testing.T) {
	h := health.NewServer()
	h.SetServingStatus("up", healthpb.HealthCheckResponse_SERVING)
	h.SetServingStatus("down", healthpb.HealthCheckResponse_NOT_SERVING)
	h.SetServingStatus("odd", healthpb.HealthCheckResponse_ServingStatus(7))
	long := strings.Repeat("long", 1000)
	h.SetServingStatus(long, healthpb.HealthCheckResponse_SERVING)
	address := grpcServer(t, h)
	c := NewClient()
	for _, tc := range []struct {
		service string
		cause   Cause
		text    string
	}{
		{"", "", ""}, {"up", "", ""}, {long, "", ""},
		{"down", Wrong, address + ` says NOT_SERVING of "down", not SERVING`},
		{"odd", Wrong, `says 7 of "odd"`},
		{"other", Wrong, `does not know the service "other" (NOT_FOUND)`},
	} {
		wantResult(t, c.GRPC(address, tc.service).Probe(within(t, patient)), tc.cause, tc.text)
	}
	h.Shutdown()
	wantResult(t, c.GRPC(address, "").Probe(within(t, patient)), Wrong, "says NOT_SERVING, not SERVING")

	wantResult(t, c.GRPC(grpcServer(t, nil), "").Probe(within(t, patient)), Wrong, "(UNIMPLEMENTED)")
}

func TestGRPCFromWhatIsNotAServer(t *testing.T) {
	c := NewClient()
	closed := serveRaw(t, "tcp", "127.0.0.1:0", func(net.Conn) {})
	silent := serveRaw(t, "tcp", "127.0.0.1:0", untilGone)
	http1 := httptest.NewServer(http.NotFoundHandler())
	defer http1.Close()
	http2 := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(418) }))
	http2.Config.Protocols = new(http.Protocols)
	http2.Config.Protocols.SetUnencryptedHTTP2(true)
	http2.Start()
	defer http2.Close()
	endless := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for {
			if _, err := io.WriteString(w, "more and more"); err != nil {
				return
			}
		}
	}))
	endless.Config.Protocols = http2.Config.Protocols
	endless.Start()
	defer endless.Close()
	for _, tc := range []struct {
		name    string
		address string
		d       time.Duration
		cause   Cause
		text    string
	}{
		{"closes", closed.Addr().String(), patient, Broken, ""},
		{"silent", silent.Addr().String(), 50 * time.Millisecond, Timeout, "no answer within 50ms"},
		{"full", fullListener(t), 50 * time.Millisecond, Timeout, "no answer within 50ms"},
		{"HTTP/1", http1.Listener.Addr().String(), patient, Broken, "HTTP/1.1"},
		{"HTTP/2 but no gRPC", http2.Listener.Addr().String(), patient, Broken, "answered HTTP status 418"},
		{"without end", endless.Listener.Addr().String(), patient, Broken, "without a gRPC status"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			wantResult(t, c.GRPC(tc.address, "").Probe(within(t, tc.d)), tc.cause, tc.text)
		})
	}
	closed.Close()
	wantResult(t, c.GRPC(closed.Addr().String(), "").Probe(within(t, patient)), Unreachable, "connection refused")
}

func TestHealthStatus(t *testing.T) {
	for _, tc := range []struct {
		frame string
		want  uint64
		text  string
	}{
		{"\x00\x00\x00\x00\x02\x08\x01", 1, ""},
		{"\x00\x00\x00\x00\x00", 0, ""},
		{"\x00\x00\x00\x00\x0c\x12\x03abc\x1d1234\x08\x02", 2, ""}, // with fields that are passed over
		{"\x00\x00\x00\x00\x0b\x12\x03abc\x1d1234\x08\x02", 0, "12 bytes, not the 11"},
		{"\x00\x00\x00\x00\x0b\x12\x03abc\x1d1234\x08", 0, "protobuf"},
		{"\x01\x00\x00\x00\x02\x08\x01", 0, "compressed"},
		{"\x00\x00", 0, "cut"},
		{"\x00\x00\x00\x00\x02\x12\xff", 0, "protobuf"},
		{"\x00\x00\x00\x00\x01\x0b", 0, "protobuf"},
	} {
		got, err := healthStatus([]byte(tc.frame))
		if (err == nil) != (tc.text == "") || err == nil && got != tc.want || err != nil && !strings.Contains(err.Error(), tc.text) {
			t.Errorf("%q: %d, %v", tc.frame, got, err)
		}
	}
}

// What passes is SERVING to grpc-go's own decoder as well.
func FuzzHealthAnswer(f *testing.F) {
	f.Add([]byte("\x08\x01"))
	f.Add([]byte("\x12\x03abc\x151234\x08\x02"))
	f.Add([]byte("\x08\x02\x08\x01"))
	g := NewClient().GRPC("x", "")
	resp := &http.Response{StatusCode: 200, Trailer: http.Header{"Grpc-Status": {"0"}}}
	f.Fuzz(func(t *testing.T, message []byte) {
		n := len(message)
		frame := append([]byte{0, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}, message...)
		wrong, _ := g.judge(resp, frame)
		var theirs healthpb.HealthCheckResponse
		if err := proto.Unmarshal(message, &theirs); err == nil && wrong == "" && theirs.Status != healthpb.HealthCheckResponse_SERVING {
			t.Fatalf("passes, but is %s", theirs.Status)
		}
	})
}

func BenchmarkGRPC(b *testing.B) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	srv := grpc.NewServer()
	healthpb.RegisterHealthServer(srv, health.NewServer())
	go srv.Serve(ln)
	defer srv.Stop()
	g := NewClient().GRPC(ln.Addr().String(), "")
	b.ReportAllocs()
	for b.Loop() {
		if r := g.Probe(b.Context()); r.Err != nil {
			b.Fatal(r.Err)
		}
	}
}
