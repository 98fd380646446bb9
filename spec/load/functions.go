package load

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
)

// maxPad bounds the widths in a format: "%999999999d" would be a gigabyte.
const maxPad = 1024

// functions are those of the language: pure, and bounded by their arguments.
func functions() map[string]function.Function {
	return map[string]function.Function{
		"abs": stdlib.AbsoluteFunc, "ceil": stdlib.CeilFunc, "floor": stdlib.FloorFunc, "signum": stdlib.SignumFunc,
		"max": stdlib.MaxFunc, "min": stdlib.MinFunc, "parseint": stdlib.ParseIntFunc,
		"chomp": stdlib.ChompFunc, "lower": stdlib.LowerFunc, "upper": stdlib.UpperFunc, "title": stdlib.TitleFunc,
		"split": stdlib.SplitFunc, "strlen": stdlib.StrlenFunc, "strrev": stdlib.ReverseFunc, "substr": stdlib.SubstrFunc,
		"trim": stdlib.TrimFunc, "trimprefix": stdlib.TrimPrefixFunc, "trimspace": stdlib.TrimSpaceFunc, "trimsuffix": stdlib.TrimSuffixFunc,
		"regex": stdlib.RegexFunc, "regexall": stdlib.RegexAllFunc,
		"jsonencode": stdlib.JSONEncodeFunc, "jsondecode": stdlib.JSONDecodeFunc,
		"coalesce": coalesce(), "compact": stdlib.CompactFunc, "concat": stdlib.ConcatFunc, "contains": stdlib.ContainsFunc,
		"distinct": stdlib.DistinctFunc, "element": stdlib.ElementFunc, "flatten": stdlib.FlattenFunc, "keys": stdlib.KeysFunc,
		"length": length(), "lookup": stdlib.LookupFunc, "merge": stdlib.MergeFunc, "range": stdlib.RangeFunc,
		"reverse": stdlib.ReverseListFunc, "slice": stdlib.SliceFunc, "sort": stdlib.SortFunc, "values": stdlib.ValuesFunc,
		"zipmap":   stdlib.ZipmapFunc,
		"tonumber": conversion(cty.Number), "tostring": conversion(cty.String),
		"basename": onString(path.Base), "dirname": onString(path.Dir),
		"startswith": onStrings(strings.HasPrefix), "endswith": onStrings(strings.HasSuffix),

		// These multiply their arguments.
		"format":     guarded(stdlib.FormatFunc, checkFormat),
		"formatlist": guarded(stdlib.FormatListFunc, checkFormatList),
		"join":       guarded(stdlib.JoinFunc, checkJoin),
		"replace":    guarded(stdlib.ReplaceFunc, checkReplace), "regexreplace": guarded(stdlib.RegexReplaceFunc, checkReplace),
	}
}

