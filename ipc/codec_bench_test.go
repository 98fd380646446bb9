package ipc

import (
	"encoding/json"
	"testing"
)

func BenchmarkStatusEncode(b *testing.B) {
	st := sampleStatus(1000)
	b.ReportAllocs()
	for b.Loop() {
		appendStatus(make([]byte, 0, 2000*400), st)
	}
}

func BenchmarkStatusDecode(b *testing.B) {
	doc := appendStatus(nil, sampleStatus(1000))
	b.SetBytes(int64(len(doc)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decodeStatus(doc); err != nil {
			b.Fatal(err)
		}
	}
}

// The two that they are instead of.

func BenchmarkStatusEncodeReflect(b *testing.B) {
	st := sampleStatus(1000)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := json.Marshal(st); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkStatusDecodeReflect(b *testing.B) {
	doc := appendStatus(nil, sampleStatus(1000))
	b.SetBytes(int64(len(doc)))
	b.ReportAllocs()
	for b.Loop() {
		var st Status
		if err := json.Unmarshal(doc, &st); err != nil {
			b.Fatal(err)
		}
	}
}
