package ipc

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// draw fills v with random values, so that a field that was forgotten is found.
func draw(t *rapid.T, v reflect.Value, label string) {
	switch v.Interface().(type) {
	case time.Time:
		ns := rapid.Int64Range(0, 4e18).Draw(t, label)
		v.Set(reflect.ValueOf(time.Unix(0, ns).UTC()))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			draw(t, v.Field(i), label+"."+v.Type().Field(i).Name)
		}
	case reflect.Pointer:
		if rapid.Bool().Draw(t, label+"?") {
			v.Set(reflect.New(v.Type().Elem()))
			draw(t, v.Elem(), label)
		}
	case reflect.Slice:
		n := rapid.IntRange(0, 3).Draw(t, label+"#")
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			draw(t, v.Index(i), label)
		}
	case reflect.String:
		v.SetString(rapid.OneOf(rapid.String(), rapid.StringMatching(`[\\"<>&\x00-\x1f\x{2027}-\x{202a}]*`)).Draw(t, label))
	case reflect.Int:
		v.SetInt(int64(rapid.Int().Draw(t, label)))
	case reflect.Uint64:
		v.SetUint(rapid.Uint64().Draw(t, label))
	case reflect.Float64:
		v.SetFloat(rapid.Float64Range(-1e30, 1e30).Draw(t, label))
	default:
		t.Fatalf("%s: no way to draw a %s", label, v.Type())
	}
}

// TestCodecAgainstEncodingJSON: what either writes, the other reads.
func TestCodecAgainstEncodingJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var st Status
		draw(t, reflect.ValueOf(&st).Elem(), "status")
		ours := appendStatus(nil, &st)
		var back Status
		if err := json.Unmarshal(ours, &back); err != nil {
			t.Fatalf("encoding/json cannot read ours: %v\n%s", err, ours)
		}
		if d := cmp.Diff(st, back); d != "" {
			t.Fatalf("written by us, read by encoding/json: %s", d)
		}
		theirs, err := json.MarshalIndent(&st, " ", "\t")
		if err != nil {
			t.Fatal(err)
		}
		got, err := decodeStatus(theirs)
		if err != nil {
			t.Fatalf("we cannot read encoding/json's: %v\n%s", err, theirs)
		}
		if d := cmp.Diff(&st, got); d != "" {
			t.Fatalf("written by encoding/json, read by us: %s", d)
		}
		for i := range st.Services {
			svc, err := decodeService(appendService(nil, &st.Services[i]))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(&st.Services[i], svc); d != "" {
				t.Fatal(d)
			}
		}
	})
}

func TestStringsAgainstEncodingJSON(t *testing.T) {
	for _, s := range []string{"", "a\x00\x1f\"\\/\b\f\n\r\t<>&", "\xff\xfea\xc3", "\u2027\u2028\u2029\u202a", "\u00e4\U0001f600\ufffd\x7f"} {
		var got string
		if err := json.Unmarshal(appendString(nil, s), &got); err != nil {
			t.Errorf("%q: %v", s, err)
		}
		if want := strings.ToValidUTF8(strings.ReplaceAll(s, "\xff\xfe", "\ufffd\ufffd"), "\ufffd"); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestNumbersThatJSONHasNot(t *testing.T) {
	for _, f := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		if got := string(appendFloat(nil, f)); got != "0" {
			t.Errorf("%v: %s", f, got)
		}
	}
}

func TestDecodeSkipsWhatItDoesNotKnow(t *testing.T) {
	st, err := decodeStatus([]byte(` {"new":{"a":[1,-2.5e3,true,false,null,"x\"y",{}]},"services":[{"name":"w\u0065b","more":[[]],"instances":null}],"supervisor":null} `))
	if err != nil || len(st.Services) != 1 || st.Services[0].Name != "web" || st.Services[0].Instances == nil {
		t.Errorf("%+v, %v", st, err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, doc := range []string{
		"", "{", "[]", "{}x", `{"services":{}}`, `{"services":[{]}`, `{"services":[1]}`, `{"services" []}`, `{services:[]}`, `{"a":1,}`,
		`{"services":[{"revision":1.5}]}`, `{"services":[{"revision":"1"}]}`, `{"services":[{"name":1}]}`, `{"services":[{"name":"`,
		`{"services":[{"name":"\`, `{"services":[{"name":"\x"}]}`, "{\"services\":[{\"name\":\"a\nb\"}]}", `{"supervisor":{"started_at":"noon"}}`,
		`{"supervisor":{"pid":}}`, `{"new":nul}`, `{"new":` + strings.Repeat("[", 100_000), `{"services":[{"instances":[{"memory_bytes":-1}]}]}`,
		"{}\x00", `{"a":1 "b":2}`, `{"new":tru}`, `{"services":[{"name":"a"} {"name":"b"}]}`,
	} {
		if st, err := decodeStatus([]byte(doc)); err == nil {
			t.Errorf("%.60q: %+v", doc, st)
		}
	}
}

func FuzzDecodeStatus(f *testing.F) {
	f.Add(appendStatus(nil, sampleStatus(2)))
	f.Add([]byte(`{"new":{"a":[1,-2.5e3,true,null,"x\"y"]},"services":[{"name":"\u0065"}]}`))
	f.Add([]byte("{\"services\":[{\"name\":\"a\x81b\",\"reason\":\"\xc3\xa4\"}]}"))
	f.Fuzz(func(t *testing.T, doc []byte) {
		st, err := decodeStatus(doc)
		if err != nil {
			return
		}
		once := appendStatus(nil, st)
		again, err := decodeStatus(once)
		if err != nil {
			t.Fatalf("cannot read what was written: %v\n%s", err, once)
		}
		if twice := appendStatus(nil, again); string(twice) != string(once) {
			t.Fatalf("changed on its way:\n%s\n%s", once, twice)
		}
	})
}