func functionNames() []string {
	var names []string
	for name := range functions() {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// guarded puts a check of the arguments before a function.
func guarded(f function.Function, check func(args []cty.Value) error) function.Function {
	return function.New(&function.Spec{
		Params: f.Params(), VarParam: f.VarParam(), Description: f.Description(),
		Type: func(args []cty.Value) (cty.Type, error) {
			if err := check(args); err != nil {
				return cty.NilType, err
			}
			return f.ReturnTypeForValues(args)
		},
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			if err := check(args); err != nil {
				return cty.NilVal, err
			}
			return f.Call(args)
		},
	})
}

// text returns the string of a known argument, else "".
func text(v cty.Value) string {
	v, _ = v.Unmark()
	if v.IsKnown() && !v.IsNull() && v.Type() == cty.String {
		return v.AsString()
	}
	return ""
}

func bounded(n int) error {
	if n > maxValue {
		return errors.New("the result would be larger than 1 MiB")
	}
	return nil
}

func checkFormat(args []cty.Value) error {
	if len(args) == 0 {
		return nil
	}
	f := text(args[0])
	run, inVerb := 0, false
	for _, c := range f {
		switch {
		case c == '%':
			inVerb, run = !inVerb, 0
		case inVerb && c >= '0' && c <= '9':
			if run = run*10 + int(c-'0'); run > maxPad {
				return fmt.Errorf("a width or precision is larger than %d", maxPad)
			}
		case inVerb && strings.ContainsRune(" +-#.[]*", c):
			run = 0
		default:
			inVerb = false
		}
	}
	// "%[1]s" may name one argument many times.
	largest := maxPad
	if strings.Count(f, "%") <= 1 {
		return nil
	}
	for _, a := range args[1:] {
		largest = max(largest, sizeOf(a, maxValue))
	}
	return bounded(len(f) + strings.Count(f, "%")*largest)
}

func checkFormatList(args []cty.Value) error {
	if err := checkFormat(args); err != nil {
		return err
	}
	longest, total := 1, 0
	for _, a := range args {
		a, _ = a.Unmark()
		total += sizeOf(a, maxValue)
		if a.IsKnown() && !a.IsNull() && a.CanIterateElements() {
			longest = max(longest, a.LengthInt())
		}
	}
	return bounded(longest * total)
}

func checkJoin(args []cty.Value) error {
	if len(args) == 0 {
		return nil
	}
	sep, n := len(text(args[0])), 0
	for _, a := range args[1:] {
		n += sizeOf(a, maxValue)
	}
	return bounded(n + sep*(n/elementCost))
}

func checkReplace(args []cty.Value) error {
	if len(args) != 3 {
		return nil
	}
	s, with := len(text(args[0])), text(args[2])
	// "$1" in a replacement of regexreplace stands for up to all of s.
	return bounded(s + (s+1)*(len(with)+strings.Count(with, "$")*s))
}

// coalesce returns its first argument that is not null. Unlike cty's it also
// passes over "", as people expect of env.NAME.
func coalesce() function.Function {
	return function.New(&function.Spec{
		VarParam: &function.Parameter{Name: "values", Type: cty.DynamicPseudoType, AllowNull: true, AllowDynamicType: true, AllowUnknown: true},
		Type: func(args []cty.Value) (cty.Type, error) {
			v, err := firstGiven(args)
			return v.Type(), err
		},
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) { return firstGiven(args) },
	})
}

func firstGiven(args []cty.Value) (cty.Value, error) {
	for _, a := range args {
		if !a.IsKnown() {
			return cty.DynamicVal, nil
		}
		if !a.IsNull() && (a.Type() != cty.String || a.AsString() != "") {
			return a, nil
		}
	}
	if n := len(args); n > 0 && !args[n-1].IsNull() {
		return args[n-1], nil
	}
	return cty.DynamicVal, errors.New("all values are null or empty")
}

// length is of a list, a map or a string.
func length() function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "value", Type: cty.DynamicPseudoType, AllowDynamicType: true}},
		Type:   function.StaticReturnType(cty.Number),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			if args[0].Type() == cty.String {
				return stdlib.Strlen(args[0])
			}
			return stdlib.Length(args[0])
		},
	})
}

func conversion(to cty.Type) function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "value", Type: cty.DynamicPseudoType, AllowNull: true, AllowDynamicType: true}},
		Type:   function.StaticReturnType(to),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			if n := text(args[0]); to == cty.Number && n != "" && !regexp.MustCompile(`^[+-]?[0-9]{1,40}(\.[0-9]{1,40})?$`).MatchString(n) {
				return cty.NilVal, errors.New("a number in decimal digits is expected")
			}
			return convert.Convert(args[0], to)
		},
	})
}

func onString(f func(string) string) function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "value", Type: cty.String}},
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			return cty.StringVal(f(args[0].AsString())), nil
		},
	})
}

func onStrings(f func(s, t string) bool) function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "value", Type: cty.String}, {Name: "part", Type: cty.String}},
		Type:   function.StaticReturnType(cty.Bool),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			return cty.BoolVal(f(args[0].AsString(), args[1].AsString())), nil
		},
	})
}
