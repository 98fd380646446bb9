package load

import (
	"errors"
	"fmt"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

// The conversions never quote a value: it may be a secret.

func toString(v cty.Value) (string, error) {
	if v.IsNull() || !v.IsKnown() {
		return "", errors.New("a string is expected, and this is null")
	}
	if !v.Type().IsPrimitiveType() {
		return "", fmt.Errorf("a string is expected, and this is %s", typeName(v.Type()))
	}
	c, err := convert.Convert(v, cty.String)
	if err != nil {
		return "", errors.New("a string is expected")
	}
	return c.AsString(), nil
}

func toStrings(v cty.Value) ([]string, error) {
	t := v.Type()
	if v.IsNull() || !v.IsKnown() || !t.IsTupleType() && !t.IsListType() && !t.IsSetType() {
		return nil, fmt.Errorf("a list of strings is expected, and this is %s", valueName(v))
	}
	out := make([]string, 0, v.LengthInt())
	for it := v.ElementIterator(); it.Next(); {
		_, e := it.Element()
		s, err := toString(e)
		if err != nil {
			return nil, fmt.Errorf("element %d of the list: %w", len(out), err)
		}
		out = append(out, s)
	}
	return out, nil
}

func toMap(v cty.Value) (map[string]string, error) {
	t := v.Type()
	if v.IsNull() || !v.IsKnown() || !t.IsObjectType() && !t.IsMapType() {
		return nil, fmt.Errorf("a map of strings is expected, and this is %s", valueName(v))
	}
	out := make(map[string]string, v.LengthInt())
	for it := v.ElementIterator(); it.Next(); {
		k, e := it.Element()
		s, err := toString(e)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", k.AsString(), err)
		}
		out[k.AsString()] = s
	}
	return out, nil
}

func valueName(v cty.Value) string {
	if v.IsNull() {
		return "null"
	}
	return typeName(v.Type())
}

func typeName(t cty.Type) string {
	switch {
	case t == cty.String:
		return "a string"
	case t == cty.Number:
		return "a number"
	case t == cty.Bool:
		return "a bool"
	case t.IsTupleType(), t.IsListType(), t.IsSetType():
		return "a list"
	case t.IsObjectType(), t.IsMapType():
		return "a map"
	}
	return "something else"
}
